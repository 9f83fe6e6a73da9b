//! Backward induction: one value function after the other.

use std::path::Path;

use rand::{Rng as _, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::FittedValueSettings;
use super::fit::{Parameters, Sample, fit};
use super::rows::StateRows;
use super::search::Search;
use super::traces::TrainingTraces;
use super::value::{UNIT, ValueFunction};
use crate::env::paper::{EmptyCluster, MAX_USERS, PaperRules, PaperState, PaperTrace, SERVICES};
use crate::error::{Error, Result};
use crate::rng::Streams;
use crate::scenario::Scenario;

/// Training traces that the range of users is taken from.
const SURVEYED_TRACES: u64 = 200;
/// Training traces, kept apart, that the finished policy is judged on.
const JUDGED_TRACES: u64 = 200;
/// Episodes between two questions whether to stop.
const EPISODES_A_BLOCK: usize = 512;

/// Whoever looks on while a training runs.
pub trait Watch {
    /// Whether to stop.
    fn interrupted(&self) -> bool;

    /// So many states are collected, of all functions together.
    fn collected(&mut self, states: u64);

    /// A value function is fitted.
    ///
    /// # Errors
    /// When what is done then fails.
    fn stage(&mut self, trainer: &Trainer<'_>) -> Result<()>;
}

/// What is known of one fitted function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// Steps that remain where the function holds.
    pub remaining: usize,
    /// States it was fitted to.
    pub states: usize,
    /// Mean of the targets, reward points.
    pub mean_target: f64,
    /// Root of the mean squared error of the last pass, reward points; most of it is the traffic's.
    pub residual: f64,
}

/// How good a trained policy is on training traffic that it was not fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Episodes.
    pub episodes: u64,
    /// Mean total reward, as the scenario scales it.
    pub reward: f64,
    /// The same of the greedy policy.
    pub greedy: f64,
}

/// A training in progress.
#[derive(Debug)]
pub struct Trainer<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) settings: FittedValueSettings,
    pub(super) seed: u64,
    pub(super) most_users: [u32; SERVICES],
    pub(super) parameters: Vec<Parameters>,
    pub(super) stages: Vec<StageRecord>,
    pub(super) evaluation: Option<Evaluation>,
    rules: PaperRules,
    rows: StateRows,
    functions: Vec<ValueFunction>,
}

impl<'a> Trainer<'a> {
    /// A training from the start.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario is not one of environment `paper`, its traffic cannot be
    /// trained on, or a setting is out of range.
    pub fn new(scenario: &'a Scenario, settings: FittedValueSettings, seed: u64) -> Result<Self> {
        settings.training.check("fitted-value")?;
        let rules = PaperRules::new(scenario)?;
        let mut most_users = rules.reset([0; SERVICES]).users;
        for row in survey(&TrainingTraces::new(scenario, &settings.environment.traffic)?, seed)? {
            for (most, users) in most_users.iter_mut().zip(row) {
                *most = (*most).max(users);
            }
        }
        Self::with_parts(scenario, settings, seed, most_users)
    }

    /// A training without any function yet.
    pub(super) fn with_parts(
        scenario: &'a Scenario,
        settings: FittedValueSettings,
        seed: u64,
        most_users: [u32; SERVICES],
    ) -> Result<Self> {
        let rules = PaperRules::new(scenario)?;
        let rows = StateRows::new(&rules, most_users.map(|users| users.min(MAX_USERS)));
        Ok(Self {
            scenario,
            settings,
            seed,
            most_users,
            parameters: Vec::new(),
            stages: Vec::new(),
            evaluation: None,
            rules,
            rows,
            functions: Vec::new(),
        })
    }

    /// Goes on with the training in `folder`.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder holds none, or one of another scenario, seed or settings.
    pub fn resume(
        scenario: &'a Scenario,
        settings: &FittedValueSettings,
        seed: u64,
        folder: &Path,
    ) -> Result<Self> {
        let (trainer, scenario_hash) = super::checkpoint::load_trainer(scenario, folder)?;
        let different = |what: String| {
            Err(Error::input(
                folder.display(),
                format!("the training there is another one: {what}"),
                "give the same scenario, seed and settings to go on, or start anew with --force",
            ))
        };
        if scenario_hash != Some(scenario.hash()?) {
            return different("it belongs to another scenario".to_owned());
        }
        if trainer.seed != seed {
            return different(format!("seed {}, not {seed}", trainer.seed));
        }
        if trainer.settings != *settings {
            return different(format!("{:?}, not {settings:?}", trainer.settings));
        }
        Ok(trainer)
    }

