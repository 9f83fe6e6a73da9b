//! `replay controller`: a record of `live` through the controller once more.

use std::path::PathBuf;

use super::evaluate::one_policy;
use super::{Common, print_json, print_line};
use crate::error::Error;
use crate::files::{check_output, write_atomically};
use crate::live::record;
use crate::live::setup::make_controller;
use crate::scenario::Scenario;

/// Arguments of `replay controller`.
#[derive(clap::Args)]
pub struct Args {
    /// The record that `live --record` wrote.
    #[arg(long, value_name = "FILE")]
    record: PathBuf,
    /// Where to write the decisions, in the columns of decisions.csv.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace an older file.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    if let Some(out) = &args.out {
        check_output(out, args.force)?;
    }
    let lines = record::read(&args.record)?;
    let replayed = record::replay(&lines, |start| {
        let name = args.record.display().to_string();
        let scenario = Scenario::from_text(&name, &start.scenario, &start.base_dir, &[])?;
        let policy = one_policy(&scenario, &start.checkpoint, None, common)?;
        let controller = make_controller(&scenario, policy, &start.forecaster, &name)?;
        Ok((scenario, controller))
    })?;
    if let Some(out) = &args.out {
        write_atomically(out, |file| {
            let mut writer = csv::Writer::from_writer(file);
            for row in &replayed.rows {
                writer.serialize(row).map_err(std::io::Error::other)?;
            }
            writer.flush()
        })?;
    }
    let differing = replayed.differing;
    if common.json {
        print_json(&serde_json::json!({ "ticks": lines.len(), "differing": differing }))?;
    } else {
        print_line(format!("{} ticks, {} decisions differ", lines.len(), differing.len()))?;
    }
    match differing.first() {
        None => Ok(()),
        Some(tick) => Err(Error::Failed(format!(
            "the record's decision of tick {tick} is another: was it made by another version or checkpoint?"
        ))
        .into()),
    }
}
