//! The gradient of PPO's loss over one minibatch.
//!
//! A minibatch is divided into tasks that share nothing: actor and critic where these are separate, and
//! rows of the minibatch where `parts` asks for more. Each task has its space and its own gradient;
//! they are added up in the order of the tasks, so that no sum depends on the number of threads.

use std::ops::Range;

use super::config::{Advantages, PpoConfig};
use super::imitation::Episode;
use super::network::ActorCritic;
use super::normalise::ObservationNormaliser;
use super::rollout::Rollout;
use super::tower::{Batch, Tower, TowerPass};
use crate::error::Result;

/// What a task computes the gradient of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The policy's loss, with the actor's network.
    Policy,
    /// The values' loss, with the critic's network.
    Value,
    /// Both, with the network that they share.
    Both,
}

/// Sums over the rows of a minibatch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Clipped surrogate, to be minimised.
    pub policy_loss: f64,
    /// Squared errors of the values, halved.
    pub value_loss: f64,
    /// Entropy.
    pub entropy: f64,
    /// Estimated divergence from the policy of the rollout: (r - 1) - ln r.
    pub kl: f64,
    /// Rows whose ratio was out of bounds.
    pub clipped: f64,
    /// Negative log-likelihood of the imitated episode, a mean over its steps.
    pub imitation: f64,
}

impl Sums {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.policy_loss += other.policy_loss;
        self.value_loss += other.value_loss;
        self.entropy += other.entropy;
        self.kl += other.kl;
        self.clipped += other.clipped;
        self.imitation += other.imitation;
    }
}

/// Which rows are learned from, and with what weights.
#[derive(Clone, Copy)]
pub struct Minibatch<'a> {
    /// The parts' rollouts.
    pub rollouts: &'a [&'a Rollout],
    /// Part and place in it of every environment.
    pub places: &'a [(usize, usize)],
    /// Steps of a sequence: T, or 1 where rows are transitions.
    pub steps: usize,
    /// Environments, or transitions (step * N + environment) where `steps` is 1.
    pub rows: &'a [usize],
    /// Mean and reciprocal deviation of the advantages.
    pub advantage: (f32, f32),
    /// Weight of the entropy now.
    pub entropy: f32,
    /// Episode to be imitated, and its weight.
    pub imitation: Option<(&'a Episode, f64)>,
}

impl Minibatch<'_> {
    /// Part, and place in its rollout (step * n + environment), of step `step` of `row`.
    fn place(&self, row: usize, step: usize, recurrent: bool) -> (usize, usize) {
        let (step, environment) = if recurrent {
            (step, row)
        } else {
            (row / self.places.len(), row % self.places.len())
        };
        let (part, local) = self.places[environment];
        (part, step * self.rollouts[part].environments + local)
    }

    /// Mean and reciprocal standard deviation of the advantages of all rows (n - 1 in the
    /// denominator, as Stable-Baselines3).
    pub fn advantage_scale(&self, recurrent: bool, kind: Advantages) -> (f32, f32) {
        if kind == Advantages::Fixed {
            return (0.0, 1.0);
        }
        let each = || {
            (0..self.steps).flat_map(|step| self.rows.iter().map(move |&row| (row, step))).map(
                |(row, step)| {
                    let (part, place) = self.place(row, step, recurrent);
                    f64::from(self.rollouts[part].advantages[place])
                },
            )
        };
        let count = (self.steps * self.rows.len()) as f64;
        let mean = each().sum::<f64>() / count;
        let squares: f64 = each().map(|value| (value - mean) * (value - mean)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        (mean as f32, (1.0 / (deviation + 1e-8)) as f32)
    }
}

/// One task of a minibatch, with its space.
#[derive(Debug)]
pub struct Task {
    /// What it computes.
    pub role: Role,
    /// Gradient of the whole of its network's parameters (the scale of the hints behind them).
    pub gradient: Vec<f32>,
    /// Sums over its rows.
    pub sums: Sums,
    /// Whether it is the first of its role: that one imitates.
    first: bool,
    /// Of how many of its role it is which.
    share: (usize, usize),
    part: Vec<f32>,
    pass: TowerPass,
    x: Vec<f32>,
    resets: Vec<bool>,
    state: Vec<f32>,
    outputs: Vec<f32>,
    logits: Vec<f32>,
    probabilities: Vec<f32>,
    dheads: Vec<f32>,
}

