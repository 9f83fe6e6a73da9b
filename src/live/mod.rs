//! Live mode: the controller against real Prometheus, Locust and Kubernetes.
//!
//! Inputs: [`http`] fetches bounded answers before a deadline, [`prometheus`] and [`locust`] read
//! values out of them, [`signals`] asks for all that a snapshot needs at once. Whatever goes wrong
//! is a [`fault::Fault`] of a known kind: it is counted and logged, never a panic and never a made-up
//! value. [`exporter`] passes on what Locust says, [`past_traffic`] makes a trace of what Prometheus
//! remembers.
//!
//! Output: [`resource`] writes a decision as the custom resource and reads it back, [`kubernetes`]
//! applies it, holds the lease and publishes the state. [`run`] is the loop that [`schedule`] and
//! [`clock`] drive; [`state`] is what survives a restart, [`record`] what can be replayed.

pub mod check;
pub mod clock;
pub mod config;
pub mod exporter;
pub mod fault;
pub mod http;
pub mod kubernetes;
pub mod locust;
pub mod log;
mod memory;
pub mod metrics;
pub mod observe;
pub mod past_traffic;
pub mod prometheus;
pub mod query;
pub mod record;
pub mod resource;
pub mod run;
pub mod schedule;
pub mod setup;
pub mod signal_config;
pub mod signals;
pub mod span;
pub mod state;
pub mod telemetry;
mod tick;
