//! Many environments stepped together, for training.

use super::rules::PaperRules;
use super::state::{Action, OBSERVATION, PaperState, SERVICES};
use super::traffic::PaperTrace;
use crate::error::{Error, Result};

/// Where [`PaperBatch::step`] writes, one entry an environment (observations: nine).
#[derive(Debug)]
pub struct StepBuffers<'a> {
    /// Observations after the step, and after the reset where an episode ended.
    pub observations: &'a mut [f32],
    /// Rewards, with `reward.scale` applied.
    pub rewards: &'a mut [f64],
    /// Whether the trace ended.
    pub terminated: &'a mut [bool],
    /// Whether the episode was cut by its length.
    pub truncated: &'a mut [bool],
}

/// Environments with the same rules, each on a trace of its own. An episode that ends is reset inside
/// the step, onto the next trace of the pool; no step allocates.
#[derive(Clone, Debug)]
pub struct PaperBatch {
    rules: PaperRules,
    /// All traces, one after the other, `rules.rows()` rows each.
    pool: Vec<[u32; SERVICES]>,
    traces: usize,
    states: Vec<PaperState>,
    /// Where each environment's trace begins in the pool.
    trace_starts: Vec<usize>,
    /// States at the end of the episodes that ended last, for the value of a truncated one.
    final_states: Vec<PaperState>,
}

impl PaperBatch {
    /// `environments` environments that begin on the traces of `pool` in turn. Environment i plays
    /// traces i, i + n, i + 2n, … of it, n being the number of environments, and begins again at its end.
    ///
    /// # Errors
    /// [`Error::Input`] when a trace is not as long as the rules' or nothing is to be done.
    pub fn new(rules: PaperRules, pool: &[PaperTrace], environments: usize) -> Result<Self> {
        if environments == 0 {
            return Err(Error::input("environments", "0", "use at least one"));
        }
        let mut batch = Self {
            rules,
            pool: Vec::new(),
            traces: 0,
            states: vec![PaperState::default(); environments],
            trace_starts: vec![0; environments],
            final_states: vec![PaperState::default(); environments],
        };
        batch.set_traces(pool)?;
        Ok(batch)
    }

    /// Replaces the traces and resets every environment.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no trace or one is not as long as the rules'.
    pub fn set_traces(&mut self, pool: &[PaperTrace]) -> Result<()> {
        let rows = self.rules.rows();
        if pool.is_empty() || pool.iter().any(|trace| trace.rows.len() != rows) {
            return Err(Error::input(
                "traces",
                format!("not at least one trace, each of {rows} rows"),
                "give traces of the scenario's own length",
            ));
        }
        self.pool = pool.iter().flat_map(|trace| trace.rows.iter().copied()).collect();
        self.traces = pool.len();
        self.reset();
        Ok(())
    }

    /// Starts all episodes anew, environment i on trace i of the pool.
    pub fn reset(&mut self) {
        for (index, (state, start)) in
            self.states.iter_mut().zip(&mut self.trace_starts).enumerate()
        {
            *start = index % self.traces * self.rules.rows();
            *state = self.rules.reset(self.pool[*start]);
        }
    }

    /// Number of environments.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there is no environment: never.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The rules of all environments.
    pub fn rules(&self) -> &PaperRules {
        &self.rules
    }

    /// The exact states, one an environment.
    pub fn states(&self) -> &[PaperState] {
        &self.states
    }

    /// The states in which each environment's last ended episode ended, before its reset.
    pub fn final_states(&self) -> &[PaperState] {
        &self.final_states
    }

    /// Writes the observations of all environments (nine entries each).
    pub fn observe(&self, observations: &mut [f32]) {
        for (state, out) in self.states.iter().zip(observations.chunks_exact_mut(OBSERVATION)) {
            self.rules.observe_into(state, out);
        }
    }

