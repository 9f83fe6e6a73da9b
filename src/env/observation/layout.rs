//! Which numbers an observation holds, in which order and on which scale.

use serde_json::{Value, json};

use super::kind::{Features, LayoutKind};
use super::seen::{Expected, FromPaper, FromSnapshot, ObservationMemory, Seen};
use crate::env::knative;
use crate::env::paper::{OBSERVED_USERS, PaperRules, PaperState, PodFormula};
use crate::error::Result;
use crate::scenario::{EnvironmentKind, PodRule, Scenario};
use crate::snapshot::{ServiceSnapshot, Snapshot};

/// Users, and whole percentages, come in hundreds.
const HUNDRED: f32 = 100.0;
/// Pods come in tens.
const TEN_PODS: f32 = 10.0;
/// Pods that an option in force lacks come in fives.
const FIVE_PODS: f32 = 5.0;
/// A p95 beyond this multiple of the SLO is shown as this much.
const MOST_SLO: f64 = 5.0;

/// The numbers of one observation for the services of one scenario.
#[derive(Clone, Debug)]
pub struct Layout {
    kind: LayoutKind,
    services: Vec<ServiceFacts>,
    quota_m: f64,
    interval_s: f64,
    /// Decisions of an episode.
    steps: u32,
    pods: Pods,
    /// Whether at most [`OBSERVED_USERS`] are shown among the nine.
    clamp_users: bool,
    /// Name and divisor of every number.
    numbers: Vec<(String, f32)>,
}

/// What never changes about a service.
#[derive(Clone, Debug)]
struct ServiceFacts {
    name: String,
    slo_ms: f64,
    options: Vec<OptionFacts>,
    /// The latency entry before the first step where it is not that of the option in force.
    reset_latency: Option<i32>,
}

impl ServiceFacts {
    /// The option in force, if it is one of the profile.
    fn in_force(&self, seen: &impl Seen, index: usize) -> Option<&OptionFacts> {
        seen.option(index).and_then(|option| self.options.get(option))
    }
}

#[derive(Clone, Copy, Debug)]
struct OptionFacts {
    cpu_m: f64,
    concurrency: u32,
    /// p95 in whole % of the SLO.
    latency: i32,
}

/// How many pods users need.
#[derive(Clone, Copy, Debug)]
enum Pods {
    Paper(PodFormula),
    Rule(PodRule),
}

impl Pods {
    fn of(self, users: f64, concurrency: u32) -> u32 {
        match self {
            Self::Paper(formula) => formula.pods(users, concurrency),
            Self::Rule(rule) => rule.pods(users, concurrency),
        }
    }
}

/// Where numbers go: names are asked for once, values every time, in one and the same order.
trait Sink {
    fn put(&mut self, name: impl FnOnce() -> String, value: f64, divisor: f32);
}

struct Values<'a> {
    out: &'a mut [f32],
    next: usize,
}

impl Sink for Values<'_> {
    #[inline]
    fn put(&mut self, _name: impl FnOnce() -> String, value: f64, divisor: f32) {
        // What is not known (a gap in the signals) is shown as nothing; the guard acts on it.
        let value = if value.is_finite() { value as f32 } else { 0.0 };
        self.out[self.next] = value / divisor;
        self.next += 1;
    }
}

impl Sink for Vec<(String, f32)> {
    fn put(&mut self, name: impl FnOnce() -> String, _value: f64, divisor: f32) {
        self.push((name(), divisor));
    }
}

impl Layout {
    /// The layout `kind` for the services of `scenario`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when the scenario's traffic cannot be read.
    pub fn new(kind: LayoutKind, scenario: &Scenario) -> Result<Self> {
        let spec = &scenario.spec;
        let corrections = &scenario.corrections;
        let (steps, pods) = match scenario.environment() {
            EnvironmentKind::Paper => {
                let steps = PaperRules::new(scenario)?.steps();
                (steps, Pods::Paper(PodFormula::new(corrections)))
            }
            EnvironmentKind::Knative => {
                let instants = knative::instants(scenario, spec.duration_s.unwrap_or(0));
                (instants.len(), Pods::Rule(scenario.pod_rule()))
            }
        };
        let services = spec
            .service
            .iter()
            .zip(&scenario.profiles)
            .map(|(service, profile)| {
                let options = profile.options.iter().map(|option| OptionFacts {
                    cpu_m: option.cpu.0 as f64,
                    concurrency: option.concurrency,
                    latency: (option.p95_ms / service.slo_p95_ms * 100.0) as i32,
                });
                let stated = service.initial.latency_entry;
                let stated = stated.filter(|_| !corrections.consistent_initial_state);
                ServiceFacts {
                    name: service.name.clone(),
                    slo_ms: service.slo_p95_ms,
                    options: options.collect(),
                    reset_latency: stated.map(|entry| entry as i32),
                }
            })
            .collect();
        let mut layout = Self {
            kind,
            services,
            quota_m: spec.quota.cpu_m.0 as f64,
            interval_s: f64::from(spec.interval_s.max(1)),
            steps: steps.max(1) as u32,
            pods,
            clamp_users: corrections.clamp_observed_users,
            numbers: Vec::new(),
        };
        layout.numbers = layout.describe();
        Ok(layout)
    }

