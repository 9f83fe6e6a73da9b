//! The `knative` environment: policies on the tick simulator.

mod episode;

#[cfg(feature = "live")]
pub(crate) use episode::push_rows;
pub use episode::{EpisodeOptions, run_episode};
pub(crate) use episode::{future, instants, stage_after};