impl Task {
    /// The tasks of a network's minibatches.
    pub fn all(network: &ActorCritic, parts: usize) -> Vec<Self> {
        let roles: &[Role] =
            if network.critic().is_some() { &[Role::Policy, Role::Value] } else { &[Role::Both] };
        let shares = (parts / roles.len()).max(1);
        let mut tasks = Vec::new();
        for share in 0..shares {
            for &role in roles {
                tasks.push(Self::new(network, role, (share, shares)));
            }
        }
        tasks
    }

    fn new(network: &ActorCritic, role: Role, share: (usize, usize)) -> Self {
        let tower = Self::tower(network, role);
        let width = network.distribution().width();
        Self {
            role,
            gradient: vec![0.0; tower.span().len() + 1],
            sums: Sums::default(),
            first: share.0 == 0,
            share,
            part: vec![0.0; tower.span().len()],
            pass: TowerPass::default(),
            x: Vec::new(),
            resets: Vec::new(),
            state: Vec::new(),
            outputs: Vec::new(),
            logits: vec![0.0; width],
            probabilities: vec![0.0; width],
            dheads: vec![0.0; network.distribution().heads()],
        }
    }

    /// The network that the task works on.
    pub fn tower(network: &ActorCritic, role: Role) -> &Tower {
        match (role, network.critic()) {
            (Role::Value, Some(critic)) => critic,
            _ => network.actor(),
        }
    }

    /// The task's rows of a minibatch of `count`.
    fn rows(&self, count: usize) -> Range<usize> {
        let (share, of) = self.share;
        count * share / of..count * (share + 1) / of
    }