    /// Its name.
    pub fn kind(&self) -> LayoutKind {
        self.kind
    }

    /// Numbers of one observation, F.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether an observation holds nothing: never.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Number of options of each service.
    pub fn options(&self) -> Vec<usize> {
        self.services.iter().map(|service| service.options.len()).collect()
    }

    /// Names of the numbers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.numbers.iter().map(|(name, _)| name.as_str())
    }

    /// Name of the layout, names of its numbers in order, and what each is divided by
    /// ([`crate::nn::checkpoint::layout_hash`] takes it).
    pub fn to_json(&self) -> Value {
        let numbers: Vec<Value> = self
            .numbers
            .iter()
            .map(|(name, divisor)| json!({"name": name, "divisor": divisor}))
            .collect();
        json!({"kind": self.kind, "numbers": numbers})
    }

    /// Writes what a controller sees, F numbers.
    ///
    /// # Panics
    /// When `out` is too short or the snapshot is of other services.
    pub fn write(
        &self,
        snapshot: &Snapshot,
        expected: Expected<'_>,
        memory: &ObservationMemory,
        out: &mut [f32],
    ) {
        self.each(&FromSnapshot { snapshot, expected, memory }, &mut Values { out, next: 0 });
    }

    /// Writes what a snapshot of `state` would show, without making one.
    ///
    /// # Panics
    /// When `out` is too short.
    pub fn write_paper(&self, state: &PaperState, out: &mut [f32]) {
        let seen = FromPaper { state, interval_s: self.interval_s };
        self.each(&seen, &mut Values { out, next: 0 });
    }

    fn describe(&self) -> Vec<(String, f32)> {
        let count = self.services.len();
        let snapshot =
            Snapshot { services: vec![ServiceSnapshot::default(); count], ..Snapshot::default() };
        let nothing = vec![0.0; count];
        let mut numbers = Vec::new();
        self.each(
            &FromSnapshot {
                snapshot: &snapshot,
                expected: Expected::Users(&nothing),
                memory: &ObservationMemory::default(),
            },
            &mut numbers,
        );
        numbers
    }

    /// All numbers of `seen`, in order.
    #[inline]
    fn each(&self, seen: &impl Seen, sink: &mut impl Sink) {
        match self.kind.features {
            Features::NineRaw => self.nine(seen, 1.0, sink),
            Features::Nine => self.nine(seen, HUNDRED, sink),
            Features::Opt => {
                self.nine(seen, HUNDRED, sink);
                self.options_in_force(seen, sink);
            }
            Features::Full => {
                self.nine(seen, HUNDRED, sink);
                self.options_in_force(seen, sink);
                self.pods_and_cpu(seen, sink);
            }
            Features::Feat => {
                self.nine(seen, HUNDRED, sink);
                self.options_in_force(seen, sink);
                self.pods_and_cpu(seen, sink);
                self.needs(seen, sink);
            }
            Features::Knative => {
                self.cluster(seen, true, sink);
                self.options_in_force(seen, sink);
            }
            Features::KnativeNoQuota => {
                self.cluster(seen, false, sink);
                self.options_in_force(seen, sink);
            }
        }
        if self.kind.timed {
            let share = f64::from(seen.step()) / f64::from(self.steps);
            // Live has no end: what is beyond an episode looks like its end.
            sink.put(|| "episode_share".to_owned(), share.min(1.0), 1.0);
        }
    }

    /// The original's whole numbers. On a cluster CPU and latency are those of what the controller itself
    /// asked for last, as in the original's own live loop, and not what is measured there.
    #[inline]
    fn nine(&self, seen: &impl Seen, divisor: f32, sink: &mut impl Sink) {
        for (index, service) in self.services.iter().enumerate() {
            // Division first, as in the original; the quotient of millicores is that of cores.
            let cpu_m = match self.pods {
                Pods::Paper(_) => seen.cpu_m(index),
                Pods::Rule(_) => seen.asked_cpu_m(index),
            };
            let percent = cpu_m as f64 / self.quota_m * 100.0;
            let in_force = || service.in_force(seen, index).map_or(0, |option| option.latency);
            let latency = match service.reset_latency {
                Some(latency) if seen.step() == 0 => latency,
                _ => in_force(),
            };
            let users = seen.users_expected(index) as i32;
            let users = if self.clamp_users { users.min(OBSERVED_USERS as i32) } else { users };
            let name = |what: &str| format!("{}.{what}", service.name);
            let percent = f64::from(percent.min(100.0) as i32);
            sink.put(|| name("cpu_percent_of_quota"), percent, divisor);
            sink.put(|| name("p95_percent_of_slo"), f64::from(latency), divisor);
            sink.put(|| name("users"), f64::from(users), divisor);
        }
    }

    #[inline]
    fn options_in_force(&self, seen: &impl Seen, sink: &mut impl Sink) {
        for (index, service) in self.services.iter().enumerate() {
            let in_force = seen.option(index);
            for option in 0..service.options.len() {
                let value = f64::from(u8::from(in_force == Some(option)));
                sink.put(|| format!("{}.option_{option}", service.name), value, 1.0);
            }
        }
    }

    #[inline]
    fn pods_and_cpu(&self, seen: &impl Seen, sink: &mut impl Sink) {
        for (index, service) in self.services.iter().enumerate() {
            let pods = f64::from(seen.ready_pods(index));
            sink.put(|| format!("{}.pods", service.name), pods, TEN_PODS);
        }
        for (index, service) in self.services.iter().enumerate() {
            let share = seen.cpu_m(index) as f64 / self.quota_m;
            sink.put(|| format!("{}.cpu_share", service.name), share, 1.0);
        }
    }

    /// What every option would need for the users to be served.
    #[inline]
    fn needs(&self, seen: &impl Seen, sink: &mut impl Sink) {
        let needed = |service: usize, option: &OptionFacts| {
            self.pods.of(seen.users_expected(service), option.concurrency)
        };
        for (index, service) in self.services.iter().enumerate() {
            for (number, option) in service.options.iter().enumerate() {
                let share = f64::from(needed(index, option)) * option.cpu_m / self.quota_m;
                sink.put(|| format!("{}.option_{number}.cpu_share", service.name), share, 1.0);
            }
        }
        sink.put(|| "cpu_share".to_owned(), self.all_cpu(seen), 1.0);
        for (index, service) in self.services.iter().enumerate() {
            let lacking = service.in_force(seen, index).map_or(0.0, |option| {
                f64::from(needed(index, option)) - f64::from(seen.ready_pods(index))
            });
            sink.put(|| format!("{}.pods_lacking", service.name), lacking, FIVE_PODS);
        }
    }

    /// What can be seen on a cluster, with or without shares of the quota.
    #[inline]
    fn cluster(&self, seen: &impl Seen, quota: bool, sink: &mut impl Sink) {
        for (index, service) in self.services.iter().enumerate() {
            let name = |what: &str| format!("{}.{what}", service.name);
            let band = seen.band(index);
            sink.put(|| name("users_now"), seen.users_now(index), HUNDRED);
            sink.put(|| name("users_expected"), seen.users_expected(index), HUNDRED);
            sink.put(|| name("users_low"), band[0], HUNDRED);
            sink.put(|| name("users_high"), band[2], HUNDRED);
            let p95 = seen.p95_ms(index);
            let ratio = p95.map_or(0.0, |p95| (p95 / service.slo_ms).min(MOST_SLO));
            sink.put(|| name("p95_of_slo"), ratio, 1.0);
            sink.put(|| name("silent"), f64::from(u8::from(p95.is_none())), 1.0);
            if quota {
                sink.put(|| name("cpu_share"), seen.cpu_m(index) as f64 / self.quota_m, 1.0);
            }
            sink.put(|| name("ready_pods"), f64::from(seen.ready_pods(index)), TEN_PODS);
            sink.put(|| name("wanted_pods"), f64::from(seen.wanted_pods(index)), TEN_PODS);
            sink.put(|| name("coming_pods"), f64::from(seen.coming_pods(index)), TEN_PODS);
            sink.put(|| name("denied_pods"), f64::from(seen.denied_pods(index)), TEN_PODS);
            let leaving = f64::from(seen.terminating_pods(index));
            sink.put(|| name("terminating_pods"), leaving, TEN_PODS);
            let rolling = f64::from(u8::from(seen.rolling_out(index)));
            sink.put(|| name("rolling_out"), rolling, 1.0);
        }
        if quota {
            sink.put(|| "cpu_share".to_owned(), self.all_cpu(seen), 1.0);
        }
        let in_interval = seen.t_s().rem_euclid(self.interval_s) / self.interval_s;
        sink.put(|| "interval_share".to_owned(), in_interval, 1.0);
    }

    /// CPU of all services as a share of the quota.
    fn all_cpu(&self, seen: &impl Seen) -> f64 {
        let all: u64 = (0..self.services.len()).map(|service| seen.cpu_m(service)).sum();
        all as f64 / self.quota_m
    }
}
