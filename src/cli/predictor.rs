//! `predictor`: traffic predictors.

use clap::Subcommand;

use super::{Common, predictor_import, predictor_predict};

/// What to do with predictors.
#[derive(Subcommand)]
pub enum Verb {
    /// Read the original predictor's Keras file into a folder of our own.
    Import(predictor_import::Args),
    /// Predict the value that follows each window of a CSV file.
    Predict(predictor_predict::Args),
}

pub(super) fn run(verb: Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::Import(args) => predictor_import::run(&args, common),
        Verb::Predict(args) => predictor_predict::run(&args, common),
    }
}
