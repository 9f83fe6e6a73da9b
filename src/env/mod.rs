//! Environments: what turns decisions into observations and rewards.

mod actions;
mod batch;
pub mod knative;
pub mod observation;
pub mod paper;
mod reward;

pub use actions::{ActionConfig, ActionSpace, Choice};
pub use batch::{BatchEnv, MakeEnvironments, StepResults};
pub use reward::StageReward;
