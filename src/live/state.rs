//! What live remembers, saved around each decision so that a restart, or another process, goes on as
//! if nothing had happened.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind, FaultSource};
use super::resource::Spec;
use crate::control::{Controller, ControllerState};
use crate::error::{Error, Result};
use crate::files::write_durably;
use crate::snapshot::{Decision, RevisionSnapshot};

/// Version of the format; a state of another one is not read.
const VERSION: u32 = 1;
/// Name of the file.
const FILE: &str = "state.json";

/// What is remembered after a tick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Version of the format.
    pub version: u32,
    /// Which checkpoint, scenario and forecaster it belongs to ([`super::setup::Setup::identity`]).
    pub identity: String,
    /// The tick, unix seconds.
    pub tick: i64,
    /// When the signals were asked for, unix seconds of the same clock: later than the tick where it ran
    /// late.
    #[serde(default)]
    pub looked_s: f64,
    /// Decisions made so far.
    pub step: u32,
    /// What was decided.
    pub decision: Decision,
    /// The fields that say so in the custom resource.
    pub spec: Spec,
    /// Whether the custom resource holds them, or nothing was to be written.
    pub applied: bool,
    /// The controller's own.
    pub controller: ControllerState,
    /// What each service was asked to run last.
    pub newest: Vec<RevisionSnapshot>,
    /// What each service was last seen to run with all its pods ready.
    pub serving: Vec<RevisionSnapshot>,
}

impl SavedState {
    /// Reads what [`Self::to_json`] writes, of the program and checkpoint named by `identity`.
    ///
    /// # Errors
    /// The fault, of the kind that says why it is not ours.
    pub fn from_json(text: &str, identity: &str, controller: &Controller) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
            identity: String,
        }
        let fault = |kind, text: String| Fault::new(FaultSource::State, kind, text);
        let unreadable = |error: serde_json::Error| fault(FaultKind::Unreadable, error.to_string());
        let head: Head = serde_json::from_str(text).map_err(unreadable)?;
        if head.version != VERSION {
            let text = format!("format {} and not {VERSION}", head.version);
            return Err(fault(FaultKind::OtherVersion, text));
        }
        if head.identity != identity {
            let text = "it belongs to another checkpoint, scenario or forecaster".to_owned();
            return Err(fault(FaultKind::OtherCheckpoint, text));
        }
        let state: Self = serde_json::from_str(text).map_err(unreadable)?;
        let services = state.controller.guard.services.len();
        let fits = controller.accepts(&state.controller)
            && [state.newest.len(), state.serving.len(), state.decision.services.len()]
                .iter()
                .all(|&count| count == services);
        if !fits {
            let text = "its numbers do not fit the checkpoint".to_owned();
            return Err(fault(FaultKind::Unreadable, text));
        }
        Ok(state)
    }

    /// As JSON.
    ///
    /// # Errors
    /// The fault, [`FaultKind::Unwritable`]; numbers that JSON cannot hold do not occur in a state.
    pub fn to_json(&self) -> Result<String, Fault> {
        serde_json::to_string(self).map_err(|error| {
            Fault::new(FaultSource::State, FaultKind::Unwritable, error.to_string())
        })
    }

    /// The version that this program writes.
    pub fn version() -> u32 {
        VERSION
    }

    /// Whether this state is later than `other`: by tick, and applied after decided.
    pub fn is_after(&self, other: &Self) -> bool {
        (self.tick, self.applied) > (other.tick, other.applied)
    }
}

/// The folder that the state is saved in.
#[derive(Clone, Debug)]
pub struct StateFolder {
    file: PathBuf,
}

impl StateFolder {
    /// In `folder`, which is created and tried now, so that a bad place is said at the start.
    ///
    /// # Errors
    /// [`Error::Input`] when nothing can be written there.
    pub fn open(folder: &Path) -> Result<Self> {
        let probe = folder.join(".quotascale-probe");
        write_durably(&probe, |_| Ok(()))?;
        std::fs::remove_file(&probe).map_err(|source| Error::io("remove", &probe, source))?;
        Ok(Self { file: folder.join(FILE) })
    }

    /// In `folder`, for reading only.
    pub fn read_only(folder: &Path) -> Self {
        Self { file: folder.join(FILE) }
    }

