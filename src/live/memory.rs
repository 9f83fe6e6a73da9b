//! What the running controller remembers, and where it takes it from when its term begins.

use super::fault::{Fault, FaultKind, FaultSource};
use super::prometheus::Steps;
use super::record::RecordStart;
use super::run::Live;
use super::setup::Setup;
use super::state::SavedState;
use crate::control::ControllerState;
use crate::error::Result;
use crate::policy::PolicyState;
use crate::snapshot::{QuotaSnapshot, RevisionSnapshot};

/// Rows of the past that a forecaster is refilled with: a day of two-minute intervals.
const REFILL_ROWS: usize = 720;

/// The controller's memory in this process.
pub(super) struct Memory {
    /// The state as it was saved last, by whomever.
    pub saved: Option<SavedState>,
    /// The controller's own.
    pub controller: ControllerState,
    /// What each service was last seen to run with all its pods ready.
    pub serving: Vec<RevisionSnapshot>,
    /// The real quota as last read.
    pub quota: Option<QuotaSnapshot>,
    /// Whether the last answer about it was that we may not read it.
    pub quota_forbidden: bool,
    /// Whether the next line of a record says what it starts from.
    pub begins: bool,
}

impl Memory {
    /// Before any tick.
    ///
    /// # Errors
    /// When the policy cannot run on this scenario.
    pub fn new(setup: &Setup) -> Result<Self> {
        Ok(Self {
            saved: None,
            controller: setup.controller.start(setup.start_policy()?),
            serving: setup.initial(),
            quota: None,
            quota_forbidden: false,
            begins: true,
        })
    }

    /// Decisions made so far.
    pub fn step(&self) -> u32 {
        self.saved.as_ref().map_or(0, |saved| saved.step)
    }
}

impl Live {
    /// Adopts the latest state there is, of this process, its predecessor, or another leader's; without
    /// any, refills the forecaster's history.
    pub(super) async fn adopt(&mut self) {
        let here = self.saved_here();
        let there = self.saved_there().await;
        let own = self.memory.saved.take();
        let latest = [own, here, there]
            .into_iter()
            .flatten()
            .reduce(|best, other| if other.is_after(&best) { other } else { best });
        self.memory.begins = true;
        match latest {
            Some(saved) => self.go_on_from(saved).await,
            None => self.refill().await,
        }
    }

    /// The state in the folder; one that cannot be used is put out of the way.
    fn saved_here(&self) -> Option<SavedState> {
        let loaded = self.folder.load().and_then(|text| {
            let read = |text: String| {
                SavedState::from_json(&text, &self.setup.identity, &self.setup.controller)
            };
            text.map(read).transpose()
        });
        match loaded {
            Ok(saved) => saved,
            Err(fault) => {
                self.fault(&fault);
                if !self.options.dry_run {
                    match self.folder.reject() {
                        Ok(path) => {
                            tracing::warn!(path = %path.display(), "the state was put aside")
                        }
                        Err(fault) => self.fault(&fault),
                    }
                }
                None
            }
        }
    }

    /// The state that the last leader published.
    async fn saved_there(&self) -> Option<SavedState> {
        let published = self.published.as_ref()?;
        let text = match published.read(&self.cluster).await {
            Ok(text) => text?,
            Err(fault) => {
                self.fault(&fault);
                return None;
            }
        };
        match SavedState::from_json(&text, &self.setup.identity, &self.setup.controller) {
            Ok(saved) => Some(saved),
            Err(fault) => {
                let text = format!("the published state is not used: {}", fault.text);
                self.fault(&Fault { text, ..fault });
                None
            }
        }
    }

