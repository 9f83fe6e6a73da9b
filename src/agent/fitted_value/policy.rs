//! The trained agent as a policy.

use std::path::Path;

use super::checkpoint::{KIND, load_trainer};
use super::rows::StateRows;
use super::search::Search;
use super::trainer::Trainer;
use super::value::ValueFunction;
use crate::env::paper::{PaperRules, state_of};
use crate::error::Result;
use crate::nn::Checkpoint;
use crate::policy::{Episode, Policy, PolicyState, paper};
use crate::scenario::Scenario;
use crate::snapshot::{Decision, Snapshot};

/// Takes the joint action with the highest reward of the coming step plus the value of the state
/// after it; the first in joint order on ties.
#[derive(Debug)]
pub struct FittedValue {
    name: String,
    /// Of the checkpoint that it came from, if it did.
    fingerprint: Option<String>,
    rules: PaperRules,
    scenario: Scenario,
    rows: StateRows,
    functions: Vec<ValueFunction>,
}

impl FittedValue {
    /// The agent in `folder`, called `name` in tables.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when the folder holds no such agent, or one of other services or
    /// options than the scenario's.
    pub fn load(folder: &Path, name: &str, scenario: &Scenario) -> Result<Self> {
        let fingerprint = Checkpoint::load(folder, &[KIND], None)?.fingerprint()?;
        let agent = Self::of(&load_trainer(scenario, folder)?.0, name);
        Ok(Self { fingerprint: Some(fingerprint), ..agent })
    }

    /// The agent as far as `trainer` has trained it, called `name` in tables.
    pub fn of(trainer: &Trainer<'_>, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            fingerprint: None,
            rules: trainer.rules().clone(),
            scenario: trainer.scenario.clone(),
            rows: trainer.rows().clone(),
            functions: trainer.functions().to_vec(),
        }
    }
}

impl Policy for FittedValue {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
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
        let remaining = self.rules.steps().saturating_sub(state.step as usize + 1);
        let function = remaining
            .min(self.functions.len())
            .checked_sub(1)
            .map(|index| (&self.rows, &self.functions[index]));
        let (joint, _) = Search::new().best(&self.rules, &state, function);
        let action = self.rules.joint_action(joint);
        Ok(paper::decision(&self.rules, &self.scenario, &state, action, "reward + fitted value"))
    }
}
