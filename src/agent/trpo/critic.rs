//! Fitting the critic to the returns of a rollout.

use rand::seq::SliceRandom;

use super::config::TrpoConfig;
use crate::agent::network::ActorCritic;
use crate::agent::rollout::Rollout;
use crate::agent::tower::{Batch, TowerPass};
use crate::error::{Error, Result};
use crate::nn::AdamConfig;
use crate::nn::flat::{adam_update, squares};
use crate::rng::Rng;

/// Space of the critic's updates, kept from one rollout to the next.
#[derive(Debug, Default)]
pub struct CriticFit {
    pass: TowerPass,
    x: Vec<f32>,
    returns: Vec<f32>,
    doutputs: Vec<f32>,
    gradient: Vec<f32>,
    /// The critic's own parameters while it is fitted.
    pub weights: Vec<f32>,
    /// Mean of half the squared errors.
    pub loss: f64,
    /// Norm of the last gradient.
    pub gradient_norm: f64,
}

impl CriticFit {
    /// Learns `config.n_critic_updates` times from all transitions of `rollouts`, in shuffled batches.
    /// `updates` counts the gradient steps.
    ///
    /// # Errors
    /// [`Error::Failed`] when the loss or a gradient is not finite.
    pub fn fit(
        &mut self,
        network: &ActorCritic,
        rollouts: &[&Rollout],
        config: &TrpoConfig,
        shuffle: &mut Rng,
        [first, second]: [&mut [f32]; 2],
        updates: &mut u64,
    ) -> Result<()> {
        let (tower, _) = network.value_tower();
        let inputs = tower.inputs();
        let adam = AdamConfig::ppo(config.learning_rate);
        let mut order: Vec<(usize, usize)> = rollouts
            .iter()
            .enumerate()
            .flat_map(|(part, rollout)| (0..rollout.returns.len()).map(move |place| (part, place)))
            .collect();
        self.gradient.resize(self.weights.len(), 0.0);
        let mut sum = 0.0;
        for _ in 0..config.n_critic_updates {
            order.shuffle(shuffle);
            for rows in order.chunks(config.batch_size) {
                self.x.clear();
                self.returns.clear();
                for &(part, place) in rows {
                    let rollout = rollouts[part];
                    self.x.extend_from_slice(&rollout.x()[place * inputs..][..inputs]);
                    self.returns.push(rollout.returns[place]);
                }
                let batch =
                    Batch { steps: 1, rows: rows.len(), x: &self.x, state: &[], resets: None };
                tower.forward(&self.weights, &batch, &mut self.pass)?;
                let scale = 2.0 / rows.len() as f32;
                self.doutputs.clear();
                let mut errors = 0.0;
                for (&value, &wanted) in self.pass.outputs().iter().zip(&self.returns) {
                    let error = value - wanted;
                    errors += f64::from(error) * f64::from(error);
                    self.doutputs.push(scale * error);
                }
                sum += errors;
                let (doutputs, gradient) = (&mut self.doutputs, &mut self.gradient);
                tower.backward(&self.weights, &batch, &mut self.pass, doutputs, gradient);
                let norm = squares(gradient).sqrt();
                if !norm.is_finite() || !errors.is_finite() {
                    return Err(Error::Failed(format!(
                        "the critic's loss or gradient is not finite at update {}",
                        *updates + 1
                    )));
                }
                self.gradient_norm = norm;
                *updates += 1;
                let moments = [&mut *first, &mut *second];
                adam_update(&adam, *updates, 1.0, &mut self.weights, gradient, moments);
            }
        }
        self.loss = 0.5 * sum / (order.len() * config.n_critic_updates) as f64;
        Ok(())
    }
}
