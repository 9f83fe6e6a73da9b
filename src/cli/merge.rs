//! `merge`: shards of `evaluate` or `reproduce` put together.

use std::path::PathBuf;

use super::evaluate::show;
use super::{Common, VERSION, reproduce};
use crate::evaluation;
use crate::report::Comparison;

/// Arguments of `merge`.
#[derive(clap::Args)]
pub struct Args {
    /// The folders of all shards.
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// Folder of the whole.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Remove an older evaluation in the folder first.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    if reproduce::is_reproduction(&args.shards[0]) {
        return reproduce::merge(&args.shards, &args.out, args.force, common);
    }
    let merged = evaluation::merge(&args.shards, &args.out, VERSION, args.force)?;
    for warning in merged.warnings.iter().chain(&evaluation::warnings(&merged.summaries)) {
        eprintln!("warning: {warning}");
    }
    let optima = merged.optima.as_ref();
    let comparison = Comparison::new(&merged.summaries, optima, merged.reference.as_deref())?;
    show(&comparison, &merged.folder, common)
}
