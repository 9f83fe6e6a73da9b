//! All settings of a training with PPO or TRPO, and the recipe for each kind of scenario.

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::{Advantages, Imitation, PpoConfig, Schedule};
use super::distribution::Head;
use super::network::NetworkConfig;
use super::trpo::TrpoConfig;
use crate::env::EnvironmentConfig;
use crate::env::observation::{Features, HintKind, LayoutKind};
use crate::env::paper::PaperRules;
use crate::error::{Error, Result, read_input};
use crate::scenario::spec::RewardKind;
use crate::scenario::{EnvironmentKind, Scenario};

/// The two kinds of PPO: names of agents, policies and checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PpoKind {
    /// With an LSTM.
    Recurrent,
    /// Without memory.
    FeedForward,
}

impl PpoKind {
    /// The agent's name, which is the kind of its checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recurrent => "recurrent-ppo",
            Self::FeedForward => "ppo",
        }
    }
}

impl fmt::Display for PpoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All settings; the tables of a `--config` file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings<T> {
    /// What the agent sees, can choose and is trained on.
    pub environment: EnvironmentConfig,
    /// Its networks.
    pub network: NetworkConfig,
    /// How it learns.
    pub training: T,
}

/// Settings of a training with PPO.
pub type PpoSettings = Settings<PpoConfig>;

/// Settings of a training with TRPO.
pub type TrpoSettings = Settings<TrpoConfig>;

/// Longest rollout of a recipe: what an episode has of steps beyond it is learned from in parts.
const LONGEST_ROLLOUT: usize = 128;

impl PpoSettings {
    /// The recipe for `scenario`: what its training begins with where nothing else is said.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario's traffic cannot be read.
    pub fn recipe(kind: PpoKind, scenario: &Scenario) -> Result<Self> {
        let environment = EnvironmentConfig::of(scenario);
        match scenario.environment() {
            EnvironmentKind::Paper => {
                let rollout = PaperRules::new(scenario)?.steps().min(LONGEST_ROLLOUT);
                Ok(if scenario.random_traffic() {
                    Self::paper_random(kind, environment, rollout)
                } else {
                    Self::paper_fixed(kind, environment, rollout)
                })
            }
            EnvironmentKind::Knative => Ok(Self::knative(kind, environment, scenario)),
        }
    }

    /// One trace, to be learned by heart: high entropy that falls to nothing searches; the best
    /// episode found is then imitated a little.
    fn paper_fixed(kind: PpoKind, mut environment: EnvironmentConfig, rollout: usize) -> Self {
        let (features, network, entropy, steps) = match kind {
            PpoKind::Recurrent => {
                (LayoutKind::of(Features::Opt), NetworkConfig::recurrent(128), 0.4, 1_200_000)
            }
            PpoKind::FeedForward => (
                LayoutKind { features: Features::Feat, timed: true },
                NetworkConfig { hidden: vec![64, 64], ..NetworkConfig::default() },
                0.3,
                800_000,
            ),
        };
        environment.observation.layout = features;
        let training = PpoConfig {
            steps,
            environments: 128,
            rollout,
            epochs: 4,
            minibatches: 8,
            entropy: Schedule { from: entropy, to: 0.0 },
            reward_scale: 1e-3,
            imitation: Imitation { weight: 0.1, from: 0.5 },
            ..PpoConfig::default()
        };
        Self { environment, network, training }
    }

    /// Traffic that is drawn anew for every episode: the policy starts from what the options would
    /// earn, and rewards are taken without what the traffic alone decides. What is left of them is
    /// noise for the most part: large batches, a short horizon, and the mean of the second half.
    fn paper_random(kind: PpoKind, mut environment: EnvironmentConfig, rollout: usize) -> Self {
        environment.observation.hints = HintKind::Greedy;
        let (features, network, steps) = match kind {
            PpoKind::Recurrent => {
                let network = NetworkConfig { hint_scale: 2.0, ..NetworkConfig::recurrent(64) };
                (LayoutKind::of(Features::Opt), network, 2_000_000)
            }
            PpoKind::FeedForward => {
                let network = NetworkConfig {
                    hidden: vec![128, 128],
                    head: Head::Joint,
                    hint_scale: 3.5,
                    ..NetworkConfig::default()
                };
                (LayoutKind { features: Features::Feat, timed: true }, network, 4_000_000)
            }
        };
        environment.observation.layout = features;
        let training = PpoConfig {
            steps,
            environments: 256,
            rollout,
            epochs: 3,
            minibatches: 4,
            gamma: 0.9,
            gae_lambda: 0.5,
            entropy: Schedule { from: 0.05, to: 0.005 },
            learning_rate: Schedule { from: 1.5e-3, to: 1.5e-4 },
            average_from: Some(0.5),
            advantages: Advantages::Fixed,
            reward_scale: 1e-3,
            reward_baseline: true,
            evaluation_episodes: 256,
            ..PpoConfig::default()
        };
        Self { environment, network, training }
    }

