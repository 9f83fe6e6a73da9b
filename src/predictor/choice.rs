//! From `--forecaster` to what an episode uses.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::baselines::{Baseline, Stretch, Training, rows_of_a_day};
use super::trained::{self, TrainedPredictor};
use super::{Forecaster, Persistence};
use crate::error::{Error, Result};
use crate::scenario::{EnvironmentKind, Scenario, did_you_mean};
use crate::sim::UserRuns;

/// Rows of training traffic a service that are enough to fit a baseline on.
const ENOUGH_ROWS: usize = 4000;
/// Most training seeds that the rows come from.
const MOST_SEEDS: u64 = 64;

/// A forecaster as it is named on the command line.
#[derive(Clone)]
pub enum ForecasterKind {
    /// A forecaster without a network.
    Baseline(Baseline),
    /// Knows the users at the end of the next stage's ramp: the value of a forecast, not a forecaster.
    Perfect,
    /// As [`Self::Perfect`], each value times a log-normal factor of mean 1 and this coefficient of
    /// variation: how much a policy depends on its forecast.
    NoisyPerfect(f64),
    /// A predictor in a folder.
    Folder(PathBuf, TrainedPredictor),
}

impl ForecasterKind {
    const PERFECT: &'static str = "perfect";
    const NOISY: &'static str = "noisy:";

    /// What an episode of `scenario` uses: fitted on its training traffic, where the forecaster has
    /// something to fit. On `paper` nothing is forecast.
    ///
    /// # Errors
    /// [`Error::Input`] when a trace file cannot be read or does not fit.
    pub fn for_scenario(&self, scenario: &Scenario) -> Result<Foresight> {
        match self {
            Self::Perfect => Ok(Foresight::Perfect),
            Self::NoisyPerfect(cv) => Ok(Foresight::NoisyPerfect(*cv)),
            _ if scenario.environment() == EnvironmentKind::Paper => Ok(Foresight::default()),
            Self::Folder(_, predictor) => {
                let names = scenario.spec.service.iter().map(|service| service.name.as_str());
                Ok(Foresight::Forecaster(predictor.for_services(names)))
            }
            Self::Baseline(baseline) => {
                Ok(Foresight::Forecaster(baseline.fit(&scenario_training(scenario)?)))
            }
        }
    }
}

impl Default for ForecasterKind {
    fn default() -> Self {
        Self::Baseline(Baseline::default())
    }
}

impl fmt::Display for ForecasterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Baseline(baseline) => baseline.fmt(f),
            Self::Perfect => f.write_str(Self::PERFECT),
            Self::NoisyPerfect(cv) => write!(f, "{}{cv}", Self::NOISY),
            // With its contents: another predictor may come to lie in the folder.
            Self::Folder(path, predictor) => {
                let short = predictor.sha256.get(..16).unwrap_or_default();
                write!(f, "{}@{short}", path.display())
            }
        }
    }
}

impl FromStr for ForecasterKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == Self::PERFECT {
            return Ok(Self::Perfect);
        }
        if let Some(number) = text.strip_prefix(Self::NOISY) {
            return match number.parse::<f64>() {
                Ok(cv) if cv.is_finite() && cv >= 0.0 => Ok(Self::NoisyPerfect(cv)),
                _ => Err(Error::input(
                    format!("--forecaster {text}"),
                    "no coefficient of variation",
                    "write noisy:0.3 for the true users times a random factor that varies by 30 %",
                )),
            };
        }
        if let Ok(baseline) = text.parse() {
            return Ok(Self::Baseline(baseline));
        }
        let path = Path::new(text);
        if path.is_dir() || text.contains(['/', '\\', '.']) {
            return Ok(Self::Folder(path.to_owned(), trained::load(path)?));
        }
        Err({
            let names = [&Baseline::NAMES[..], &[Self::PERFECT]].concat();
            Error::input(
                format!("--forecaster {text}"),
                "unknown forecaster",
                format!(
                    "{}known: {}, noisy:CV, or a predictor's folder",
                    did_you_mean(text, &names),
                    names.join(", ")
                ),
            )
        })
    }
}

