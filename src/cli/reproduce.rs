//! `reproduce`: every table and figure of the paper's kind, with one command.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::progress::Whole;
use super::train::{self, AgentName, train_in};
use super::{Common, ScenarioArgs, VERSION, interrupt, print_json, print_line};
use crate::agent::checkpoint::LAST;
use crate::agent::log::LogRow;
use crate::agent::sb3;
use crate::error::{Error, Result};
use crate::evaluation::{self, Folder, Part, Shard, Watch};
use crate::files::write_atomically;
use crate::manifest::Manifest;
use crate::nn::Checkpoint;
use crate::report::{self, Comparison};
use crate::reproduction::compose::{Results, folder, their_zip, world_cup};
use crate::reproduction::trainings::{self, Training, trainings};
use crate::reproduction::{DRAWING_S, Effort, Evaluation, evaluations, their_agent};

/// Arguments of `reproduce`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the results; what is there is gone on with.
    #[arg(long, value_name = "DIR", default_value = "runs/reproduce")]
    out: PathBuf,
    /// Few seeds: minutes instead of an hour.
    #[arg(long)]
    quick: bool,
    /// Other people's data: World Cup 98 rows for the forecasts, the paper's own agent.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Compute one part of the cells only, for another machine to take the others: I/N with 0 <= I < N.
    /// `merge` puts the parts together.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Remove older results in the folder first.
    #[arg(long)]
    force: bool,
}

/// What has to agree for a folder to be gone on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reproduction {
    version: String,
    quick: bool,
    /// SHA-256 of the World Cup files and of the paper's own agent.
    data: Option<String>,
    /// Where these data were.
    data_folder: Option<PathBuf>,
    shard: Option<Shard>,
}

impl Manifest for Reproduction {
    const FILE: &'static str = "reproduction.json";
    const HOLDS: &'static str = "reproduction";

    fn difference(&self, wanted: &Self) -> Option<String> {
        (!self.agrees_with(wanted))
            .then(|| format!("it holds {}, this is {}", self.describe(), wanted.describe()))
    }
}

impl Reproduction {
    fn effort(&self) -> Effort {
        if self.quick { Effort::Quick } else { Effort::Full }
    }

    /// All that tells one reproduction from another.
    fn describe(&self) -> String {
        let effort = if self.quick { "a quick" } else { "a full" };
        let shard = match self.shard {
            Some(shard) => format!("shard {shard} of {effort} reproduction"),
            None => format!("{effort} reproduction"),
        };
        let data = match &self.data {
            Some(hash) => format!("data {}", hash.get(..12).unwrap_or(hash)),
            None => "no data of others".to_owned(),
        };
        format!("{shard} by version {} with {data}", self.version)
    }

    /// The same results, wherever the data lie.
    fn agrees_with(&self, other: &Self) -> bool {
        *self == Self { data_folder: self.data_folder.clone(), ..other.clone() }
    }
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let manifest = Reproduction {
        version: VERSION.to_owned(),
        quick: args.quick,
        data: args.data.as_deref().map(hash_of_data).transpose()?,
        data_folder: args.data.clone(),
        shard: args.shard,
    };
    claim(&args.out, &manifest, args.force)?;
    import_theirs(&args.out, &manifest)?;
    let evaluations = evaluations();
    let plans: Vec<evaluation::Plan> = evaluations
        .iter()
        .map(|evaluation| evaluation.plan(&args.out, manifest.effort()))
        .collect::<Result<_>>()?;
    let parts: Vec<Option<Part>> =
        plans.iter().map(|plan| args.shard.map(|shard| plan.part(shard, None))).collect();
    let counts: Vec<usize> = plans
        .iter()
        .zip(&parts)
        .map(|(plan, part)| part.as_ref().map_or_else(|| plan.cell_count(), Part::own_cell_count))
        .collect();
    let mut expected_s: f64 =
        counts.iter().zip(&evaluations).map(|(count, of)| *count as f64 * of.cell_s()).sum();
    if args.shard.is_none() {
        expected_s += finish_s(manifest.effort())?;
    }
    let cells = counts.iter().sum();