    async fn go_on_from(&mut self, saved: SavedState) {
        self.memory.controller = saved.controller.clone();
        if matches!(self.memory.controller.policy, PolicyState::External { process: None, .. }) {
            // A process cannot be saved: it begins anew.
            match self.setup.start_policy() {
                Ok(policy) => self.memory.controller.policy = policy,
                Err(error) => tracing::error!(%error, "the policy did not start"),
            }
        }
        self.memory.serving.clone_from(&saved.serving);
        tracing::info!(tick = saved.tick, applied = saved.applied, "goes on from a saved state");
        let age_s = self.clock.now_s() - saved.tick as f64;
        let unapplied = !saved.applied && age_s < self.setup.schedule.interval_s() as f64;
        self.memory.saved = Some(saved);
        if unapplied && !self.options.dry_run {
            self.apply_again().await;
        }
    }

    /// Begins without a state: the forecaster sees the past that Prometheus has.
    async fn refill(&mut self) {
        let schedule = &self.setup.schedule;
        let speed = self.setup.file.config.clock.speed;
        let rows = self.setup.controller.forecaster().memory().clamp(1, REFILL_ROWS);
        let interval_s = schedule.interval_s() as f64;
        let now_s = self.clock.now_s();
        // The ticks before the next one to run, on the wall's clock, which is Prometheus'.
        let latest = schedule.latest(now_s);
        let last = match schedule.due(now_s, None).tick {
            Some(_) => latest - schedule.interval_s(),
            None => latest,
        };
        let wall_s = super::clock::wall_s();
        let steps = Steps {
            from_s: wall_s - (now_s - last as f64 + interval_s * (rows - 1) as f64) / speed,
            step_s: interval_s / speed,
            points: rows,
        };
        let deadline = tokio::time::Instant::now() + self.setup.file.config.patience();
        let past = self.signals.history(steps, deadline).await;
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(past.len());
        for users in past {
            match users {
                Ok(users) => {
                    let guard = self.setup.controller.guard();
                    // Before the first sample there is nothing to remember.
                    let from = users.iter().position(|&one| guard.believable(one));
                    rows.push(from.map_or_else(Vec::new, |from| users[from..].to_vec()));
                }
                Err(fault) => {
                    self.fault(&fault);
                    rows.push(Vec::new());
                }
            }
        }
        if rows.iter().any(Vec::is_empty) {
            tracing::info!("no past of some services: the scenario's own history stands in");
            return;
        }
        let policy = std::mem::take(&mut self.memory.controller.policy);
        let past: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        tracing::info!(rows = past[0].len(), "the history is refilled from Prometheus");
        self.memory.controller = self.setup.controller.start_after(policy, &past);
    }

    /// What a record has to say before the first tick of a term.
    pub(super) fn record_start(&self) -> RecordStart {
        RecordStart {
            scenario: self.setup.scenario.to_toml(),
            base_dir: std::path::absolute(&self.setup.scenario.base_dir).unwrap_or_default(),
            checkpoint: self.setup.file.name_or_path(&self.setup.file.config.checkpoint),
            forecaster: self.setup.file.name_or_path(&self.setup.file.config.forecaster),
            state: self.memory.controller.clone(),
        }
    }

    /// Saves the state in the folder and publishes it. What fails is counted and survived: the process
    /// itself still knows.
    pub(super) async fn save(&self) {
        let Some(saved) = &self.memory.saved else { return };
        if self.options.dry_run {
            return;
        }
        let text = match saved.to_json() {
            Ok(text) => text,
            Err(fault) => return self.fault(&fault),
        };
        let folder = self.folder.clone();
        let kept = text.clone();
        // The disk and the network at the same time: both stand before the apply.
        let write = tokio::task::spawn_blocking(move || folder.save(&kept));
        let publish = async {
            match &self.published {
                Some(published) => published.write(&self.cluster, text).await,
                None => Ok(()),
            }
        };
        let (written, published) = tokio::join!(write, publish);
        let written = written.unwrap_or_else(|error| {
            Err(Fault::new(FaultSource::State, FaultKind::Unwritable, error.to_string()))
        });
        let problem = written.as_ref().err().map(ToString::to_string);
        self.telemetry.problem("state", problem);
        if let Err(fault) = written {
            self.fault(&fault);
        }
        if let Err(fault) = published {
            let source = FaultSource::State;
            self.fault(&Fault::new(source, FaultKind::Unpublished, fault.text));
        }
    }
}
