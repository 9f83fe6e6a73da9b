//! `replay`: recorded input through one part of the program, for comparison with an original.

use clap::Subcommand;

#[cfg(feature = "live")]
use super::replay_controller;
use super::{Common, replay_env, replay_kpa};

/// What is replayed.
#[derive(Subcommand)]
pub enum Verb {
    /// Knative's autoscaler on recorded concurrency.
    Kpa(replay_kpa::Args),
    /// The `paper` environment on recorded actions and users.
    Env(replay_env::Args),
    /// The controller on what `live --record` saw.
    #[cfg(feature = "live")]
    Controller(replay_controller::Args),
}

pub(super) fn run(verb: Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::Kpa(args) => replay_kpa::run(&args, common),
        Verb::Env(args) => replay_env::run(&args, common),
        #[cfg(feature = "live")]
        Verb::Controller(args) => replay_controller::run(&args, common),
    }
}
