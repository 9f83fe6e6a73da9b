//! Forecasters: from the users seen so far to the users of the coming stage.

pub mod original;

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Users of each service at past decisions, oldest first, the present one last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// One list a service.
    pub users: Vec<Vec<f64>>,
}

/// Expects something of the coming stage.
pub trait Forecaster: Send + Sync {
    /// The name that tables use.
    fn name(&self) -> &str;

    /// Users of each service in the coming stage, into `forecast`.
    fn forecast(&self, history: &History, forecast: &mut Vec<f64>);
}

/// The coming stage will be as the present moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Persistence;

impl Forecaster for Persistence {
    fn name(&self) -> &'static str {
        "persistence"
    }

    fn forecast(&self, history: &History, forecast: &mut Vec<f64>) {
        forecast.clear();
        forecast.extend(history.users.iter().map(|users| users.last().copied().unwrap_or(0.0)));
    }
}

/// Which forecaster a controller uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForecasterKind {
    /// [`Persistence`].
    #[default]
    Persistence,
    /// Knows the users at the end of the next stage's ramp: the value of a forecast, not a forecaster.
    Perfect,
}

impl ForecasterKind {
    const NAMES: [&'static str; 2] = ["persistence", "perfect"];
}

impl fmt::Display for ForecasterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Persistence => Self::NAMES[0],
            Self::Perfect => Self::NAMES[1],
        })
    }
}

impl FromStr for ForecasterKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "persistence" => Ok(Self::Persistence),
            "perfect" => Ok(Self::Perfect),
            _ => Err(Error::input(
                format!("--forecaster {text}"),
                "unknown forecaster",
                format!(
                    "{}known: {}",
                    crate::scenario::did_you_mean(text, &Self::NAMES),
                    Self::NAMES.join(", ")
                ),
            )),
        }
    }
}
