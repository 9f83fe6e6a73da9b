//! Recurrent and feed-forward proximal policy optimisation (Schulman et al. 2017).
//!
//! One iteration: every environment is stepped T times by the current policy; advantages are
//! estimated; the rollout is learned from `epochs` times, in `minibatches` of whole environments
//! (with a memory) or of transitions (without). The recurrent state before the rollout is stored, the states inside it
//! are computed anew in each update, and they are zero where an episode begins.

use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::average::Average;
use super::checkpoint::Agent;
use super::config::PpoConfig;
use super::imitation::Episode;
use super::normalise::{ObservationNormaliser, ReturnNormaliser};
use super::rollout::{Part, Rollout};
use super::trpo::{TrpoConfig, TrustRegion};
use super::update::{Minibatch, Role, Sums, Task};
use crate::env::MakeEnvironments;
use crate::error::{Error, Result};
use crate::nn::AdamConfig;
use crate::nn::flat::{adam_update, squares};
use crate::rng::{Rng, Streams};

/// A training in progress.
pub struct Ppo {
    /// Settings.
    pub config: PpoConfig,
    /// What learns.
    pub agent: Agent,
    /// Environment steps so far.
    pub steps: u64,
    /// Gradient steps so far.
    pub updates: u64,
    pub(super) moments: [Vec<f32>; 2],
    pub(super) returns: Option<ReturnNormaliser>,
    pub(super) parts: Vec<Part>,
    pub(super) shuffle: Rng,
    /// The mean of the parameters so far, where they are averaged.
    pub(super) average: Option<Average>,
    /// The best training episode, where episodes are imitated.
    pub(super) best: Option<Episode>,
    places: Vec<(usize, usize)>,
    tasks: Vec<Task>,
    /// What learns from the rollouts in place of PPO, if anything.
    trust_region: Option<TrustRegion>,
}

/// What an iteration did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Iteration {
    /// Mean reward of the episodes that ended; `None` where none did.
    pub episode_reward: Option<f64>,
    /// How many they were.
    pub episodes: usize,
    /// Mean clipped surrogate, negated.
    pub policy_loss: f64,
    /// Mean of the squared value errors, halved.
    pub value_loss: f64,
    /// Mean entropy, in nats, of all services together.
    pub entropy: f64,
    /// Mean estimated divergence from the rollout's policy over the iteration's gradient steps.
    pub kl: f64,
    /// Share of ratios out of bounds.
    pub clip_fraction: f64,
    /// 1 - Var(return - value) / Var(return) over the rollout.
    pub explained_variance: f64,
    /// Mean negative log-likelihood of the imitated episode; `None` where nothing is imitated.
    pub imitation_loss: Option<f64>,
    /// Norms of the last gradients of actor and critic before clipping (one where they share).
    pub gradient_norms: Vec<f64>,
    /// Step size used.
    pub learning_rate: f64,
    /// Weight of the entropy used.
    pub entropy_weight: f64,
    /// Gradient steps done.
    pub gradient_steps: usize,
    /// Time in environments (of the slowest part).
    pub env_time: Duration,
    /// Time in networks while acting (of the slowest part).
    pub act_time: Duration,
    /// Time of the updates.
    pub learn_time: Duration,
}

