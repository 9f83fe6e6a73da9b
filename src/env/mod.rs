//! Environments: what turns decisions into observations and rewards.

pub mod knative;
pub mod paper;
mod reward;

pub use reward::StageReward;
