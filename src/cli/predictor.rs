//! `predictor`: what forecasts traffic.

use clap::Subcommand;

use super::{Common, predictor_evaluate};

/// What to do with forecasters.
#[derive(Subcommand)]
pub enum Verb {
    /// Compare forecasters on the last part of traces: scores, forecasts and figures.
    Evaluate(predictor_evaluate::Args),
}

pub(super) fn run(verb: Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::Evaluate(args) => predictor_evaluate::run(&args, common),
    }
}
