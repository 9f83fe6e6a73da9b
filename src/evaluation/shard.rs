//! A part of an evaluation that another machine can compute.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The cells whose number, divided by `count`, leaves `index`. Written `I/N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Whether cell `number` belongs to it.
    pub fn holds(self, number: usize) -> bool {
        number as u64 % self.count == self.index
    }

    /// The shard of the same evaluation that cell `number` belongs to.
    pub fn holder(self, number: usize) -> Self {
        Self { index: number as u64 % self.count, ..self }
    }

    /// Whether both are of an evaluation cut into equally many shards.
    pub fn is_sibling(self, other: Self) -> bool {
        self.count == other.count
    }

    /// A word for names of folders: `0-of-4`.
    pub fn file_name(self) -> String {
        format!("{}-of-{}", self.index, self.count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            Error::input(
                format!("--shard {text}"),
                problem,
                "write I/N with 0 <= I < N: the shards of four machines are 0/4, 1/4, 2/4 and 3/4",
            )
        };
        let (index, count) = text.split_once('/').ok_or_else(|| wrong("no `/`"))?;
        let number =
            |part: &str| part.trim().parse::<u64>().map_err(|_| wrong("these are not two counts"));
        let (index, count) = (number(index)?, number(count)?);
        if index >= count {
            return Err(wrong("the number of a shard is below the number of shards"));
        }
        Ok(Self { index, count })
    }
}

impl TryFrom<String> for Shard {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// What a shard's folder says of the evaluation that it is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which part.
    pub shard: Shard,
    /// The policies of the whole, in the order of the tables.
    pub policies: Vec<String>,
    /// The seeds of the whole.
    pub seeds: Vec<u64>,
    /// The reference that was asked for.
    pub reference: Option<String>,
    /// Whether the whole has a cell with the exact optimum of each seed.
    pub optima: bool,
}

impl Part {
    /// All cells of the whole by number: policies by seeds, then the optima where they are no policy's.
    pub fn cells(&self) -> Vec<(&str, u64)> {
        let optimum = Some(OPTIMUM)
            .filter(|name| self.optima && !self.policies.iter().any(|policy| policy == name));
        let names = self.policies.iter().map(String::as_str).chain(optimum);
        names.flat_map(|name| self.seeds.iter().map(move |&seed| (name, seed))).collect()
    }

    /// How many cells are this part's own.
    pub fn own_cell_count(&self) -> usize {
        (0..self.cells().len()).filter(|&number| self.shard.holds(number)).count()
    }

    /// Whether `other` is a part of the same whole.
    pub(super) fn is_sibling(&self, other: &Self) -> bool {
        self.shard.is_sibling(other.shard) && *self == Self { shard: self.shard, ..other.clone() }
    }
}

/// The policy whose cells hold the exact optima on `paper`.
pub const OPTIMUM: &str = "oracle";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_parse_and_cover_every_cell_once() {
        let shards: Vec<Shard> =
            (0..3).map(|index| format!("{index}/3").parse().unwrap()).collect();
        for number in 0..20 {
            assert_eq!(shards.iter().filter(|shard| shard.holds(number)).count(), 1);
            assert!(shards[0].holder(number).holds(number));
        }
        for text in ["", "1", "2/2", "3/2", "-1/2", "0/0", "a/b", "0/2/4"] {
            assert_eq!(text.parse::<Shard>().unwrap_err().exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn optima_are_cells_unless_a_policy_has_them() {
        let mut part = Part {
            shard: "0/2".parse().unwrap(),
            policies: vec!["hybrid".into()],
            seeds: vec![3, 5],
            reference: None,
            optima: true,
        };
        assert_eq!(part.cells(), [("hybrid", 3), ("hybrid", 5), (OPTIMUM, 3), (OPTIMUM, 5)]);
        part.policies.insert(0, OPTIMUM.into());
        assert_eq!(part.cells().len(), 4);
        part.optima = false;
        part.policies.remove(0);
        assert_eq!(part.cells(), [("hybrid", 3), ("hybrid", 5)]);
    }
}
