//! `plot`: figures of results that are there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::evaluate::one_policy;
use super::{Common, print_json, print_line};
use crate::env::knative::EpisodeOptions;
use crate::error::{Error, Result};
use crate::evaluation::{Cell, Cells, Plan};
use crate::report::{self, export};
use crate::run::Run;
use crate::scenario::{EnvironmentKind, Scenario};

/// Arguments of `plot`.
#[derive(clap::Args)]
pub struct Args {
    /// Run folders (timeline) or folders of `evaluate` (comparison).
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Folder of the figures.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let mut figures = Vec::new();
    for path in &args.runs {
        if path.join("comparison.json").exists() {
            figures.extend(report::draw_comparison(&report::load_comparison(path)?, &args.out)?);
        } else if path.join(export::SUMMARY_FILE).exists() {
            let scenario = scenario_of(path)?;
            let run = with_ticks(report::load_run(path)?, &scenario, common)?;
            figures.extend(report::draw_timeline(&run, &scenario, &args.out)?);
        } else {
            return Err(Error::input(
                path.display(),
                "neither a run folder nor an evaluation",
                "name OUT/POLICY/SEED of `simulate` or `evaluate`, or OUT of `evaluate`",
            )
            .into());
        }
    }
    if common.json {
        let paths: Vec<String> = figures.iter().map(|path| path.display().to_string()).collect();
        return print_json(&serde_json::json!({ "figures": paths }));
    }
    for figure in figures {
        print_line(figure.display())?;
    }
    Ok(())
}

/// The scenario of a run folder: two folders up, as `simulate` and `evaluate` lay it.
pub(super) fn scenario_of(run: &Path) -> Result<Scenario> {
    let absolute = std::path::absolute(run).map_err(|source| Error::io("find", run, source))?;
    let file = absolute
        .ancestors()
        .nth(2)
        .map(|folder| folder.join("scenario.toml"))
        .filter(|file| file.exists())
        .ok_or_else(|| {
            Error::input(
                run.display(),
                "there is no scenario.toml two folders up",
                "keep run folders in their evaluation: OUT/POLICY/SEED",
            )
        })?;
    Scenario::load(&file.to_string_lossy(), &[])
}

/// A run without its ticks is computed once more, which takes milliseconds and gives the same.
pub(super) fn with_ticks(run: Run, scenario: &Scenario, common: Common) -> anyhow::Result<Run> {
    if !run.ticks.is_empty() || scenario.environment() == EnvironmentKind::Paper {
        return Ok(run);
    }
    let Ok(policy) = one_policy(scenario, &run.summary.policy, None, common) else {
        // A replayed file or a user's own program: its timeline is drawn by interval.
        return Ok(run);
    };
    let options = EpisodeOptions { ticks: true, ..EpisodeOptions::default() };
    let plan = Plan {
        scenario: Arc::new(scenario.clone()),
        policies: vec![Arc::clone(&policy)],
        seeds: vec![run.summary.seed],
        options,
    };
    let again = Cells::new(&plan, None)?.compute(&Cell { policy, seed: run.summary.seed })?;
    // Another forecaster or program version gives another run: then only what was measured is drawn.
    let same = again.summary == run.summary;
    Ok(if same { again } else { run })
}
