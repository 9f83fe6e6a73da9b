//! Environments stepped together, as training drives them.

use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// Environments of one kind, stepped together. An episode that ends is reset inside the step, onto
/// the next traffic of its environment's own sequence, so that what an environment meets depends on
/// the master seed and its index alone.
///
/// N environments, S services, F features, A = the options of all services one after the other.
pub trait BatchEnv: Send {
    /// Number of environments, N.
    fn len(&self) -> usize;

    /// Whether there is no environment: never.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of options of each service.
    fn options(&self) -> &[usize];

    /// What an observation holds: names in their order and scales. Its hash goes into checkpoints.
    fn layout(&self) -> Value;

    /// Numbers of one observation, F, hints included.
    fn features(&self) -> usize;

    /// How many numbers at the end of an observation are hints: what the options would earn, added to
    /// the logits instead of going through the network. 0, or A (for factored heads), or one for each
    /// joint action, the last service's option running fastest (for a joint head).
    fn hints(&self) -> usize {
        0
    }

    /// Writes the current observations, N x F.
    fn observe(&self, observations: &mut [f32]);

    /// Writes, N x A, which options can be chosen, and says whether any cannot. Left untouched
    /// where all can.
    fn mask(&self, _allowed: &mut [bool]) -> bool {
        false
    }

    /// Steps every environment by `actions`, N x S option indices.
    ///
    /// # Errors
    /// When an action cannot be taken or a reward is not finite.
    fn step(&mut self, actions: &[u32], results: StepResults<'_>) -> Result<()>;

    /// Writes the observation in which the environment's last ended episode ended, F: the value of a
    /// truncated episode is taken there.
    fn final_observation(&self, environment: usize, observation: &mut [f32]);

    /// What [`Self::restore`] needs to go on bit for bit.
    fn save(&self) -> Value;

    /// Goes on where [`Self::save`] was called, in an environment made with the same settings.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when `saved` is another environment's.
    fn restore(&mut self, saved: &Value) -> Result<()>;
}

/// Makes the environments of a range, out of as many as the second argument says. Training spreads one
/// sequence of environments over threads in parts; what an environment meets depends on its place in
/// the sequence (and the master seed), not on the part.
pub type MakeEnvironments<'a> =
    dyn Fn(Range<usize>, usize) -> Result<Box<dyn BatchEnv>> + Sync + 'a;

/// Where [`BatchEnv::step`] writes, one entry an environment (observations: F).
#[derive(Debug)]
pub struct StepResults<'a> {
    /// Observations after the step, and after the reset where an episode ended.
    pub observations: &'a mut [f32],
    /// Rewards, with the scenario's `reward.scale` applied.
    pub rewards: &'a mut [f64],
    /// The part of each reward that depends on traffic only, whatever the policy does: taking it off
    /// changes no policy and removes noise. 0 where the environment knows none.
    pub baselines: &'a mut [f64],
    /// Whether the episode ended by the rules: nothing comes after it.
    pub terminated: &'a mut [bool],
    /// Whether the episode was cut while the world goes on: its value is bootstrapped.
    pub truncated: &'a mut [bool],
}

/// What was saved of each of `count` environments.
pub(super) fn restored<T: DeserializeOwned>(saved: &Value, count: usize) -> Result<Vec<T>> {
    let refuse = |problem: String| {
        Error::input(
            "saved environments",
            problem,
            "go on with the settings that training began with",
        )
    };
    let all = Vec::<T>::deserialize(saved).map_err(|error| refuse(error.to_string()))?;
    if all.len() == count {
        return Ok(all);
    }
    Err(refuse(format!("{} of them, not {count}", all.len())))
}
