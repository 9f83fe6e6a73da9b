//! `evaluate`: policies x seeds on one scenario, compared.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Common, ScenarioArgs, VERSION, interrupt, print_json, print_line, progress, tuned};
use crate::env::knative::EpisodeOptions;
use crate::error::{Error, Result};
use crate::evaluation::{self, Folder, Part, Plan, Seeds, Shard, Watch};
use crate::policy::tuning::Tuned;
use crate::policy::{DEFAULT_POLICIES, Policy, Registry};
use crate::predictor::ForecasterKind;
use crate::report::{self, Comparison, table};
use crate::scenario::{EnvironmentKind, Scenario};

/// Arguments of `evaluate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Policies: names, folders of trained agents (also as NAME:FOLDER), fixed:OPTIONS, replay:FILE, external:COMMAND. Default: all that need no checkpoint.
    #[arg(long, value_name = "P,P,..")]
    policies: Vec<String>,
    /// Seeds: 0..10 is 0 to 9; lists 1,4,7; one number.
    #[arg(long, default_value = "0..10")]
    seeds: String,
    /// What the controller expects on `knative`: persistence, perfect, noisy:CV, moving-average, seasonal, ar, holt-winters or a predictor's folder.
    #[arg(long, default_value = "persistence", value_name = "F")]
    forecaster: String,
    /// The policy that the others are compared with. Default: kpa-latency, or the first.
    #[arg(long, value_name = "P")]
    reference: Option<String>,
    /// Folder of the results; default runs/evaluate-SCENARIO. One of the same scenario goes on.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Remove an older evaluation in the folder first.
    #[arg(long)]
    force: bool,
    /// Compute one part of the cells only, for another machine to take the others: I/N with 0 <= I < N.
    /// `merge` puts the parts together.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Record the `ticks` table of every run (large).
    #[arg(long)]
    ticks: bool,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let seeds: Seeds = args.seeds.parse()?;
    let forecaster: ForecasterKind = args.forecaster.parse()?;
    let scenario = Arc::new(args.scenario.load()?);
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(default_folder(&scenario, args.shard)));
    let lists = if args.policies.is_empty() {
        vec![DEFAULT_POLICIES.join(",")]
    } else {
        args.policies.clone()
    };
    // Named and checked before a folder is made and a search begins.
    let names = names(&scenario, &lists)?;
    if let Some(reference) = args.reference.as_ref().filter(|name| !names.contains(name)) {
        return Err(Error::input(
            format!("--reference {reference}"),
            "not among the policies",
            "add it to --policies",
        )
        .into());
    }
    let command = command_line(&forecaster, args.ticks);
    let part = args.shard.map(|shard| Part {
        shard,
        policies: names,
        seeds: seeds.0.clone(),
        reference: args.reference.clone(),
        optima: scenario.environment() == EnvironmentKind::Paper,
    });
    let folder = Folder::open_part(&out, &command, &scenario, VERSION, args.force, part.clone())?;
    let settings = || tuned::settings(&scenario, Some(out.clone()), common);
    let policies = Registry::new(&scenario, &settings)?.policies(&lists)?;
    let options =
        EpisodeOptions { foresight: forecaster.for_scenario(&scenario)?, ticks: args.ticks };
    let plan = Plan { scenario, policies, seeds: seeds.0, options };

    note_idle_forecaster(&plan.scenario, &forecaster, common);
    interrupt::catch();
    let cells = part.as_ref().map_or_else(|| plan.cell_count(), Part::own_cell_count);
    let bar = progress::bar(common, cells as u64, "runs");
    let watch = Watch { stop: &interrupt::interrupted, done: &|| bar.inc(1) };
    let Some(part) = part else {
        let compared = evaluation::compare(&plan, &folder, args.reference.as_deref(), watch);
        bar.finish_and_clear();
        let (comparison, warnings) = compared?;
        warn(&warnings);
        return show(&comparison, &folder, common);
    };
    let warnings = evaluation::compute_shard(&plan, &folder, part.shard, watch);
    bar.finish_and_clear();
    warn(&warnings?);
    if common.json {
        return print_json(&serde_json::json!({
            "scenario": plan.scenario.name(), "shard": part.shard, "cells": cells, "out": out,
        }));
    }
    print_line(format!("shard    {}: {cells} of {} cells", part.shard, plan.cell_count()))?;
    print_line(format!("results  {}", out.display()))?;
    print_line("`quotascale merge` of all shards makes the comparison")
}

/// The names of the policies. What a search would find does not change them.
fn names(scenario: &Scenario, lists: &[String]) -> Result<Vec<String>> {
    let any = || {
        let options = vec![0; scenario.profiles.len()];
        Ok(Tuned {
            scenario: scenario.name().to_owned(),
            kpa_latency: options.clone(),
            kpa_resource: options,
            price: 0.0,
        })
    };
    let policies = Registry::new(scenario, &any)?.policies(lists)?;
    Ok(policies.iter().map(|policy| policy.name().to_owned()).collect())
}

/// Says so where the forecaster that was asked for is never asked.
pub(super) fn note_idle_forecaster(
    scenario: &Scenario,
    forecaster: &ForecasterKind,
    common: Common,
) {
    let chosen = forecaster.to_string() != ForecasterKind::default().to_string();
    if scenario.environment() == EnvironmentKind::Paper && chosen && !common.quiet {
        eprintln!(
            "note: environment \"paper\" shows the users of the coming step: --forecaster {forecaster} changes nothing"
        );
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// Writes the tables and figures of a comparison into its folder and prints it.
pub(super) fn show(comparison: &Comparison, folder: &Folder, common: Common) -> anyhow::Result<()> {
    report::write_comparison(comparison, folder.path())?;
    let figures = report::draw_comparison(comparison, &folder.path().join("figures"))?;
    if common.json {
        return print_json(comparison);
    }
    let text = table::render(comparison, table::TableStyle::of_stdout());
    print_line(text.trim_end())?;
    print_line(format!("\nresults  {}", folder.path().display()))?;
    for figure in figures {
        print_line(format!("figure   {}", figure.display()))?;
    }
    Ok(())
}

/// The name of the folder of the results where none is given.
fn default_folder(scenario: &Scenario, shard: Option<Shard>) -> String {
    match shard {
        None => format!("evaluate-{}", scenario.name()),
        Some(shard) => format!("evaluate-{}-shard-{}", scenario.name(), shard.file_name()),
    }
}

/// What cells depend on beside scenario, policy and seed.
fn command_line(forecaster: &ForecasterKind, ticks: bool) -> String {
    let ticks = if ticks { " --ticks" } else { "" };
    format!("evaluate --forecaster {forecaster}{ticks}")
}

/// The policy of a name for one scenario, its settings kept in `out`.
pub(super) fn one_policy(
    scenario: &Scenario,
    name: &str,
    out: Option<PathBuf>,
    common: Common,
) -> Result<Arc<dyn Policy>> {
    let settings = || tuned::settings(scenario, out.clone(), common);
    Registry::new(scenario, &settings)?.policy(name)
}
