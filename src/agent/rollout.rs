//! Acting in a part of the environments, and what was seen there.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::config::PpoConfig;
use super::gae;
use super::imitation::Episode;
use super::network::ActorCritic;
use super::normalise::ObservationNormaliser;
use super::tower::{Batch, StepSpace, TowerPass};
use crate::env::{BatchEnv, StepResults};
use crate::error::{Error, Result};
use crate::rng::{Rng, Streams};

/// A part of the environments with their rollout: n environments, T steps. Everything is allocated
/// once.
pub struct Part {
    /// Which of all environments these are.
    pub environments: Range<usize>,
    /// The environments.
    pub env: Box<dyn BatchEnv>,
    /// What actions are drawn by, one stream an environment.
    pub rngs: Vec<Rng>,
    /// Recurrent states after the last step, [2, n, H].
    pub actor_state: Vec<f32>,
    /// Of the network that gives values.
    pub value_state: Vec<f32>,
    /// Sum of rewards of each environment's current episode, as the scenario counts them.
    pub sums: Vec<f64>,
    /// Each environment's current episode, where episodes are imitated.
    pub episodes: Vec<Episode>,
    /// The rollout.
    pub data: Rollout,
    observation: Vec<f32>,
    space: StepSpace,
    heads: Vec<f32>,
    logits: Vec<f32>,
    probabilities: Vec<f32>,
    pass: TowerPass,
    finals: Finals,
}

/// What was seen, done and earned: [T, n, ..], steps outermost.
#[derive(Debug, Default)]
pub struct Rollout {
    /// n.
    pub environments: usize,
    /// Features before each step and after the last, [T + 1, n, I].
    pub inputs: Vec<f32>,
    /// The same normalised; empty without a normaliser.
    normalised: Vec<f32>,
    /// Hints, [T + 1, n, hints].
    pub hints: Vec<f32>,
    /// Whether any option could not be chosen at some step.
    pub masked: bool,
    /// Masks, [T, n, A].
    pub allowed: Vec<bool>,
    /// Whether each step begins an episode, [T + 1, n].
    pub starts: Vec<bool>,
    /// Options chosen, [T, n, S].
    pub actions: Vec<u32>,
    /// Their log-probabilities.
    pub log_probabilities: Vec<f32>,
    /// Rewards as the scenario counts them.
    pub rewards: Vec<f64>,
    /// The part of them that depends on traffic only.
    pub baselines: Vec<f64>,
    /// Whether the episode ended after the step, by the rules or cut.
    pub ends: Vec<bool>,
    /// Values of what the step saw.
    pub values: Vec<f32>,
    /// Values of what came after the step; 0 after a termination.
    pub after: Vec<f32>,
    /// Advantages.
    pub advantages: Vec<f32>,
    /// Advantages plus values: what values are to become.
    pub returns: Vec<f32>,
    /// State of the actor before the first step, [2, n, H].
    pub actor_state: Vec<f32>,
    /// State of the network that gives values before the first step.
    pub value_state: Vec<f32>,
    /// Sums of rewards of the episodes that ended, and their best.
    pub finished: Vec<f64>,
    /// The best episode that ended, if better than asked for.
    pub best: Option<Episode>,
    /// Time spent in the environments and in the networks.
    pub env_time: Duration,
    /// Time spent in the networks.
    pub act_time: Duration,
}

impl Rollout {
    /// What the networks see, [T + 1, n, I].
    pub fn x(&self) -> &[f32] {
        if self.normalised.is_empty() { &self.inputs } else { &self.normalised }
    }
}

/// Observations in which truncated episodes ended.
#[derive(Debug, Default)]
struct Finals {
    /// Step and environment (within the part).
    places: Vec<(usize, usize)>,
    inputs: Vec<f32>,
    state: Vec<f32>,
    outputs: Vec<f32>,
}

