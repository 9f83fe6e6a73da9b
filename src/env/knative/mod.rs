//! The `knative` environment: policies on the tick simulator.

mod episode;

pub use episode::{EpisodeOptions, run_episode};
pub(crate) use episode::{future, instants, push_rows, stage_after};
