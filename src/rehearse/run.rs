//! One rehearsal: simulated time played under real decisions.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::endpoint::{self, Inner, World};
use super::exposition::Exposition;
use super::pace::{self, INGESTION, Leg};
use super::watch::{Report, Seen, Watcher};
use crate::env::knative::{finish, instants, push_rows};
use crate::error::Result;
use crate::live::clock::{Clock, FastClock};
use crate::live::kubernetes::{KubernetesConfig, LeaseConfig};
use crate::live::resource::{ActionFormat, Spec};
use crate::live::signals::Target;
use crate::live::telemetry;
use crate::run::{DecisionRow, Run};
use crate::scenario::Scenario;
use crate::sim::{Model, Simulator, Start};
use crate::snapshot::{Decision, Snapshot};

/// Name of the policy in the results: whatever `live` runs.
pub const POLICY: &str = "live";
/// How long simulated time waits for a tick of `live`.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest sleep of the loop: so soon it sees that it is to stop.
const NAP: Duration = Duration::from_millis(50);
/// Longest time between two looks at the API server.
const LOOK: Duration = Duration::from_millis(250);
/// How many ticks of one kind are told as they go wrong; the rest is counted in the summary.
const TOLD: u64 = 3;
/// Shortest time between two looks at the API server.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);

/// What is rehearsed, and how.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The scenario of the simulated cluster.
    pub scenario: Arc<Scenario>,
    /// Seed of its traffic and cold starts.
    pub seed: u64,
    /// The services with their Knative Services, in the scenario's order.
    pub targets: Vec<Target>,
    /// Namespace, name and fields of the custom resource.
    pub kubernetes: KubernetesConfig,
    /// The lease, whose name is that of the published state.
    pub lease: LeaseConfig,
    /// The API server.
    pub kubeconfig: PathBuf,
    /// Where Prometheus scrapes.
    pub listen: String,
    /// Times as fast as the wall.
    pub speed: f64,
    /// Whether simulated time waits at each decision until `live` has reported it.
    pub lockstep: bool,
    /// The oldest sample that `live` believes, on the rehearsal's clock.
    pub max_age: Duration,
}

/// What a person may want to know while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The endpoint is served; the first scrape is waited for.
    Listening(String),
    /// The custom resource was there before, and is carried out at t = 0.
    Present,
    /// Scrapes arrive; second 0 is so far away, wall time.
    BeginsIn(Duration),
    /// Second 0.
    Begun,
    /// So many simulated seconds are played.
    Played(u32),
    /// The first decision is reached, in lockstep: now `live` has to run.
    Stands(u32),
    /// The decision of this simulated second was not reported in time.
    Silent(u32),
    /// The decision of this simulated second was made of older samples.
    OutOfStep(u32),
    /// Scrapes come too seldom for the speed; seconds between two.
    SeldomScraped(f64),
    /// The operator cannot carry out what the custom resource asks for.
    Refused(String),
    /// The API server cannot be looked at.
    Unreachable(String),
    /// The API server can be looked at again.
    Reachable,
}

impl News {
    /// Whether something is not as it should be.
    pub fn is_warning(&self) -> bool {
        !matches!(
            self,
            Self::Listening(_)
                | Self::BeginsIn(_)
                | Self::Begun
                | Self::Played(_)
                | Self::Stands(_)
                | Self::Reachable
        )
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(address) => write!(f, "serving http://{address}/metrics; t = 0 waits for the first scrape"),
            Self::Present => f.write_str(
                "the custom resource was there before: its decision is carried out at t = 0, so this run differs from `simulate`",
            ),
            Self::BeginsIn(wait) => write!(f, "scraped; t = 0 in {:.1} s", wait.as_secs_f64()),
            Self::Begun => f.write_str("t = 0"),
            Self::Played(second) => write!(f, "t = {second} s"),
            Self::Stands(second) => write!(f, "t = {second} s waits for the first tick of live"),
            Self::Silent(second) => write!(
                f,
                "live did not report the tick of t = {second} s within {} s; does it run with the same [clock] speed, lease and namespace?",
                PATIENCE.as_secs()
            ),
            Self::OutOfStep(second) => write!(
                f,
                "live decided for t = {second} s on samples from before; scrape more often or lower --speed"
            ),
            Self::SeldomScraped(seconds) => write!(
                f,
                "Prometheus scrapes every {seconds:.2} s of wall time, too seldom for this speed; shorten its scrape_interval or lower --speed"
            ),
            Self::Refused(text) => write!(f, "the operator cannot carry it out: {text}"),
            Self::Unreachable(text) => write!(f, "the API server: {text}; the last decision stays"),
            Self::Reachable => f.write_str("the API server answers again"),
        }
    }
}