    interrupt::catch();
    let whole = Whole::new(common, expected_s);
    let done = evaluations.iter().zip(&plans).zip(parts).enumerate().try_for_each(
        |(index, ((evaluation, plan), part))| {
            whole.begin(format!(
                "evaluation {} of {}: {}",
                index + 1,
                evaluations.len(),
                evaluation.id
            ));
            compute(evaluation, plan, part, &args.out, args.force, &whole)
        },
    );
    if done.is_err() || args.shard.is_some() {
        whole.finish();
    }
    done?;
    let Some(shard) = args.shard else {
        return finish(&args.out, &manifest, cells, args.force, common, &whole);
    };
    if common.json {
        return print_json(&serde_json::json!({
            "shard": shard, "cells": cells, "out": args.out,
        }));
    }
    print_line(format!("shard    {shard}: {cells} cells"))?;
    print_line(format!("results  {}", args.out.display()))?;
    print_line("`quotascale merge` of all shards makes the report")
}

/// How long trainings, their evaluations and the report may take, seconds.
fn finish_s(effort: Effort) -> Result<f64> {
    let mut expected_s = DRAWING_S;
    for training in trainings(effort) {
        expected_s += training.all_steps()? as f64 * training.step_s();
    }
    for evaluation in trainings::evaluations(effort) {
        let policies = evaluation.policies.len() + evaluation.trained.len();
        expected_s += (policies as u64 * evaluation.seeds.1) as f64 * evaluation.cell_s();
    }
    Ok(expected_s)
}

/// Imports the paper's own agent, where the data hold it.
fn import_theirs(out: &Path, manifest: &Reproduction) -> Result<()> {
    match manifest.data_folder.as_deref().and_then(their_zip) {
        Some(zip) => sb3::read(&zip)?.save(&their_agent(out)),
        None => Ok(()),
    }
}

/// Computes what is missing of one evaluation, and compares unless it is a shard.
fn compute(
    evaluation: &Evaluation,
    plan: &evaluation::Plan,
    part: Option<Part>,
    out: &Path,
    force: bool,
    whole: &Whole,
) -> Result<()> {
    let path = folder(out, evaluation.id);
    let shard = part.as_ref().map(|part| part.shard);
    let command = evaluation.command();
    let folder = Folder::open_part(&path, &command, &plan.scenario, VERSION, force, part)?;
    // Runs that are there are told of too, at once.
    let there = AtomicUsize::new(plan.cells_in(&folder));
    whole.done_before(there.load(Ordering::Relaxed) as f64 * evaluation.cell_s());
    let count = || {
        let one_less = |there: usize| there.checked_sub(1);
        if there.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            whole.done(evaluation.cell_s());
        }
    };
    let watch = Watch { stop: &interrupt::interrupted, done: &count };
    match shard {
        // Warnings of runs stand in their summaries; here they would drown the progress.
        Some(shard) => evaluation::compute_shard(plan, &folder, shard, watch).map(drop),
        None => {
            let (comparison, _) = evaluation::compare(plan, &folder, None, watch)?;
            keep(&comparison, &folder)
        }
    }
}

/// The tables and figures of one comparison.
fn keep(comparison: &Comparison, folder: &Folder) -> Result<()> {
    report::write_comparison(comparison, folder.path())?;
    report::draw_comparison(comparison, &folder.path().join("figures")).map(drop)
}