    /// Saves `text` whole: after a crash at any moment the file holds this state or the one before.
    ///
    /// # Errors
    /// The fault, [`FaultKind::Unwritable`].
    pub fn save(&self, text: &str) -> Result<(), Fault> {
        write_durably(&self.file, |writer| writer.write_all(text.as_bytes())).map_err(|error| {
            Fault::new(FaultSource::State, FaultKind::Unwritable, error.to_string())
        })
    }

    /// What was saved last; `None` when nothing was.
    ///
    /// # Errors
    /// The fault, [`FaultKind::Unreadable`].
    pub fn load(&self) -> Result<Option<String>, Fault> {
        match std::fs::read(&self.file) {
            Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| {
                Fault::new(FaultSource::State, FaultKind::Unreadable, error.to_string())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::new(
                FaultSource::State,
                FaultKind::Unreadable,
                format!("{}: {error}", self.file.display()),
            )),
        }
    }

    /// Puts a file that cannot be used out of the way, for people to look at. Gives its new name.
    ///
    /// # Errors
    /// The fault, [`FaultKind::Unwritable`].
    pub fn reject(&self) -> Result<PathBuf, Fault> {
        let mut name = self.file.clone().into_os_string();
        name.push(".rejected");
        let rejected = PathBuf::from(name);
        match std::fs::rename(&self.file, &rejected) {
            Ok(()) => Ok(rejected),
            Err(error) => Err(Fault::new(
                FaultSource::State,
                FaultKind::Unwritable,
                format!("{}: {error}", rejected.display()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::{Hybrid, PolicyState};
    use crate::predictor::MovingAverage;
    use crate::scenario::Scenario;

    fn controller() -> Controller {
        let scenario = Scenario::load("paper-knative", &[]).unwrap();
        let policy = Arc::new(Hybrid::new(&scenario.profiles, &[1200.0; 3], 0.7));
        Controller::new(&scenario, policy, Arc::new(MovingAverage::new(3)))
    }

    fn state(controller: &Controller) -> SavedState {
        SavedState {
            version: SavedState::version(),
            identity: "a".to_owned(),
            tick: 115,
            looked_s: 115.25,
            step: 1,
            decision: Decision { services: vec![None; 3], reason: "why".to_owned() },
            spec: Spec::new(),
            applied: false,
            controller: controller.start(PolicyState::None),
            newest: vec![RevisionSnapshot::default(); 3],
            serving: vec![RevisionSnapshot::default(); 3],
        }
    }

    #[test]
    fn a_state_comes_back_and_what_is_not_ours_is_told_apart() {
        let controller = controller();
        let text = state(&controller).to_json().unwrap();
        let back = SavedState::from_json(&text, "a", &controller).unwrap();
        assert_eq!(back.to_json().unwrap(), text);
        let kind = |text: &str, identity| {
            SavedState::from_json(text, identity, &controller).unwrap_err().kind
        };
        assert_eq!(kind(&text, "b"), FaultKind::OtherCheckpoint);
        assert_eq!(kind(&text[..text.len() / 2], "a"), FaultKind::Unreadable);
        assert_eq!(kind("", "a"), FaultKind::Unreadable);
        assert_eq!(
            kind(&text.replace("\"version\":1", "\"version\":2"), "a"),
            FaultKind::OtherVersion
        );
        let mut fewer = state(&controller);
        fewer.newest.pop();
        assert_eq!(kind(&fewer.to_json().unwrap(), "a"), FaultKind::Unreadable);
    }

    #[test]
    fn applied_comes_after_decided_and_a_later_tick_after_both() {
        let controller = controller();
        let decided = state(&controller);
        let applied = SavedState { applied: true, ..decided.clone() };
        let next = SavedState { tick: 235, ..decided.clone() };
        assert!(
            applied.is_after(&decided) && next.is_after(&applied) && !decided.is_after(&applied)
        );
    }

    #[test]
    fn files_are_saved_whole_and_rejected_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/state");
        let store = StateFolder::open(&place).unwrap();
        assert_eq!(store.load(), Ok(None));
        store.save("one").unwrap();
        store.save("two").unwrap();
        assert_eq!(store.load(), Ok(Some("two".to_owned())));
        let rejected = store.reject().unwrap();
        assert!(rejected.ends_with("state.json.rejected"));
        assert_eq!(std::fs::read_to_string(rejected).unwrap(), "two");
        assert_eq!(store.load(), Ok(None));
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "nothing else is left");
    }
}
