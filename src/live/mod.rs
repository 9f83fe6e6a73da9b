//! Live mode: the controller against real Prometheus, Locust and Kubernetes.
//!
//! Inputs: [`http`] fetches bounded answers before a deadline, [`prometheus`] and [`locust`] read
//! values out of them, [`signals`] asks for all that a snapshot needs at once. Whatever goes wrong
//! is a [`fault::Fault`] of a known kind: it is counted and logged, never a panic and never a made-up
//! value. [`exporter`] passes on what Locust says,
//! [`past_traffic`] makes a trace of what Prometheus remembers.

pub mod exporter;
pub mod fault;
pub mod http;
pub mod locust;
pub mod past_traffic;
pub mod prometheus;
pub mod query;
pub mod signal_config;
pub mod signals;
pub mod span;
