//! The loop: one tick after the other, by the clock that it is given.
//!
//! The order of effects is what makes a restart harmless: read, decide, save (not applied yet), apply
//! while the lease is held, save again (applied). Whoever goes on from a saved state applies what was
//! decided and not applied, and never decides a tick twice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::clock::Clock;
use super::fault::{Fault, FaultKind, FaultSource};
use super::kubernetes::{self, Cluster, LeaseView, Leaseholder, Need, Published, ReplicateState};
use super::memory::Memory;
use super::metrics::{Metrics, Outcome};
use super::record::Recorder;
use super::setup::Setup;
use super::signals::Signals;
use super::state::StateFolder;
use super::telemetry::{self, Telemetry};
use crate::error::{Error, Result};

/// Longest sleep of the loop: so soon a clock that was set is noticed.
const NAP: Duration = Duration::from_secs(1);

/// Time between a look at the signals, in which all was well, and the next one between ticks.
const PROBE: Duration = Duration::from_secs(60);
/// The same where not all was well.
const PROBE_AGAIN: Duration = Duration::from_secs(10);

/// How `live` is to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Decide, but write nothing.
    pub dry_run: bool,
    /// One tick now, then end.
    pub once: bool,
    /// Where to record what was seen and decided.
    pub record: Option<PathBuf>,
    /// The kubeconfig; default: as kubectl, or the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// Version and commit, for the metrics.
    pub version: (&'static str, &'static str),
}

/// A running controller and all that it talks to.
pub(super) struct Live {
    pub setup: Setup,
    pub options: Options,
    pub clock: Arc<dyn Clock>,
    pub cluster: Arc<Cluster>,
    pub signals: Signals,
    pub telemetry: Arc<Telemetry>,
    pub lease: watch::Receiver<LeaseView>,
    pub stop: watch::Receiver<bool>,
    pub folder: StateFolder,
    pub published: Option<Published>,
    pub recorder: Option<Recorder>,
    pub memory: Memory,
    /// The term of the lease whose state was adopted.
    term: u64,
    /// The last tick that ran, or that was counted as missed.
    last: Option<i64>,
    /// Whether definition and rights were found in order.
    checked: bool,
    /// When the signals are looked at next between ticks.
    probe_at: Instant,
    /// Called after each tick with its outcome and reason.
    report: Box<dyn FnMut(&TickReport) + Send>,
}

/// What a tick came to, for whoever watches.
#[derive(Clone, Debug)]
pub struct TickReport {
    /// The tick, unix seconds.
    pub tick: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the guard held a service, whatever the outcome.
    pub held: bool,
    /// What was decided.
    pub decision: crate::snapshot::Decision,
    /// What was seen.
    pub snapshot: crate::snapshot::Snapshot,
    /// What was expected, by service.
    pub forecast: Vec<f64>,
}

