//! From series to what models are trained on: a split in time, scaling and windows.
//!
//! A series is split by time, never shuffled: training, validation, test. Windows lie inside one part,
//! so that no value is input in one and target in another, and never touch a masked row.
//!
//! Two recipes: [`Recipe::Default`] fits the scaler on the training rows alone. [`Recipe::Original`]
//! does as the original did: the scaler sees all rows, so the extremes of the test part leak into
//! training; the first 80 % of the rows are cut into windows, of which the last 20 % validate, so
//! their inputs overlap with the last windows fitted on. Its figures can only be compared with the
//! original's.

use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::baselines::{Stretch, Training, rows_of_a_day};
use crate::error::{Error, Result};
use crate::trace::series::Series;

/// Shares of training, validation and test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fractions {
    train: f64,
    validation: f64,
    test: f64,
}

impl Default for Fractions {
    /// 64, 16 and 20 %: the last fifth tests, as in the original, and a fifth of the rest validates.
    fn default() -> Self {
        Self { train: 64.0, validation: 16.0, test: 20.0 }
    }
}

impl FromStr for Fractions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            Error::input(
                format!("--split {text}"),
                problem,
                "write training/validation/test in per cent, as 64/16/20; validation may be 0",
            )
        };
        let parts: Vec<f64> = text
            .split('/')
            .map(|part| part.trim().parse().map_err(|_| wrong("not three numbers")))
            .collect::<Result<_>>()?;
        let [train, validation, test] = parts[..] else { return Err(wrong("not three numbers")) };
        let finite = parts.iter().all(|part| part.is_finite());
        if !finite || train <= 0.0 || validation < 0.0 || test <= 0.0 {
            return Err(wrong("training and test have to be above 0, validation at least 0"));
        }
        if (train + validation + test - 100.0).abs() > 1e-9 {
            return Err(wrong("the three do not add up to 100"));
        }
        Ok(Self { train, validation, test })
    }
}

/// The parts of a series, as rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What models are fitted on.
    pub train: Range<usize>,
    /// What a training is stopped by. Models without such a choice are fitted on it too.
    pub validation: Range<usize>,
    /// What models are judged on.
    pub test: Range<usize>,
}

impl Fractions {
    /// Splits `rows` rows in time.
    pub fn split(self, rows: usize) -> Split {
        let total = self.train + self.validation + self.test;
        let until = |share: f64| (rows as f64 * share / total).floor() as usize;
        let (train, before_test) = (until(self.train), until(self.train + self.validation));
        Split { train: 0..train, validation: train..before_test, test: before_test..rows }
    }
}

/// The unmasked stretches of `rows` of a series.
pub fn training(series: &Series, rows: Range<usize>) -> Training {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut open = false;
    for row in rows {
        if series.masked[row] {
            open = false;
            continue;
        }
        if !open {
            stretches.push(Stretch { clock: row as i64, users: Vec::new() });
            open = true;
        }
        if let Some(stretch) = stretches.last_mut() {
            stretch.users.push(series.users[row]);
        }
    }
    Training { stretches, period: rows_of_a_day(series.row_s) }
}

/// Users to the network's scale and back: `users * scale + min`, the least value 0 and the greatest 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// Factor.
    pub scale: f64,
    /// What is added after it.
    pub min: f64,
}

impl Scaler {
    /// For values from `low` to `high`. Where these are the same, the factor is 1.
    pub fn between(low: f64, high: f64) -> Self {
        let scale = if high > low { 1.0 / (high - low) } else { 1.0 };
        Self { scale, min: -low * scale }
    }

    /// For the range of `users`; what is not a number is passed over. Without any, nothing is scaled.
    pub fn fit(users: impl Iterator<Item = f64>) -> Self {
        let (low, high) = users.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), users| {
            (low.min(users), high.max(users))
        });
        if low > high { Self { scale: 1.0, min: 0.0 } } else { Self::between(low, high) }
    }

    /// A network's input.
    pub fn scale(&self, users: f64) -> f32 {
        (users * self.scale + self.min) as f32
    }

    /// Users of a network's output, rounded as the original rounds.
    pub fn unscale(&self, scaled: f32) -> f32 {
        let shifted = (f64::from(scaled) - self.min) as f32;
        (f64::from(shifted) / self.scale) as f32
    }
}

/// Inputs and targets, scaled, one window after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    /// Past rows of a window.
    pub window: usize,
    /// Rows after it that are its targets.
    pub horizon: usize,
    /// `window` values a window, oldest first.
    pub inputs: Vec<f32>,
    /// `horizon` values a window.
    pub targets: Vec<f32>,
}

impl Windows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.inputs.len() / self.window.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Adds every window inside `rows` that touches no masked row.
    fn add(&mut self, series: &Series, rows: Range<usize>, scaler: Scaler) {
        let length = self.window + self.horizon;
        let mut clean = 0;
        for row in rows {
            clean = if series.masked[row] { 0 } else { clean + 1 };
            if clean >= length {
                let users = &series.users[row + 1 - length..=row];
                let (inputs, targets) = users.split_at(self.window);
                self.inputs.extend(inputs.iter().map(|&users| scaler.scale(users)));
                self.targets.extend(targets.iter().map(|&users| scaler.scale(users)));
            }
        }
    }

    /// Takes the last windows away, all but `kept`.
    fn split_off(&mut self, kept: usize) -> Self {
        Self {
            window: self.window,
            horizon: self.horizon,
            inputs: self.inputs.split_off(kept * self.window),
            targets: self.targets.split_off(kept * self.horizon),
        }
    }
}

