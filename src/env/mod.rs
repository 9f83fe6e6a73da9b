//! Environments: what turns decisions into observations and rewards.

mod actions;
mod batch;
pub mod foresight;
pub mod knative;
pub mod observation;
pub mod paper;
mod reward;
pub mod traffic;
mod training;

pub use actions::{ActionConfig, ActionSpace, Choice};
pub use batch::{BatchEnv, MakeEnvironments, StepResults};
pub use reward::StageReward;
pub use training::{EnvironmentConfig, Environments, ForecastConfig};