    /// Adds a fitted function.
    pub(super) fn push(&mut self, parameters: Parameters, record: StageRecord) {
        self.functions.push(parameters.function(&self.rows));
        self.parameters.push(parameters);
        self.stages.push(record);
    }

    /// States that the training takes in all.
    pub fn steps(&self) -> u64 {
        (1..=self.horizon()).map(|stage| self.states_of(stage) as u64).sum()
    }

    /// The master seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The functions fitted so far.
    pub fn stages(&self) -> &[StageRecord] {
        &self.stages
    }

    /// How good the finished policy is.
    pub fn evaluation(&self) -> Option<Evaluation> {
        self.evaluation
    }

    /// The environment's rules.
    pub(super) fn rules(&self) -> &PaperRules {
        &self.rules
    }

    /// The functions fitted so far, for one remaining step first.
    pub(super) fn functions(&self) -> &[ValueFunction] {
        &self.functions
    }

    /// Rows of the tables, R.
    pub(super) fn rows(&self) -> &StateRows {
        &self.rows
    }

    /// Value functions in all: no more than there are steps to look ahead.
    pub fn horizon(&self) -> usize {
        self.settings.training.horizon.min(self.rules.steps().saturating_sub(1))
    }

    /// States that the function of `remaining` steps is fitted to.
    fn states_of(&self, remaining: usize) -> usize {
        if remaining == self.horizon() {
            self.settings.training.last_states
        } else {
            self.settings.training.states
        }
    }

    /// Whether nothing is left to be done.
    pub fn finished(&self) -> bool {
        self.evaluation.is_some()
    }

    /// Fits the functions that are missing, then judges the policy. The same whatever the number of
    /// threads.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `watch` says so; [`Error::Input`] when a reward is infinite.
    pub fn run(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let streams = Streams::new(self.seed);
        let traces = TrainingTraces::new(self.scenario, &self.settings.environment.traffic)?;
        while self.stages.len() < self.horizon() {
            let remaining = self.stages.len() + 1;
            let samples = self.collect(&traces, remaining, watch)?;
            let mut parameters = match self.parameters.last() {
                Some(last) => last.clone(),
                None => Parameters::random(
                    self.rows.options(),
                    &mut streams.open("fitted-value/weights"),
                ),
            };
            let residual = fit(
                &mut parameters,
                &self.rows,
                &samples,
                &self.settings.training,
                streams,
                remaining,
            );
            let mean = samples.iter().map(|sample| f64::from(sample.target)).sum::<f64>()
                / samples.len() as f64;
            let record = StageRecord {
                remaining,
                states: samples.len(),
                mean_target: UNIT * mean,
                residual: UNIT * residual,
            };
            if !record.residual.is_finite() {
                return Err(Error::Failed(format!(
                    "the value function for {remaining} remaining steps is not finite; use a smaller \
                     learning_rate"
                )));
            }
            self.push(parameters, record);
            watch.stage(self)?;
        }
        if self.evaluation.is_none() {
            self.evaluation = Some(self.judge(&traces)?);
            watch.stage(self)?;
        }
        Ok(())
    }

    /// The function that holds when `remaining` steps are left.
    pub(super) fn function(&self, remaining: usize) -> Option<(&StateRows, &ValueFunction)> {
        let index = remaining.min(self.functions.len());
        index.checked_sub(1).map(|index| (&self.rows, &self.functions[index]))
    }

    /// States with their targets for the function of `remaining` steps, met by the policy that the
    /// function before it makes, with some options drawn at random.
    fn collect(
        &self,
        traces: &TrainingTraces<'_>,
        remaining: usize,
        watch: &mut dyn Watch,
    ) -> Result<Vec<Sample>> {
        let (horizon, states) = (self.horizon(), self.states_of(remaining));
        let per_episode = self.rules.steps() - 1;
        let episodes = states.div_ceil(per_episode);
        let mut samples = Vec::with_capacity(episodes * per_episode);
        for from in (0..episodes).step_by(EPISODES_A_BLOCK) {
            if watch.interrupted() {
                return Err(Error::Interrupted {
                    saved: format!("{} of {horizon} value functions are fitted", self.stages.len()),
                });
            }
            let spaces = || (Search::new(), EmptyCluster::default());
            let block: Vec<Vec<Sample>> = (from..episodes.min(from + EPISODES_A_BLOCK))
                .into_par_iter()
                .map_init(spaces, |(search, empty), episode| {
                    self.episode(traces, (search, empty), remaining, episode)
                })
                .collect::<Result<_>>()?;
            samples.extend(block.into_iter().flatten());
            let earlier = (1..remaining).map(|stage| self.states_of(stage)).sum::<usize>();
            watch.collected((earlier + samples.len().min(states)) as u64);
        }
        samples.truncate(states);
        Ok(samples)
    }

