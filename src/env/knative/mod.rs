//! The `knative` environment: policies on the tick simulator.

mod episode;
pub mod score;
mod training;

pub use episode::{EpisodeOptions, run_episode};
#[cfg(feature = "live")]
pub(crate) use episode::{finish, push_rows};
pub(crate) use episode::{future, instants, stage_after};
pub use training::{KnativeEnvs, TrainingForesight};