/// What an episode knows of the coming stage.
#[derive(Clone)]
pub enum Foresight {
    /// The users at the end of the next stage's ramp, from the traffic itself.
    Perfect,
    /// The same times a random factor of mean 1 and this coefficient of variation.
    NoisyPerfect(f64),
    /// What a forecaster makes of the users seen.
    Forecaster(Arc<dyn Forecaster>),
}

impl Default for Foresight {
    fn default() -> Self {
        Self::Forecaster(Arc::new(Persistence))
    }
}

impl fmt::Debug for Foresight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Perfect => ForecasterKind::PERFECT,
            Self::NoisyPerfect(_) => ForecasterKind::NOISY,
            Self::Forecaster(forecaster) => forecaster.name(),
        })
    }
}

/// What forecasters of a scenario are fitted on, one [`Training`] a service: its training traffic, as
/// a controller sees it at the instants of decisions, and the service's `history_users`.
///
/// Where a scenario's traffic is fixed, its training traffic is random within the same range, so
/// that nothing is fitted to the trace it is judged on: the order of the rows then teaches nothing.
///
/// # Errors
/// [`Error::Input`] when a trace file cannot be read or does not fit.
pub fn scenario_training(scenario: &Scenario) -> Result<Vec<Training>> {
    let spec = &scenario.spec;
    let interval_s = spec.interval_s.max(1);
    let mut trainings: Vec<Training> = spec
        .service
        .iter()
        .map(|service| {
            let users = service.history_users.clone();
            let history = Stretch { clock: -(users.len() as i64), users };
            Training { stretches: vec![history], period: rows_of_a_day(f64::from(interval_s)) }
        })
        .collect();
    let mut rows = 0;
    for seed in 0..MOST_SEEDS {
        if rows >= ENOUGH_ROWS {
            break;
        }
        let traffic = scenario.tuning_traffic(seed)?;
        for (training, service) in trainings.iter_mut().zip(&traffic.services) {
            let runs = UserRuns::new(service);
            let users: Vec<f64> = (spec.offset_s..service.duration_s())
                .step_by(interval_s as usize)
                .map(|second| f64::from(runs.at(second)))
                .collect();
            training.stretches.push(Stretch { clock: 0, users });
        }
        rows += traffic.services.iter().map(|service| service.stages.len()).min().unwrap_or(0);
    }
    Ok(trainings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_print_and_are_corrected() {
        for name in [&Baseline::NAMES[..], &["perfect"]].concat() {
            assert_eq!(name.parse::<ForecasterKind>().unwrap().to_string(), name);
        }
        assert_eq!("noisy:0.3".parse::<ForecasterKind>().unwrap().to_string(), "noisy:0.3");
        for text in ["noisy:", "noisy:-1", "noisy:x", "noisy:inf"] {
            assert_eq!(text.parse::<ForecasterKind>().err().unwrap().exit_code(), 2, "{text}");
        }
        for (typed, meant) in
            [("persistance", "persistence"), ("holtwinters", "holt-winters"), ("perfct", "perfect")]
        {
            let error = typed.parse::<ForecasterKind>().err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(&format!("did you mean `{meant}`?")), "{error}");
        }
    }

    #[test]
    fn training_rows_are_what_a_controller_sees_of_training_traffic() {
        let scenario = Scenario::load("knative-random", &[]).unwrap();
        let trainings = scenario_training(&scenario).unwrap();
        assert_eq!(trainings.len(), 3);
        let house = &trainings[0];
        assert_eq!(house.period, 720);
        assert_eq!((house.stretches[0].clock, house.stretches[0].users[3]), (-11, 28.0));
        let traffic = scenario.tuning_traffic(0).unwrap();
        let expected: Vec<f64> =
            traffic.services[0].stages.iter().map(|stage| stage.users).collect();
        assert_eq!(house.stretches[1].users, expected);
        let evaluation = scenario.traffic(0).unwrap();
        assert_ne!(traffic.services[0].stages, evaluation.services[0].stages);
    }
}
