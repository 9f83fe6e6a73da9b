//! From the settings of a training run to its environments.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::actions::{ActionConfig, ActionSpace};
use super::batch::BatchEnv;
use super::foresight::NoiseModel;
use super::knative::{KnativeEnvs, TrainingForesight};
use super::observation::{Features, HintKind, LayoutKind, ObservationConfig, Observer};
use super::paper::PaperEnvs;
use super::traffic::{TrafficSource, TrainingTraffic};
use crate::error::{Error, Result};
use crate::predictor::{ForecasterKind, Foresight};
use crate::scenario::spec::GeneratorKind;
use crate::scenario::{EnvironmentKind, Scenario};
use crate::trace::Trace;

/// What an agent is trained on: part of its configuration, kept in its checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentConfig {
    /// What it sees.
    pub observation: ObservationConfig,
    /// What it can choose.
    pub actions: ActionConfig,
    /// What is expected of the coming stage (`knative`; on `paper` the users to be served are known).
    pub forecast: ForecastConfig,
    /// Sources of its traffic; none: the scenario's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<TrafficSource>,
}

/// Where forecasts come from in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForecastConfig {
    /// A forecaster, as `--forecaster` names it.
    pub forecaster: String,
    /// Whether its errors are drawn from a model fitted to it, rather than the forecaster run itself.
    pub noise: bool,
    /// The model, once it is fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<NoiseModel>,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self { forecaster: "persistence".to_owned(), noise: false, model: None }
    }
}

impl EnvironmentConfig {
    /// What is used for `scenario` where nothing else is said. On `paper`: `opt` without hints. On
    /// `knative`: `knative`, with the choice to leave a service alone, which is hinted at.
    ///
    /// Pods of a chosen option: those that the rule asks for, where no autoscaler would add any; the
    /// fewest, from which the autoscaler goes on, where traffic is independent from row to row and
    /// nothing is there to be planned for; both, where traffic can be foreseen.
    pub fn of(scenario: &Scenario) -> Self {
        match scenario.environment() {
            EnvironmentKind::Paper => Self::default(),
            EnvironmentKind::Knative => {
                let autoscaled = scenario.spec.kpa.as_ref().is_some_and(|kpa| kpa.enabled);
                let mut generators =
                    scenario.spec.service.iter().map(|service| service.trace.generator);
                let random = generators.all(|kind| kind == Some(GeneratorKind::Random));
                let pod_shares = match (autoscaled, random) {
                    (false, _) => vec![1.0],
                    (true, true) => vec![0.0],
                    (true, false) => vec![1.0, 0.0],
                };
                Self {
                    observation: ObservationConfig {
                        layout: LayoutKind::of(Features::Knative),
                        hints: HintKind::Keep,
                        ..ObservationConfig::default()
                    },
                    actions: ActionConfig { keep: true, pod_shares },
                    ..Self::default()
                }
            }
        }
    }

    /// The observer of the agent: in training, evaluation and live.
    ///
    /// # Errors
    /// [`Error::Input`] when the settings do not fit the scenario.
    pub fn observer(&self, scenario: &Scenario) -> Result<Observer> {
        let actions = ActionSpace::new(&self.actions, scenario)?;
        Observer::new(&self.observation, &actions, scenario)
    }

    /// Reads and fits what training needs. A noise model that had to be fitted is put into the
    /// settings, so that training goes on with it.
    ///
    /// # Errors
    /// [`Error::Input`] when the settings do not fit the scenario.
    pub fn prepare(&mut self, scenario: &Scenario, seed: u64) -> Result<Environments> {
        let observer = Arc::new(self.observer(scenario)?);
        let traffic = Arc::new(TrainingTraffic::new(scenario, &self.traffic, seed)?);
        let foresight = self.forecast.prepare(scenario, &traffic)?;
        Ok(Environments { scenario: scenario.clone(), observer, traffic, foresight })
    }
}