impl Part {
    /// Environments `environments`, about to begin.
    pub fn new(
        environments: Range<usize>,
        env: Box<dyn BatchEnv>,
        network: &ActorCritic,
        config: &PpoConfig,
        streams: Streams,
    ) -> Self {
        let n = environments.len();
        let (shape, steps) = (network.shape(), config.rollout);
        let count = steps * n;
        let (inputs, hints) = (shape.inputs, shape.hints);
        let mut observation = vec![0.0; n * shape.features()];
        env.observe(&mut observation);
        let options: usize = shape.options.iter().sum();
        let mut part = Self {
            rngs: environments
                .clone()
                .map(|index| streams.open_indexed("act", index as u64))
                .collect(),
            environments,
            env,
            actor_state: vec![0.0; network.actor_state(n)],
            value_state: vec![0.0; network.value_state(n)],
            sums: vec![0.0; n],
            episodes: vec![Episode::default(); n],
            data: Rollout {
                environments: n,
                inputs: vec![0.0; (count + n) * inputs],
                hints: vec![0.0; (count + n) * hints],
                allowed: vec![true; count * options],
                starts: vec![true; count + n],
                actions: vec![0; count * shape.options.len()],
                log_probabilities: vec![0.0; count],
                rewards: vec![0.0; count],
                baselines: vec![0.0; count],
                ends: vec![false; count],
                values: vec![0.0; count],
                after: vec![0.0; count],
                advantages: vec![0.0; count],
                returns: vec![0.0; count],
                actor_state: vec![0.0; network.actor_state(n)],
                value_state: vec![0.0; network.value_state(n)],
                ..Rollout::default()
            },
            observation,
            space: StepSpace::default(),
            heads: vec![0.0; n * network.actor().outputs()],
            logits: vec![0.0; network.distribution().width()],
            probabilities: vec![0.0; network.distribution().width()],
            pass: TowerPass::default(),
            finals: Finals::default(),
        };
        part.split_observation(steps, inputs);
        part
    }

    /// Number of environments, n.
    pub fn len(&self) -> usize {
        self.environments.len()
    }

    /// Puts the current observations into the rollout as those before step `step`.
    pub fn split_observation(&mut self, step: usize, inputs: usize) {
        let n = self.environments.len();
        let features = self.observation.len() / n;
        let hints = features - inputs;
        for (row, observation) in self.observation.chunks_exact(features).enumerate() {
            let place = step * n + row;
            let (own, rest) = observation.split_at(inputs);
            self.data.inputs[place * inputs..][..inputs].copy_from_slice(own);
            self.data.hints[place * hints..][..hints].copy_from_slice(rest);
        }
    }

    /// Whether the next step of each environment begins an episode.
    pub fn next_starts(&self) -> &[bool] {
        &self.data.starts[self.data.starts.len() - self.len()..]
    }

    /// Takes the environments' current observations, after they were restored.
    pub fn observe(&mut self, network: &ActorCritic, steps: usize, starts: &[bool]) {
        self.env.observe(&mut self.observation);
        self.split_observation(steps, network.shape().inputs);
        let first = self.data.starts.len() - starts.len();
        self.data.starts[first..].copy_from_slice(starts);
    }

    /// Acts for T steps and computes values and advantages. Episodes better than `record` are kept, if
    /// given. `reward_factor` multiplies the scaled rewards.
    ///
    /// # Errors
    /// When an environment fails or a reward is not a finite number.
    pub fn collect(
        &mut self,
        network: &ActorCritic,
        parameters: &[f32],
        normaliser: Option<&ObservationNormaliser>,
        config: &PpoConfig,
        reward_factor: f64,
        record: Option<f64>,
    ) -> Result<()> {
        let (n, steps) = (self.len(), config.rollout);
        let inputs = network.shape().inputs;
        let data = &mut self.data;
        data.finished.clear();
        data.masked = false;
        (data.env_time, data.act_time) = (Duration::ZERO, Duration::ZERO);
        self.finals.places.clear();
        self.finals.inputs.clear();
        data.inputs.copy_within(steps * n * inputs.., 0);
        data.hints.copy_within(steps * n * network.shape().hints.., 0);
        data.starts.copy_within(steps * n.., 0);
        data.actor_state.copy_from_slice(&self.actor_state);
        if normaliser.is_some() {
            data.normalised.resize(data.inputs.len(), 0.0);
        }
        for step in 0..steps {
            self.act(step, network, parameters, normaliser, record)?;
        }
        if let Some(normaliser) = normaliser {
            let data = &mut self.data;
            let last = &mut data.normalised[steps * n * inputs..];
            last.copy_from_slice(&data.inputs[steps * n * inputs..]);
            normaliser.apply(last, inputs);
        }
        let started = Instant::now();
        self.value(network, parameters, normaliser, config)?;
        self.advantages(config, reward_factor);
        self.data.act_time += started.elapsed();
        Ok(())
    }

