//! What a training reports of every iteration: `log.csv`, and TensorBoard's event files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::tensorboard::EventWriter;
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// One iteration; a row of `log.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogRow {
    /// Environment steps so far.
    pub steps: u64,
    /// Gradient steps so far.
    pub updates: u64,
    /// Wall time so far, seconds, evaluations and checkpoints included.
    pub seconds: f64,
    /// Environment steps a second in this iteration.
    pub steps_per_s: f64,
    /// Mean reward of the episodes that ended; empty where none did.
    pub episode_reward: Option<f64>,
    /// The same as a share of the exact optimum, where the training traffic is one known trace.
    pub episode_share: Option<f64>,
    /// Mean reward of the most likely actions on held-out traffic; empty where it was not measured.
    pub evaluation_reward: Option<f64>,
    /// Mean share of the exact optimum there, where that is known.
    pub evaluation_share: Option<f64>,
    /// Entropy of the policy, nats, all services together.
    pub entropy: f64,
    /// Estimated divergence from the policy of the rollout, a mean over the gradient steps.
    pub kl: f64,
    /// Share of probability ratios out of bounds.
    pub clip_fraction: f64,
    /// 1 - Var(return - value) / Var(return).
    pub explained_variance: f64,
    /// Clipped surrogate, to be minimised.
    pub policy_loss: f64,
    /// Half the values' mean squared error.
    pub value_loss: f64,
    /// Negative log-likelihood of the imitated episode's actions; empty without one.
    pub imitation_loss: Option<f64>,
    /// Norm of the last gradient before clipping: the actor's, or that of all where shared.
    pub gradient_norm: f64,
    /// The critic's; empty where shared.
    pub critic_gradient_norm: Option<f64>,
    /// Step size.
    pub learning_rate: f64,
    /// Weight of the entropy.
    pub entropy_weight: f64,
    /// Share of the iteration's time in environments.
    pub env_share: f64,
    /// Share in networks while acting.
    pub act_share: f64,
    /// Share in updates.
    pub learn_share: f64,
}

impl LogRow {
    /// What TensorBoard shows, with its tags.
    fn scalars(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let optional = [
            ("reward/episode", self.episode_reward),
            ("reward/episode_share_of_optimum", self.episode_share),
            ("reward/evaluation", self.evaluation_reward),
            ("reward/evaluation_share_of_optimum", self.evaluation_share),
            ("loss/imitation", self.imitation_loss),
            ("gradient/critic_norm", self.critic_gradient_norm),
        ];
        let always = [
            ("policy/entropy", self.entropy),
            ("policy/kl", self.kl),
            ("policy/clip_fraction", self.clip_fraction),
            ("value/explained_variance", self.explained_variance),
            ("loss/policy", self.policy_loss),
            ("loss/value", self.value_loss),
            ("gradient/norm", self.gradient_norm),
            ("settings/learning_rate", self.learning_rate),
            ("settings/entropy_weight", self.entropy_weight),
            ("time/steps_per_s", self.steps_per_s),
            ("time/env_share", self.env_share),
            ("time/act_share", self.act_share),
            ("time/learn_share", self.learn_share),
        ];
        let given = optional.into_iter().filter_map(|(tag, value)| value.map(|value| (tag, value)));
        given.chain(always)
    }
}

/// Name of the table in a training's folder.
pub const LOG: &str = "log.csv";

/// The rows of a training's `log.csv`, of which there are none before it begins.
///
/// # Errors
/// [`Error::Input`] when the file cannot be read.
pub fn read_log(folder: &Path) -> Result<Vec<LogRow>> {
    let path = folder.join(LOG);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
    parse_log(&text, &path)
}

/// The rows of the log `text`, which messages call `place`.
///
/// # Errors
/// [`Error::Input`] when it is no log.
pub fn parse_log(text: &[u8], place: &Path) -> Result<Vec<LogRow>> {
    let wrong = |error: csv::Error| {
        let remedy = "remove the file, or train anew with --force";
        Error::input(place.display(), error, remedy)
    };
    let mut rows = Vec::new();
    for row in csv::Reader::from_reader(text).deserialize() {
        match row {
            Ok(row) => rows.push(row),
            // The last line may have been cut off when the program was killed.
            Err(error) if matches!(error.kind(), csv::ErrorKind::UnequalLengths { .. }) => break,
            Err(error) => return Err(wrong(error)),
        }
    }
    Ok(rows)
}

/// Writes both.
pub struct Log {
    path: PathBuf,
    csv: csv::Writer<File>,
    events: EventWriter,
}

impl Log {
    /// Begins the files in `folder`, the table with `rows`, which were there before.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(folder: &Path, rows: &[LogRow]) -> Result<Self> {
        let path = folder.join(LOG);
        let failed = |source: csv::Error| Error::Failed(format!("{}: {source}", path.display()));
        let mut bytes = csv::Writer::from_writer(Vec::new());
        for row in rows {
            bytes.serialize(row).map_err(failed)?;
        }
        let bytes =
            bytes.into_inner().map_err(|error| Error::io("write", &path, error.into_error()))?;
        write_atomically(&path, |writer| writer.write_all(&bytes))?;
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(|source| Error::io("write", &path, source))?;
        let csv = csv::WriterBuilder::new().has_headers(rows.is_empty()).from_writer(file);
        let events = EventWriter::create(&folder.join("tensorboard"), unix_s())?;
        Ok(Self { path, csv, events })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn push(&mut self, row: &LogRow) -> Result<()> {
        self.csv.serialize(row).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(source) => Error::io("write", &self.path, source),
            other => Error::Failed(format!("{}: {other:?}", self.path.display())),
        })?;
        self.events.scalars(row.steps, unix_s(), row.scalars())
    }

    /// Hands everything over to the operating system.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.csv.flush().map_err(|source| Error::io("write", &self.path, source))?;
        self.events.flush()
    }
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