impl Ppo {
    /// Begins a training of `agent` in environments made by `make`.
    ///
    /// # Errors
    /// When the settings do not fit, or the environments are not those that the agent was made for.
    pub fn new(config: PpoConfig, agent: Agent, make: &MakeEnvironments<'_>) -> Result<Self> {
        config.check(&agent.config.network, "the settings")?;
        let streams = Streams::new(agent.metadata.seed);
        let network = &agent.network;
        let count = config.environments;
        let mut parts = Vec::new();
        let mut places = Vec::new();
        for part in 0..config.parts {
            let range = count * part / config.parts..count * (part + 1) / config.parts;
            places.extend((0..range.len()).map(|local| (part, local)));
            let env = make(range.clone(), count)?;
            let shape = network.shape();
            if env.len() != range.len()
                || env.features() != shape.features()
                || env.hints() != shape.hints
                || env.options() != shape.options.as_slice()
            {
                return Err(Error::Failed(format!(
                    "{} environments with {} features ({} hints) and options {:?}, where {} with {} \
                     ({}) and {:?} are needed",
                    env.len(),
                    env.features(),
                    env.hints(),
                    env.options(),
                    range.len(),
                    shape.features(),
                    shape.hints,
                    shape.options
                )));
            }
            parts.push(Part::new(range, env, network, &config, streams));
        }
        let numbers = agent.parameters.values.len();
        let mut agent = agent;
        if config.normalise_observations && agent.normaliser.is_none() {
            agent.normaliser = Some(ObservationNormaliser::new(agent.config.shape.inputs));
        }
        Ok(Self {
            moments: [vec![0.0; numbers], vec![0.0; numbers]],
            returns: config.normalise_rewards.then(|| ReturnNormaliser::new(count)),
            parts,
            shuffle: streams.open("shuffle"),
            average: None,
            best: None,
            places,
            tasks: Task::all(&agent.network, config.parts),
            trust_region: None,
            steps: 0,
            updates: 0,
            agent,
            config,
        })
    }

