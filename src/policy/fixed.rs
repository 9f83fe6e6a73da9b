//! One fixed option per service and Knative's own autoscaler (`fixed:…`, `kpa-latency`, `kpa-resource`).

use super::{Episode, Policy, PolicyState, Schedule};
use crate::error::Result;
use crate::scenario::{PodRule, Profile};
use crate::snapshot::{Decision, Snapshot};

/// On `knative` it never decides: the options stand from the start and the KPA scales them. On
/// `paper`, which has no KPA, it chooses the same options in every step.
#[derive(Clone, Debug)]
pub struct Fixed {
    name: String,
    options: Vec<u32>,
    profiles: Vec<Profile>,
    rule: PodRule,
}

impl Fixed {
    /// `options` holds one checked index per service.
    pub fn new(name: &str, options: Vec<u32>, profiles: &[Profile], rule: PodRule) -> Self {
        Self { name: name.to_owned(), options, profiles: profiles.to_vec(), rule }
    }
}

impl Policy for Fixed {
    fn name(&self) -> &str {
        &self.name
    }

    fn schedule(&self) -> Schedule {
        Schedule::Never { options: self.options.clone() }
    }

    fn start(&self, _episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::None)
    }

    fn decide(
        &self,
        _snapshot: &Snapshot,
        forecast: &[f64],
        _state: &mut PolicyState,
    ) -> Result<Decision> {
        Ok(super::by_options(&self.options, &self.profiles, forecast, self.rule, "fixed"))
    }
}