    /// Steps every environment by its action.
    ///
    /// # Panics
    /// When a buffer is too short or an action names no option.
    #[inline]
    pub fn step(&mut self, actions: &[Action], buffers: StepBuffers<'_>) {
        let count = self.states.len();
        let rules = &self.rules;
        let stride = self.states.len() % self.traces * rules.rows();
        let actions = &actions[..count];
        let observations = &mut buffers.observations[..count * OBSERVATION];
        let rewards = &mut buffers.rewards[..count];
        let terminated = &mut buffers.terminated[..count];
        let truncated = &mut buffers.truncated[..count];
        for (index, out) in observations.chunks_exact_mut(OBSERVATION).enumerate() {
            let state = &mut self.states[index];
            let start = self.trace_starts[index];
            // A truncating step may lie behind the trace and does not read this row.
            let row = (state.step as usize + 1).min(rules.rows() - 1);
            let result = rules.step(state, actions[index], self.pool[start + row]);
            rewards[index] = rules.scaled(result.reward);
            terminated[index] = result.terminated;
            truncated[index] = result.truncated;
            if result.terminated | result.truncated {
                self.final_states[index] = *state;
                let next = (start + stride) % self.pool.len();
                self.trace_starts[index] = next;
                *state = rules.reset(self.pool[next]);
            }
            rules.observe_into(state, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::rng::Streams;
    use crate::scenario::Scenario;

    /// Every environment of a batch plays what one by itself plays, over several resets.
    #[test]
    fn a_batch_is_its_environments_one_by_one() {
        for sets in [
            vec![],
            vec![
                "corrections=[\"truncate_at_trace_end\", \"first_users_from_trace\"]".to_owned(),
                "reward.scale=0.001".to_owned(),
            ],
        ] {
            let scenario = Scenario::load("paper-random", &sets).unwrap();
            let rules = PaperRules::new(&scenario).unwrap();
            let pool: Vec<PaperTrace> =
                (0..5).map(|seed| PaperTrace::training(&scenario, seed).unwrap()).collect();
            let count = 7;
            let mut batch = PaperBatch::new(rules.clone(), &pool, count).unwrap();
            let mut observations = vec![0.0; count * OBSERVATION];
            let mut rewards = vec![0.0; count];
            let mut terminated = vec![false; count];
            let mut truncated = vec![false; count];
            let mut alone: Vec<(usize, PaperState)> =
                (0..count).map(|i| (i % 5, rules.reset(pool[i % 5].rows[0]))).collect();
            let mut rng = Streams::new(1).open("actions");
            let mut ends = 0;
            for _ in 0..100 {
                let actions: Vec<Action> = (0..count)
                    .map(|_| rules.joint_action(rng.random_range(0..rules.joint_actions())))
                    .collect();
                batch.step(
                    &actions,
                    StepBuffers {
                        observations: &mut observations,
                        rewards: &mut rewards,
                        terminated: &mut terminated,
                        truncated: &mut truncated,
                    },
                );
                for (i, (trace, state)) in alone.iter_mut().enumerate() {
                    let next = pool[*trace].after(state.step as usize + 1);
                    let result = rules.step(state, actions[i], next);
                    assert_eq!(rewards[i].to_bits(), rules.scaled(result.reward).to_bits());
                    assert_eq!(terminated[i], result.terminated);
                    assert_eq!(truncated[i], result.truncated);
                    if result.terminated || result.truncated {
                        assert_eq!(batch.final_states()[i], *state);
                        assert_eq!(state.step as usize, rules.steps());
                        *trace = (*trace + count) % 5;
                        *state = rules.reset(pool[*trace].rows[0]);
                        ends += 1;
                    }
                    assert_eq!(batch.states()[i], *state);
                    let expected = rules.observation(state).map(|entry| entry as f32);
                    assert_eq!(observations[i * OBSERVATION..][..OBSERVATION], expected);
                }
            }
            assert!(ends >= 5 * count);
        }
    }

    #[test]
    fn traces_of_another_length_are_refused() {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        let rules = PaperRules::new(&scenario).unwrap();
        let short = PaperTrace { rows: vec![[1; 3]; 5] };
        let error = PaperBatch::new(rules, &[short], 2).unwrap_err();
        assert!(error.to_string().contains("20 rows"), "{error}");
    }
}