    /// Computes gradient and sums.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub fn run(
        &mut self,
        network: &ActorCritic,
        parameters: &[f32],
        normaliser: Option<&ObservationNormaliser>,
        config: &PpoConfig,
        batch: &Minibatch<'_>,
    ) -> Result<()> {
        self.gradient.fill(0.0);
        self.sums = Sums::default();
        let rows = &batch.rows[self.rows(batch.rows.len())];
        if !rows.is_empty() {
            self.learn(network, parameters, config, batch, rows)?;
        }
        if let (Some((episode, weight)), true) = (batch.imitation, self.first)
            && self.role != Role::Value
        {
            self.imitate(network, parameters, normaliser, episode, weight)?;
        }
        Ok(())
    }

    fn learn(
        &mut self,
        network: &ActorCritic,
        parameters: &[f32],
        config: &PpoConfig,
        batch: &Minibatch<'_>,
        rows: &[usize],
    ) -> Result<()> {
        let tower = Self::tower(network, self.role);
        let weights = &parameters[tower.span()];
        let recurrent = tower.units() > 0;
        let stretch = if recurrent { config.bptt.unwrap_or(batch.steps) } else { 1 };
        self.initial_state(tower, batch, rows);
        let mut start = 0;
        while start < batch.steps {
            let steps = start..(start + stretch).min(batch.steps);
            self.gather(tower, batch, rows, steps.clone(), recurrent);
            let sequence = Batch {
                steps: steps.len(),
                rows: rows.len(),
                x: &self.x,
                state: &self.state,
                resets: recurrent.then_some(&self.resets),
            };
            tower.forward(weights, &sequence, &mut self.pass)?;
            let next = (steps.end < batch.steps).then(|| last_state(&self.pass, steps.len()));
            self.loss(network, parameters, config, batch, rows, steps.clone(), recurrent);
            let sequence = Batch {
                steps: steps.len(),
                rows: rows.len(),
                x: &self.x,
                state: &self.state,
                resets: recurrent.then_some(&self.resets),
            };
            let part = &mut self.part;
            tower.backward(weights, &sequence, &mut self.pass, &mut self.outputs, part);
            add(&mut self.gradient, part);
            if let Some(next) = next {
                self.state = next;
            }
            start = steps.end;
        }
        Ok(())
    }

    /// The recurrent state before the rollout.
    fn initial_state(&mut self, tower: &Tower, batch: &Minibatch<'_>, rows: &[usize]) {
        let units = tower.units();
        self.state.clear();
        if units == 0 {
            return;
        }
        for half in 0..2 {
            for &row in rows {
                let (part, local) = batch.places[row];
                let data = batch.rollouts[part];
                let state = match self.role {
                    Role::Value => &data.value_state,
                    Role::Policy | Role::Both => &data.actor_state,
                };
                let start = (half * data.environments + local) * units;
                self.state.extend_from_slice(&state[start..start + units]);
            }
        }
    }

    fn gather(
        &mut self,
        tower: &Tower,
        batch: &Minibatch<'_>,
        rows: &[usize],
        steps: Range<usize>,
        recurrent: bool,
    ) {
        let inputs = tower.inputs();
        self.x.clear();
        self.resets.clear();
        for step in steps {
            for &row in rows {
                let (part, place) = batch.place(row, step, recurrent);
                let data = batch.rollouts[part];
                self.x.extend_from_slice(&data.x()[place * inputs..(place + 1) * inputs]);
                self.resets.push(data.starts[place]);
            }
        }
    }

    /// Sums of the loss, and its gradient with respect to the outputs.
    #[expect(clippy::too_many_arguments, reason = "the whole of what a loss depends on")]
    fn loss(
        &mut self,
        network: &ActorCritic,
        parameters: &[f32],
        config: &PpoConfig,
        batch: &Minibatch<'_>,
        rows: &[usize],
        steps: Range<usize>,
        recurrent: bool,
    ) {
        let width = Self::tower(network, self.role).outputs();
        let distribution = network.distribution();
        let heads = distribution.heads();
        let share = 1.0 / (batch.steps * batch.rows.len()) as f32;
        let scale = network.hint_scale(parameters);
        let (hints_width, services) = (network.shape().hints, network.shape().options.len());
        let (low, high) = (1.0 - config.clip as f32, 1.0 + config.clip as f32);
        let value_weight = share * config.value_weight as f32;
        let mut dscale = 0.0;
        self.outputs.clear();
        self.outputs.extend_from_slice(self.pass.outputs());
        let mut outputs = self.outputs.chunks_exact_mut(width);
        for (step, &row) in steps.flat_map(|step| rows.iter().map(move |row| (step, row))) {
            let Some(output) = outputs.next() else { break };
            let (part, place) = batch.place(row, step, recurrent);
            let data = batch.rollouts[part];
            if self.role != Role::Value {
                let hints = &data.hints[place * hints_width..][..hints_width];
                let allowed = data.masked.then(|| &data.allowed[place * heads..][..heads]);
                let actions = &data.actions[place * services..][..services];
                distribution.logits(&output[..heads], hints, scale, allowed, &mut self.logits);
                distribution.normalise(&mut self.logits, &mut self.probabilities);
                let log_ratio = distribution.log_probability(&self.logits, actions)
                    - data.log_probabilities[place];
                let ratio = log_ratio.exp();
                let advantage = (data.advantages[place] - batch.advantage.0) * batch.advantage.1;
                let plain = ratio * advantage;
                let clipped = ratio.clamp(low, high) * advantage;
                let entropy = distribution.entropy(&self.logits, &self.probabilities);
                self.sums.policy_loss -= f64::from(plain.min(clipped));
                self.sums.entropy += f64::from(entropy);
                self.sums.kl += f64::from(ratio - 1.0 - log_ratio);
                self.sums.clipped += f64::from(u8::from((ratio - 1.0).abs() > config.clip as f32));
                // The gradient is that of the smaller of the two; a clipped ratio has none.
                let of_log_probability = if plain <= clipped { -plain * share } else { 0.0 };
                distribution.gradient(
                    &mut self.logits,
                    &self.probabilities,
                    actions,
                    of_log_probability,
                    -batch.entropy * share,
                );
                dscale += distribution.heads_gradient(&self.logits, hints, &mut self.dheads);
                output[..heads].copy_from_slice(&self.dheads);
            }
            if self.role != Role::Policy {
                let column = width - 1;
                let (value, target) = (output[column], data.returns[place]);
                let error = value - target;
                let mut loss = error * error;
                let mut gradient = error;
                if let Some(bound) = config.value_clip {
                    let (before, bound) = (data.values[place], bound as f32);
                    let moved = (value - before).clamp(-bound, bound);
                    let clipped = before + moved - target;
                    if clipped * clipped > loss {
                        loss = clipped * clipped;
                        gradient = if moved == value - before { clipped } else { 0.0 };
                    }
                }
                self.sums.value_loss += f64::from(0.5 * loss);
                output[column] = value_weight * gradient;
            }
        }
        if let Some(last) = self.gradient.last_mut() {
            // The scale is learned as its logarithm.
            *last += dscale as f32 * scale;
        }
    }

    /// Adds the gradient of `weight` times the mean negative log-likelihood of an episode.
    fn imitate(
        &mut self,
        network: &ActorCritic,
        parameters: &[f32],
        normaliser: Option<&ObservationNormaliser>,
        episode: &Episode,
        weight: f64,
    ) -> Result<()> {
        let tower = Self::tower(network, self.role);
        let weights = &parameters[tower.span()];
        let (width, inputs) = (tower.outputs(), tower.inputs());
        let distribution = network.distribution();
        let (heads, services) = (distribution.heads(), network.shape().options.len());
        let hints_width = network.shape().hints;
        self.x.clone_from(&episode.inputs);
        if let Some(normaliser) = normaliser {
            normaliser.apply(&mut self.x, inputs);
        }
        self.state.clear();
        self.state.resize(2 * tower.units(), 0.0);
        let recurrent = tower.units() > 0;
        let (steps, rows) = if recurrent { (episode.steps, 1) } else { (1, episode.steps) };
        let sequence = Batch { steps, rows, x: &self.x, state: &self.state, resets: None };
        tower.forward(weights, &sequence, &mut self.pass)?;
        self.outputs.clear();
        self.outputs.extend_from_slice(self.pass.outputs());
        let scale = network.hint_scale(parameters);
        let share = weight as f32 / episode.steps as f32;
        let mut dscale = 0.0;
        for (step, output) in self.outputs.chunks_exact_mut(width).enumerate() {
            let hints = &episode.hints[step * hints_width..][..hints_width];
            let allowed =
                (!episode.allowed.is_empty()).then(|| &episode.allowed[step * heads..][..heads]);
            let actions = &episode.actions[step * services..][..services];
            distribution.logits(&output[..heads], hints, scale, allowed, &mut self.logits);
            distribution.normalise(&mut self.logits, &mut self.probabilities);
            let likelihood = distribution.log_probability(&self.logits, actions);
            self.sums.imitation -= f64::from(likelihood) / episode.steps as f64;
            distribution.gradient(&mut self.logits, &self.probabilities, actions, -share, 0.0);
            dscale += distribution.heads_gradient(&self.logits, hints, &mut self.dheads);
            output[..heads].copy_from_slice(&self.dheads);
            output[heads..].fill(0.0);
        }
        let sequence = Batch { steps, rows, x: &self.x, state: &self.state, resets: None };
        let part = &mut self.part;
        tower.backward(weights, &sequence, &mut self.pass, &mut self.outputs, part);
        add(&mut self.gradient, part);
        if let Some(last) = self.gradient.last_mut() {
            // The scale is learned as its logarithm.
            *last += dscale as f32 * scale;
        }
        Ok(())
    }
}

/// The state after the last step of a pass, [2, B, H].
fn last_state(pass: &TowerPass, steps: usize) -> Vec<f32> {
    let cells = pass.h().len() / steps;
    let last = (steps - 1) * cells..;
    [&pass.h()[last.clone()], &pass.c()[last]].concat()
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}