    /// The simulator: leaving services alone is where the policy starts; what a change is worth is
    /// small against what traffic does, so rollouts are large, and rewards count to the episode's end.
    fn knative(kind: PpoKind, environment: EnvironmentConfig, scenario: &Scenario) -> Self {
        let network = match kind {
            PpoKind::Recurrent => NetworkConfig { hint_scale: 4.0, ..NetworkConfig::recurrent(64) },
            PpoKind::FeedForward => {
                NetworkConfig { hidden: vec![64, 64], hint_scale: 4.0, ..NetworkConfig::default() }
            }
        };
        let reward = &scenario.spec.reward;
        // About one for what a stage costs or earns.
        let unit = match reward.kind {
            Some(RewardKind::Paper) => 1e-3,
            _ => 20.0,
        };
        let scale = reward.scale.abs();
        let training = PpoConfig {
            steps: 400_000,
            environments: 256,
            rollout: 20,
            minibatches: 8,
            gamma: 0.99,
            gae_lambda: 0.95,
            entropy: Schedule { from: 0.01, to: 0.0 },
            learning_rate: Schedule { from: 1e-3, to: 5e-5 },
            advantages: Advantages::Fixed,
            reward_scale: if scale > 0.0 { unit / scale } else { unit },
            reward_baseline: true,
            evaluations: 8,
            evaluation_episodes: 256,
            ..PpoConfig::default()
        };
        Self { environment, network, training }
    }

    /// Makes what depends on each other agree, and checks the rest.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key, in `place`.
    pub fn settle(&mut self, kind: PpoKind, place: &str) -> Result<()> {
        let observation = &mut self.environment.observation;
        observation.joint = self.network.head == Head::Joint && observation.hints != HintKind::None;
        let recurrent = self.network.lstm > 0;
        if recurrent != (kind == PpoKind::Recurrent) {
            let (problem, remedy) = match kind {
                PpoKind::Recurrent => ("0 units, so no memory", "give it units, or --agent ppo"),
                PpoKind::FeedForward => (
                    "an agent without memory has no LSTM",
                    "leave it at 0, or --agent recurrent-ppo",
                ),
            };
            return Err(Error::input(format!("{place}: network.lstm"), problem, remedy));
        }
        self.training.check(&self.network, &format!("{place}: training"))
    }
}

impl TrpoSettings {
    /// The recipe for `scenario`: what its training begins with where nothing else is said.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario's traffic cannot be read.
    pub fn recipe(scenario: &Scenario) -> Result<Self> {
        let mut environment = EnvironmentConfig::of(scenario);
        let mut training = TrpoConfig::recipe();
        if scenario.environment() == EnvironmentKind::Paper {
            // What the options need, and the step: without memory neither can be found out.
            environment.observation.layout = LayoutKind { features: Features::Feat, timed: true };
            let episode = PaperRules::new(scenario)?.steps();
            // Whole episodes, where they are short.
            training.n_steps = training.n_steps.max(episode).min(LONGEST_ROLLOUT);
            training.reward_baseline = scenario.random_traffic();
        } else {
            training.reward_scale = 1.0;
        }
        Ok(Self { environment, network: NetworkConfig::default(), training })
    }

    /// Checks the settings, which come from `place`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key.
    pub fn settle(&mut self, place: &str) -> Result<()> {
        self.environment.observation.joint = false;
        self.training.check(&self.network, &format!("{place}: training"))
    }
}

impl<T: Default + Serialize + DeserializeOwned> Settings<T> {
    /// With the keys of a `--config` file in place of these settings' own.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file and what in it is wrong.
    pub fn overlaid(self, file: &Path) -> Result<Self> {
        let wrong = |error: &dyn fmt::Display| {
            Error::input(file.display(), error, "see docs/agents.md for the keys and their values")
        };
        let text = read_input(file)?;
        let own: toml::Table = toml::from_str(&text).map_err(|error| wrong(&error))?;
        // Once by itself, for a message with the line of a misspelt key.
        let checked: Result<PartialSettings<T>, _> = toml::from_str(&text);
        checked.map_err(|error| wrong(&error))?;
        let mut table = toml::Table::try_from(&self).map_err(|error| wrong(&error))?;
        overlay(&mut table, own);
        table.try_into().map_err(|error| wrong(&error))
    }
}

/// The same keys, each of which may be absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PartialSettings<T> {
    environment: EnvironmentConfig,
    network: NetworkConfig,
    training: T,
}

/// Puts the values of `over` into `table`, table by table.
fn overlay(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            // A schedule may be a number or a table: either replaces the other whole.
            (Some(toml::Value::Table(own)), toml::Value::Table(value)) => overlay(own, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_fit_their_scenarios_and_files_replace_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let text = "[training]\nsteps = 5\nentropy = 0.1\nlearning_rate = { from = 1e-2, to = 1e-5 }\n\
                    [network]\nhead = \"joint\"\n[environment.observation]\nlayout = \"full_t\"\n";
        std::fs::write(&file, text).unwrap();
        for name in ["paper", "paper-random", "paper-knative", "knative-random"] {
            let scenario = Scenario::load(name, &[]).unwrap();
            for kind in [PpoKind::Recurrent, PpoKind::FeedForward] {
                let mut recipe = PpoSettings::recipe(kind, &scenario).unwrap();
                recipe.settle(kind, "the recipe").unwrap();
                let environments = recipe.environment.clone().prepare(&scenario, 1).unwrap();
                let env = environments.make(0..2, 2).unwrap();
                assert_eq!(env.features(), environments.observer().len());
                let changed = recipe.overlaid(&file).unwrap();
                assert_eq!(changed.training.steps, 5);
                assert_eq!(changed.training.entropy, Schedule::constant(0.1));
                assert_eq!(changed.training.learning_rate, Schedule { from: 1e-2, to: 1e-5 });
                assert_eq!(changed.network.head, Head::Joint);
            }
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "[training]\nstep = 5\n").unwrap();
        let error = PpoSettings::default().overlaid(&file).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(
            text.contains("a.toml") && text.contains("line 2") && text.contains("`step`"),
            "{text}"
        );
    }
}