    /// The samples of one episode.
    fn episode(
        &self,
        traces: &TrainingTraces<'_>,
        (search, empty): (&mut Search, &mut EmptyCluster),
        remaining: usize,
        episode: usize,
    ) -> Result<Vec<Sample>> {
        let rules = &self.rules;
        let steps = rules.steps();
        let name = format!("fitted-value/collect/{remaining}");
        let mut rng = Streams::new(self.seed).open_indexed(&name, episode as u64);
        let trace = traces.draw(rng.next_u64())?;
        let next = self.function(remaining - 1);
        let mut state = rules.reset(trace.rows[0]);
        let mut samples = Vec::with_capacity(steps - 1);
        for step in 1..=steps {
            // What the step earns depends on how many are left, not on how many were made.
            let asked = PaperState { step: (steps - remaining) as u32, ..state };
            let (joint, best) = search.best(rules, &asked, next);
            if step > 1 {
                let users = PaperState { users: state.users, ..asked };
                let target = (best - empty.best(rules, &users)) / UNIT;
                if !target.is_finite() {
                    return Err(Error::input(
                        "traffic",
                        "a reward is infinite: no service has any user",
                        "add the correction `min_one_pod`, or train on other traffic",
                    ));
                }
                samples.push(Sample { rows: self.rows_of(&state), target: target as f32 });
            }
            let mut action = rules.joint_action(joint);
            for (option, count) in action.iter_mut().zip(rules.option_counts()) {
                if rng.random::<f64>() < self.settings.training.exploration {
                    *option = rng.random_range(0..count) as u16;
                }
            }
            // The truncating step would leave part of the state as it was.
            state.step = 0;
            rules.step(&mut state, action, trace.after(step));
        }
        Ok(samples)
    }

    fn rows_of(&self, state: &PaperState) -> [u32; SERVICES] {
        std::array::from_fn(|service| {
            let option = usize::from(state.options[service]);
            self.rows.row(service, option, state.pods[service]) as u32
        })
    }

    /// Mean total rewards of the policy and of the greedy one on traces kept apart.
    fn judge(&self, traces: &TrainingTraces<'_>) -> Result<Evaluation> {
        let totals: Vec<[f64; 2]> = (0..JUDGED_TRACES)
            .into_par_iter()
            .map_init(Search::new, |search, index| {
                let trace = traces.draw(traffic_seed(self.seed, "judge", index))?;
                Ok([true, false].map(|learned| self.total(search, &trace, learned)))
            })
            .collect::<Result<_>>()?;
        let mean = |policy: usize| {
            let sum: f64 = totals.iter().map(|pair| pair[policy]).sum();
            self.rules.scaled(sum / JUDGED_TRACES as f64)
        };
        Ok(Evaluation { episodes: JUDGED_TRACES, reward: mean(0), greedy: mean(1) })
    }

    fn total(&self, search: &mut Search, trace: &PaperTrace, learned: bool) -> f64 {
        let steps = self.rules.steps();
        let mut state = self.rules.reset(trace.rows[0]);
        let mut total = 0.0;
        for step in 1..=steps {
            let function = if learned { self.function(steps - step) } else { None };
            let (joint, _) = search.best(&self.rules, &state, function);
            let action = self.rules.joint_action(joint);
            total += self.rules.step(&mut state, action, trace.after(step)).reward;
        }
        total
    }
}

/// Rows of training traffic.
fn survey(traces: &TrainingTraces<'_>, seed: u64) -> Result<Vec<[u32; SERVICES]>> {
    let mut rows = Vec::new();
    for index in 0..SURVEYED_TRACES {
        // The first row may never be served.
        rows.extend_from_slice(&traces.draw(traffic_seed(seed, "survey", index))?.rows[1..]);
    }
    Ok(rows)
}

/// The seed of trace number `index` of one purpose.
fn traffic_seed(seed: u64, purpose: &str, index: u64) -> u64 {
    Streams::new(seed).open_indexed(&format!("fitted-value/{purpose}"), index).next_u64()
}
