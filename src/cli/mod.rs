//! The command line: one file per verb. Nothing but this module knows clap.

mod act;
mod bench;
mod bench_agent;
mod completions;
#[cfg(feature = "live")]
mod crd;
mod evaluate;
#[cfg(feature = "live")]
mod exporter;
mod import;
mod interrupt;
#[cfg(feature = "live")]
mod live;
mod memory;
mod merge;
mod oracle;
mod out_folder;
mod output;
mod plot;
mod predictor;
mod predictor_evaluate;
mod predictor_folder;
mod predictor_import;
mod predictor_predict;
mod predictor_train;
mod profile;
mod progress;
#[cfg(feature = "live")]
mod rehearse;
mod replay;
#[cfg(feature = "live")]
mod replay_controller;
mod replay_env;
mod replay_kpa;
mod report;
mod reproduce;
mod scenario;
mod scenario_args;
mod simulate;
mod trace;
mod trace_export;
mod trace_generate;
mod trace_import;
#[cfg(feature = "live")]
mod trace_import_prometheus;
mod trace_output;
mod train;
mod train_fitted_value;
mod training_folder;
mod tune;
mod tuned;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
pub use output::{print_json, print_line};
use scenario_args::ScenarioArgs;

use crate::error::Error;

/// Version and commit, as `--version` prints them and results record them.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("QUOTASCALE_COMMIT"), ")");

/// Simulate, compare and train autoscaling policies for Knative services that share one quota.
#[derive(Parser)]
#[command(name = "quotascale", version = VERSION, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Common,
}

impl Cli {
    /// The threads that the user allows, if said.
    pub fn threads(&self) -> Option<usize> {
        self.common.threads.map(usize::from)
    }
}

/// Options of every verb.
#[derive(Args, Clone, Copy, Debug)]
pub struct Common {
    /// Print one JSON object on stdout and nothing else there.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no notes on stderr; errors and warnings stay.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Threads to use; default: all cores. Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: Option<u16>,
}

#[derive(Subcommand)]
enum Verb {
    /// List, show or check scenarios, or print their schema.
    #[command(subcommand)]
    Scenario(scenario::Verb),
    /// List, show, import, export or generate traffic traces.
    #[command(subcommand)]
    Trace(trace::Verb),
    /// Run one policy on one scenario and seed, with its tables and timeline figure.
    Simulate(simulate::Args),
    /// Compare policies over seeds: table, files and figures. Goes on where it was stopped.
    Evaluate(evaluate::Args),
    /// Put the shards of an evaluation or a reproduction together.
    Merge(merge::Args),
    /// Draw figures of results that are there.
    Plot(plot::Args),
    /// Run the whole comparison and write its report. Goes on where it was stopped.
    Reproduce(reproduce::Args),
    /// Write results as one HTML page that needs nothing else.
    Report(report::Args),
    /// Search the settings of kpa-latency, kpa-resource and priced-greedy on training traffic.
    Tune(tune::Args),
    /// Measure how fast the parts are on this machine.
    Bench(bench::Args),
    /// Print a shell's completion script.
    Completions(completions::Args),
    /// Compute the exact optimum of environment `paper` with known traffic.
    Oracle(oracle::Args),
    /// Train predictors, judge forecasters on traces, import the original predictor and predict with it.
    #[command(subcommand)]
    Predictor(predictor::Verb),
    /// Train an agent on a scenario. Goes on where it was stopped with --resume.
    Train(train::Args),
    /// What an agent makes of given observations: logits, actions, values.
    Act(act::Args),
    /// Import agents that other programs trained.
    #[command(subcommand)]
    Import(import::Verb),
    /// Serve the simulated cluster to Prometheus and carry out what `live` decides, as a trial before the real one.
    #[cfg(feature = "live")]
    Rehearse(rehearse::Args),
    /// Turn load-test results into a service's profile.
    #[command(subcommand)]
    Profile(profile::Verb),
    /// Replay recorded input through a part of the program.
    #[command(subcommand)]
    Replay(replay::Verb),
    /// Drive a real cluster: Prometheus or Locust in, the custom resource DRLScaleAction out.
    #[cfg(feature = "live")]
    Live(live::Args),
    /// Print the definition of the custom resource, for kubectl apply -f -.
    #[cfg(feature = "live")]
    Crd(crd::Args),
    /// Serve Locust's figures to Prometheus, from any Locust since 2.8.
    #[cfg(feature = "live")]
    #[command(long_about = exporter::LONG_ABOUT)]
    Exporter(exporter::Args),
}

impl Verb {
    /// Whether it has its own answer to Ctrl-C and SIGTERM: a service that is stopped has not failed.
    fn stops_by_itself(&self) -> bool {
        match self {
            #[cfg(feature = "live")]
            Self::Live(_) | Self::Exporter(_) => true,
            _ => false,
        }
    }
}

/// Runs the parsed command line and gives the program's exit code.
pub fn run(cli: Cli) -> ExitCode {
    let threads = cli.threads().unwrap_or(0);
    // Fails only when a pool exists already, as in tests that run two commands in one process.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    if !cli.verb.stops_by_itself() {
        interrupt::end_at_once();
    }
    let result = match cli.verb {
        Verb::Scenario(verb) => scenario::run(verb, cli.common),
        Verb::Trace(verb) => trace::run(verb, cli.common),
        Verb::Simulate(args) => simulate::run(&args, cli.common),
        Verb::Evaluate(args) => evaluate::run(&args, cli.common),
        Verb::Merge(args) => merge::run(&args, cli.common),
        Verb::Plot(args) => plot::run(&args, cli.common),
        Verb::Reproduce(args) => reproduce::run(&args, cli.common),
        Verb::Report(args) => report::run(&args, cli.common),
        Verb::Tune(args) => tune::run(&args, cli.common),
        Verb::Bench(args) => bench::run(&args, cli.common),
        Verb::Completions(args) => completions::run(&args),
        Verb::Oracle(args) => oracle::run(&args, cli.common),
        Verb::Predictor(verb) => predictor::run(verb, cli.common),
        Verb::Train(args) => train::run(&args, cli.common),
        Verb::Act(args) => act::run(&args, cli.common),
        Verb::Import(verb) => import::run(verb, cli.common),
        #[cfg(feature = "live")]
        Verb::Rehearse(args) => rehearse::run(&args, cli.common),
        Verb::Profile(verb) => profile::run(&verb, cli.common),
        Verb::Replay(verb) => replay::run(verb, cli.common),
        #[cfg(feature = "live")]
        Verb::Live(args) => match live::run(&args, cli.common) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        #[cfg(feature = "live")]
        Verb::Crd(args) => crd::run(&args),
        #[cfg(feature = "live")]
        Verb::Exporter(args) => exporter::run(&args, cli.common),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// An error with its causes, each once: some errors say their cause themselves.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints an error and gives its exit code. A reader that closed our output is not an error.
fn complain(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {}", message(error));
    let code =
        error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map_or(1, Error::exit_code);
    ExitCode::from(code)
}