/// Runs until a signal asks to stop, or one tick. Gives the outcome of the last tick.
///
/// # Errors
/// [`Error::Input`] when something does not fit together or cannot be had at the start; what fails
/// later is counted, logged and survived.
pub async fn run(
    setup: Setup,
    options: Options,
    clock: Arc<dyn Clock>,
    report: Box<dyn FnMut(&TickReport) + Send>,
) -> Result<Option<Outcome>> {
    let config = setup.file.config.clone();
    // The clients of Prometheus and Kubernetes use one TLS. Fails only when it was called before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let signals = setup.signals()?;
    let kubeconfig = options.kubeconfig.as_deref();
    let (kubernetes, lease) = (&config.kubernetes, &config.lease);
    let cluster = Arc::new(match options.dry_run {
        true => Cluster::for_a_try(kubeconfig, kubernetes, lease).await?,
        false => Cluster::new(kubeconfig, kubernetes, lease).await?,
    });
    let folder = match options.dry_run {
        true => StateFolder::read_only(&config.state.dir),
        false => StateFolder::open(&config.state.dir)?,
    };
    let recorder = options.record.as_deref().map(Recorder::open).transpose()?;
    let (version, commit) = options.version;
    let telemetry = Arc::new(Telemetry::new(Metrics::new(version, commit)?));
    let (stopper, stop) = watch::channel(false);
    let mut server = None;
    if !config.telemetry.listen.is_empty() && !options.once {
        let place = setup.file.place("telemetry.listen");
        let listener = telemetry::listen(&config.telemetry.listen, &place).await?;
        tracing::info!(address = %config.telemetry.listen, "serving /metrics, /healthz, /readyz");
        server =
            Some(tokio::spawn(telemetry::serve(listener, Arc::clone(&telemetry), stop.clone())));
    }
    let stopper = Arc::new(stopper);
    tokio::spawn(wait_for_signals(Arc::clone(&stopper)));
    let mut holder = None;
    let lease = if options.dry_run {
        watch::channel(LeaseView::without_lease()).1
    } else {
        let (task, view) = Leaseholder::new(Arc::clone(&cluster), &config.lease, identity());
        holder = Some(tokio::spawn(task.run(stop.clone())));
        view
    };
    let published = match config.state.replicate {
        ReplicateState::Configmap => Some(Published::new(&config.lease.name)),
        ReplicateState::None => None,
    };
    let memory = Memory::new(&setup)?;
    let once = options.once;
    let mut live = Live {
        setup,
        options,
        clock,
        cluster,
        signals,
        telemetry,
        lease,
        stop,
        folder,
        published,
        recorder,
        memory,
        term: 0,
        last: None,
        checked: false,
        probe_at: Instant::now(),
        report,
    };
    tracing::info!(
        scenario = live.setup.scenario.name(),
        policy = live.setup.controller.policy().name(),
        forecaster = live.setup.controller.forecaster().name(),
        interval_s = live.setup.schedule.interval_s(),
        dry_run = live.options.dry_run,
        "started"
    );
    let outcome = if once { live.once().await } else { live.turn_until_stopped().await };
    stopper.send_replace(true);
    live.end(holder, server).await;
    outcome
}

/// Turns the stop switch at the first SIGTERM or SIGINT.
async fn wait_for_signals(stopper: Arc<watch::Sender<bool>>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        tracing::error!("SIGTERM cannot be caught");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        // Everybody who would listen has gone.
        () = stopper.closed() => return,
    }
    tracing::info!("stopping");
    stopper.send_replace(true);
}

/// A name that no other process has: host, process and the time it began.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let started = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    format!("{}_{}_{started:x}", host.trim(), std::process::id())
}

impl Live {
    pub(super) fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Counts and logs a fault.
    pub(super) fn fault(&self, fault: &Fault) {
        self.telemetry.metrics.fault(fault);
        tracing::warn!(source = fault.source.name(), kind = fault.kind.name(), "{}", fault.text);
    }

