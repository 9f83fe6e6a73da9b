//! `simulate`: one policy on one scenario and seed, with its tables and timeline figure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::evaluate::{note_idle_forecaster, one_policy};
use super::{Common, ScenarioArgs, VERSION, print_json, print_line};
use crate::env::knative::EpisodeOptions;
use crate::env::paper;
use crate::error::Error;
use crate::evaluation::{Cell, Cells, Folder, Machine, Plan};
use crate::policy::Policy;
use crate::predictor::ForecasterKind;
use crate::report::{self, Comparison, RunResult, table};
use crate::run::Run;
use crate::scenario::{EnvironmentKind, Scenario};

/// Most rows of the `ticks` table that are kept for the figure alone: some 200 MB.
const MOST_DRAWN_TICKS: u64 = 1_000_000;

/// Arguments of `simulate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// The policy: a name, the folder of a trained agent (also as NAME:FOLDER), fixed:OPTIONS, replay:FILE or external:COMMAND.
    #[arg(long, value_name = "P")]
    policy: String,
    /// Master seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What the controller expects on `knative`: persistence, perfect, noisy:CV, moving-average, seasonal, ar, holt-winters or a predictor's folder.
    #[arg(long, default_value = "persistence", value_name = "F")]
    forecaster: String,
    /// Folder of the results; default runs/simulate-SCENARIO.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Remove older results in the folder first.
    #[arg(long)]
    force: bool,
    /// Write the `ticks` table too (large).
    #[arg(long)]
    ticks: bool,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let forecaster: ForecasterKind = args.forecaster.parse()?;
    let scenario = Arc::new(args.scenario.load()?);
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(format!("simulate-{}", scenario.name())));
    let policy = one_policy(&scenario, &args.policy, None, common)?;
    let ticks = if args.ticks { " --ticks" } else { "" };
    let command = format!("simulate --forecaster {forecaster}{ticks}");
    let folder = Folder::open(&out, &command, &scenario, VERSION, args.force)?;
    folder.claim_policy(policy.name(), policy.fingerprint())?;

    note_idle_forecaster(&scenario, &forecaster, common);
    let foresight = forecaster.for_scenario(&scenario)?;
    // The figure shows every tick of a run that is not too long, whether or not they are written.
    let length_s = scenario.spec.duration_s.map_or(0, u64::from);
    let rows = length_s * (scenario.spec.service.len() as u64 + 1);
    let plan = Plan {
        scenario: Arc::clone(&scenario),
        policies: vec![Arc::clone(&policy)],
        seeds: vec![args.seed],
        options: EpisodeOptions { foresight, ticks: args.ticks || rows <= MOST_DRAWN_TICKS },
    };
    let cell = Cell { policy: Arc::clone(&policy), seed: args.seed };
    let start = Instant::now();
    let mut run = Cells::new(&plan, None)?.compute(&cell)?;
    let seconds = start.elapsed().as_secs_f64();
    let figures = report::draw_timeline(&run, &scenario, &folder.path().join("figures"))?;
    if !args.ticks {
        run.ticks = Vec::new();
    }
    let path = folder.cell(policy.name(), args.seed);
    if !path.exists() {
        folder.write_cell(&run, &Machine::this())?;
        let name = format!("{}/{}", policy.name(), args.seed);
        folder.write_timing(&[(name, seconds)].into(), rayon::current_num_threads())?;
    }
    for warning in &run.summary.warnings {
        eprintln!("warning: {warning}");
    }
    let optimum = optimum(&scenario, &run, args.seed)?;
    if common.json {
        return print_json(&RunResult::new(&run.summary, optimum, &path));
    }
    let optima = optimum.map(|reward| [(args.seed, reward)].into());
    let comparison = Comparison::new(&[run.summary], optima.as_ref(), None)?;
    print_line(table::render(&comparison, table::TableStyle::of_stdout()).trim_end())?;
    print_line(format!("\nresults  {}", path.display()))?;
    for figure in figures {
        print_line(format!("figure   {}", figure.display()))?;
    }
    Ok(())
}

/// The exact optimum of the run's traffic on `paper`; `None` elsewhere and where it is out of reach.
fn optimum(scenario: &Scenario, run: &Run, seed: u64) -> anyhow::Result<Option<f64>> {
    if scenario.environment() != EnvironmentKind::Paper {
        return Ok(None);
    }
    if run.summary.policy == paper_oracle_name() {
        return Ok(Some(run.summary.reward));
    }
    match paper::oracle(scenario, &scenario.traffic(seed)?) {
        Ok(optimum) => Ok(Some(optimum.total)),
        Err(Error::Input { problem, .. }) => {
            eprintln!("warning: no share of the optimum: {problem}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn paper_oracle_name() -> String {
    crate::policy::paper::Oracle.name().to_owned()
}
