//! `plot`: figures of results that are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::evaluate::one_policy;
use super::training_folder::TrainingFolder;
use super::{Common, print_json, print_line};
use crate::env::knative::EpisodeOptions;
use crate::error::{Error, Result};
use crate::evaluation::{Cell, Cells, Plan};
use crate::report::figures::{
    Picture, comparison_picture, curves_picture, timeline_name, timeline_picture, training_picture,
};
use crate::report::{self, export};
use crate::run::Run;
use crate::scenario::{EnvironmentKind, Scenario};

/// Arguments of `plot`.
#[derive(clap::Args)]
pub struct Args {
    /// Run folders (timeline), folders of `evaluate` or `merge` (comparison), folders of `train` (its
    /// course; several trainings of one agent also together).
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Folder of the figures.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// A figure of one folder.
struct Drawn<'a> {
    run: &'a Path,
    name: String,
    title: String,
    picture: Picture,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let mut drawn = Vec::new();
    let mut trainings = Vec::new();
    for run in &args.runs {
        let (name, title, picture) = if run.join("comparison.json").exists() {
            let comparison = report::load_comparison(run)?;
            let title = format!("Policies on {}", comparison.scenario);
            ("comparison".to_owned(), title, comparison_picture(&comparison))
        } else if run.join(export::SUMMARY_FILE).exists() {
            let scenario = scenario_of(run)?;
            let one = with_ticks(report::load_run(run)?, &scenario, common)?;
            let title = format!("{} on {}", one.summary.policy, one.summary.scenario);
            (timeline_name(&one), title, timeline_picture(&one, &scenario))
        } else if TrainingFolder::is_at(run) {
            let training = TrainingFolder::read(run)?;
            let picture = training_picture(&training.title(), &training.rows);
            let drawn = ("training".to_owned(), training.title(), picture);
            trainings.push(training);
            drawn
        } else {
            return Err(no_result(run).into());
        };
        drawn.push(Drawn { run, name, title, picture });
    }
    tell_apart(&mut drawn)?;
    fs::create_dir_all(&args.out).map_err(|error| {
        let problem = format!("the folder cannot be used: {error}");
        Error::input(args.out.display(), problem, "name another with --out")
    })?;
    let mut figures = Vec::new();
    for Drawn { name, title, picture, .. } in &drawn {
        figures.extend(picture.write(&args.out, name, title)?);
    }
    if let Some((title, picture)) = together(trainings) {
        figures.extend(picture.write(&args.out, "curves", &title)?);
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

/// That a folder holds nothing that can be shown.
pub(super) fn no_result(run: &Path) -> Error {
    if !run.exists() {
        return Error::input(run.display(), "there is no such folder", "check the path");
    }
    Error::input(
        run.display(),
        "neither a run folder nor an evaluation nor a training",
        "name OUT/POLICY/SEED of `simulate` or `evaluate`, OUT of `evaluate` or `merge`, or OUT of `train`",
    )
}

/// Figures of one name get the names of their folders too.
fn tell_apart(drawn: &mut [Drawn<'_>]) -> Result<()> {
    let names: Vec<String> = drawn.iter().map(|one| one.name.clone()).collect();
    for one in drawn.iter_mut() {
        if names.iter().filter(|&name| *name == one.name).count() > 1 {
            let folder = one.run.file_name().unwrap_or_default().to_string_lossy();
            one.name = format!("{}-{folder}", one.name);
        }
    }
    for (index, one) in drawn.iter().enumerate() {
        if let Some(other) = drawn[..index].iter().find(|other| other.name == one.name) {
            return Err(Error::input(
                one.run.display(),
                format!("its figure {} would replace that of {}", one.name, other.run.display()),
                "draw them into different folders with two commands",
            ));
        }
    }
    Ok(())
}

/// Several trainings of one agent on one scenario in one figure.
fn together(trainings: Vec<TrainingFolder>) -> Option<(String, Picture)> {
    let title = trainings.first()?.subject();
    if trainings.len() < 2 || trainings.iter().any(|training| training.subject() != title) {
        return None;
    }
    let logs: Vec<_> = trainings.into_iter().map(|training| training.rows).collect();
    let picture = curves_picture(&title, &logs);
    Some((title, picture))
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