/// What a rehearsal leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsed {
    /// The run, as far as it was played.
    pub run: Run,
    /// Whether it was stopped before the end of its scenario.
    pub interrupted: bool,
}

/// Rehearses `setup` to the end of its scenario, or until `stop` says so; `None` when it had not begun then.
///
/// # Errors
/// [`crate::Error::Input`] when the scenario is not one of `knative`, the address cannot be listened at or the
/// API server cannot be used.
pub async fn rehearse(
    setup: &Rehearsal,
    stop: &(dyn Fn() -> bool + Sync),
    tell: &(dyn Fn(News) + Sync),
) -> Result<Option<Rehearsed>> {
    let scenario = &setup.scenario;
    let model = Arc::new(Model::new(scenario)?);
    let traffic = scenario.traffic(setup.seed)?;
    let mut simulator = Simulator::new(model, &traffic, setup.seed, &Start::Controlled)?;
    // For the figure, as `simulate` does.
    simulator.record_ticks();
    let format = ActionFormat::new(scenario, &setup.kubernetes.fields, "kubernetes.fields")?;
    let (watcher, first) = Watcher::new(&setup.kubeconfig, &setup.kubernetes, &setup.lease).await?;
    let listener = telemetry::listen(&setup.listen, &format!("--listen {}", setup.listen)).await?;
    let address = listener.local_addr().map_or(setup.listen.clone(), |found| found.to_string());

    let exposition = Exposition::new(setup.targets.clone(), &setup.kubernetes.namespace);
    let world = Arc::new(World::new(simulator, exposition, setup.speed));
    let (stopper, stopped) = watch::channel(false);
    let server = tokio::spawn(endpoint::serve(listener, Arc::clone(&world), stopped));
    tell(News::Listening(address));

    let (sender, seen) = watch::channel(first);
    let interval_s = f64::from(scenario.spec.interval_s);
    let every = Duration::from_secs_f64(interval_s / setup.speed / 20.0).clamp(SHORTEST_LOOK, LOOK);
    let watching = tokio::spawn(watcher.watch(every, sender));

    let play = Play {
        setup,
        format,
        world: Arc::clone(&world),
        clock: FastClock::new(setup.speed),
        seen,
        stop,
        tell,
        start_s: 0.0,
        spec: None,
        reported: None,
        unreachable: false,
        seldom_said: false,
        rows: BTreeMap::new(),
    };
    let played = play.run().await;
    stopper.send_replace(true);
    watching.abort();
    // A scrape that takes longer must not hold the end up.
    let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
    let inner = match Arc::try_unwrap(world) {
        Ok(world) => world.into_inner(),
        Err(world) => world.lock().clone(),
    };
    Ok(played.map(|played| finished(setup, inner, played)))
}

/// What was played.
struct Played {
    rows: Vec<DecisionRow>,
    interrupted: bool,
}

/// The run that the simulation leaves.
fn finished(setup: &Rehearsal, world: Inner, played: Played) -> Rehearsed {
    let Inner { simulator, standing, .. } = world;
    let interrupted = played.interrupted;
    let (now, duration_s) = (simulator.now(), simulator.model().duration_s);
    let instants = instants(&setup.scenario, duration_s);
    let mut run = finish(&setup.scenario, POLICY, setup.seed, simulator, &instants, played.rows);
    let warnings = &mut run.summary.warnings;
    if interrupted {
        warnings.push(format!("interrupted at t = {now} s of {duration_s} s"));
    }
    if standing.silent > 0 {
        let of = standing.silent + standing.reported;
        warnings.push(format!("{} of {of} ticks were not reported by live", standing.silent));
    }
    if standing.out_of_step > 0 {
        warnings.push(format!(
            "{} of {} ticks were decided on samples from before the stop",
            standing.out_of_step, standing.reported
        ));
    }
    Rehearsed { run, interrupted }
}

/// A rehearsal in progress.
struct Play<'a> {
    setup: &'a Rehearsal,
    format: ActionFormat,
    world: Arc<World>,
    clock: FastClock,
    seen: watch::Receiver<Seen>,
    stop: &'a (dyn Fn() -> bool + Sync),
    tell: &'a (dyn Fn(News) + Sync),
    /// The instant of simulated second 0.
    start_s: f64,
    /// The custom resource as it was last carried out.
    spec: Option<Spec>,
    /// The tick that was last reported.
    reported: Option<i64>,
    unreachable: bool,
    seldom_said: bool,
    /// The rows of decisions, by simulated second.
    rows: BTreeMap<u32, Vec<DecisionRow>>,
}

