//! The folder of a finished or stopped training, as `plot` and `report` show it.

use std::path::Path;

use crate::agent::checkpoint::LAST;
use crate::agent::log::{LOG, LogRow, read_log};
use crate::error::Result;
use crate::nn::{Checkpoint, Metadata};
use crate::scenario::Scenario;

/// Agents whose trainings have a course; fitted values have none.
const KINDS: [&str; 3] = ["recurrent-ppo", "ppo", "trpo"];

/// A training.
pub(super) struct TrainingFolder {
    /// What was trained, with which seed and for how long.
    pub(super) metadata: Metadata,
    /// The scenario that it was trained on.
    pub(super) scenario: Scenario,
    /// Its course.
    pub(super) rows: Vec<LogRow>,
}

impl TrainingFolder {
    /// Whether `folder` holds a training with a course.
    pub(super) fn is_at(folder: &Path) -> bool {
        folder.join(LOG).exists() && Checkpoint::exists(&folder.join(LAST))
    }

    /// Reads the training in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let scenario = folder.join("scenario.toml");
        Ok(Self {
            metadata: Checkpoint::load(&folder.join(LAST), &KINDS, None)?.metadata,
            scenario: Scenario::load(&scenario.to_string_lossy(), &[])?,
            rows: read_log(folder)?,
        })
    }

    /// What was trained on what.
    pub(super) fn subject(&self) -> String {
        format!("Training of {} on {}", self.metadata.kind, self.scenario.name())
    }

    /// The same with the seed.
    pub(super) fn title(&self) -> String {
        format!("{}, seed {}", self.subject(), self.metadata.seed)
    }
}
