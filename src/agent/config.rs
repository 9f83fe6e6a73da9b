//! Settings of PPO.

use serde::{Deserialize, Serialize};

use super::network::NetworkConfig;
use crate::error::{Error, Result};

/// A number that goes in a straight line from the start of a training to its end. Written as one number
/// where it stays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ScheduleText")]
pub struct Schedule {
    /// At the start.
    pub from: f64,
    /// At the end.
    pub to: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ScheduleText {
    Constant(f64),
    Linear { from: f64, to: f64 },
}

impl From<ScheduleText> for Schedule {
    fn from(text: ScheduleText) -> Self {
        match text {
            ScheduleText::Constant(value) => Self::constant(value),
            ScheduleText::Linear { from, to } => Self { from, to },
        }
    }
}

impl Schedule {
    /// The same throughout.
    pub fn constant(value: f64) -> Self {
        Self { from: value, to: value }
    }

    /// After this share of the training, 0 to 1.
    pub fn at(self, share: f64) -> f64 {
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    /// Its first end that is not as `good` says.
    fn end_not(self, good: impl Fn(f64) -> bool) -> Option<f64> {
        [self.from, self.to].into_iter().find(|&end| !good(end))
    }
}

/// What advantages are brought to before they weigh on the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Advantages {
    /// Mean 0, variance 1 in each minibatch.
    #[default]
    Normalised,
    /// Nothing: the entropy weight is then a temperature in the unit of the scaled rewards.
    Fixed,
}

/// Imitation of the best training episode so far: its actions' negative log-likelihood joins the loss.
/// For memorising one trace; it has no meaning on traffic that varies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Imitation {
    /// Weight in the loss; 0: no imitation.
    pub weight: f64,
    /// Share of the training after which it begins.
    pub from: f64,
}

impl Default for Imitation {
    fn default() -> Self {
        Self { weight: 0.0, from: 0.5 }
    }
}

/// Most transitions of one rollout: more are a slip that fills the memory.
pub(in crate::agent) const MOST_TRANSITIONS: usize = 100_000_000;
/// Most episodes of an evaluation.
const MOST_EPISODES: usize = 1_000_000;

/// Settings of recurrent and feed-forward PPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PpoConfig {
    /// Environment steps of the whole training, over all environments.
    pub steps: u64,
    /// Environments stepped together, N.
    pub environments: usize,
    /// Steps of each environment between updates, T.
    pub rollout: usize,
    /// How often each rollout is learned from.
    pub epochs: usize,
    /// Parts of a rollout, one gradient step each: of environments where the network has a memory,
    /// else of transitions.
    pub minibatches: usize,
    /// Steps through which gradients flow back in time; absent: the whole rollout. The recurrent state
    /// is handed on from one such stretch to the next either way.
    pub bptt: Option<usize>,
    /// Discount of a step.
    pub gamma: f64,
    /// Decay of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Bound of the probability ratio's distance from 1.
    pub clip: f64,
    /// Bound of a value's distance from what it was during the rollout; absent: none.
    pub value_clip: Option<f64>,
    /// Weight of the value's mean squared error.
    pub value_weight: f64,
    /// Weight of the entropy.
    pub entropy: Schedule,
    /// Step size of Adam (epsilon 1e-5).
    pub learning_rate: Schedule,
    /// Bound of the gradient's norm, of actor and critic apart where they share nothing.
    pub gradient_norm: f64,
    /// Learning from a rollout stops when the estimated divergence from the policy that made it is
    /// above 1.5 times this; absent: never.
    pub target_kl: Option<f64>,
    /// What advantages are brought to.
    pub advantages: Advantages,
    /// Rewards are multiplied by this inside the learner; what is reported are the scenario's own.
    pub reward_scale: f64,
    /// Whether the part of a reward that depends on traffic only is taken off it.
    pub reward_baseline: bool,
    /// Whether features are brought to mean 0 and variance 1 by running statistics.
    pub normalise_observations: bool,
    /// Whether rewards are divided by the running deviation of the discounted returns.
    pub normalise_rewards: bool,
    /// Imitation of the best training episode.
    pub imitation: Imitation,
    /// Share of the training after which the agent is the mean of the parameters after each rollout
    /// since then; absent: it is what was learned last.
    pub average_from: Option<f64>,
    /// How often the agent is judged, on held-out traffic, during the training.
    pub evaluations: u64,
    /// Episodes that it is judged on; one where all episodes are the same.
    pub evaluation_episodes: usize,
    /// Parts that the environments, and the sums over a minibatch, are divided into: as many threads
    /// can work. Sums depend on it (in the last bits), but not on the number of threads.
    pub parts: usize,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            steps: 1_000_000,
            environments: 64,
            rollout: 64,
            epochs: 4,
            minibatches: 4,
            bptt: None,
            gamma: 0.95,
            gae_lambda: 0.9,
            clip: 0.2,
            value_clip: None,
            value_weight: 0.5,
            entropy: Schedule { from: 0.1, to: 0.0 },
            learning_rate: Schedule { from: 1e-3, to: 1e-4 },
            gradient_norm: 0.5,
            target_kl: None,
            advantages: Advantages::Normalised,
            reward_scale: 1.0,
            reward_baseline: false,
            normalise_observations: false,
            normalise_rewards: false,
            imitation: Imitation::default(),
            average_from: None,
            evaluations: 50,
            evaluation_episodes: 64,
            parts: 2,
        }
    }
}

