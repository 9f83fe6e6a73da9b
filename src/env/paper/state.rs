//! State, action and result of the `paper` environment.

use serde::{Deserialize, Serialize};

/// Services of the environment.
pub const SERVICES: usize = 3;
/// Entries of the observation: CPU, latency and users of each service.
pub const OBSERVATION: usize = 3 * SERVICES;

/// An option index for each service.
pub type Action = [u16; SERVICES];

/// Everything that changes from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PaperState {
    /// Steps taken since the reset.
    pub step: u32,
    /// Options in force.
    pub options: Action,
    /// Pods.
    pub pods: [u32; SERVICES],
    /// CPU held, millicores.
    pub cpu_m: [u64; SERVICES],
    /// Users that the next step serves.
    pub users: [u32; SERVICES],
}

/// What a step gives back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// The reward as the original computes it; `reward.scale` of the scenario is not applied.
    pub reward: f64,
    /// CPU of the decision in all services, millicores. Equal to what the state holds afterwards,
    /// except in a truncating step, which leaves the state's CPU as it was.
    pub cpu_m: u64,
    /// The trace is at its end.
    pub terminated: bool,
    /// The episode was cut by its length.
    pub truncated: bool,
}
