//! Environments: what turns decisions into observations and rewards.

pub mod knative;
mod reward;

pub use reward::StageReward;
