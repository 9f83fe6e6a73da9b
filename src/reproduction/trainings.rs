//! Agents that a full reproduction trains: for the curves of learning, and with one part left out each.

use std::path::{Path, PathBuf};

use super::Effort;
use super::plan::{Evaluation, SEEDS, daily};
use crate::agent::log::{LogRow, read_log};
use crate::agent::settings::{PpoKind, PpoSettings};
use crate::error::{Error, Result};
use crate::policy::Shipped;
use crate::scenario::Scenario;

/// One training.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Name of its folder.
    pub id: String,
    /// `recurrent-ppo` or `ppo`.
    pub agent: &'static str,
    /// A built-in scenario.
    pub scenario: &'static str,
    /// What of it is changed.
    pub sets: Vec<String>,
    /// What replaces the recipe's settings: TOML.
    pub settings: &'static str,
    /// Environment steps, where they are not the recipe's.
    pub steps: Option<u64>,
    /// Its master seed.
    pub seed: u64,
}

/// Steps in a second on one machine of two cores, where the progress of the whole begins from: on
/// environment paper, and on the simulator with and without recurrence.
const STEPS_PER_S: [f64; 3] = [30_000.0, 18_000.0, 30_000.0];

impl Training {
    /// How many steps it has.
    ///
    /// # Errors
    /// When there is no recipe for its scenario: a slip in the plan.
    pub fn all_steps(&self) -> Result<u64> {
        if let Some(steps) = self.steps {
            return Ok(steps);
        }
        let scenario = Scenario::load(self.scenario, &self.sets)?;
        let kind = if self.agent == AGENT { PpoKind::Recurrent } else { PpoKind::FeedForward };
        Ok(PpoSettings::recipe(kind, &scenario)?.training.steps)
    }

    /// How long a step may take, seconds.
    pub fn step_s(&self) -> f64 {
        let [paper, recurrent, feed_forward] = STEPS_PER_S;
        1.0 / match self.agent {
            _ if self.scenario == CURVES_ON => paper,
            AGENT => recurrent,
            _ => feed_forward,
        }
    }
}

/// The agent whose curves are shown.
pub const AGENT: &str = "recurrent-ppo";
/// The scenario of these curves.
pub const CURVES_ON: &str = "paper";
/// Trainings of a curve.
const CURVE_SEEDS: u64 = 5;
/// Trainings of an agent with a part left out.
const PART_SEEDS: u64 = 3;
/// Steps of each of them.
const PART_STEPS: u64 = 500_000;

/// An agent with one part left out, or none.
struct Without {
    label: &'static str,
    id: &'static str,
    agent: &'static str,
    /// In its evaluation.
    forecaster: &'static str,
    settings: &'static str,
}

/// Trained with errors like those of an autoregression, and run with that autoregression.
const FORECAST: &str = "[environment.forecast]\nforecaster = \"ar\"\nnoise = true\n";

const PARTS: [Without; 5] = [
    Without {
        label: "all parts",
        id: "part-none",
        agent: AGENT,
        forecaster: "ar",
        settings: FORECAST,
    },
    Without {
        label: "no recurrence",
        id: "part-recurrence",
        agent: "ppo",
        forecaster: "ar",
        settings: FORECAST,
    },
    Without {
        label: "no forecast",
        id: "part-forecast",
        agent: AGENT,
        forecaster: "persistence",
        settings: "",
    },
    Without {
        label: "perfect forecast",
        id: "part-errors",
        agent: AGENT,
        forecaster: "perfect",
        settings: "[environment.forecast]\nforecaster = \"perfect\"\n",
    },
    Without {
        label: "no quota in the observation",
        id: "part-quota",
        agent: AGENT,
        forecaster: "ar",
        settings: "[environment.observation]\nlayout = \"knative_no_quota\"\n\
                   [environment.forecast]\nforecaster = \"ar\"\nnoise = true\n",
    },
];