    fn act(
        &mut self,
        step: usize,
        network: &ActorCritic,
        parameters: &[f32],
        normaliser: Option<&ObservationNormaliser>,
        record: Option<f64>,
    ) -> Result<()> {
        let started = Instant::now();
        let n = self.environments.len();
        let shape = network.shape();
        let (inputs, services) = (shape.inputs, shape.options.len());
        let distribution = network.distribution();
        let data = &mut self.data;
        let rows = step * n..(step + 1) * n;
        let x = rows.start * inputs..rows.end * inputs;
        if let Some(normaliser) = normaliser {
            let normalised = &mut data.normalised[x.clone()];
            normalised.copy_from_slice(&data.inputs[x.clone()]);
            normaliser.apply(normalised, inputs);
        }
        let units = network.actor().units();
        for row in 0..n {
            if data.starts[rows.start + row] {
                zero_row(&mut self.actor_state, units, row, n);
            }
        }
        let actor = network.actor();
        let weights = &parameters[actor.span()];
        let x = if normaliser.is_some() { &data.normalised[x] } else { &data.inputs[x] };
        actor.step(weights, x, &mut self.actor_state, &mut self.space, &mut self.heads);
        let options = distribution.heads();
        let allowed = &mut data.allowed[rows.start * options..rows.end * options];
        let masked = self.env.mask(allowed);
        if masked {
            data.masked = true;
        } else {
            allowed.fill(true);
        }
        let scale = network.hint_scale(parameters);
        for row in 0..n {
            let place = rows.start + row;
            let heads = &self.heads[row * actor.outputs()..][..options];
            let hints = &data.hints[place * shape.hints..][..shape.hints];
            let allowed = masked.then(|| &data.allowed[place * options..][..options]);
            distribution.logits(heads, hints, scale, allowed, &mut self.logits);
            distribution.normalise(&mut self.logits, &mut self.probabilities);
            let actions = &mut data.actions[place * services..][..services];
            distribution.sample(&self.probabilities, &mut self.rngs[row], actions);
            data.log_probabilities[place] = distribution.log_probability(&self.logits, actions);
        }
        let acted = Instant::now();
        data.act_time += acted - started;
        // An episode that ends makes the next step the start of one.
        let later = &mut data.starts[rows.end..rows.end + n];
        let terminated = &mut *later;
        let truncated = &mut data.ends[rows.clone()];
        self.env.step(
            &data.actions[rows.start * services..rows.end * services],
            StepResults {
                observations: &mut self.observation,
                rewards: &mut data.rewards[rows.clone()],
                baselines: &mut data.baselines[rows.clone()],
                terminated,
                truncated,
            },
        )?;
        data.env_time += acted.elapsed();
        for (row, ends) in later.iter_mut().enumerate() {
            let place = rows.start + row;
            let reward = data.rewards[place];
            if !reward.is_finite() || !data.baselines[place].is_finite() {
                return Err(Error::Failed(format!(
                    "the reward of environment {} is {reward} (baseline {}) in step {step} of the rollout",
                    self.environments.start + row,
                    data.baselines[place]
                )));
            }
            let (terminated, truncated) = (*ends, data.ends[place]);
            if truncated && !terminated {
                self.finals.places.push((step, row));
                let start = self.finals.inputs.len();
                self.finals.inputs.resize(start + shape.features(), 0.0);
                self.env.final_observation(row, &mut self.finals.inputs[start..]);
                self.finals.inputs.truncate(start + inputs);
            }
            // What follows is the start of an episode either way; a termination is worth 0.
            data.after[place] = if terminated { 0.0 } else { f32::NAN };
            *ends = terminated || truncated;
            data.ends[place] = *ends;
            self.sums[row] += reward;
            if let Some(record) = record {
                let episode = &mut self.episodes[row];
                episode.push(
                    &data.inputs[place * inputs..][..inputs],
                    &data.hints[place * shape.hints..][..shape.hints],
                    masked.then(|| &data.allowed[place * options..][..options]),
                    &data.actions[place * services..][..services],
                );
                if data.ends[place] {
                    let best = data.best.as_ref().map_or(record, |best| best.reward.max(record));
                    if self.sums[row] > best {
                        episode.reward = self.sums[row];
                        data.best = Some(episode.clone());
                    }
                    episode.clear();
                }
            }
            if data.ends[place] {
                data.finished.push(self.sums[row]);
                self.sums[row] = 0.0;
            }
        }
        self.split_observation(step + 1, inputs);
        Ok(())
    }