impl Play<'_> {
    async fn run(mut self) -> Option<Played> {
        if !self.begin().await {
            return None;
        }
        let end = self.world.lock().simulator.model().duration_s;
        let whole = if self.setup.lockstep {
            self.in_lockstep(end).await
        } else {
            self.play(Leg::with_the_clock(0, end, self.start_s)).await
        };
        let rows = self.rows.into_values().flatten().collect();
        Some(Played { rows, interrupted: !whole })
    }

    /// Waits for the first scrape and for second 0; whether it has come.
    async fn begin(&mut self) -> bool {
        let present = self.seen.borrow_and_update().clone();
        if present.spec.is_some() {
            (self.tell)(News::Present);
        }
        self.reported = present.report.map(|report| report.tick);
        let mut scrapes = self.world.scrapes();
        while scrapes.borrow_and_update().last.is_none() {
            if self.stopped_after(NAP, &mut scrapes).await {
                return false;
            }
        }
        let interval_s = self.setup.scenario.spec.interval_s;
        self.start_s = pace::next_start(self.clock.now_s(), interval_s);
        (self.tell)(News::BeginsIn(self.clock.until(self.start_s)));
        while self.clock.now_s() < self.start_s {
            tokio::time::sleep(self.clock.until(self.start_s).min(NAP)).await;
            if (self.stop)() {
                return false;
            }
        }
        self.world.lock().begun = true;
        (self.tell)(News::Begun);
        self.carry_out();
        true
    }

    /// Plays a leg; whether it was played to its end.
    async fn play(&mut self, leg: Leg) -> bool {
        loop {
            if (self.stop)() {
                return false;
            }
            let target = leg.second(self.clock.now_s());
            let now = {
                let mut inner = self.world.lock();
                inner.simulator.advance(target);
                inner.simulator.now()
            };
            (self.tell)(News::Played(now));
            if now >= leg.to() {
                return true;
            }
            self.look();
            self.watch_rhythm();
            let next = self.clock.until(leg.instant_of(now + 1)).min(NAP);
            let mut seen = self.seen.clone();
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                changed = seen.changed() => if changed.is_err() {
                    tokio::time::sleep(next).await;
                },
            }
        }
    }

    /// How long before a tick simulated time has to stand still, on the rehearsal's clock.
    fn lead_s(&self) -> f64 {
        pace::lead(self.world.scrapes().borrow().longest).as_secs_f64() * self.setup.speed
    }

    /// Says once that the scrapes are too seldom: samples grow too old, or a stop is not seen in time.
    fn watch_rhythm(&mut self) {
        let usual = self.world.scrapes().borrow().usual;
        let Some(usual) = usual.filter(|_| !self.seldom_said) else { return };
        let interval_s = f64::from(self.setup.scenario.spec.interval_s);
        let no_time = pace::lead(Some(usual)).mul_f64(self.setup.speed).as_secs_f64() > interval_s;
        let too_old = usual.mul_f64(self.setup.speed) > self.setup.max_age;
        if too_old || (self.setup.lockstep && no_time) {
            self.seldom_said = true;
            (self.tell)(News::SeldomScraped(usual.as_secs_f64()));
        }
    }

    /// From decision to decision, each waited for; whether the end was reached.
    async fn in_lockstep(&mut self, end: u32) -> bool {
        let interval_s = self.setup.scenario.spec.interval_s;
        let mut from = 0;
        for stop in instants(&self.setup.scenario, end) {
            let now_s = self.clock.now_s();
            let tick_s = pace::tick_of(stop, self.start_s, interval_s, now_s);
            let lead_s = self.lead_s();
            let leg = Leg::ahead_of(tick_s, lead_s, from, stop, now_s);
            if !self.play(leg).await {
                return false;
            }
            if from == 0 {
                // A live that is started now must not find the tick before this one, still within its
                // lateness: it would decide twice for this stop.
                let late_s = interval_s.saturating_sub(self.setup.scenario.spec.max_lateness_s);
                while self.clock.now_s() <= tick_s - f64::from(late_s) {
                    tokio::time::sleep(NAP).await;
                    if (self.stop)() {
                        return false;
                    }
                }
                (self.tell)(News::Stands(stop));
            }
            if !self.stand(stop, tick_s).await {
                return false;
            }
            from = stop;
        }
        let leg = Leg::with_the_clock(from, end, self.clock.now_s());
        self.play(leg).await
    }

    /// Stands at a decision until a scrape has seen it and live has reported the tick, or nobody did in
    /// time; false when it is to stop.
    async fn stand(&mut self, second: u32, tick_s: f64) -> bool {
        self.world.lock().standing.waits = true;
        let mut scrapes = self.world.scrapes();
        let until_s = self.clock.now_s().max(tick_s) + PATIENCE.as_secs_f64() * self.setup.speed;
        let stood = loop {
            if (self.stop)() {
                break false;
            }
            let report = self.look();
            let scraped = scrapes.borrow_and_update().stood.filter(|(seen, _)| *seen == second);
            if let (Some(report), Some((_, scraped_s))) = (report, scraped)
                && report.tick as f64 >= tick_s
            {
                self.reported_at(second, &report, scraped_s);
                break true;
            }
            if self.clock.now_s() > until_s {
                let silent = {
                    let mut world = self.world.lock();
                    world.standing.silent += 1;
                    world.standing.silent
                };
                if silent <= TOLD {
                    (self.tell)(News::Silent(second));
                }
                break true;
            }
            if self.stopped_after(NAP, &mut scrapes).await {
                break false;
            }
        };
        self.world.lock().standing.waits = false;
        stood
    }

    /// Sleeps until the scrapes or the API server have news, at most `nap`; whether it is to stop.
    async fn stopped_after<T>(&mut self, nap: Duration, news: &mut watch::Receiver<T>) -> bool {
        let mut seen = self.seen.clone();
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            _ = news.changed() => {}
            changed = seen.changed() => if changed.is_err() {
                tokio::time::sleep(nap).await;
            },
        }
        (self.stop)()
    }

    /// Writes the rows of a decision that live reported while simulated time stood at `second`.
    fn reported_at(&mut self, second: u32, report: &Report, scraped_s: f64) {
        self.reported = Some(report.tick);
        let looked_s = self.clock.on_the_wall(report.looked_s);
        let out_of_step = looked_s < scraped_s + INGESTION.as_secs_f64();
        let so_far = {
            let mut world = self.world.lock();
            world.standing.reported += 1;
            world.standing.out_of_step += u64::from(out_of_step);
            world.standing.out_of_step
        };
        if out_of_step && so_far <= TOLD {
            (self.tell)(News::OutOfStep(second));
        }
        self.write_rows(second, second, &report.decision);
    }

    /// Takes in what is new on the API server. Gives the last report.
    fn look(&mut self) -> Option<Report> {
        let seen = self.seen.borrow_and_update().clone();
        let unreachable = seen.problem.is_some();
        if unreachable != self.unreachable {
            self.unreachable = unreachable;
            (self.tell)(seen.problem.clone().map_or(News::Reachable, News::Unreachable));
        }
        if seen.spec.is_some() && seen.spec != self.spec {
            self.carry_out();
        }
        if !self.setup.lockstep
            && let Some(report) = &seen.report
            && self.reported.is_none_or(|tick| report.tick > tick)
        {
            self.reported = Some(report.tick);
            self.world.lock().standing.reported += 1;
            let now = self.world.lock().simulator.now();
            let second = (report.tick as f64 - self.start_s).clamp(0.0, f64::from(now)) as u32;
            self.write_rows(second, now, &report.decision);
        }
        seen.report
    }

    /// The operator carries out the custom resource.
    fn carry_out(&mut self) {
        let Some(spec) = self.seen.borrow().spec.clone() else { return };
        let services = self.format.read(&spec);
        let decision = Decision { services, reason: "read from the custom resource".to_owned() };
        self.spec = Some(spec);
        let now = self.world.lock().simulator.now();
        if now > 0 {
            // A report of live, if it sends any, says it better.
            self.write_rows(now, now, &decision);
        }
        let applied = self.world.lock().simulator.apply(&decision);
        if let Err(error) = applied {
            (self.tell)(News::Refused(error.to_string()));
        }
    }

    /// Writes the rows of `decision` at `second` in place of those between it and `until`.
    fn write_rows(&mut self, second: u32, until: u32, decision: &Decision) {
        let mut snapshot = Snapshot::default();
        self.world.lock().simulator.snapshot(self.rows.len() as u32, &mut snapshot);
        snapshot.t_s = f64::from(second);
        let unknown = vec![f64::NAN; snapshot.services.len()];
        let mut rows = Vec::with_capacity(unknown.len());
        push_rows(&self.setup.scenario, &snapshot, &unknown, decision, &mut rows);
        self.rows.retain(|&at, _| at < second || at > until);
        self.rows.insert(second, rows);
    }
}
