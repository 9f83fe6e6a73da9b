//! Environments: what turns decisions into observations and rewards.

mod batch;
pub mod knative;
pub mod paper;
mod reward;

pub use batch::{BatchEnv, MakeEnvironments, StepResults};
pub use reward::StageReward;
