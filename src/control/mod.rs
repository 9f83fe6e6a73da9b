//! The controller: forecaster, policy and guard behind one pure call.
//!
//! Evaluation, training and live mode all drive this code. [`Controller`] never changes; everything
//! it remembers is in a [`ControllerState`].

mod guard;

use std::sync::Arc;

pub use guard::Guard;

use crate::error::Result;
use crate::policy::{Policy, PolicyState};
use crate::predictor::{Forecaster, History};
use crate::scenario::Scenario;
use crate::snapshot::{Decision, Snapshot};

/// Forecaster, policy and guard.
#[derive(Clone)]
pub struct Controller {
    policy: Arc<dyn Policy>,
    forecaster: Arc<dyn Forecaster>,
    guard: Guard,
    /// Users seen before the start, by service.
    past_users: Vec<Vec<f64>>,
}

/// What a controller remembers.
#[derive(Clone, Debug, Default)]
pub struct ControllerState {
    /// The policy's own.
    pub policy: PolicyState,
    /// Users at past decisions.
    pub history: History,
    /// The users expected at the last decision, by service.
    pub forecast: Vec<f64>,
}

impl Controller {
    /// A controller for `scenario`.
    pub fn new(
        scenario: &Scenario,
        policy: Arc<dyn Policy>,
        forecaster: Arc<dyn Forecaster>,
    ) -> Self {
        Self {
            policy,
            forecaster,
            guard: Guard::new(&scenario.spec.guard, &scenario.profiles),
            past_users: scenario
                .spec
                .service
                .iter()
                .map(|service| service.history_users.clone())
                .collect(),
        }
    }

    /// The state before the first decision, given the policy's.
    pub fn start(&self, policy: PolicyState) -> ControllerState {
        ControllerState {
            policy,
            history: History { users: self.past_users.clone() },
            forecast: Vec::with_capacity(self.past_users.len()),
        }
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
        for (users, service) in state.history.users.iter_mut().zip(&snapshot.services) {
            users.push(service.users);
        }
        match known {
            Some(known) => {
                state.forecast.clear();
                state.forecast.extend_from_slice(known);
            }
            None => self.forecaster.forecast(&state.history, &mut state.forecast),
        }
        let decision = self.policy.decide(snapshot, &state.forecast, &mut state.policy)?;
        Ok(self.guard.check(snapshot, &state.forecast, decision))
    }
}
