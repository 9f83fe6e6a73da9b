//! The paper's comparison with more rigour than the paper had, as a list of what is run and what is
//! shown.
//!
//! [`plan`] declares evaluations (policies and seeds on a scenario, each in a folder of its own) and
//! chapters that show them; [`trainings`] what is trained for it; [`compose`] turns results into sections of a report. Adding an experiment
//! means adding a line to the plan. Evaluations share nothing, so they can be cut into shards, stopped
//! and gone on with like any other.

pub mod compose;
pub mod forecasts;
pub mod plan;
pub mod trainings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use plan::{Chapter, Evaluation, Show, chapters, evaluations};

use crate::env::knative::EpisodeOptions;
use crate::error::Result;
use crate::evaluation;
use crate::nn::Checkpoint;
use crate::policy::{Registry, tuning};
use crate::predictor::ForecasterKind;
use crate::scenario::Scenario;

/// How long the figures and the report may take, seconds.
pub const DRAWING_S: f64 = 5.0;

/// How thorough a reproduction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Few seeds: to see in minutes that all of it works.
    Quick,
    /// At least 20 seeds.
    Full,
}

/// The paper's own agent, in the tables.
pub const THEIRS: &str = "trpo";

/// Where the paper's own agent is imported to, in the folder `root` of a reproduction.
pub fn their_agent(root: &Path) -> PathBuf {
    root.join("agents").join(THEIRS)
}

impl Evaluation {
    /// The scenario as changed.
    ///
    /// # Errors
    /// When a key does not exist: a slip in the plan.
    pub fn scenario(&self) -> Result<Scenario> {
        Scenario::load(self.scenario, &self.sets)
    }

    /// What is run. Policies keep the settings that were tuned for the unchanged scenario: a changed
    /// world is a test of robustness, not a new problem. Agents that were trained or imported are in the
    /// folder `root` of the reproduction.
    ///
    /// # Errors
    /// As [`Self::scenario`]; [`crate::Error::Input`] when an agent is not there.
    pub fn plan(&self, root: &Path, effort: Effort) -> Result<evaluation::Plan> {
        let base = Scenario::load(self.scenario, &[])?;
        let scenario = Arc::new(self.scenario()?);
        let settings = || match tuning::stored(&base)? {
            Some(tuned) => Ok(tuned),
            None => tuning::search(&base),
        };
        let registry = Registry::new(&scenario, &settings)?;
        let mut policies = registry.policies(&[self.policies.join(",")])?;
        let trained = self.trained.iter();
        let mut agents: Vec<(&str, PathBuf)> =
            trained.map(|(name, id)| (name.as_str(), trainings::folder(root, id))).collect();
        if self.theirs && Checkpoint::exists(&their_agent(root)) {
            agents.push((THEIRS, their_agent(root)));
        }
        for (name, folder) in agents {
            policies.push(registry.policy(&format!("{name}:{}", folder.display()))?);
        }
        let forecaster: ForecasterKind = self.forecaster.parse()?;
        let foresight = forecaster.for_scenario(&scenario)?;
        let seeds = match effort {
            Effort::Quick => self.seeds.0,
            Effort::Full => self.seeds.1,
        };
        let options = EpisodeOptions { foresight, ticks: false };
        Ok(evaluation::Plan { scenario, policies, seeds: (0..seeds).collect(), options })
    }

    /// How long one of its runs may take, seconds on one machine of two cores: searches of the oracle
    /// take most of it.
    pub fn cell_s(&self) -> f64 {
        match (self.scenario.starts_with("paper"), self.policies.contains(&"oracle")) {
            (true, true) if self.scenario != "paper-knative" => 0.05,
            (_, true) => 0.018,
            (_, false) => 0.009,
        }
    }

    /// What its folder belongs to, beside the scenario.
    pub fn command(&self) -> String {
        format!("evaluate --forecaster {}", self.forecaster)
    }
}