    /// Begins a training by TRPO of `agent` in environments made by `make`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn trpo(config: TrpoConfig, agent: Agent, make: &MakeEnvironments<'_>) -> Result<Self> {
        config.check(&agent.config.network, "the settings")?;
        let mut learner = Self::new(config.rollout(), agent, make)?;
        learner.trust_region = Some(TrustRegion::new(config));
        Ok(learner)
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.steps >= self.config.steps
    }

    /// One rollout and the updates from it.
    ///
    /// # Errors
    /// When an environment fails, or a reward, loss or gradient is not a finite number: then nothing of
    /// the agent has changed since the last gradient step, whose number the message gives.
    pub fn iterate(&mut self) -> Result<Iteration> {
        let progress = self.steps as f64 / self.config.steps as f64;
        let mut iteration = Iteration {
            learning_rate: self.config.learning_rate.at(progress),
            entropy_weight: self.config.entropy.at(progress),
            ..Iteration::default()
        };
        self.collect(&mut iteration)?;
        let started = Instant::now();
        match self.trust_region.take() {
            Some(mut trust_region) => {
                let learned = trust_region.learn(self, &mut iteration);
                self.trust_region = Some(trust_region);
                learned?;
            }
            None => self.learn(progress, &mut iteration)?,
        }
        iteration.learn_time = started.elapsed();
        self.count_rewards();
        self.steps += self.config.rollout_steps();
        if self.config.average_from.is_some_and(|from| progress >= from) {
            let values = &self.agent.parameters.values;
            match &mut self.average {
                Some(average) => average.add(values),
                None => self.average = Some(Average::new(values)),
            }
        }
        Ok(iteration)
    }

    /// What has come of the training so far: the agent that learns, or the mean of what it was.
    pub fn trained(&self) -> Cow<'_, Agent> {
        match &self.average {
            Some(average) => {
                let mut agent = self.agent.clone();
                agent.parameters.values.copy_from_slice(&average.values);
                Cow::Owned(agent)
            }
            None => Cow::Borrowed(&self.agent),
        }
    }

    fn collect(&mut self, iteration: &mut Iteration) -> Result<()> {
        let factor =
            self.config.reward_scale * self.returns.as_ref().map_or(1.0, ReturnNormaliser::factor);
        let imitates = self.config.imitation.weight > 0.0;
        let record = imitates
            .then(|| self.best.as_ref().map_or(f64::NEG_INFINITY, |episode| episode.reward));
        let (agent, config) = (&self.agent, &self.config);
        let collected: Vec<Result<()>> = self
            .parts
            .par_iter_mut()
            .map(|part| {
                let parameters = &agent.parameters.values;
                let normaliser = agent.normaliser.as_ref();
                part.collect(&agent.network, parameters, normaliser, config, factor, record)
            })
            .collect();
        for result in collected {
            result.map_err(|error| at_update(error, self.updates))?;
        }
        let mut sum = 0.0;
        for part in &mut self.parts {
            sum += part.data.finished.iter().sum::<f64>();
            iteration.episodes += part.data.finished.len();
            iteration.env_time = iteration.env_time.max(part.data.env_time);
            iteration.act_time = iteration.act_time.max(part.data.act_time);
            if let Some(best) = part.data.best.take()
                && self.best.as_ref().is_none_or(|known| best.reward > known.reward)
            {
                self.best = Some(best);
            }
        }
        iteration.episode_reward =
            (iteration.episodes > 0).then(|| sum / iteration.episodes as f64);
        iteration.explained_variance = self.explained_variance();
        Ok(())
    }

    fn explained_variance(&self) -> f64 {
        let variance = |of: &dyn Fn(f32, f32) -> f64| {
            let each = || {
                self.parts.iter().flat_map(|part| {
                    let data = &part.data;
                    data.returns.iter().zip(&data.values).map(|(&target, &value)| of(target, value))
                })
            };
            let count = self.config.rollout_steps() as f64;
            let mean = each().sum::<f64>() / count;
            each().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count
        };
        let of_returns = variance(&|target, _| f64::from(target));
        let of_errors = variance(&|target, value| f64::from(target) - f64::from(value));
        if of_returns > 0.0 { 1.0 - of_errors / of_returns } else { f64::NAN }
    }

    fn learn(&mut self, progress: f64, iteration: &mut Iteration) -> Result<()> {
        let config = &self.config;
        let recurrent = self.agent.config.network.lstm > 0;
        let imitates = config.imitation.weight > 0.0 && progress >= config.imitation.from;
        let (steps, rows) = if recurrent {
            (config.rollout, config.environments)
        } else {
            (1, config.environments * config.rollout)
        };
        let mut order: Vec<usize> = (0..rows).collect();
        let size = rows / config.minibatches;
        let count = (steps * size) as f64;
        let mut sums = Sums::default();
        'epochs: for _ in 0..config.epochs {
            order.shuffle(&mut self.shuffle);
            for rows in order.chunks_exact(size) {
                let best = if imitates { self.best.as_ref() } else { None };
                let rollouts: Vec<&Rollout> = self.parts.iter().map(|part| &part.data).collect();
                let mut batch = Minibatch {
                    rollouts: &rollouts,
                    places: &self.places,
                    steps,
                    rows,
                    advantage: (0.0, 1.0),
                    entropy: iteration.entropy_weight as f32,
                    imitation: best.map(|episode| (episode, self.config.imitation.weight)),
                };
                batch.advantage = batch.advantage_scale(recurrent, self.config.advantages);
                let (agent, config) = (&self.agent, &self.config);
                let results: Vec<Result<()>> = self
                    .tasks
                    .par_iter_mut()
                    .map(|task| {
                        let parameters = &agent.parameters.values;
                        let normaliser = agent.normaliser.as_ref();
                        task.run(&agent.network, parameters, normaliser, config, &batch)
                    })
                    .collect();
                results.into_iter().collect::<Result<()>>()?;
                let mut now = Sums::default();
                for task in &self.tasks {
                    now.add(&task.sums);
                }
                if let Some(target) = self.config.target_kl
                    && now.kl / count > 1.5 * target
                {
                    break 'epochs;
                }
                self.check_losses(&now)?;
                iteration.gradient_norms = self.step(iteration.learning_rate)?;
                iteration.gradient_steps += 1;
                sums.add(&now);
            }
        }
        let batches = iteration.gradient_steps.max(1) as f64;
        let mean = |sum: f64| sum / (batches * count);
        iteration.policy_loss = mean(sums.policy_loss);
        iteration.value_loss = mean(sums.value_loss);
        iteration.entropy = mean(sums.entropy);
        iteration.kl = mean(sums.kl);
        iteration.clip_fraction = mean(sums.clipped);
        iteration.imitation_loss =
            (imitates && self.best.is_some()).then(|| sums.imitation / batches);
        Ok(())
    }

    fn check_losses(&self, sums: &Sums) -> Result<()> {
        for (name, value) in [
            ("policy loss", sums.policy_loss),
            ("value loss", sums.value_loss),
            ("entropy", sums.entropy),
            ("imitation loss", sums.imitation),
        ] {
            if !value.is_finite() {
                return Err(Error::Failed(format!(
                    "the {name} is {value} before update {}",
                    self.updates + 1
                )));
            }
        }
        Ok(())
    }

    /// Adds up the tasks' gradients, clips and takes one step of Adam. Gives the norms before clipping.
    fn step(&mut self, learning_rate: f64) -> Result<Vec<f64>> {
        let (first, others) =
            self.tasks.split_at_mut(if self.agent.network.critic().is_some() { 2 } else { 1 });
        for (index, task) in others.iter().enumerate() {
            let sum = &mut first[index % first.len()].gradient;
            for (sum, &value) in sum.iter_mut().zip(&task.gradient) {
                *sum += value;
            }
        }
        let config = AdamConfig::ppo(learning_rate);
        let hint_scale = self.agent.network.log_hint_scale();
        // Where each gradient belongs: a network's parameters, and with the policy the hints' scale.
        let groups: Vec<(&Task, Range<usize>, Option<usize>)> = first
            .iter()
            .map(|task| {
                let span = Task::tower(&self.agent.network, task.role).span();
                (task, span, hint_scale.filter(|_| task.role != Role::Value))
            })
            .collect();
        let mut norms = Vec::with_capacity(groups.len());
        for (task, span, _) in &groups {
            let total = squares(&task.gradient);
            if !total.is_finite() {
                let index = task.gradient.iter().position(|value| !value.is_finite());
                let index = index.map_or(0, |index| span.start + index);
                return Err(Error::Failed(format!(
                    "the gradient of {} is not finite at update {}",
                    self.agent.parameters.name_at(index),
                    self.updates + 1
                )));
            }
            norms.push(total.sqrt());
        }
        self.updates += 1;
        let [first, second] = &mut self.moments;
        for ((task, span, hint), norm) in groups.into_iter().zip(&norms) {
            let scale = (self.config.gradient_norm / (norm + 1e-6)).min(1.0);
            let (own, rest) = task.gradient.split_at(span.len());
            let hint = hint.map(|index| (index..index + 1, rest));
            for (span, gradient) in std::iter::once((span, own)).chain(hint) {
                let weights = &mut self.agent.parameters.values[span.clone()];
                let moments = [&mut first[span.clone()], &mut second[span]];
                adam_update(&config, self.updates, scale, weights, gradient, moments);
            }
        }
        Ok(norms)
    }

    /// Takes the rollout into account in the running statistics, for the next one.
    fn count_rewards(&mut self) {
        let inputs = self.agent.config.shape.inputs;
        let (config, agent) = (&self.config, &mut self.agent);
        for part in &self.parts {
            let n = part.len();
            if config.normalise_observations
                && let Some(normaliser) = &mut agent.normaliser
            {
                normaliser.update(&part.data.inputs[..config.rollout * n * inputs], inputs);
            }
            if let Some(returns) = &mut self.returns {
                for (local, environment) in part.environments.clone().enumerate() {
                    let column = |step: usize| step * n + local;
                    let rewards: Vec<f64> = (0..config.rollout)
                        .map(|step| {
                            let data = &part.data;
                            let place = column(step);
                            let baseline =
                                if config.reward_baseline { data.baselines[place] } else { 0.0 };
                            (data.rewards[place] - baseline) * config.reward_scale
                        })
                        .collect();
                    let ends: Vec<bool> =
                        (0..config.rollout).map(|step| part.data.ends[column(step)]).collect();
                    returns.update(environment, &rewards, &ends, config.gamma);
                }
            }
        }
    }
}

/// Says before which update something failed.
fn at_update(error: Error, updates: u64) -> Error {
    match error {
        Error::Failed(problem) => {
            Error::Failed(format!("{problem}, before update {}", updates + 1))
        }
        other => other,
    }
}
