//! The discrete-time simulator of Knative services that share a quota.
//!
//! Everything in here is pure: time is an argument, nothing reads a clock.

pub mod kpa;
