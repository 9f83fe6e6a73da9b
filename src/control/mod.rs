//! The controller: forecaster, policy and guard behind one pure call.
//!
//! Evaluation, training and live mode all drive this code. [`Controller`] never changes; everything
//! it remembers is in a [`ControllerState`].

mod guard;
mod intervention;
mod quota;

use std::fmt::Write;
use std::sync::Arc;

pub use guard::{Guard, GuardState, ServiceGuardState};
pub use intervention::{Intervention, Rule};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::policy::{Policy, PolicyState};
use crate::predictor::{Forecast, Forecaster, ForecasterState};
use crate::scenario::Scenario;
use crate::snapshot::{Decision, Snapshot};

/// What every policy is put into: the forecaster before it and the guard after it.
#[derive(Clone)]
pub struct Harness {
    forecaster: Arc<dyn Forecaster>,
    guard: Guard,
    /// Users seen before the start, by service.
    past_users: Vec<Vec<f64>>,
}

impl Harness {
    /// The harness of `scenario`.
    pub fn new(scenario: &Scenario, forecaster: Arc<dyn Forecaster>) -> Self {
        Self {
            forecaster,
            guard: Guard::new(scenario),
            past_users: scenario
                .spec
                .service
                .iter()
                .map(|service| service.history_users.clone())
                .collect(),
        }
    }

    /// The forecaster's state before the first decision.
    pub fn start(&self) -> ForecasterState {
        let past: Vec<&[f64]> = self.past_users.iter().map(Vec::as_slice).collect();
        self.forecaster.start(&past)
    }

    /// The guard.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Takes in the users of `snapshot`. What cannot be believed is no row of the forecaster's.
    pub fn observe(&self, snapshot: &Snapshot, state: &mut ForecasterState) {
        let believed = |users| if self.guard.believable(users) { users } else { f64::NAN };
        let mut users = snapshot.services.iter().map(|service| believed(service.users));
        self.forecaster.observe(&mut users, snapshot.time_s, state);
    }

    /// Expects the users of the coming stage.
    pub fn forecast(&self, state: &ForecasterState, forecast: &mut Forecast) {
        self.forecaster.forecast(state, 1, forecast);
    }

    /// The decision within the guard's limits; its reason says what was done to it and where the
    /// latest users stood in for a forecast. What the guard did replaces `words`.
    pub fn check(
        &self,
        snapshot: &Snapshot,
        forecast: &Forecast,
        decision: Decision,
        state: &mut GuardState,
        words: &mut Vec<Intervention>,
    ) -> Decision {
        let mut decision = self.guard.check(snapshot, forecast.next(), decision, state, words);
        say_what_stands_in(self.forecaster.name(), forecast, &mut decision);
        decision
    }
}

/// Forecaster, policy and guard.
#[derive(Clone)]
pub struct Controller {
    policy: Arc<dyn Policy>,
    harness: Harness,
}

/// What a controller remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ControllerState {
    /// The policy's own.
    pub policy: PolicyState,
    /// The forecaster's own, with the users at past decisions.
    pub forecaster: ForecasterState,
    /// The guard's own.
    #[serde(default)]
    pub guard: GuardState,
    /// The users expected at the last decision: output, not memory.
    #[serde(skip)]
    pub forecast: Forecast,
    /// Where the guard stepped in at the last decision: output, not memory.
    #[serde(skip)]
    pub interventions: Vec<Intervention>,
}

impl Controller {
    /// A controller for `scenario`.
    pub fn new(
        scenario: &Scenario,
        policy: Arc<dyn Policy>,
        forecaster: Arc<dyn Forecaster>,
    ) -> Self {
        Self { policy, harness: Harness::new(scenario, forecaster) }
    }

    /// The policy.
    pub fn policy(&self) -> &dyn Policy {
        self.policy.as_ref()
    }

    /// The forecaster.
    pub fn forecaster(&self) -> &dyn Forecaster {
        self.harness.forecaster.as_ref()
    }

    /// The guard.
    pub fn guard(&self) -> &Guard {
        &self.harness.guard
    }

    /// The state before the first decision, given the policy's.
    pub fn start(&self, policy: PolicyState) -> ControllerState {
        let past: Vec<&[f64]> = self.harness.past_users.iter().map(Vec::as_slice).collect();
        self.start_after(policy, &past)
    }

