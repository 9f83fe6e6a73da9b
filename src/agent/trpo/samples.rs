//! The transitions of a part of a rollout, as the policy's update sees them.

use crate::agent::network::ActorCritic;
use crate::agent::rollout::Rollout;
use crate::agent::tower::{Batch, TangentSpace, TowerPass};
use crate::error::Result;

/// Some transitions, with the policy that made them and the space to go through networks. R rows, A
/// logits a row, S services.
#[derive(Debug, Default)]
pub struct Samples {
    rows: usize,
    /// [R, I].
    x: Vec<f32>,
    /// [R, hints].
    hints: Vec<f32>,
    /// [R, A]; empty where all options can be chosen.
    allowed: Vec<bool>,
    /// [R, S].
    actions: Vec<u32>,
    /// Advantages as they weigh on the objective.
    pub advantages: Vec<f32>,
    /// Log-probabilities of the rollout's policy, [R, A].
    old_log_p: Vec<f32>,
    /// Its probabilities.
    pub(super) old_p: Vec<f32>,
    pub(super) pass: TowerPass,
    logits: Vec<f32>,
    probabilities: Vec<f32>,
    /// Gradient of the outputs, [R, A].
    pub(super) doutputs: Vec<f32>,
    /// Of the actor's parameters.
    pub(super) gradient: Vec<f32>,
    pub(super) tangents: TangentSpace,
}

/// Sums over the rows of some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// Advantage x probability ratio.
    pub objective: f64,
    /// Divergence from the rollout's policy.
    pub kl: f64,
    /// Entropy of the rollout's policy.
    pub entropy: f64,
}

impl Samples {
    /// Number of transitions, R.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes every `stride`-th transition of `rollout`, beginning with number `first`.
    pub fn gather(
        &mut self,
        network: &ActorCritic,
        rollout: &Rollout,
        first: usize,
        stride: usize,
    ) {
        let shape = network.shape();
        let (inputs, hints, services) = (shape.inputs, shape.hints, shape.options.len());
        let heads = network.distribution().heads();
        for buffer in [&mut self.x, &mut self.hints, &mut self.advantages] {
            buffer.clear();
        }
        self.allowed.clear();
        self.actions.clear();
        self.rows = 0;
        for place in (first..rollout.advantages.len()).step_by(stride) {
            self.rows += 1;
            self.x.extend_from_slice(&rollout.x()[place * inputs..][..inputs]);
            self.hints.extend_from_slice(&rollout.hints[place * hints..][..hints]);
            self.actions.extend_from_slice(&rollout.actions[place * services..][..services]);
            self.advantages.push(rollout.advantages[place]);
            if rollout.masked {
                self.allowed.extend_from_slice(&rollout.allowed[place * heads..][..heads]);
            }
        }
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { steps: 1, rows: self.rows, x: &self.x, state: &[], resets: None }
    }

    /// Log-probabilities and probabilities under `parameters` (the whole agent's).
    fn forward(&mut self, network: &ActorCritic, parameters: &[f32]) -> Result<()> {
        let actor = network.actor();
        let batch = Batch { steps: 1, rows: self.rows, x: &self.x, state: &[], resets: None };
        actor.forward(&parameters[actor.span()], &batch, &mut self.pass)?;
        let distribution = network.distribution();
        let (heads, hints) = (distribution.heads(), network.shape().hints);
        let scale = network.hint_scale(parameters);
        self.logits.resize(self.rows * heads, 0.0);
        self.probabilities.resize(self.rows * heads, 0.0);
        for row in 0..self.rows {
            let span = row * heads..(row + 1) * heads;
            let output = &self.pass.outputs()[span.clone()];
            let hints = &self.hints[row * hints..][..hints];
            let allowed = self.allowed.get(span.clone());
            let logits = &mut self.logits[span.clone()];
            distribution.logits(output, hints, scale, allowed, logits);
            distribution.normalise(logits, &mut self.probabilities[span]);
        }
        Ok(())
    }

    /// Makes the policy of `parameters` the one that is compared with, and writes the gradient of the
    /// objective's sum with respect to the outputs.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub fn begin(&mut self, network: &ActorCritic, parameters: &[f32]) -> Result<Judged> {
        self.forward(network, parameters)?;
        let distribution = network.distribution();
        let (heads, services) = (distribution.heads(), network.shape().options.len());
        self.old_log_p.clone_from(&self.logits);
        self.old_p.clone_from(&self.probabilities);
        self.doutputs.clone_from(&self.logits);
        let mut judged = Judged::default();
        let rows = self.doutputs.chunks_exact_mut(heads).zip(self.old_p.chunks_exact(heads));
        for (row, (log_p, p)) in rows.enumerate() {
            let advantage = self.advantages[row];
            judged.objective += f64::from(advantage);
            judged.entropy += f64::from(distribution.entropy(log_p, p));
            let actions = &self.actions[row * services..][..services];
            distribution.gradient(log_p, p, actions, advantage, 0.0);
        }
        Ok(judged)
    }

    /// Sums of objective and divergence under other parameters.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub fn judge(&mut self, network: &ActorCritic, parameters: &[f32]) -> Result<Judged> {
        self.forward(network, parameters)?;
        let distribution = network.distribution();
        let (heads, services) = (distribution.heads(), network.shape().options.len());
        let mut judged = Judged::default();
        for row in 0..self.rows {
            let span = row * heads..(row + 1) * heads;
            let actions = &self.actions[row * services..][..services];
            let (new, old) = (&self.logits[span.clone()], &self.old_log_p[span.clone()]);
            let change = distribution.log_probability(new, actions)
                - distribution.log_probability(old, actions);
            judged.objective += f64::from(self.advantages[row]) * f64::from(change).exp();
            let p = &self.probabilities[span];
            judged.kl += p
                .iter()
                .zip(new.iter().zip(old))
                .filter(|&(&p, _)| p > 0.0)
                .map(|(&p, (&new, &old))| f64::from(p) * f64::from(new - old))
                .sum::<f64>();
        }
        Ok(judged)
    }

    /// The gradient of the divergence's sum with respect to the outputs, under other parameters.
    #[cfg(test)]
    pub fn divergence_gradient(&mut self, network: &ActorCritic, parameters: &[f32]) -> Vec<f32> {
        self.forward(network, parameters).unwrap();
        let options = &network.shape().options;
        let heads: usize = options.iter().sum();
        let mut gradient = vec![0.0; self.rows * heads];
        for row in 0..self.rows {
            let mut start = row * heads;
            for &count in options {
                let change = |k: usize| self.logits[k] - self.old_log_p[k];
                let possible = || (start..start + count).filter(|&k| self.probabilities[k] > 0.0);
                let kl: f32 = possible().map(|k| self.probabilities[k] * change(k)).sum();
                for k in possible() {
                    gradient[k] = self.probabilities[k] * (change(k) - kl);
                }
                start += count;
            }
        }
        gradient
    }
}
