//! One environment: an episode on a simulator, stepped from one instant of decision to the next.

use std::sync::Arc;

use super::{Shared, TrainingForesight};
use crate::control::{GuardState, Intervention};
use crate::env::knative::episode::{future, noisy, stage_after};
use crate::env::observation::{Expected, ObservationMemory, ObserverScratch};
use crate::error::{Error, Result};
use crate::predictor::{Band, Forecast, ForecasterState, Foresight};
use crate::rng::{Rng, Streams};
use crate::sim::{Simulator, Start};
use crate::snapshot::{Decision, Snapshot};
use crate::trace::Trace;

/// Stream of drawn forecast errors.
const NOISE_STREAM: &str = "train-forecast";

/// A stage that a decision was made for and that is not over.
struct Open {
    from: u32,
    to: u32,
    /// Rewards given for it so far; `None` before the first.
    given: Option<f64>,
}

/// One environment.
pub(super) struct Env {
    /// Its place in the sequence of all environments.
    pub index: usize,
    /// Number of the episode that it plays.
    pub episode: u64,
    simulator: Simulator,
    drawn: Trace,
    stages: Vec<(u32, u32)>,
    /// Decisions made in this episode.
    step: usize,
    open: Vec<Open>,
    /// Choices since the episode began.
    pub choices: Vec<u32>,
    forecaster: ForecasterState,
    guard: GuardState,
    interventions: Vec<Intervention>,
    forecast: Forecast,
    noise: Rng,
    snapshot: Snapshot,
    decision: Decision,
    memory: ObservationMemory,
    scratch: ObserverScratch,
    /// What is seen now.
    pub observation: Vec<f32>,
    /// What was seen at the end of the last ended episode.
    pub last_observation: Vec<f32>,
}

/// What a step of one environment gives.
pub(super) struct Given {
    pub reward: f64,
    pub baseline: f64,
    pub over: bool,
}

impl Env {
    /// Environment number `index` at the start of its first episode.
    pub fn new(shared: &Shared, index: usize) -> Result<Self> {
        let drawn = shared.traffic.blank();
        let simulator = Simulator::new(Arc::clone(&shared.model), &drawn, 0, &Start::Controlled)?;
        let features = shared.observer.len();
        let mut env = Self {
            index,
            episode: index as u64,
            simulator,
            drawn,
            stages: Vec::new(),
            step: 0,
            open: Vec::new(),
            choices: Vec::new(),
            forecaster: ForecasterState::default(),
            guard: GuardState::default(),
            interventions: Vec::new(),
            forecast: Forecast::default(),
            noise: Streams::new(0).open(NOISE_STREAM),
            snapshot: Snapshot::default(),
            decision: Decision::default(),
            memory: ObservationMemory::default(),
            scratch: ObserverScratch::default(),
            observation: vec![0.0; features],
            last_observation: vec![0.0; features],
        };
        env.begin(shared)?;
        Ok(env)
    }

    /// Begins the episode that the environment has come to, up to its first instant of decision.
    pub fn begin(&mut self, shared: &Shared) -> Result<()> {
        let seed = shared.traffic.episode_seed(self.episode);
        shared.traffic.renew(seed, &mut self.drawn)?;
        let model = Arc::clone(&shared.model);
        self.simulator = Simulator::new(model, &self.drawn, seed, &Start::Controlled)?;
        self.stages = self.simulator.stages();
        self.noise = Streams::new(seed).open(NOISE_STREAM);
        self.forecaster = shared.harness.start();
        self.guard = shared.harness.guard().start();
        self.memory.clear();
        self.open.clear();
        self.choices.clear();
        self.step = 0;
        self.simulator.advance(shared.instants[0]);
        self.look(shared)
    }

    /// What a controller sees and expects now.
    fn look(&mut self, shared: &Shared) -> Result<()> {
        self.simulator.snapshot(self.step as u32, &mut self.snapshot);
        shared.harness.observe(&self.snapshot, &mut self.forecaster);
        match &shared.foresight {
            TrainingForesight::As(Foresight::Forecaster(_)) => {
                shared.harness.forecast(&self.forecaster, &mut self.forecast);
            }
            TrainingForesight::As(Foresight::Perfect) => {
                self.forecast.set_known(&future(&self.simulator));
            }
            TrainingForesight::As(Foresight::NoisyPerfect(cv)) => {
                let users = noisy(future(&self.simulator), *cv, &mut self.noise);
                self.forecast.set_known(&users);
            }
            TrainingForesight::Noise(model) => {
                let drawn: Vec<(f64, Band)> = future(&self.simulator)
                    .into_iter()
                    .map(|users| model.draw(users, &mut self.noise))
                    .collect();
                let (users, bands): (Vec<f64>, Vec<Band>) = drawn.into_iter().unzip();
                self.forecast.set_banded(&users, &bands);
            }
        }
        shared.observer.write(
            &self.snapshot,
            Expected::Forecast(&self.forecast),
            &self.memory,
            &mut self.scratch,
            &mut self.observation,
        )
    }

    /// Takes `choices`, one a service, and plays on to the next instant of decision; to that of the next
    /// episode where there is none.
    pub fn step(&mut self, shared: &Shared, choices: &[u32]) -> Result<Given> {
        let next = self.forecast.next();
        shared.observer.actions().decide(choices, |service| next[service], &mut self.decision)?;
        self.choices.extend_from_slice(choices);
        self.decision.reason.clear();
        // As a policy, which does not learn what the guard makes of its decision.
        self.memory.remember(&self.decision);
        let decision = std::mem::take(&mut self.decision);
        self.decision = shared.harness.check(
            &self.snapshot,
            &self.forecast,
            decision,
            &mut self.guard,
            &mut self.interventions,
        );
        self.simulator.apply(&self.decision)?;

        let stage = stage_after(&self.stages, shared.instants[self.step]);
        self.open.extend(stage.map(|(from, to)| Open { from, to, given: None }));
        self.step += 1;
        let instant = shared.instants.get(self.step).copied();
        self.simulator.advance(instant.unwrap_or(shared.model.duration_s));
        let mut given = self.settle(shared);
        if !given.reward.is_finite() {
            return Err(Error::Failed(format!(
                "environment {}, decision {} of episode {}: the reward is {}",
                self.index, self.step, self.episode, given.reward
            )));
        }
        self.look(shared)?;
        given.over = instant.is_none();
        if given.over {
            self.last_observation.copy_from_slice(&self.observation);
            self.episode += shared.total;
            self.begin(shared)?;
        }
        Ok(given)
    }

    /// What the stages give that are over or have begun, less what was given for them before.
    fn settle(&mut self, shared: &Shared) -> Given {
        let mut given = Given { reward: 0.0, baseline: 0.0, over: false };
        let now = self.simulator.now();
        let mut ahead: Option<Simulator> = None;
        let simulator = &self.simulator;
        self.open.retain_mut(|open| {
            if open.from >= now {
                return true;
            }
            if open.given.is_none() {
                given.baseline += shared.cheapest.reward(simulator, open.to);
            }
            let value = if open.to <= now {
                shared.reward.measure(simulator, open.from, open.to)
            } else {
                let ahead = ahead.get_or_insert_with(|| simulator.clone());
                ahead.advance(open.to);
                shared.reward.measure(ahead, open.from, open.to)
            };
            given.reward += value - open.given.unwrap_or(0.0);
            open.given = Some(value);
            open.to > now
        });
        given
    }
}