impl ForecastConfig {
    fn prepare(
        &mut self,
        scenario: &Scenario,
        traffic: &TrainingTraffic,
    ) -> Result<TrainingForesight> {
        let kind: ForecasterKind = self.forecaster.parse()?;
        if !self.noise {
            return Ok(TrainingForesight::As(kind.for_scenario(scenario)?));
        }
        if let Some(model) = &self.model {
            model.check()?;
            return Ok(TrainingForesight::Noise(model.clone()));
        }
        match kind.for_scenario(scenario)? {
            _ if scenario.environment() == EnvironmentKind::Paper => Err(Error::input(
                "forecast.noise",
                "on environment \"paper\" the users to be served are known",
                "leave it out",
            )),
            Foresight::Perfect => Err(Error::input(
                "forecast.noise",
                "\"perfect\" makes no errors to draw",
                "name another forecaster, or leave `noise` out",
            )),
            Foresight::Forecaster(forecaster) => {
                let model = NoiseModel::fit(&forecaster, scenario, traffic)?;
                self.model = Some(model.clone());
                Ok(TrainingForesight::Noise(model))
            }
        }
    }
}

/// Makes environments for training.
#[derive(Clone, Debug)]
pub struct Environments {
    scenario: Scenario,
    observer: Arc<Observer>,
    traffic: Arc<TrainingTraffic>,
    foresight: TrainingForesight,
}

impl Environments {
    /// What the agent sees and can choose.
    pub fn observer(&self) -> &Arc<Observer> {
        &self.observer
    }

    /// Whether every episode is the same: one fixed trace, and nothing else that is drawn.
    pub fn repeats(&self) -> bool {
        self.traffic.fixed() && self.scenario.environment() == EnvironmentKind::Paper
    }

    /// The traffic of an episode.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario's own traffic cannot be drawn.
    pub fn traffic_of(&self, episode: u64) -> Result<Trace> {
        let mut trace = self.traffic.blank();
        self.traffic.renew(self.traffic.episode_seed(episode), &mut trace)?;
        Ok(trace)
    }

    /// The environments `range` of `total` ([`super::MakeEnvironments`]).
    ///
    /// # Errors
    /// [`Error::Input`] when the traffic does not fit the environment.
    pub fn make(&self, range: Range<usize>, total: usize) -> Result<Box<dyn BatchEnv>> {
        let (observer, traffic) = (Arc::clone(&self.observer), Arc::clone(&self.traffic));
        Ok(match self.scenario.environment() {
            EnvironmentKind::Paper => {
                Box::new(PaperEnvs::new(&self.scenario, observer, traffic, range, total)?)
            }
            EnvironmentKind::Knative => Box::new(KnativeEnvs::new(
                &self.scenario,
                observer,
                traffic,
                self.foresight.clone(),
                range,
                total,
            )?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_documentation_are_settings() {
        let text = include_str!("../../docs/environments.md");
        let block = text.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let table: toml::Table = toml::from_str(block).unwrap();
        let mut config: EnvironmentConfig = table["environment"].clone().try_into().unwrap();
        assert_eq!((config.actions.keep, config.traffic.len()), (true, 1));
        let scenario = Scenario::load("knative-random", &[]).unwrap();
        let environments = config.prepare(&scenario, 0).unwrap();
        assert_eq!(environments.make(2..4, 8).unwrap().len(), 2);
    }

    #[test]
    fn pods_to_choose_depend_on_who_adds_them() {
        let shares = |name: &str, sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            EnvironmentConfig::of(&Scenario::load(name, &sets).unwrap()).actions.pod_shares
        };
        assert_eq!(shares("knative-random", &[]), [0.0]);
        assert_eq!(shares("paper-knative", &[]), [1.0, 0.0]);
        assert_eq!(shares("knative-random", &["kpa.enabled=false"]), [1.0]);
        assert_eq!(shares("paper", &[]), [1.0]);
    }

    #[test]
    fn noise_without_errors_to_draw_is_refused() {
        for (name, forecaster) in [("knative-random", "perfect"), ("paper", "persistence")] {
            let scenario = Scenario::load(name, &[]).unwrap();
            let mut config = EnvironmentConfig::of(&scenario);
            config.forecast =
                ForecastConfig { forecaster: forecaster.to_owned(), noise: true, model: None };
            assert_eq!(config.prepare(&scenario, 0).unwrap_err().exit_code(), 2);
        }
    }
}
