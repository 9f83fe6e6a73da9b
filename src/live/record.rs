//! The record of what a controller saw and decided, one JSON line a tick, and its replay.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::{Controller, ControllerState};
use crate::env::knative::push_rows;
use crate::error::{Error, Result};
use crate::run::DecisionRow;
use crate::scenario::Scenario;
use crate::snapshot::{Decision, Snapshot};

/// One tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordLine<S> {
    /// The tick, unix seconds.
    pub tick: i64,
    /// What was seen.
    pub snapshot: Snapshot,
    /// What was decided.
    pub decision: Decision,
    /// What the controller was, where a process begins or adopts another's state.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub start: Option<S>,
}

/// Everything that decides beside the snapshots.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordStart {
    /// The resolved scenario, as TOML.
    pub scenario: String,
    /// The folder that the scenario's paths are relative to.
    pub base_dir: PathBuf,
    /// The checkpoint or policy.
    pub checkpoint: String,
    /// The forecaster.
    pub forecaster: String,
    /// The controller's state before the tick.
    pub state: ControllerState,
}

/// A record that is being written.
pub struct Recorder {
    path: PathBuf,
    file: File,
}

impl Recorder {
    /// Appends to `path`.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path).map_err(|source| {
            Error::input(
                format!("--record {}", path.display()),
                format!("cannot write the file: {source}"),
                "name another file",
            )
        })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes one line, whole.
    ///
    /// # Errors
    /// [`Error::Io`] when that fails.
    pub fn write(&mut self, line: &RecordLine<RecordStart>) -> Result<()> {
        let mut text = serde_json::to_string(line)
            .map_err(|error| Error::Failed(format!("cannot write a record: {error}")))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| Error::io("write", &self.path, source))
    }
}

/// Reads a record.
///
/// # Errors
/// [`Error::Input`] naming file and line.
pub fn read(path: &Path) -> Result<Vec<RecordLine<RecordStart>>> {
    let file = File::open(path).map_err(|source| {
        Error::input(path.display(), format!("cannot read the file: {source}"), "check the path")
    })?;
    let mut lines = Vec::new();
    for (number, text) in BufReader::new(file).lines().enumerate() {
        let place = || format!("{}:{}", path.display(), number + 1);
        let remedy = "give a file that `quotascale live --record` wrote";
        let text = text.map_err(|error| Error::input(place(), error, remedy))?;
        let line: RecordLine<RecordStart> = serde_json::from_str(&text)
            .map_err(|error| Error::input(place(), format!("no record: {error}"), remedy))?;
        if number == 0 && line.start.is_none() {
            return Err(Error::input(
                place(),
                "the record does not say what it starts from",
                remedy,
            ));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Error::input(
            path.display(),
            "the record is empty",
            "record at least one tick",
        ));
    }
    Ok(lines)
}

/// What a replay gives.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// The decisions as rows, one a tick and service.
    pub rows: Vec<DecisionRow>,
    /// The ticks whose decision is not the recorded one.
    pub differing: Vec<i64>,
}

/// Decides anew on every snapshot of a record. `make` makes what a start names.
///
/// # Errors
/// Those of `make`, and of the decisions.
pub fn replay(
    lines: &[RecordLine<RecordStart>],
    mut make: impl FnMut(&RecordStart) -> Result<(Scenario, Controller)>,
) -> Result<Replayed> {
    let mut current: Option<(Scenario, Controller, ControllerState)> = None;
    let mut replayed = Replayed::default();
    for line in lines {
        if let Some(start) = &line.start {
            let (scenario, controller) = make(start)?;
            current = Some((scenario, controller, start.state.clone()));
        }
        let (scenario, controller, state) = current.as_mut().ok_or_else(|| {
            Error::Failed("the record does not say what it starts from".to_owned())
        })?;
        let decision = controller.decide(&line.snapshot, None, state)?;
        push_rows(scenario, &line.snapshot, state.forecast.next(), &decision, &mut replayed.rows);
        if decision != line.decision {
            replayed.differing.push(line.tick);
        }
    }
    Ok(replayed)
}