    /// The state before the first decision, given the policy's and the users seen before, by service,
    /// oldest first, in place of the scenario's.
    pub fn start_after(&self, policy: PolicyState, past: &[&[f64]]) -> ControllerState {
        ControllerState {
            policy,
            forecaster: self.harness.forecaster.start(past),
            guard: self.harness.guard.start(),
            ..ControllerState::default()
        }
    }

    /// Whether a saved state is this controller's.
    pub fn accepts(&self, state: &ControllerState) -> bool {
        let services = self.harness.past_users.len();
        self.harness.forecaster.accepts(&state.forecaster, services)
            && state.guard.services.len() == services
    }

    /// Decides. `known` replaces the forecast where the future is given (`perfect`).
    ///
    /// # Errors
    /// When the policy has no decision.
    pub fn decide(
        &self,
        snapshot: &Snapshot,
        known: Option<&[f64]>,
        state: &mut ControllerState,
    ) -> Result<Decision> {
        self.harness.observe(snapshot, &mut state.forecaster);
        match known {
            Some(known) => state.forecast.set_known(known),
            None => self.harness.forecast(&state.forecaster, &mut state.forecast),
        }
        let shown = self.harness.guard.show(snapshot, &state.guard);
        let expected = self.harness.guard.show_forecast(&state.forecast, &shown);
        let decision = self.policy.decide_on(&shown, &expected, &mut state.policy)?;
        Ok(self.harness.check(
            snapshot,
            &state.forecast,
            decision,
            &mut state.guard,
            &mut state.interventions,
        ))
    }
}

/// Adds to the reason where the latest users stand in for a forecast.
fn say_what_stands_in(forecaster: &str, forecast: &Forecast, decision: &mut Decision) {
    let services = decision.services.len();
    let stands_in = |service: &usize| forecast.by_persistence(*service);
    if !(0..services).any(|service| stands_in(&service)) {
        return;
    }
    if !decision.reason.is_empty() {
        decision.reason.push_str("; ");
    }
    decision.reason.push_str("forecast by persistence");
    if !(0..services).all(|service| stands_in(&service)) {
        for service in (0..services).filter(stands_in) {
            // Writing to a string does not fail.
            let _ = write!(decision.reason, ", service {service}");
        }
    }
    let _ = write!(decision.reason, ": too few rows for {forecaster}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Hybrid;
    use crate::predictor::MovingAverage;
    use crate::snapshot::ServiceSnapshot;

    #[test]
    fn a_short_history_is_said_and_a_restored_state_decides_alike() {
        let mut scenario = Scenario::load("paper-knative", &[]).unwrap();
        scenario.spec.service[1].history_users.clear();
        let policy = Arc::new(Hybrid::new(&scenario.profiles, &[1200.0; 3], 0.7));
        let controller = Controller::new(&scenario, policy, Arc::new(MovingAverage::new(3)));
        let mut state = controller.start(PolicyState::None);
        let seen = ServiceSnapshot { users: 12.0, ..ServiceSnapshot::default() };
        let snapshot = Snapshot { services: vec![seen; 3], ..Snapshot::default() };
        let decision = controller.decide(&snapshot, None, &mut state).unwrap();
        assert!(
            decision
                .reason
                .ends_with("; forecast by persistence, service 1: too few rows for moving-average"),
            "{}",
            decision.reason
        );
        assert_eq!(
            state.forecast.next(),
            [(47.0 + 44.0 + 12.0) / 3.0, 12.0, (12.0 + 18.0 + 12.0) / 3.0]
        );
        let saved = serde_json::to_string(&state).unwrap();
        let mut restored: ControllerState = serde_json::from_str(&saved).unwrap();
        for _ in 0..3 {
            assert_eq!(
                controller.decide(&snapshot, None, &mut state).unwrap(),
                controller.decide(&snapshot, None, &mut restored).unwrap()
            );
        }
        let known = controller.decide(&snapshot, Some(&[5.0; 3]), &mut state).unwrap();
        assert!(!known.reason.contains("persistence"));
        assert_eq!(state.forecast.next(), [5.0; 3]);
    }
}
