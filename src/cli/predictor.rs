//! `predictor`: traffic predictors.

use clap::Subcommand;

use super::{Common, predictor_evaluate, predictor_import, predictor_predict, predictor_train};

/// What to do with predictors.
#[derive(Subcommand)]
pub enum Verb {
    /// Compare forecasters on the last part of traces: scores, forecasts and figures.
    Evaluate(predictor_evaluate::Args),
    /// Read the original predictor's Keras file into a folder of our own.
    Import(predictor_import::Args),
    /// Predict the value that follows each window of a CSV file.
    Predict(predictor_predict::Args),
    /// Train a predictor on traces: the original's network, or one with quantiles.
    Train(predictor_train::Args),
}

pub(super) fn run(verb: Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::Evaluate(args) => predictor_evaluate::run(&args, common),
        Verb::Import(args) => predictor_import::run(&args, common),
        Verb::Predict(args) => predictor_predict::run(&args, common),
        Verb::Train(args) => predictor_train::run(&args, common),
    }
}