impl PpoConfig {
    /// # Errors
    /// [`Error::Input`] naming the key, in the file `place`, that no training can use.
    pub fn check(&self, network: &NetworkConfig, place: &str) -> Result<()> {
        network.check(place)?;
        let wrong = |key: &str, problem: String, remedy: &str| {
            Err(Error::input(format!("{place}: {key}"), problem, remedy))
        };
        for (key, value) in [
            ("environments", self.environments),
            ("rollout", self.rollout),
            ("epochs", self.epochs),
            ("minibatches", self.minibatches),
            ("evaluation_episodes", self.evaluation_episodes),
            ("parts", self.parts),
            ("bptt", self.bptt.unwrap_or(1)),
        ] {
            if value == 0 {
                return wrong(key, "0".to_owned(), "give at least 1");
            }
        }
        if self.steps == 0 {
            return wrong("steps", "0".to_owned(), "give at least 1");
        }
        let transitions = self.environments.checked_mul(self.rollout);
        let Some(transitions) = transitions.filter(|&count| count <= MOST_TRANSITIONS) else {
            let problem = format!("{} environments x {} steps", self.environments, self.rollout);
            let remedy = format!("use at most {MOST_TRANSITIONS} transitions between updates");
            return wrong("environments", problem, &remedy);
        };
        if self.evaluation_episodes > MOST_EPISODES {
            let remedy = format!("use at most {MOST_EPISODES}");
            return wrong("evaluation_episodes", self.evaluation_episodes.to_string(), &remedy);
        }
        let (what, count) = if network.lstm > 0 {
            ("environments", self.environments)
        } else {
            ("environments x rollout", transitions)
        };
        if !count.is_multiple_of(self.minibatches) {
            let remedy = format!("choose {what} as a multiple of minibatches");
            let problem =
                format!("{} minibatches do not divide {what} = {count}", self.minibatches);
            return wrong("minibatches", problem, &remedy);
        }
        if self.parts > self.environments {
            let problem = format!("{} parts of {} environments", self.parts, self.environments);
            return wrong("parts", problem, "use at most as many parts as environments");
        }
        let share = 0.0..=1.0;
        for (key, value) in [
            ("gamma", self.gamma),
            ("gae_lambda", self.gae_lambda),
            ("average_from", self.average_from.unwrap_or(0.0)),
        ] {
            if !share.contains(&value) {
                return wrong(key, value.to_string(), "give a number from 0 to 1");
            }
        }
        for (key, value) in [
            ("clip", self.clip),
            ("gradient_norm", self.gradient_norm),
            ("value_clip", self.value_clip.unwrap_or(1.0)),
            ("target_kl", self.target_kl.unwrap_or(1.0)),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(key, value.to_string(), "give a number above 0");
            }
        }
        for (key, schedule) in [("learning_rate", self.learning_rate), ("entropy", self.entropy)] {
            if let Some(end) = schedule.end_not(|value| value >= 0.0 && value.is_finite()) {
                return wrong(key, end.to_string(), "give 0 or more");
            }
        }
        if self.learning_rate == Schedule::constant(0.0) {
            return wrong("learning_rate", "0".to_owned(), "give a number above 0");
        }
        for (key, value) in [
            ("value_weight", self.value_weight),
            ("imitation.weight", self.imitation.weight),
            ("imitation.from", self.imitation.from),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(key, value.to_string(), "give 0 or more");
            }
        }
        if !self.reward_scale.is_finite() || self.reward_scale == 0.0 {
            let remedy = "give a finite number other than 0";
            return wrong("reward_scale", self.reward_scale.to_string(), remedy);
        }
        Ok(())
    }

    /// Steps of one rollout over all environments.
    pub fn rollout_steps(&self) -> u64 {
        (self.environments * self.rollout) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_a_number_or_a_line() {
        let config: PpoConfig =
            toml::from_str("entropy = 0.1\nlearning_rate = { from = 1e-3, to = 1e-4 }").unwrap();
        assert_eq!(config.entropy.at(0.7), 0.1);
        assert!((config.learning_rate.at(0.5) - 5.5e-4).abs() < 1e-12);
        assert!(toml::from_str::<PpoConfig>("entropi = 0.1").is_err());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let network = NetworkConfig::recurrent(8);
        let message = |change: &dyn Fn(&mut PpoConfig)| {
            let mut config = PpoConfig::default();
            change(&mut config);
            let error = config.check(&network, "a.toml").unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        PpoConfig::default().check(&network, "a.toml").unwrap();
        assert!(message(&|config| config.bptt = Some(0)).contains("a.toml: bptt"));
        let text = message(&|config| config.minibatches = 5);
        assert!(text.contains("5 minibatches do not divide environments = 64"), "{text}");
        assert!(message(&|config| config.gamma = f64::NAN).contains("gamma"));
        assert!(message(&|config| config.average_from = Some(2.0)).contains("average_from"));
        assert!(message(&|config| config.learning_rate.to = -1.0).contains("learning_rate"));
        // One end alone, so that the other does not hide it.
        for end in [f64::NAN, f64::INFINITY] {
            assert!(message(&|config| config.learning_rate.from = end).contains("learning_rate"));
            assert!(message(&|config| config.entropy.from = end).contains("entropy"));
        }
        assert!(message(&|config| config.learning_rate = Schedule::constant(0.0)).contains(": 0"));
        // What would not fit any memory, or even be counted.
        for environments in [10_000_000, usize::MAX] {
            let text = message(&|config| config.environments = environments);
            assert!(text.contains("a.toml: environments"), "{text}");
        }
        let text = message(&|config| config.evaluation_episodes = usize::MAX);
        assert!(text.contains("evaluation_episodes"), "{text}");
        let wide = NetworkConfig { hidden: vec![64, 1 << 40], ..NetworkConfig::default() };
        for network in [wide, NetworkConfig::recurrent(usize::MAX)] {
            let error = PpoConfig::default().check(&network, "a.toml").unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("a.toml: network."), "{error}");
        }
    }
}
