//! Settings of the training.

use serde::{Deserialize, Serialize};

use crate::env::traffic::TrafficSource;
use crate::error::{Error, Result};

/// All that a training of `fitted-value` can be told: a file for `train --config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FittedValueSettings {
    /// What it is trained on.
    pub environment: FittedValueEnvironment,
    /// How.
    pub training: FittedValueConfig,
}

/// What `fitted-value` is trained on. It sees the exact state and chooses among all options, so traffic
/// is all there is to be said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FittedValueEnvironment {
    /// Sources of its traffic; none: the scenario's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<TrafficSource>,
}

/// How `fitted-value` is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FittedValueConfig {
    /// Value functions: with more steps than this to go, the last one holds.
    pub horizon: usize,
    /// States that each value function but the last is fitted to.
    pub states: usize,
    /// States that the last one is fitted to: it holds in most steps.
    pub last_states: usize,
    /// Chance that a service's option is drawn at random while states are collected.
    pub exploration: f64,
    /// Passes over the states.
    pub epochs: usize,
    /// States of one update.
    pub minibatch: usize,
    /// Step size of Adam at the start of each function's fit; it falls linearly to 0.
    pub learning_rate: f64,
}

impl Default for FittedValueConfig {
    fn default() -> Self {
        Self {
            horizon: 5,
            states: 800_000,
            last_states: 1_600_000,
            exploration: 0.3,
            epochs: 6,
            minibatch: 1024,
            learning_rate: 0.01,
        }
    }
}

impl FittedValueConfig {
    /// States in all.
    pub fn steps(&self) -> u64 {
        ((self.horizon.max(1) - 1) * self.states + self.last_states) as u64
    }

    /// Makes the states of all functions together `steps`, shared out as they were.
    pub fn set_steps(&mut self, steps: u64) {
        let factor = steps as f64 / self.steps() as f64;
        let scaled = |states: usize| ((states as f64 * factor).round() as usize).max(1);
        (self.states, self.last_states) = (scaled(self.states), scaled(self.last_states));
    }

    /// Checks every setting; `place` names where they come from.
    ///
    /// # Errors
    /// [`Error::Input`] naming the setting.
    pub fn check(&self, place: &str) -> Result<()> {
        let wrong = |key: &str, value: String, remedy: &str| {
            Err(Error::input(format!("{place}: {key}"), value, remedy))
        };
        for (key, value) in [
            ("horizon", self.horizon),
            ("states", self.states),
            ("last_states", self.last_states),
            ("epochs", self.epochs),
            ("minibatch", self.minibatch),
        ] {
            if value == 0 {
                return wrong(key, "0".to_owned(), "use at least 1");
            }
        }
        if !(0.0..=1.0).contains(&self.exploration) {
            return wrong("exploration", self.exploration.to_string(), "use a share from 0 to 1");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return wrong("learning_rate", self.learning_rate.to_string(), "use a number above 0");
        }
        Ok(())
    }
}
