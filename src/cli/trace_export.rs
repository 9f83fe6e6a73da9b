//! `trace export`.

use clap::ValueEnum;

use super::Common;
use super::trace::Input;
use super::trace_output::{Kind, Output};

/// What a trace is written as.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ExportKind {
    /// CSV in interval form: a column a service, a row an interval.
    Csv,
    /// CSV in stage form: service,duration_s,users,spawn_rate.
    Stages,
    /// A file for Locust 2.8.6 to 2.47.0 that puts the same load on a real cluster. It holds all
    /// services; QUOTASCALE_SERVICE=house chooses the one that a Locust process plays (default:
    /// the first). `--column house` writes a file of that service alone.
    Locustfile,
}

/// Arguments of `trace export`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// What to write.
    #[arg(long, value_enum)]
    kind: ExportKind,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    args.output.check()?;
    let trace = args.input.load()?;
    let kind = match args.kind {
        ExportKind::Csv => Kind::Interval,
        ExportKind::Stages => Kind::Stages,
        ExportKind::Locustfile => Kind::Locustfile,
    };
    args.output.write(&trace, kind, common)
}