/// Trains what is not yet trained, and evaluates it. Gives how many cells that were.
fn train_all(out: &Path, manifest: &Reproduction, force: bool, whole: &Whole) -> Result<usize> {
    let trainings = trainings(manifest.effort());
    for (index, training) in trainings.iter().enumerate() {
        let name = format!("training {} of {}: {}", index + 1, trainings.len(), training.id);
        whole.begin(name.clone());
        let step_s = training.step_s();
        let progress = PartOfWhole { whole, name: &name, step_s, steps: AtomicU64::new(0) };
        train_one(training, out, force, &progress).map_err(|error| match error {
            Error::Interrupted { .. } => Error::Interrupted {
                saved: format!(
                    "training {} of {} is saved; the same command goes on",
                    index + 1,
                    trainings.len()
                ),
            },
            other => other,
        })?;
    }
    let mut cells = 0;
    for evaluation in trainings::evaluations(manifest.effort()) {
        whole.begin(format!("evaluation of what was trained: {}", evaluation.id));
        let plan = evaluation.plan(out, manifest.effort())?;
        cells += plan.cell_count();
        compute(&evaluation, &plan, None, out, force, whole)?;
    }
    Ok(cells)
}

/// The progress of a training as a part of the whole.
struct PartOfWhole<'a> {
    whole: &'a Whole,
    name: &'a str,
    step_s: f64,
    /// Steps that the whole knows of.
    steps: AtomicU64,
}

impl train::Progress for PartOfWhole<'_> {
    fn begin(&self, done: u64, _: u64) {
        self.whole.done_before(done as f64 * self.step_s);
        self.steps.store(done, Ordering::Relaxed);
    }

    fn iteration(&self, row: &LogRow) {
        let before = self.steps.swap(row.steps, Ordering::Relaxed);
        self.whole.done(row.steps.saturating_sub(before) as f64 * self.step_s);
        self.whole.say(format!("{}: {}", self.name, train::described(row)));
    }
}

/// One training to its end, gone on with where it was interrupted.
fn train_one(
    training: &Training,
    out: &Path,
    force: bool,
    progress: &dyn train::Progress,
) -> Result<()> {
    let folder = trainings::folder(out, &training.id);
    let started = Checkpoint::exists(&folder.join(LAST));
    let config = folder.with_extension("toml");
    write_atomically(&config, |writer| writer.write_all(training.settings.as_bytes()))?;
    let args = train::Args {
        scenario: ScenarioArgs {
            scenario: training.scenario.to_owned(),
            trace: None,
            corrections: None,
            set: training.sets.clone(),
        },
        agent: match training.agent {
            trainings::AGENT => AgentName::RecurrentPpo,
            _ => AgentName::Ppo,
        },
        config: Some(config),
        steps: training.steps,
        observation: None,
        hints: None,
        head: None,
        seed: training.seed,
        out: None,
        resume: started && !force,
        force: started && force,
    };
    train_in(&args, &args.scenario.load()?, &folder, progress).map(drop)
}

/// Trains, then writes the report and the figures of all chapters.
fn finish(
    out: &Path,
    manifest: &Reproduction,
    cells: usize,
    force: bool,
    common: Common,
    whole: &Whole,
) -> anyhow::Result<()> {
    let made = train_all(out, manifest, force, whole).and_then(|trained| {
        whole.begin("figures and report".to_owned());
        Ok((cells + trained, write_report(out, manifest)?))
    });
    whole.finish();
    let (cells, (figures, report)) = made?;
    if common.json {
        return print_json(&serde_json::json!({
            "out": out, "report": report, "cells": cells, "figures": figures,
        }));
    }
    print_line(format!("cells    {cells}"))?;
    print_line(format!("figures  {figures} in {}", out.join("figures").display()))?;
    print_line(format!("report   {}", report.display()))
}

/// Writes the report and the figures of all chapters. Gives the number of figures and the report's file.
fn write_report(out: &Path, manifest: &Reproduction) -> Result<(usize, PathBuf)> {
    let results = Results {
        root: out,
        effort: manifest.effort(),
        data: manifest.data_folder.as_deref(),
        version: VERSION,
    };
    let page = results.page()?;
    let figures: Vec<_> = page.sections.iter().flat_map(|section| &section.figures).collect();
    let folder = out.join("figures");
    let written: Vec<Vec<PathBuf>> = figures
        .par_iter()
        .enumerate()
        .map(|(index, figure)| {
            let name = format!("{:02}-{}", index + 1, figure.title);
            figure.picture.write(&folder, &name, &figure.title)
        })
        .collect::<Result<_>>()?;
    remove_others(&folder, &written.concat())?;
    let html = page.to_html()?;
    let file = out.join("report.html");
    write_atomically(&file, |writer| writer.write_all(html.as_bytes()))?;
    Ok((figures.len(), file))
}