    /// Values of all observations, and of what comes after each step.
    fn value(
        &mut self,
        network: &ActorCritic,
        parameters: &[f32],
        normaliser: Option<&ObservationNormaliser>,
        config: &PpoConfig,
    ) -> Result<()> {
        let (n, steps) = (self.environments.len(), config.rollout);
        let (tower, column) = network.value_tower();
        let weights = &parameters[tower.span()];
        let (units, outputs) = (tower.units(), tower.outputs());
        let data = &mut self.data;
        data.value_state.copy_from_slice(&self.value_state);
        let batch = Batch {
            steps: steps + 1,
            rows: n,
            x: data.x(),
            state: &self.value_state,
            resets: Some(&data.starts),
        };
        tower.forward(weights, &batch, &mut self.pass)?;
        let values = |place: usize| self.pass.outputs()[place * outputs + column];
        for place in 0..steps * n {
            data.values[place] = values(place);
            if data.after[place].is_nan() {
                data.after[place] = values(place + n);
            }
        }
        if !self.finals.places.is_empty() {
            let Finals { places, inputs, state, outputs: final_outputs } = &mut self.finals;
            if let Some(normaliser) = normaliser {
                normaliser.apply(inputs, tower.inputs());
            }
            state.clear();
            for part in [self.pass.h(), self.pass.c()] {
                for &(step, row) in places.iter() {
                    state.extend_from_slice(&part[(step * n + row) * units..][..units]);
                }
            }
            final_outputs.resize(places.len() * outputs, 0.0);
            tower.step(weights, inputs, state, &mut self.space, final_outputs);
            for (&(step, row), values) in places.iter().zip(final_outputs.chunks_exact(outputs)) {
                data.after[step * n + row] = values[column];
            }
        }
        // The state before the observation that the next rollout begins with.
        let cells = n * units;
        let last = (steps - 1) * cells..steps * cells;
        if units > 0 {
            self.value_state[..cells].copy_from_slice(&self.pass.h()[last.clone()]);
            self.value_state[cells..].copy_from_slice(&self.pass.c()[last]);
        }
        Ok(())
    }

    fn advantages(&mut self, config: &PpoConfig, reward_factor: f64) {
        let (n, steps) = (self.environments.len(), config.rollout);
        let data = &mut self.data;
        let mut column = Column::new(steps);
        for row in 0..n {
            for step in 0..steps {
                let place = step * n + row;
                let baseline = if config.reward_baseline { data.baselines[place] } else { 0.0 };
                column.rewards[step] = (data.rewards[place] - baseline) * reward_factor;
                column.values[step] = data.values[place];
                column.after[step] = data.after[place];
                column.ends[step] = data.ends[place];
            }
            gae::advantages(
                &column.rewards,
                &column.values,
                &column.after,
                &column.ends,
                [config.gamma, config.gae_lambda],
                &mut column.advantages,
            );
            for step in 0..steps {
                let place = step * n + row;
                data.advantages[place] = column.advantages[step];
                data.returns[place] = column.advantages[step] + column.values[step];
            }
        }
    }
}

/// One environment's steps.
struct Column {
    rewards: Vec<f64>,
    values: Vec<f32>,
    after: Vec<f32>,
    ends: Vec<bool>,
    advantages: Vec<f32>,
}

impl Column {
    fn new(steps: usize) -> Self {
        Self {
            rewards: vec![0.0; steps],
            values: vec![0.0; steps],
            after: vec![0.0; steps],
            ends: vec![false; steps],
            advantages: vec![0.0; steps],
        }
    }
}

/// Makes row `row` of a state [2, n, H] zero.
pub fn zero_row(state: &mut [f32], units: usize, row: usize, n: usize) {
    if units > 0 {
        state[row * units..(row + 1) * units].fill(0.0);
        state[(n + row) * units..(n + row + 1) * units].fill(0.0);
    }
}
