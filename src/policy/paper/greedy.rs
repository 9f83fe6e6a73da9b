//! `greedy` and `priced-greedy`: the best next step, exhaustively.

use crate::env::paper::{Action, JointActions, PaperRules, PaperState, SERVICES, state_of};
use crate::error::Result;
use crate::policy::{Episode, Policy, PolicyState};
use crate::scenario::Scenario;
use crate::snapshot::{Decision, Snapshot};

/// Takes the joint action with the highest reward of the coming step, less a price on the CPU that the
/// services hold after it; the first in joint order on ties.
#[derive(Debug)]
pub struct Greedy {
    name: &'static str,
    rules: PaperRules,
    scenario: Scenario,
    /// Reward points per core.
    price: f64,
}

impl Greedy {
    /// `greedy`: the reward alone.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when the scenario is not one of environment `paper`.
    pub fn new(scenario: &Scenario) -> Result<Self> {
        Self::build(scenario, "greedy", 0.0)
    }

    /// `priced-greedy`: the reward less `price` points per core held after the step
    /// ([`crate::env::paper::DEFAULT_PRICE`] unless searched for).
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn priced(scenario: &Scenario, price: f64) -> Result<Self> {
        Self::build(scenario, "priced-greedy", price)
    }

    fn build(scenario: &Scenario, name: &'static str, price: f64) -> Result<Self> {
        Ok(Self { name, rules: PaperRules::new(scenario)?, scenario: scenario.clone(), price })
    }

    /// Reward points per core held after a step.
    pub fn price(&self) -> f64 {
        self.price
    }
}

/// The joint action with the highest reward less `price` per core, the first on ties.
pub(super) fn best_action(
    rules: &PaperRules,
    actions: &mut JointActions,
    state: &PaperState,
    price: f64,
) -> Action {
    actions.evaluate(rules, state);
    let mut best = 0;
    let mut best_value = f64::NEG_INFINITY;
    for (joint, (&reward, &cpu_m)) in actions.rewards().iter().zip(actions.cpu_m()).enumerate() {
        let value = reward - price * (cpu_m as f64 / 1000.0);
        if value > best_value {
            best_value = value;
            best = joint;
        }
    }
    rules.joint_action(best)
}

/// The decision for `action`, with the pods that it gives in `state`.
pub(crate) fn decision(
    rules: &PaperRules,
    scenario: &Scenario,
    state: &PaperState,
    action: Action,
    reason: &str,
) -> Decision {
    let mut after = *state;
    rules.step(&mut after, action, [0; SERVICES]);
    let services = (0..SERVICES)
        .map(|service| {
            let option = u32::from(action[service]);
            Some(scenario.profiles[service].decision(option, after.pods[service]))
        })
        .collect();
    Decision { services, reason: reason.to_owned() }
}

impl Policy for Greedy {
    fn name(&self) -> &str {
        self.name
    }

    fn start(&self, _episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::None)
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        _forecast: &[f64],
        _state: &mut PolicyState,
    ) -> Result<Decision> {
        let state = state_of(snapshot)?;
        let action = best_action(&self.rules, &mut JointActions::new(), &state, self.price);
        Ok(decision(&self.rules, &self.scenario, &state, action, self.name))
    }
}