/// Removes what an earlier version drew into the folder of figures under other numbers or titles, and
/// nothing that is not named like a figure of ours: number, dash, title.
fn remove_others(folder: &Path, written: &[PathBuf]) -> Result<()> {
    let read = |source| Error::io("read", folder, source);
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let numbered = matches!(name.as_bytes(), [b'0'..=b'9', b'0'..=b'9', b'-', ..]);
        let drawn = [".svg", ".png", ".pdf"].iter().any(|ending| name.ends_with(ending));
        if numbered && drawn && !written.contains(&path) {
            fs::remove_file(&path).map_err(|source| Error::io("remove", &path, source))?;
        }
    }
    Ok(())
}

/// Whether `folder` holds a reproduction or a shard of one.
pub(super) fn is_reproduction(folder: &Path) -> bool {
    Reproduction::is_in(folder)
}

/// Puts shards of a reproduction together.
pub(super) fn merge(
    shards: &[PathBuf],
    out: &Path,
    force: bool,
    common: Common,
) -> anyhow::Result<()> {
    let manifests: Vec<Reproduction> =
        shards.iter().map(|shard| Reproduction::read(shard)).collect::<Result<_>>()?;
    let whole = Reproduction { shard: None, ..manifests[0].clone() };
    for (path, manifest) in shards.iter().zip(&manifests) {
        if manifest.shard.is_none() {
            return Err(Error::input(
                path.display(),
                "the folder holds a whole reproduction, no shard",
                "name folders that `reproduce --shard I/N` wrote",
            )
            .into());
        }
        if !whole.agrees_with(&Reproduction { shard: None, ..manifest.clone() }) {
            return Err(Error::input(
                path.display(),
                format!("of another version, effort or data than {}", shards[0].display()),
                "run all shards with the same arguments but for --shard",
            )
            .into());
        }
    }
    claim(out, &whole, force)?;
    import_theirs(out, &whole)?;
    interrupt::catch();
    let mut cells = 0;
    for evaluation in evaluations() {
        let parts: Vec<PathBuf> = shards.iter().map(|shard| folder(shard, evaluation.id)).collect();
        let merged = evaluation::merge(&parts, &folder(out, evaluation.id), VERSION, force)?;
        for warning in &merged.warnings {
            eprintln!("warning: {}: {warning}", evaluation.id);
        }
        let optima = merged.optima.as_ref();
        keep(&Comparison::new(&merged.summaries, optima, None)?, &merged.folder)?;
        cells += evaluation.plan(out, whole.effort())?.cell_count();
    }
    let progress = Whole::new(common, finish_s(whole.effort())?);
    finish(out, &whole, cells, force, common, &progress)
}

/// Makes the folder of `manifest`, or goes on with it.
fn claim(out: &Path, manifest: &Reproduction, force: bool) -> Result<()> {
    manifest.claim(out, force)?;
    manifest.write(out)
}

fn hash_of_data(data: &Path) -> Result<String> {
    let mut files = world_cup(data);
    files.extend(their_zip(data));
    if files.is_empty() {
        return Err(Error::input(
            format!("--data {}", data.display()),
            "there is no World Cup file in it, nor the paper's own agent",
            "name a folder with wc98_small_2min.csv, wc98_tournament_2min.csv or B_tt_TRPOtanh128.zip",
        ));
    }
    let mut hash = Sha256::new();
    for file in files {
        let bytes = fs::read(&file).map_err(|source| Error::io("read", &file, source))?;
        hash.update(bytes);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