    async fn turn_until_stopped(&mut self) -> Result<Option<Outcome>> {
        let mut outcome = None;
        while !self.stopping() {
            let next = self.turn(&mut outcome).await;
            let nap = self.clock.until(next as f64).min(NAP);
            let mut stop = self.stop.clone();
            let mut lease = self.lease.clone();
            lease.mark_unchanged();
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                // Without a lease nobody is left to change it.
                changed = lease.changed() => if changed.is_err() {
                    tokio::time::sleep(nap).await;
                },
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        Ok(outcome)
    }

    /// One look at lease and clock, and the tick that is due. Gives the next tick.
    async fn turn(&mut self, outcome: &mut Option<Outcome>) -> i64 {
        self.telemetry.beat();
        self.look_at_lease();
        if !self.checked {
            self.check().await;
        }
        let now_s = self.clock.now_s();
        if !self.lead().await {
            self.probe_if_time().await;
            return self.setup.schedule.due(now_s, None).next;
        }
        let due = self.setup.schedule.due(self.clock.now_s(), self.last);
        if due.set_back {
            let text = format!("the clock stands before the last tick, {}", self.last.unwrap_or(0));
            self.fault(&Fault::new(FaultSource::Clock, FaultKind::SetBack, text));
            self.last = None;
        }
        if due.missed > 0 {
            self.telemetry.metrics.ticked(Outcome::Missed, due.missed);
            tracing::warn!(ticks = due.missed, "ticks were missed and are not made up for");
        }
        if let Some(tick) = due.tick {
            self.last = Some(tick);
            *outcome = Some(self.tick(tick).await);
            return due.next;
        }
        if due.missed > 0 || due.set_back {
            self.last = Some(due.next - self.setup.schedule.interval_s());
        }
        // Not so late that a server which is silent would delay the tick.
        if self.clock.until(due.next as f64) > 2 * self.setup.file.config.patience() {
            self.probe_if_time().await;
        }
        due.next
    }

    async fn probe_if_time(&mut self) {
        if Instant::now() >= self.probe_at {
            self.probe_signals().await;
        }
    }

    /// The signals were looked at, and `well` or not.
    pub(super) fn probed(&mut self, well: bool) {
        self.probe_at = Instant::now() + if well { PROBE } else { PROBE_AGAIN };
    }

    /// Shows the lease's view in metrics, readiness and log.
    fn look_at_lease(&self) {
        let view = self.lease.borrow().clone();
        let leads = !self.options.dry_run && view.is_leader(Instant::now());
        let metrics = &self.telemetry.metrics;
        if metrics.leader.get() != i64::from(leads) {
            metrics.leader.set(i64::from(leads));
            if leads {
                tracing::info!(term = view.term, "this process writes");
            } else if self.term > 0 {
                let text = format!("the lease is held by `{}`: nothing is written", view.holder);
                self.fault(&Fault::new(FaultSource::Lease, FaultKind::Lost, text));
                // What stood in the way of the last tick is the new leader's to mend.
                for what in ["signals", "kubernetes", "apply", "state"] {
                    self.telemetry.problem(what, None);
                }
            }
        }
        metrics.paused.set(i64::from(view.paused));
        let problem = view.fault.as_ref().map(ToString::to_string);
        if self.telemetry.problem("lease", problem)
            && let Some(fault) = &view.fault
        {
            self.fault(fault);
        }
    }

    /// Whether this process decides now. At the begin of a term it adopts the latest state.
    async fn lead(&mut self) -> bool {
        let view = self.lease.borrow().clone();
        if !view.is_leader(Instant::now()) {
            return false;
        }
        if view.term != self.term {
            self.term = view.term;
            self.adopt().await;
            self.last = self.memory.saved.as_ref().map(|saved| saved.tick);
        }
        true
    }

    /// Looks for the definition and the rights, and says what is missing.
    async fn check(&mut self) {
        match kubernetes::missing(&self.cluster, self.published.is_some()).await {
            Ok(needs) => {
                let (optional, hard): (Vec<&Need>, Vec<&Need>) =
                    needs.iter().partition(|need| need.optional);
                let said: Vec<String> =
                    hard.iter().map(|need| format!("{}; {}", need.what, need.remedy)).collect();
                let problem = (!hard.is_empty()).then(|| said.join(", "));
                if self.telemetry.problem("cluster", problem) {
                    for need in &hard {
                        tracing::error!(remedy = need.remedy, "{}", need.what);
                    }
                }
                self.checked = hard.is_empty();
                if self.checked {
                    for need in optional {
                        tracing::warn!(remedy = need.remedy, "{}: goes without", need.what);
                    }
                }
            }
            Err(fault) => {
                if self.telemetry.problem("cluster", Some(fault.to_string())) {
                    self.fault(&fault);
                }
            }
        }
        self.telemetry.problem("start", None);
    }

    /// One tick now, with the lease if there is one to hold.
    async fn once(&mut self) -> Result<Option<Outcome>> {
        let patience = self.setup.file.config.lease.duration.0 + Duration::from_secs(5);
        let until = Instant::now() + patience;
        while !self.lead().await {
            if Instant::now() > until || self.stopping() {
                let view = self.lease.borrow().clone();
                let why = view
                    .fault
                    .map_or(format!("it is held by {}", view.holder), |fault| fault.to_string());
                return Err(Error::Failed(format!("the lease could not be had: {why}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let tick = self.clock.now_s().floor() as i64;
        Ok(Some(self.tick(tick).await))
    }

    async fn end(
        self,
        holder: Option<tokio::task::JoinHandle<()>>,
        server: Option<tokio::task::JoinHandle<()>>,
    ) {
        let patience = self.cluster.timeout() * 3;
        drop(self);
        for task in [holder, server].into_iter().flatten() {
            if tokio::time::timeout(patience, task).await.is_err() {
                tracing::warn!("a task did not end in time");
            }
        }
    }

    pub(super) fn tell(&mut self, report: &TickReport) {
        (self.report)(report);
    }

    /// What the custom resource is taken to ask for where it does not exist: what was applied last, or
    /// else the scenario's initial options.
    pub(super) fn newest_without_object(&self) -> Vec<crate::snapshot::RevisionSnapshot> {
        let saved = self.memory.saved.as_ref().map(|saved| saved.newest.clone());
        saved.unwrap_or_else(|| self.setup.initial())
    }
}
