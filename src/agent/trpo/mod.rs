//! Trust region policy optimisation (Schulman et al. 2015), for networks without a memory.
//!
//! One update: the objective is the mean of advantage x probability ratio over a rollout. Its gradient
//! g and the Fisher information F of the policy give the direction F^-1 g (by conjugate gradients,
//! products with F alone), scaled so that the second-order estimate of the divergence is the bound;
//! a backtracking line search then finds the longest step whose true divergence is below the bound and
//! that improves the objective. The critic is fitted to the returns by Adam.
//!
//! Settings, their names and defaults are SB3-contrib's; so is the order of operations. Differences:
//! rollouts of many environments are cut into parts, over which sums are taken, so that two cores
//! work; and actor and critic, which share nothing, are updated at the same time.

mod config;
mod critic;
mod fisher;
mod policy;
mod samples;
mod solver;
#[cfg(test)]
mod tests;
mod update;

pub use config::TrpoConfig;
pub(super) use update::TrustRegion;
