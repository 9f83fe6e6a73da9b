//! Where features come from: a snapshot, or the state of the `paper` environment directly.

use serde::{Deserialize, Serialize};

use crate::env::paper::PaperState;
use crate::predictor::{Band, Forecast};
use crate::snapshot::{Decision, Snapshot};

/// The users expected in the coming stage.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// A number for each service.
    Users(&'a [f64]),
    /// A forecast, with its bands where it has them.
    Forecast(&'a Forecast),
}

impl Expected<'_> {
    /// Users expected of a service; not a number where nothing is known.
    pub fn users(&self, service: usize) -> f64 {
        match self {
            Self::Users(users) => users[service],
            Self::Forecast(forecast) => forecast.next()[service],
        }
    }

    fn band(&self, service: usize) -> Band {
        let bands = match self {
            Self::Users(_) => None,
            Self::Forecast(forecast) => forecast.bands(service),
        };
        // Without a band nothing is known but the middle of it.
        bands.and_then(|bands| bands.first().copied()).unwrap_or([self.users(service); 3])
    }
}

/// What a controller remembers for its observations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationMemory {
    /// The option last decided for each service; stands in where the cluster runs no option of the
    /// profile.
    options: Vec<Option<u32>>,
}

impl ObservationMemory {
    /// Forgets everything: an episode begins.
    pub fn clear(&mut self) {
        self.options.clear();
    }

    /// Takes in what was decided.
    pub fn remember(&mut self, decision: &Decision) {
        self.options.resize(decision.services.len(), None);
        for (known, decided) in self.options.iter_mut().zip(&decision.services) {
            if let Some(option) = decided.and_then(|decided| decided.option) {
                *known = Some(option);
            }
        }
    }
}

/// What features are made of.
pub(super) trait Seen {
    fn step(&self) -> u32;
    fn t_s(&self) -> f64;
    /// CPU allocated, millicores.
    fn cpu_m(&self, service: usize) -> u64;
    /// CPU of what was asked for last, millicores.
    fn asked_cpu_m(&self, service: usize) -> u64;
    fn users_now(&self, service: usize) -> f64;
    fn users_expected(&self, service: usize) -> f64;
    fn band(&self, service: usize) -> Band;
    fn p95_ms(&self, service: usize) -> Option<f64>;
    fn option(&self, service: usize) -> Option<usize>;
    fn ready_pods(&self, service: usize) -> u32;
    /// Pods that the newest revision was asked for.
    fn wanted_pods(&self, service: usize) -> u32;
    /// Pods on their way: starting, pending or denied.
    fn coming_pods(&self, service: usize) -> u32;
    fn denied_pods(&self, service: usize) -> u32;
    fn terminating_pods(&self, service: usize) -> u32;
    fn rolling_out(&self, service: usize) -> bool;
}

/// Through a snapshot, as a controller sees.
pub(super) struct FromSnapshot<'a> {
    pub snapshot: &'a Snapshot,
    pub expected: Expected<'a>,
    pub memory: &'a ObservationMemory,
}

impl Seen for FromSnapshot<'_> {
    fn step(&self) -> u32 {
        self.snapshot.step
    }
    fn t_s(&self) -> f64 {
        self.snapshot.t_s
    }
    fn cpu_m(&self, service: usize) -> u64 {
        self.snapshot.services[service].cpu_m
    }
    fn asked_cpu_m(&self, service: usize) -> u64 {
        let newest = &self.snapshot.services[service].newest;
        u64::from(newest.pods) * newest.cpu_m
    }
    fn users_now(&self, service: usize) -> f64 {
        self.snapshot.services[service].users
    }
    fn users_expected(&self, service: usize) -> f64 {
        self.expected.users(service)
    }
    fn band(&self, service: usize) -> Band {
        self.expected.band(service)
    }
    fn p95_ms(&self, service: usize) -> Option<f64> {
        self.snapshot.services[service].p95_ms
    }
    fn option(&self, service: usize) -> Option<usize> {
        let remembered = || self.memory.options.get(service).copied().flatten();
        let option = self.snapshot.services[service].newest.option.or_else(remembered);
        option.map(|option| option as usize)
    }
    fn ready_pods(&self, service: usize) -> u32 {
        self.snapshot.services[service].ready_pods
    }
    fn wanted_pods(&self, service: usize) -> u32 {
        self.snapshot.services[service].newest.pods
    }
    fn coming_pods(&self, service: usize) -> u32 {
        let seen = &self.snapshot.services[service];
        seen.starting_pods + seen.pending_pods + seen.denied_pods
    }
    fn denied_pods(&self, service: usize) -> u32 {
        self.snapshot.services[service].denied_pods
    }
    fn terminating_pods(&self, service: usize) -> u32 {
        self.snapshot.services[service].terminating_pods
    }
    fn rolling_out(&self, service: usize) -> bool {
        self.snapshot.services[service].rolling_out
    }
}

/// What a snapshot of the `paper` environment would show, without making one.
pub(super) struct FromPaper<'a> {
    pub state: &'a PaperState,
    pub interval_s: f64,
}

impl Seen for FromPaper<'_> {
    fn step(&self) -> u32 {
        self.state.step
    }
    fn t_s(&self) -> f64 {
        f64::from(self.state.step) * self.interval_s
    }
    fn cpu_m(&self, service: usize) -> u64 {
        self.state.cpu_m[service]
    }
    fn asked_cpu_m(&self, service: usize) -> u64 {
        self.state.cpu_m[service]
    }
    fn users_now(&self, service: usize) -> f64 {
        f64::from(self.state.users[service])
    }
    fn users_expected(&self, service: usize) -> f64 {
        f64::from(self.state.users[service])
    }
    fn band(&self, service: usize) -> Band {
        [f64::from(self.state.users[service]); 3]
    }
    fn p95_ms(&self, _service: usize) -> Option<f64> {
        None
    }
    fn option(&self, service: usize) -> Option<usize> {
        Some(usize::from(self.state.options[service]))
    }
    fn ready_pods(&self, service: usize) -> u32 {
        self.state.pods[service]
    }
    fn wanted_pods(&self, service: usize) -> u32 {
        self.state.pods[service]
    }
    fn coming_pods(&self, _service: usize) -> u32 {
        0
    }
    fn denied_pods(&self, _service: usize) -> u32 {
        0
    }
    fn terminating_pods(&self, _service: usize) -> u32 {
        0
    }
    fn rolling_out(&self, _service: usize) -> bool {
        false
    }
}
