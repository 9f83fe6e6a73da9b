//! Traffic traces: users of each service over time.
//!
//! A trace is a list of *stages* per service, as Locust plays them: a duration, a number of users
//! and the rate at which the count ramps towards it.

mod from_spec;

pub use from_spec::{SpecContext, from_spec};

/// One stage of traffic: the count of users moves to `users` at `spawn_rate` and stays there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Length, whole seconds.
    pub duration_s: u32,
    /// Users at the end of the ramp. Environments round fractions half up.
    pub users: f64,
    /// Users added or removed per second.
    pub spawn_rate: f64,
}

/// The traffic of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceTrace {
    /// The service's name.
    pub service: String,
    /// Its stages, in order; the first begins at t = 0 with no users.
    pub stages: Vec<Stage>,
}

impl ServiceTrace {
    /// A trace of equal stages whose spawn rate is the number of users (at least 1), as the
    /// original load generators have it.
    pub fn from_rows(service: &str, rows: &[f64], stage_s: u32) -> Self {
        let stages = rows
            .iter()
            .map(|&users| Stage { duration_s: stage_s, users, spawn_rate: users.max(1.0) })
            .collect();
        Self { service: service.to_owned(), stages }
    }

    /// Length in seconds.
    pub fn duration_s(&self) -> u32 {
        self.stages.iter().map(|stage| stage.duration_s).sum()
    }
}

/// The traffic of several services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// One entry a service.
    pub services: Vec<ServiceTrace>,
}
