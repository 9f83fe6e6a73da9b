//! `evaluate`: policies x seeds on one scenario, compared.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Common, ScenarioArgs, VERSION, interrupt, print_json, print_line, progress, tuned};
use crate::env::knative::EpisodeOptions;
use crate::error::{Error, Result};
use crate::evaluation::{Cells, Folder, Plan, Seeds};
use crate::policy::{DEFAULT_POLICIES, Policy, Registry, paper};
use crate::predictor::ForecasterKind;
use crate::report::{self, Comparison, table};
use crate::scenario::{EnvironmentKind, Scenario};

/// Arguments of `evaluate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Policies: names, fixed:OPTIONS, replay:FILE, external:COMMAND. Default: all that need no checkpoint.
    #[arg(long, value_name = "P,P,..")]
    policies: Vec<String>,
    /// Seeds: 0..10 is 0 to 9; lists 1,4,7; one number.
    #[arg(long, default_value = "0..10")]
    seeds: String,
    /// What the controller expects on `knative`: persistence, perfect, moving-average, seasonal, ar, holt-winters or a predictor's folder.
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
        .unwrap_or_else(|| PathBuf::from("runs").join(format!("evaluate-{}", scenario.name())));
    let lists = if args.policies.is_empty() {
        vec![DEFAULT_POLICIES.join(",")]
    } else {
        args.policies.clone()
    };
    // Policies that need no search are checked before a folder is made.
    let early = || Err(Error::Failed(String::new()));
    check_names(&Registry::new(&scenario, &early)?, &lists)?;

    let command = command_line(&forecaster, args.ticks);
    let folder = Folder::open(&out, &command, &scenario, VERSION, args.force)?;
    let settings = || tuned::settings(&scenario, Some(out.clone()), common);
    let policies = Registry::new(&scenario, &settings)?.policies(&lists)?;
    if let Some(reference) = &args.reference
        && !policies.iter().any(|policy| policy.name() == reference)
    {
        return Err(Error::input(
            format!("--reference {reference}"),
            "not among the policies",
            "add it to --policies",
        )
        .into());
    }

    let foresight = forecaster.for_scenario(&scenario)?;
    let options = EpisodeOptions { foresight, ticks: args.ticks };
    interrupt::catch();
    let plan = Plan { scenario: Arc::clone(&scenario), policies, seeds: seeds.0, options };
    let comparison = compare(&plan, &folder, args.reference.as_deref(), common)?;
    report::write_comparison(&comparison, folder.path())?;
    let figures = report::draw_comparison(&comparison, &folder.path().join("figures"))?;
    if common.json {
        return print_json(&comparison);
    }
    let text = table::render(&comparison, table::TableStyle::of_stdout());
    print_line(text.trim_end())?;
    print_line(format!("\nresults  {}", out.display()))?;
    for figure in figures {
        print_line(format!("figure   {}", figure.display()))?;
    }
    Ok(())
}

/// What cells depend on beside scenario, policy and seed.
fn command_line(forecaster: &ForecasterKind, ticks: bool) -> String {
    let ticks = if ticks { " --ticks" } else { "" };
    format!("evaluate --forecaster {forecaster}{ticks}")
}

/// Fails for a policy that does not exist; one that has to be tuned first passes.
fn check_names(registry: &Registry<'_>, lists: &[String]) -> Result<()> {
    match registry.policies(lists) {
        Err(error @ Error::Input { .. }) => Err(error),
        _ => Ok(()),
    }
}

fn compare(
    plan: &Plan,
    folder: &Folder,
    reference: Option<&str>,
    common: Common,
) -> anyhow::Result<Comparison> {
    let cells = (plan.policies.len() * plan.seeds.len()) as u64;
    let bar = progress::bar(common, cells, "runs");
    let outcome = Cells::new(plan, Some(folder))?.run(&interrupt::interrupted, &|| bar.inc(1));
    bar.finish_and_clear();
    let outcome = outcome?;
    for warning in warnings(&outcome.summaries) {
        eprintln!("warning: {warning}");
    }
    let optima = optima(plan, folder, common)?;
    Ok(Comparison::new(&outcome.summaries, optima.as_ref(), reference)?)
}

/// The exact optimum of each seed on `paper`, as a cell of its own; `None` elsewhere and where it is
/// out of reach.
fn optima(
    plan: &Plan,
    folder: &Folder,
    common: Common,
) -> anyhow::Result<Option<BTreeMap<u64, f64>>> {
    if plan.scenario.environment() != EnvironmentKind::Paper {
        return Ok(None);
    }
    let oracle =
        Plan { policies: vec![Arc::new(paper::Oracle) as Arc<dyn Policy>], ..plan.clone() };
    let bar = progress::bar(common, oracle.seeds.len() as u64, "exact optima");
    let outcome = Cells::new(&oracle, Some(folder))?.run(&interrupt::interrupted, &|| bar.inc(1));
    bar.finish_and_clear();
    match outcome {
        Ok(outcome) => Ok(Some(
            outcome.summaries.iter().map(|summary| (summary.seed, summary.reward)).collect(),
        )),
        Err(Error::Input { problem, .. }) => {
            eprintln!("warning: no share of the optimum: {problem}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Each warning once, with how many runs gave it.
fn warnings(summaries: &[crate::run::Summary]) -> Vec<String> {
    let mut lines = Vec::new();
    for summary in summaries {
        for warning in &summary.warnings {
            lines.push(format!("{} seed {}: {warning}", summary.policy, summary.seed));
        }
    }
    /// More than this many lines hide the table.
    const SHOWN: usize = 5;
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("{more} more warnings stand in the summaries of the runs"));
    }
    lines
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