/// How a data set is made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Recipe {
    /// Split by the fractions, scaler fitted on the training rows.
    #[default]
    Default,
    /// As the original did, leaks and all.
    Original,
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "default" => Ok(Self::Default),
            "original" => Ok(Self::Original),
            _ => Err(Error::input(
                format!("--recipe {text}"),
                "unknown recipe",
                format!(
                    "{}known: default, original",
                    crate::scenario::did_you_mean(text, &["default", "original"])
                ),
            )),
        }
    }
}

/// Share of the rows that the original trains on, and of their windows that it fits on.
const ORIGINAL_SHARE: (usize, usize) = (4, 5);

/// The windows of one or several series under one scaler.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The scaler of all windows.
    pub scaler: Scaler,
    /// To fit on.
    pub train: Windows,
    /// To stop by.
    pub validation: Windows,
    /// To judge on.
    pub test: Windows,
}

impl Dataset {
    /// Windows of `window` rows and the `horizon` rows after them. `fractions` belong to the default
    /// recipe; the original has its own.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no window to fit on.
    pub fn new(
        series: &[Series],
        recipe: Recipe,
        fractions: Fractions,
        window: usize,
        horizon: usize,
    ) -> Result<Self> {
        let splits: Vec<Split> =
            series.iter().map(|series| recipe.split(series.len(), fractions)).collect();
        let scaler = Scaler::fit(series.iter().zip(&splits).flat_map(|(series, split)| {
            let rows = match recipe {
                Recipe::Default => split.train.clone(),
                Recipe::Original => 0..series.len(),
            };
            rows.filter(|&row| !series.masked[row]).map(|row| series.users[row])
        }));
        let empty = || Windows { window, horizon, ..Windows::default() };
        let (mut train, mut validation, mut test) = (empty(), empty(), empty());
        for (series, split) in series.iter().zip(&splits) {
            train.add(series, split.train.clone(), scaler);
            validation.add(series, split.validation.clone(), scaler);
            test.add(series, split.test.clone(), scaler);
        }
        if recipe == Recipe::Original {
            validation = train.split_off(train.len() * ORIGINAL_SHARE.0 / ORIGINAL_SHARE.1);
        }
        if train.is_empty() {
            let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
            return Err(Error::input(
                names.join(", "),
                format!("no window of {} rows in the training part", window + horizon),
                "give longer series or mask less",
            ));
        }
        Ok(Self { scaler, train, validation, test })
    }
}

impl Recipe {
    fn split(self, rows: usize, fractions: Fractions) -> Split {
        match self {
            Self::Default => fractions.split(rows),
            Self::Original => {
                let train = rows * ORIGINAL_SHARE.0 / ORIGINAL_SHARE.1;
                Split { train: 0..train, validation: train..train, test: train..rows }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(users: &[f64]) -> Series {
        Series {
            name: "s".to_owned(),
            row_s: 120.0,
            users: users.to_vec(),
            masked: users.iter().map(|users| users.is_nan()).collect(),
            ..Series::default()
        }
    }

    #[test]
    fn fractions_parse_and_split_as_the_original_does() {
        let split = Fractions::default().split(1960);
        assert_eq!(split, Split { train: 0..1254, validation: 1254..1568, test: 1568..1960 });
        assert_eq!("80/0/20".parse::<Fractions>().unwrap().split(23_760).test, 19_008..23_760);
        for text in ["", "80/20", "50/50/50", "0/80/20", "80/20/0", "-1/81/20", "a/b/c", "nan/1/1"]
        {
            assert_eq!(text.parse::<Fractions>().unwrap_err().exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn the_original_recipe_has_the_originals_counts_and_scaler() {
        let mut users: Vec<f64> = (0..1960).map(|row| 8.0 + f64::from(row % 80)).collect();
        users[1900] = 100.0;
        let data =
            Dataset::new(&[series(&users)], Recipe::Original, Fractions::default(), 7, 1).unwrap();
        let counts = (data.train.len(), data.validation.len(), data.test.len());
        assert_eq!(counts, (1248, 313, 385));
        assert_eq!(data.scaler.scale, 0.010_869_565_217_391_304);
        assert_eq!(data.scaler.min, -0.086_956_521_739_130_43);
        assert_eq!(data.scaler.unscale(data.scaler.scale(31.0)), 31.0);
        // The default does not look at the test part.
        let data =
            Dataset::new(&[series(&users)], Recipe::Default, Fractions::default(), 7, 1).unwrap();
        assert_eq!(data.scaler, Scaler::between(8.0, 87.0));
        assert_eq!((data.train.len(), data.validation.len()), (1254 - 7, 314 - 7));
    }

    #[test]
    fn windows_stay_inside_their_part_and_off_masked_rows() {
        let mut users: Vec<f64> = (0..50).map(f64::from).collect();
        users[10] = f64::NAN;
        let data =
            Dataset::new(&[series(&users)], Recipe::Default, "60/20/20".parse().unwrap(), 3, 2);
        let data = data.unwrap();
        // Training rows 0..30 without row 10: 10 - 4 and 19 - 4 windows of five rows.
        assert_eq!(data.train.len(), 6 + 15);
        let unscaled: Vec<f32> =
            data.test.inputs[..3].iter().map(|&input| data.scaler.unscale(input)).collect();
        assert_eq!(unscaled, [40.0, 41.0, 42.0]);
        assert_eq!(data.test.targets.len(), 2 * data.test.len());

        let constant = series(&[5.0; 40]);
        let data = Dataset::new(&[constant], Recipe::Default, Fractions::default(), 7, 1).unwrap();
        assert!(data.train.inputs.iter().all(|&input| input == 0.0));
        assert_eq!(data.scaler.unscale(0.0), 5.0);
        let short =
            Dataset::new(&[series(&[5.0; 7])], Recipe::Original, Fractions::default(), 7, 1);
        assert_eq!(short.unwrap_err().exit_code(), 2);
    }
}
