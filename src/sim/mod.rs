//! The discrete-time simulator of several Knative services under one quota (`knative`).
//!
//! Its rules are numbered in docs/model.md; comments and tests cite them. [`Model`] is a scenario
//! compiled, [`Simulator`] one run in progress, [`Results`] what it leaves.
//!
//! A tick costs little because most of its work is lengthening a stretch of equal load: latency
//! distributions are summed only when they are asked for, and ticks in which nothing can change are
//! skipped together.

mod account;
mod cell;
mod cluster;
mod curve;
pub mod kpa;
mod lognormal;
mod model;
mod observe;
mod pods;
mod published;
mod recorder;
mod results;
mod revision;
mod revision_scaler;
mod roll_out;
mod service;
mod traffic_stats;
mod users;

pub use cluster::{Simulator, Start};
pub use curve::{Curve, Load, Spread};
pub use lognormal::{Component, normal_cdf, p95_ms, residual_over, shape};
pub use model::{Model, ServiceModel};
pub use observe::{Census, PodPhase, PodView};
pub use results::{Results, Stage};
pub use users::UserRuns;
