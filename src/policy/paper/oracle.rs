//! `oracle`: the exact optimum with known traffic, the bound that no policy can beat.

use crate::env::paper::{PaperRules, PaperTrace, oracle};
use crate::error::Result;
use crate::policy::{Episode, Policy, PolicyState};
use crate::snapshot::{Decision, Snapshot};

use super::greedy::decision;

/// Plans the whole episode at its start, from the traffic itself, and plays the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Oracle;

impl Policy for Oracle {
    fn name(&self) -> &str {
        "oracle"
    }

    fn start(&self, episode: &Episode<'_>) -> Result<PolicyState> {
        let trace = PaperTrace::new(episode.traffic)?;
        let rules = PaperRules::with_rows(episode.scenario, trace.rows.len())?;
        let optimum = oracle::search(&rules, &trace, &oracle::Watch::default())?;
        let mut state = rules.reset(trace.rows[0]);
        let mut decisions = Vec::with_capacity(optimum.actions.len());
        for (index, &action) in optimum.actions.iter().enumerate() {
            decisions.push(decision(&rules, episode.scenario, &state, action, "optimal plan"));
            rules.step(&mut state, action, trace.after(index + 1));
        }
        Ok(PolicyState::Plan { decisions, next: 0 })
    }

    fn decide(
        &self,
        _snapshot: &Snapshot,
        _forecast: &[f64],
        state: &mut PolicyState,
    ) -> Result<Decision> {
        crate::policy::next_of_plan(self.name(), state)
    }
}
