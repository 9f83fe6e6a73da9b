//! Learning agents: actor and critic, trained by PPO or by TRPO ([`trpo`]) or imported ([`sb3`]); the
//! fitted value ([`fitted_value`]); and their checkpoints.
//!
//! All parameters of an agent are one vector ([`Parameters`]), its gradient another; [`ActorCritic`]
//! knows the structure. Nothing here knows an environment beyond [`crate::env::BatchEnv`].
//!
//! # Shapes
//! N environments, S services, A options of all services together, F numbers in an observation (I of
//! them inputs of the networks, then the hints), T steps of a rollout, B sequences of a minibatch.

pub mod act;
mod average;
pub mod checkpoint;
pub mod config;
mod distribution;
mod evaluate;
pub mod fitted_value;
mod gae;
mod imitation;
pub mod log;
mod network;
mod normalise;
mod parameters;
mod ppo;
#[cfg(test)]
mod ppo_tests;
mod rollout;
mod saved;
pub mod sb3;
pub mod settings;
pub mod speed;
pub mod tensorboard;
#[cfg(test)]
mod testing;
mod tower;
pub mod trainer;
pub mod trpo;
mod update;

pub use checkpoint::{Agent, AgentConfig};
pub use config::PpoConfig;
pub use distribution::{Head, MultiCategorical};
pub use evaluate::evaluate;
pub use network::{ActSpace, ActorCritic, AgentShape, Critic, NetworkConfig};
pub use normalise::{ObservationNormaliser, ReturnNormaliser};
pub use parameters::Parameters;
pub use ppo::{Iteration, Ppo};
pub use tower::{Batch, StepSpace, Tower, TowerPass, TowerPlan};
