//! Uniformly random options, with the pods that the forecast asks for.

use rand::RngExt;

use super::{Episode, Policy, PolicyState};
use crate::error::{Error, Result};
use crate::rng::Streams;
use crate::scenario::{PodRule, Profile};
use crate::snapshot::{Decision, Snapshot};

/// Stream of the options.
const STREAM: &str = "policy-random";

/// Draws each service's option anew at every decision.
#[derive(Clone, Debug)]
pub struct Random {
    profiles: Vec<Profile>,
    rule: PodRule,
}

impl Random {
    /// For services with these profiles.
    pub fn new(profiles: &[Profile], rule: PodRule) -> Self {
        Self { profiles: profiles.to_vec(), rule }
    }
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn start(&self, episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::Random(Box::new(Streams::new(episode.seed).open(STREAM))))
    }

    fn decide(
        &self,
        _snapshot: &Snapshot,
        forecast: &[f64],
        state: &mut PolicyState,
    ) -> Result<Decision> {
        let PolicyState::Random(rng) = state else {
            return Err(Error::Failed("random: started without its stream".to_owned()));
        };
        let options: Vec<u32> = self
            .profiles
            .iter()
            .map(|profile| rng.random_range(0..profile.options.len() as u32))
            .collect();
        Ok(super::by_options(&options, &self.profiles, forecast, self.rule, "random"))
    }
}
