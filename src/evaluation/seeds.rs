//! Lists of seeds as they are typed.

use std::str::FromStr;

use crate::error::{Error, Result};

/// Most seeds of one command.
const MAX_SEEDS: u64 = 1_000_000;

/// Seeds in rising order, each once: `0..10` is 0 to 9, `1,4,7` a list, `3` one; they mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

impl FromStr for Seeds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: String| {
            Error::input(
                format!("--seeds {text}"),
                problem,
                "write a range (0..10 is 0 to 9), a list (1,4,7) or one number",
            )
        };
        let number = |part: &str| {
            part.trim()
                .parse::<u64>()
                .map_err(|_| wrong(format!("`{part}` is not a whole number of at least 0")))
        };
        let mut seeds = Vec::new();
        for part in text.split(',') {
            match part.split_once("..") {
                Some((first, end)) => {
                    let (first, end) = (number(first)?, number(end)?);
                    if end <= first {
                        return Err(wrong(format!("the range {part} is empty")));
                    }
                    if end - first > MAX_SEEDS {
                        return Err(wrong(format!("more than {MAX_SEEDS} seeds")));
                    }
                    seeds.extend(first..end);
                }
                None => seeds.push(number(part)?),
            }
        }
        seeds.sort_unstable();
        seeds.dedup();
        Ok(Self(seeds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lists_and_single_numbers_parse() {
        let seeds = |text: &str| text.parse::<Seeds>().unwrap().0;
        assert_eq!(seeds("0..3"), [0, 1, 2]);
        assert_eq!(seeds("7,1,4,4"), [1, 4, 7]);
        assert_eq!(seeds("5"), [5]);
        assert_eq!(seeds("0..2,10"), [0, 1, 10]);
        for text in ["", "a", "3..3", "5..2", "-1", "1..", "0..99999999999", "1.5"] {
            let error = text.parse::<Seeds>().unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
        }
    }
}