/// The folder of a training.
pub fn folder(root: &Path, id: &str) -> PathBuf {
    root.join("trainings").join(id)
}

fn curve_id(seed: u64) -> String {
    format!("{AGENT}-{CURVES_ON}-{seed}")
}

fn part_id(part: &Without, seed: u64) -> String {
    format!("{}-{seed}", part.id)
}

/// Everything that is trained.
pub fn trainings(effort: Effort) -> Vec<Training> {
    if effort == Effort::Quick {
        return Vec::new();
    }
    let curves = (0..CURVE_SEEDS).map(|seed| Training {
        id: curve_id(seed),
        agent: AGENT,
        scenario: CURVES_ON,
        sets: Vec::new(),
        settings: "",
        steps: None,
        seed,
    });
    let parts = PARTS.iter().flat_map(|part| {
        (0..PART_SEEDS).map(move |seed| Training {
            id: part_id(part, seed),
            agent: part.agent,
            scenario: "knative-random",
            sets: daily(),
            settings: part.settings,
            steps: Some(PART_STEPS),
            seed,
        })
    });
    curves.chain(parts).collect()
}

/// Evaluations of what was trained, beside policies that need no training.
pub fn evaluations(effort: Effort) -> Vec<Evaluation> {
    if effort == Effort::Quick {
        return Vec::new();
    }
    let of = |part: &Without| Evaluation {
        id: part.id,
        scenario: "knative-random",
        sets: daily(),
        forecaster: part.forecaster,
        policies: &["hybrid", "priced-greedy"],
        trained: (0..PART_SEEDS)
            .map(|seed| (format!("training-{seed}"), part_id(part, seed)))
            .collect(),
        theirs: false,
        seeds: SEEDS,
    };
    PARTS.iter().map(of).collect()
}

/// Labels and evaluations of the agents with a part left out.
pub fn parts() -> Vec<(&'static str, &'static str)> {
    PARTS.iter().map(|part| (part.label, part.id)).collect()
}

/// The logs of the curves: those in `root`, of a quick reproduction that of the shipped agent.
///
/// # Errors
/// [`Error::Input`] when a log is missing or damaged.
pub fn logs(root: &Path, effort: Effort) -> Result<Vec<Vec<LogRow>>> {
    match effort {
        Effort::Full => {
            (0..CURVE_SEEDS).map(|seed| read_log(&folder(root, &curve_id(seed)))).collect()
        }
        Effort::Quick => {
            let shipped = Shipped::find(AGENT, CURVES_ON);
            let shipped = shipped
                .ok_or_else(|| Error::Failed(format!("no {AGENT} for {CURVES_ON} is shipped")))?;
            Ok(vec![shipped.log()?])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_training_has_settings_that_fit_and_every_evaluation_is_trained_for() {
        let work = tempfile::tempdir().unwrap();
        let trainings = trainings(Effort::Full);
        for training in &trainings {
            let scenario = Scenario::load(training.scenario, &training.sets).unwrap();
            let kind = match training.agent {
                AGENT => PpoKind::Recurrent,
                _ => PpoKind::FeedForward,
            };
            let file = work.path().join("settings.toml");
            std::fs::write(&file, training.settings).unwrap();
            let recipe = PpoSettings::recipe(kind, &scenario).unwrap();
            let mut settings = recipe.overlaid(&file).unwrap();
            settings.settle(kind, &training.id).unwrap();
            settings.environment.observer(&scenario).unwrap();
        }
        let mut ids: Vec<&str> = trainings.iter().map(|training| training.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), trainings.len());
        for evaluation in evaluations(Effort::Full) {
            assert!(evaluation.trained.iter().all(|(_, id)| ids.contains(&id.as_str())));
            assert!(parts().iter().any(|part| part.1 == evaluation.id));
        }
        assert!(logs(work.path(), Effort::Quick).unwrap()[0].len() > 10);
    }
}
