//! Policies: from a [`Snapshot`] and a forecast to a [`Decision`].
//!
//! # A policy of your own
//! It gives every service the option with the most CPU, and pods for the users expected:
//! ```
//! use std::sync::Arc;
//!
//! use quotascale::env::knative::EpisodeOptions;
//! use quotascale::evaluation::{Cells, Plan};
//! use quotascale::policy::{Episode, Hybrid, Policy, PolicyState};
//! use quotascale::report::Comparison;
//! use quotascale::scenario::{PodRule, Profile, Scenario};
//! use quotascale::snapshot::{Decision, Snapshot};
//!
//! struct Largest {
//!     profiles: Vec<Profile>,
//!     rule: PodRule,
//! }
//!
//! impl Policy for Largest {
//!     fn name(&self) -> &str {
//!         "largest"
//!     }
//!
//!     fn start(&self, _: &Episode<'_>) -> quotascale::Result<PolicyState> {
//!         Ok(PolicyState::None)
//!     }
//!
//!     fn decide(
//!         &self,
//!         _: &Snapshot,
//!         forecast: &[f64],
//!         _: &mut PolicyState,
//!     ) -> quotascale::Result<Decision> {
//!         let services = self.profiles.iter().zip(forecast).map(|(profile, &users)| {
//!             let (index, option) = profile
//!                 .options
//!                 .iter()
//!                 .enumerate()
//!                 .max_by_key(|(_, option)| (option.cpu.0, option.concurrency))?;
//!             Some(profile.decision(index as u32, self.rule.pods(users, option.concurrency)))
//!         });
//!         Ok(Decision { services: services.collect(), reason: "the most CPU".to_owned() })
//!     }
//! }
//!
//! let scenario = Arc::new(Scenario::load("paper-knative", &[])?);
//! let rule = scenario.pod_rule();
//! let slo: Vec<f64> = scenario.spec.service.iter().map(|service| service.slo_p95_ms).collect();
//! let plan = Plan {
//!     policies: vec![
//!         Arc::new(Largest { profiles: scenario.profiles.clone(), rule }),
//!         Arc::new(Hybrid::new(&scenario.profiles, &slo, rule.utilization)),
//!     ],
//!     seeds: vec![0, 1],
//!     options: EpisodeOptions::default(),
//!     scenario,
//! };
//! let outcome = Cells::new(&plan, None)?.run(&|| false, &|| {})?;
//! let comparison = Comparison::new(&outcome.summaries, None, Some("hybrid"))?;
//! assert_eq!(comparison.policies[0].name, "largest");
//! # Ok::<(), quotascale::Error>(())
//! ```

mod external;
mod fixed;
mod hybrid;
pub mod knative;
mod neural;
pub mod paper;
mod random;
mod registry;
mod replay;
mod shipped;
pub mod tuning;

pub use external::{External, Process};
pub use fixed::Fixed;
pub use hybrid::Hybrid;
pub use neural::{Neural, NeuralState};
pub use random::Random;
pub use registry::{DEFAULT_POLICIES, Registry};
pub use replay::Replay;
use serde::{Deserialize, Serialize};
pub use shipped::Shipped;

use crate::error::{Error, Result};
use crate::predictor::Forecast;
use crate::rng::Rng;
use crate::scenario::{PodRule, Profile, Scenario};
use crate::snapshot::{Decision, Signal, Snapshot};
use crate::trace::Trace;

/// One way of deciding. A policy itself never changes; what it remembers is in a [`PolicyState`].
pub trait Policy: Send + Sync {
    /// The name that tables and figures use.
    fn name(&self) -> &str;

    /// What tells it from other policies of the same name: a hash of what it was read from, or its
    /// command. `None` where the name, on a scenario, says all.
    fn fingerprint(&self) -> Option<&str> {
        None
    }

    /// When it decides on `knative` (on `paper` it decides every step).
    fn schedule(&self) -> Schedule {
        Schedule::EveryInterval
    }

    /// The state at the start of an episode.
    ///
    /// # Errors
    /// When the policy cannot run on this scenario or traffic.
    fn start(&self, episode: &Episode<'_>) -> Result<PolicyState>;

    /// Decides. `forecast` holds the users expected in the coming stage, one a service.
    ///
    /// # Errors
    /// When no decision can be had (a user's own process ended, a replay has no row left).
    fn decide(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        state: &mut PolicyState,
    ) -> Result<Decision>;

    /// Decides with all that the forecaster says, its bands too: what a controller calls. Policies that
    /// plan for the expected users alone leave it as it is.
    ///
    /// # Errors
    /// As [`Self::decide`].
    fn decide_on(
        &self,
        snapshot: &Snapshot,
        forecast: &Forecast,
        state: &mut PolicyState,
    ) -> Result<Decision> {
        self.decide(snapshot, forecast.next(), state)
    }

    /// The signals that its decisions depend on, beside what is in force and the forecast.
    fn signals(&self) -> &'static [Signal] {
        &[Signal::Users]
    }

    /// Whether it looks at the traffic to come, so that it cannot run live.
    fn is_clairvoyant(&self) -> bool {
        false
    }

    /// How the last decision came about, as `state` tells; `None` where the reason says it all.
    fn explain(&self, _state: &PolicyState) -> Option<Explanation> {
        None
    }
}

/// How an agent came to its decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// By service, the choices it found best with their probabilities, best first.
    pub choices: Vec<Vec<(String, f32)>>,
}

/// When a policy decides on `knative`.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// At the scenario's offset and interval.
    EveryInterval,
    /// Never: Knative's own autoscaler alone, with one fixed option per service.
    Never {
        /// The option of each service.
        options: Vec<u32>,
    },
    /// At these instants, seconds from the start.
    At(Vec<u32>),
}

/// What an episode starts from.
#[derive(Clone, Copy, Debug)]
pub struct Episode<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Its traffic in this episode. Only policies that are named clairvoyant may look at it.
    pub traffic: &'a Trace,
    /// The master seed.
    pub seed: u64,
}

/// What a policy remembers between decisions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum PolicyState {
    /// Nothing.
    #[default]
    None,
    /// A random stream.
    Random(Box<Rng>),
    /// A plan made at the start: the decisions to come, and which is next.
    Plan {
        /// All decisions.
        decisions: Vec<Decision>,
        /// Index of the next one.
        next: usize,
    },
    /// What an agent remembers.
    Neural(Box<NeuralState>),
    /// A process of the user's own. It cannot be saved: a restored state has none.
    External {
        /// The process.
        #[serde(skip)]
        process: Option<Process>,
        /// The seed of the episode.
        seed: u64,
    },
}

/// One option per service, with the pods that the forecast asks for.
fn by_options(
    options: &[u32],
    profiles: &[Profile],
    forecast: &[f64],
    rule: PodRule,
    reason: &str,
) -> Decision {
    let services = options
        .iter()
        .zip(profiles)
        .zip(forecast)
        .map(|((&index, profile), &users)| {
            let concurrency = profile.options[index as usize].concurrency;
            Some(profile.decision(index, rule.pods(users, concurrency)))
        })
        .collect();
    Decision { services, reason: reason.to_owned() }
}

/// The next decision of a plan made at the start.
fn next_of_plan(name: &str, state: &mut PolicyState) -> Result<Decision> {
    let PolicyState::Plan { decisions, next } = state else {
        return Err(Error::Failed(format!("{name}: started without its plan")));
    };
    let decision = decisions
        .get(*next)
        .cloned()
        .ok_or_else(|| Error::Failed(format!("{name}: the plan has no decision {}", *next + 1)))?;
    *next += 1;
    Ok(decision)
}
