//! Environments to train on: a simulator behind each, stepped together.
//!
//! A step is what a controller does between two instants of decision: the decision takes effect, the
//! cluster runs on to the next instant (or the end), and is looked at again. Forecasts, guard,
//! features and rewards are those of an evaluation; only who chooses is another.
//!
//! # Rewards
//! A decision's reward is that of the whole stage after it, which the next decision, a moment before
//! the stage ends, can still change. Each step therefore earns what its stages would give if nothing
//! more were decided, less what was already given for them: a decision is answerable for what it
//! does to stages begun before it, and the rewards of an episode sum up to those of a run.

mod cheapest;
mod env;
mod saved;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;

use self::cheapest::Cheapest;
use self::env::Env;
use super::episode::instants;
use crate::control::Harness;
use crate::env::StageReward;
use crate::env::batch::{BatchEnv, StepResults};
use crate::env::foresight::NoiseModel;
use crate::env::observation::Observer;
use crate::env::traffic::TrainingTraffic;
use crate::error::{Error, Result};
use crate::predictor::{Foresight, Persistence};
use crate::scenario::Scenario;
use crate::sim::Model;

/// What is expected of the coming stage while an agent is trained.
#[derive(Clone, Debug)]
pub enum TrainingForesight {
    /// What an evaluation would expect.
    As(Foresight),
    /// The truth with drawn errors.
    Noise(NoiseModel),
}

/// Environment i of n plays episodes i, i + n, i + 2n, … of the training traffic.
pub struct KnativeEnvs {
    shared: Shared,
    envs: Vec<Env>,
}

/// What all environments have in common.
struct Shared {
    model: Arc<Model>,
    observer: Arc<Observer>,
    traffic: Arc<TrainingTraffic>,
    harness: Harness,
    foresight: TrainingForesight,
    reward: StageReward,
    cheapest: Cheapest,
    instants: Vec<u32>,
    total: u64,
}

impl KnativeEnvs {
    /// The environments `range` of `total`.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario is not one of environment `knative` or nothing is decided in it.
    pub fn new(
        scenario: &Scenario,
        observer: Arc<Observer>,
        traffic: Arc<TrainingTraffic>,
        foresight: TrainingForesight,
        range: Range<usize>,
        total: usize,
    ) -> Result<Self> {
        let model = Arc::new(Model::new(scenario)?);
        let instants = instants(scenario, model.duration_s);
        if instants.is_empty() {
            return Err(Error::input(
                format!("scenario `{}`", scenario.name()),
                format!("no decision falls into its {} s", model.duration_s),
                "give a longer duration_s or a smaller offset_s",
            ));
        }
        let forecaster = match &foresight {
            TrainingForesight::As(Foresight::Forecaster(forecaster)) => Arc::clone(forecaster),
            // Never asked: the future is given instead.
            _ => Arc::new(Persistence),
        };
        let shared = Shared {
            harness: Harness::new(scenario, forecaster),
            reward: StageReward::new(scenario),
            cheapest: Cheapest::new(scenario),
            model,
            observer,
            traffic,
            foresight,
            instants,
            total: total as u64,
        };
        let envs = range
            .into_par_iter()
            .map(|index| Env::new(&shared, index))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { shared, envs })
    }
}

impl BatchEnv for KnativeEnvs {
    fn len(&self) -> usize {
        self.envs.len()
    }

    fn options(&self) -> &[usize] {
        self.shared.observer.actions().heads()
    }

    fn layout(&self) -> Value {
        self.shared.observer.to_json()
    }

    fn features(&self) -> usize {
        self.shared.observer.len()
    }

    fn hints(&self) -> usize {
        self.shared.observer.hints()
    }

    fn observe(&self, observations: &mut [f32]) {
        let numbers = observations.chunks_exact_mut(self.shared.observer.len());
        for (env, out) in self.envs.iter().zip(numbers) {
            out.copy_from_slice(&env.observation);
        }
    }

    fn step(&mut self, actions: &[u32], results: StepResults<'_>) -> Result<()> {
        let shared = &self.shared;
        let count = self.envs.len();
        let services = shared.model.services.len();
        // An environment's result depends on nothing but itself, so threads change no bit.
        self.envs
            .par_iter_mut()
            .zip(actions[..count * services].par_chunks_exact(services))
            .zip(results.observations.par_chunks_exact_mut(shared.observer.len()))
            .zip(results.rewards[..count].par_iter_mut())
            .zip(results.baselines[..count].par_iter_mut())
            .zip(results.terminated[..count].par_iter_mut())
            .zip(results.truncated[..count].par_iter_mut())
            .map(
                |((((((env, choices), observation), reward), baseline), terminated), truncated)| {
                    let given = env.step(shared, choices)?;
                    (*reward, *baseline) = (given.reward, given.baseline);
                    // The run ends with its traffic: nothing is earned after it.
                    (*terminated, *truncated) = (given.over, false);
                    observation.copy_from_slice(&env.observation);
                    Ok(())
                },
            )
            // All of them are stepped, so that which error is told does not depend on threads.
            .collect::<Vec<Result<()>>>()
            .into_iter()
            .collect()
    }

    fn final_observation(&self, environment: usize, observation: &mut [f32]) {
        observation.copy_from_slice(&self.envs[environment].last_observation);
    }

    fn save(&self) -> Value {
        saved::save(&self.envs)
    }

    fn restore(&mut self, saved: &Value) -> Result<()> {
        saved::restore(&self.shared, &mut self.envs, saved)
    }
}
