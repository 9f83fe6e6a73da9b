//! quotascale: an offline simulator and training harness for autoscaling several Knative services
//! that share one resource quota.
//!
//! # Words
//! A *service* runs as *revisions* of identical *pods*. Its *profile* lists *options* (cpu, memory,
//! target concurrency, and the p95 latency measured there). All services share a *quota*. Every
//! *decision interval* a *policy* turns a *snapshot* (what a controller can observe) and a
//! *forecast* into a *decision*: option and pods for each service. A learned policy is an *agent*.
//! A *trace* is users over time; a *scenario* is one TOML file that describes all of it; a *run* is
//! the result of one policy on one scenario and seed.
//!
//! # Units
//! CPU in millicores, memory in MiB, simulated time in seconds, latency in milliseconds
//! ([`units`]).

pub mod agent;
pub mod cli;
pub mod control;
pub mod env;
pub mod error;
pub mod evaluation;
pub mod files;
#[cfg(feature = "live")]
pub mod live;
pub mod manifest;
pub mod nn;
pub mod number;
pub mod policy;
pub mod predictor;
pub mod profiling;
#[cfg(feature = "live")]
pub mod rehearse;
pub mod report;
pub mod reproduction;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod sim;
pub mod snapshot;
pub mod trace;
pub mod units;

pub use error::{Error, Result};
