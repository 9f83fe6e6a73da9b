//! The original training environment of DOI 10.1016/j.future.2024.06.019, exact.
//!
//! One step is one decision interval and there is no time inside it. [`PaperRules`] holds what never
//! changes (options, thresholds, quota, corrections), [`PaperState`] what does. Every reward equals
//! the original's to the last bit; every quirk of the original can be switched off by the name of
//! its correction ([`crate::scenario::Corrections`]).
//!
//! CPU is counted in whole millicores. The original counts cores in floating point; for its own
//! profile, whose pods are multiples of half a core, the two are the same number, and for any other
//! profile the integers are what the original means.

mod actions;
mod batch;
mod empty;
mod episode;
pub mod oracle;
mod rules;
mod state;
mod traffic;
mod training;

pub use actions::{DEFAULT_PRICE, JointActions};
pub use batch::{PaperBatch, StepBuffers};
pub use empty::EmptyCluster;
pub use episode::{action_of, run_episode, snapshot_of, state_of};
pub use oracle::{Optimum, oracle};
pub(in crate::env) use rules::OBSERVED_USERS;
pub use rules::{OVER_QUOTA_REWARD, PaperRules, PodFormula};
pub use state::{Action, OBSERVATION, PaperState, SERVICES, StepResult};
pub(crate) use traffic::MAX_USERS;
pub use traffic::PaperTrace;
pub use training::PaperEnvs;
