//! The updates of a training after each rollout.

use super::config::TrpoConfig;
use super::critic::CriticFit;
use super::policy::{improve, normalise};
use super::samples::Samples;
use crate::agent::ppo::{Iteration, Ppo};
use crate::agent::rollout::Rollout;
use crate::error::Result;

/// TRPO's updates, with their space.
#[derive(Debug)]
pub struct TrustRegion {
    config: TrpoConfig,
    samples: Vec<Samples>,
    critic: CriticFit,
}

impl TrustRegion {
    /// With checked settings.
    pub fn new(config: TrpoConfig) -> Self {
        let samples = (0..config.parts).map(|_| Samples::default()).collect();
        Self { config, samples, critic: CriticFit::default() }
    }

    /// Learns from the rollout that `ppo` holds.
    ///
    /// # Errors
    /// When a loss or gradient is not finite: then nothing of the agent has changed.
    pub fn learn(&mut self, ppo: &mut Ppo, iteration: &mut Iteration) -> Result<()> {
        let Self { config, samples, critic } = self;
        let network = &ppo.agent.network;
        let parameters = &ppo.agent.parameters.values;
        let rollouts: Vec<&Rollout> = ppo.parts.iter().map(|part| &part.data).collect();
        // Every so many transitions of the whole rollout, whatever the parts.
        let mut first = 0;
        for (part, rollout) in samples.iter_mut().zip(&rollouts) {
            let stride = config.sub_sampling_factor;
            part.gather(network, rollout, first, stride);
            let count = rollout.advantages.len();
            let taken = count.saturating_sub(first).div_ceil(stride);
            first = first + taken * stride - count;
        }
        if config.normalize_advantage {
            normalise(samples);
        }
        let span = network.value_tower().0.span();
        critic.weights.clear();
        critic.weights.extend_from_slice(&parameters[span.clone()]);
        let mut moments = ppo.moments.each_ref().map(|moment| moment[span.clone()].to_vec());
        let [one, two] = &mut moments;
        let (shuffle, mut updates) = (&mut ppo.shuffle, ppo.updates);
        // They share nothing: the critic's values are those of the rollout until both are done.
        let (step, fitted) = rayon::join(
            || improve(samples, network, parameters, config),
            || critic.fit(network, &rollouts, config, shuffle, [one, two], &mut updates),
        );
        let step = step?;
        fitted?;
        iteration.gradient_steps = (updates - ppo.updates) as usize;
        ppo.updates = updates;
        for (to, from) in ppo.moments.iter_mut().zip(&moments) {
            to[span.clone()].copy_from_slice(from);
        }
        let actor = network.actor().span();
        let values = &mut ppo.agent.parameters.values;
        values[span].copy_from_slice(&critic.weights);
        if let Some(found) = &step.actor {
            values[actor].copy_from_slice(found);
        }
        iteration.policy_loss = -step.objective;
        iteration.value_loss = critic.loss;
        iteration.entropy = step.entropy;
        iteration.kl = step.kl;
        iteration.gradient_norms = vec![step.gradient_norm, critic.gradient_norm];
        iteration.entropy_weight = 0.0;
        Ok(())
    }
}
