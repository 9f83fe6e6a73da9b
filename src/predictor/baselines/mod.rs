//! Forecasters without a network: the bar that a network has to clear.
//!
//! | name | expects |
//! |---|---|
//! | `persistence` | the present users |
//! | `moving-average` | the mean of the last 3 rows |
//! | `seasonal` | the users one day before |
//! | `ar` | a line through the last 7 rows, fitted by least squares |
//! | `holt-winters` | a smoothed level and trend, with a daily pattern where one is worth it |
//!
//! The last two are fitted on [`Training`] rows. In a scenario these are its training traffic, seen at
//! the instants of decisions, and the services' `history_users`: never the traffic of an evaluation.

mod ar;
mod holt_winters;
mod least_squares;
mod moving_average;
mod persistence;
mod seasonal;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use ar::Ar;
pub use holt_winters::HoltWinters;
pub use least_squares::{least_squares, weighted_least_squares};
pub use moving_average::MovingAverage;
pub use persistence::Persistence;
pub use seasonal::Seasonal;

use super::forecaster::Forecaster;
use crate::error::{Error, Result};
use crate::scenario::did_you_mean;

/// Past rows that windowed models look at: those of the original predictor.
pub const WINDOW: usize = 7;
/// Rows of the moving average.
const AVERAGE_ROWS: usize = 3;
/// What `seasonal` and `holt-winters` take for a season, seconds.
const DAY_S: f64 = 86_400.0;

/// Rows of one series that a model may be fitted on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Training {
    /// Stretches without a gap.
    pub stretches: Vec<Stretch>,
    /// Rows of a season, at least 1.
    pub period: usize,
}

/// Consecutive rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretch {
    /// Place of the first row on the series' clock, which seasons go by.
    pub clock: i64,
    /// Users of each row, all finite.
    pub users: Vec<f64>,
}

impl Training {
    /// One stretch that begins at row 0.
    pub fn of(users: &[f64], period: usize) -> Self {
        let stretch = Stretch { clock: 0, users: users.to_vec() };
        Self { stretches: vec![stretch], period: period.max(1) }
    }
}

/// Rows of a day, at least 1.
pub fn rows_of_a_day(row_s: f64) -> usize {
    ((DAY_S / row_s).round() as usize).max(1)
}

/// A forecaster without a network, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Baseline {
    /// [`Persistence`].
    #[default]
    Persistence,
    /// [`MovingAverage`].
    MovingAverage,
    /// [`Seasonal`].
    Seasonal,
    /// [`Ar`].
    Ar,
    /// [`HoltWinters`].
    HoltWinters,
}

impl Baseline {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 5] =
        [Self::Persistence, Self::MovingAverage, Self::Seasonal, Self::Ar, Self::HoltWinters];
    /// Their names, in the same order.
    pub const NAMES: [&'static str; 5] =
        ["persistence", "moving-average", "seasonal", "ar", "holt-winters"];

    /// The forecaster, fitted on one [`Training`] a service, or on a single one for all.
    pub fn fit(self, trainings: &[Training]) -> Arc<dyn Forecaster> {
        let period = trainings.first().map_or(1, |training| training.period);
        match self {
            Self::Persistence => Arc::new(Persistence),
            Self::MovingAverage => Arc::new(MovingAverage::new(AVERAGE_ROWS)),
            Self::Seasonal => Arc::new(Seasonal::new(period)),
            Self::Ar => Arc::new(Ar::fit(trainings)),
            Self::HoltWinters => Arc::new(HoltWinters::fit(trainings)),
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = Self::ALL.iter().position(|known| known == self).unwrap_or(0);
        f.write_str(Self::NAMES[index])
    }
}

impl FromStr for Baseline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::NAMES.iter().position(|name| *name == text) {
            Some(index) => Ok(Self::ALL[index]),
            None => Err(Error::input(
                format!("model {text}"),
                "unknown model",
                format!("{}known: {}", did_you_mean(text, &Self::NAMES), Self::NAMES.join(", ")),
            )),
        }
    }
}
