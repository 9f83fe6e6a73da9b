//! Settings of TRPO.

use serde::{Deserialize, Serialize};

use crate::agent::Head;
use crate::agent::config::{MOST_TRANSITIONS, PpoConfig, Schedule};
use crate::agent::network::{Critic, NetworkConfig};
use crate::error::{Error, Result};

/// Settings of TRPO: SB3-contrib's by name, with its defaults, and how rewards and observations come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrpoConfig {
    /// Environment steps of the whole training, over all environments.
    pub steps: u64,
    /// Environments stepped together.
    pub n_envs: usize,
    /// Steps of each environment between updates.
    pub n_steps: usize,
    /// Step size of the critic's Adam.
    pub learning_rate: f64,
    /// Transitions of one of the critic's gradient steps.
    pub batch_size: usize,
    /// Discount of a step.
    pub gamma: f64,
    /// Decay of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Most steps of the conjugate gradient method.
    pub cg_max_steps: usize,
    /// Added to the diagonal of the Fisher information.
    pub cg_damping: f64,
    /// A step that is too long is multiplied by this.
    pub line_search_shrinking_factor: f64,
    /// Most lengths that are tried.
    pub line_search_max_iter: usize,
    /// How often the critic learns from each rollout.
    pub n_critic_updates: usize,
    /// Whether advantages are brought to mean 0 and variance 1.
    pub normalize_advantage: bool,
    /// Bound of the divergence from the rollout's policy.
    pub target_kl: f64,
    /// Every so many transitions one counts for the policy.
    pub sub_sampling_factor: usize,
    /// Rewards are multiplied by this inside the learner; what is reported are the scenario's own.
    pub reward_scale: f64,
    /// Whether the part of a reward that depends on traffic only is taken off it.
    pub reward_baseline: bool,
    /// Whether features are brought to mean 0 and variance 1 by running statistics.
    pub normalise_observations: bool,
    /// Parts that the environments, and the sums over a rollout, are divided into: as many threads
    /// can work. Sums depend on it (in the last bits), but not on the number of threads.
    pub parts: usize,
    /// Evaluations during the training.
    pub evaluations: u64,
    /// Episodes of an evaluation; one where all are the same.
    pub evaluation_episodes: usize,
}

impl Default for TrpoConfig {
    fn default() -> Self {
        Self {
            steps: 1_000_000,
            n_envs: 1,
            n_steps: 2048,
            learning_rate: 1e-3,
            batch_size: 128,
            gamma: 0.99,
            gae_lambda: 0.95,
            cg_max_steps: 15,
            cg_damping: 0.1,
            line_search_shrinking_factor: 0.8,
            line_search_max_iter: 10,
            n_critic_updates: 10,
            normalize_advantage: true,
            target_kl: 0.01,
            sub_sampling_factor: 1,
            reward_scale: 1.0,
            reward_baseline: false,
            normalise_observations: false,
            parts: 1,
            evaluations: 20,
            evaluation_episodes: 64,
        }
    }
}

impl TrpoConfig {
    /// What is used where nothing else is said: SB3-contrib's settings but for many environments with
    /// a rollout of as many steps in all, rewards in thousands, and a discount for short episodes.
    pub fn recipe() -> Self {
        Self {
            steps: 600_000,
            n_envs: 64,
            n_steps: 38,
            gamma: 0.95,
            gae_lambda: 0.9,
            reward_scale: 1e-3,
            parts: 2,
            ..Self::default()
        }
    }

    /// # Errors
    /// [`Error::Input`] naming the key, in the file `place`, that no training can use.
    pub fn check(&self, network: &NetworkConfig, place: &str) -> Result<()> {
        let wrong = |key: &str, problem: String, remedy: &str| {
            Err(Error::input(format!("{place}: {key}"), problem, remedy))
        };
        if network.lstm > 0 {
            let problem = format!("an LSTM of {} units", network.lstm);
            return wrong("network.lstm", problem, "use 0, or train recurrent-ppo");
        }
        if network.critic == Critic::Shared || network.head == Head::Joint {
            let problem = "TRPO needs a critic of its own and factored heads".to_owned();
            return wrong("network", problem, "use critic = \"separate\" and head = \"factored\"");
        }
        for (key, value) in [
            ("batch_size", self.batch_size),
            ("cg_max_steps", self.cg_max_steps),
            ("line_search_max_iter", self.line_search_max_iter),
            ("n_critic_updates", self.n_critic_updates),
            ("sub_sampling_factor", self.sub_sampling_factor),
        ] {
            if value == 0 {
                return wrong(key, "0".to_owned(), "give at least 1");
            }
        }
        if self.n_envs.saturating_mul(self.n_steps) < 2 {
            let problem = format!("{} environments x {} steps", self.n_envs, self.n_steps);
            return wrong("n_steps", problem, "use rollouts of at least two steps");
        }
        if self.n_envs.saturating_mul(self.n_steps) > MOST_TRANSITIONS {
            let problem = format!("{} environments x {} steps", self.n_envs, self.n_steps);
            let remedy = format!("use at most {MOST_TRANSITIONS} transitions between updates");
            return wrong("n_envs", problem, &remedy);
        }
        if self.parts > self.n_envs {
            let problem = format!("{} parts of {} environments", self.parts, self.n_envs);
            return wrong("parts", problem, "use at most as many parts as environments");
        }
        for (key, value) in [("target_kl", self.target_kl), ("cg_damping", self.cg_damping)] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(key, value.to_string(), "give a number above 0");
            }
        }
        let factor = self.line_search_shrinking_factor;
        if !(factor > 0.0 && factor < 1.0) {
            let remedy = "give a number between 0 and 1";
            return wrong("line_search_shrinking_factor", factor.to_string(), remedy);
        }
        self.rollout().check(network, place)
    }

    /// How rollouts are made, in the words of the learner that they are shared with.
    pub(in crate::agent) fn rollout(&self) -> PpoConfig {
        PpoConfig {
            steps: self.steps,
            environments: self.n_envs,
            rollout: self.n_steps,
            epochs: 1,
            minibatches: 1,
            gamma: self.gamma,
            gae_lambda: self.gae_lambda,
            learning_rate: Schedule::constant(self.learning_rate),
            reward_scale: self.reward_scale,
            reward_baseline: self.reward_baseline,
            normalise_observations: self.normalise_observations,
            parts: self.parts,
            evaluations: self.evaluations,
            evaluation_episodes: self.evaluation_episodes,
            ..PpoConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let message = |network: NetworkConfig, change: &dyn Fn(&mut TrpoConfig)| {
            let mut config = TrpoConfig::recipe();
            change(&mut config);
            let error = config.check(&network, "a.toml").unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        let plain = NetworkConfig::default;
        TrpoConfig::recipe().check(&plain(), "a.toml").unwrap();
        TrpoConfig::default().check(&plain(), "a.toml").unwrap();
        assert!(message(NetworkConfig::recurrent(8), &|_| ()).contains("network.lstm"));
        assert!(message(plain(), &|config| config.target_kl = 0.0).contains("target_kl"));
        assert!(message(plain(), &|config| config.cg_damping = f64::NAN).contains("cg_damping"));
        assert!(message(plain(), &|config| config.batch_size = 0).contains("batch_size"));
        assert!(message(plain(), &|config| config.gamma = 2.0).contains("gamma"));
        assert!(message(plain(), &|config| config.parts = 65).contains("65 parts of 64"));
    }
}
