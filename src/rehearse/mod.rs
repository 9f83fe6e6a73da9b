//! The rehearsal: the simulator behind a real exposition endpoint and a real API server, so that `live`
//! drives it as it drives a cluster and cannot tell the difference.
//!
//! [`exposition`] writes what Locust's exporter and kube-state-metrics would, [`endpoint`] serves it to
//! Prometheus, [`watch`] reads the custom resource and what `live` reports, [`pace`] says how far
//! simulated time may be, and [`run`] plays it all.

pub mod endpoint;
pub mod exposition;
pub mod pace;
pub mod run;
pub mod watch;

pub use run::{News, POLICY, Rehearsal, Rehearsed, rehearse};
