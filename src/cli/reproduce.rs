//! `reproduce`: every table and figure of the paper's kind, with one command.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::train::{self, AgentName, train_in};
use super::{Common, ScenarioArgs, VERSION, interrupt, print_json, print_line, progress};
use crate::agent::checkpoint::LAST;
use crate::agent::sb3;
use crate::error::{Error, Result, read_input};
use crate::evaluation::{self, Folder, Part, Shard, Watch};
use crate::files::write_atomically;
use crate::nn::Checkpoint;
use crate::report::export::write_json;
use crate::report::{self, Comparison, figures};
use crate::reproduction::compose::{Results, folder, their_zip, world_cup};
use crate::reproduction::trainings::{self, Training, trainings};
use crate::reproduction::{Effort, Evaluation, evaluations, their_agent};

/// Says what a folder belongs to.
const MANIFEST: &str = "reproduction.json";

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
struct Manifest {
    version: String,
    quick: bool,
    /// SHA-256 of the World Cup files and of the paper's own agent.
    data: Option<String>,
    /// Where these data were.
    data_folder: Option<PathBuf>,
    shard: Option<Shard>,
}

impl Manifest {
    fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(MANIFEST);
        serde_json::from_str(&read_input(&file)?).map_err(|error| {
            Error::input(file.display(), error, "name another folder, or start anew with --force")
        })
    }

    fn effort(&self) -> Effort {
        if self.quick { Effort::Quick } else { Effort::Full }
    }

    /// The same results, wherever the data lie.
    fn agrees_with(&self, other: &Self) -> bool {
        *self == Self { data_folder: self.data_folder.clone(), ..other.clone() }
    }
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let manifest = Manifest {
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
    let cells = plans
        .iter()
        .zip(&parts)
        .map(|(plan, part)| part.as_ref().map_or_else(|| plan.cell_count(), Part::own_cell_count));
    let cells: usize = cells.sum();

    interrupt::catch();
    let bar = progress::bar(common, cells as u64, "runs");
    let watch = Watch { stop: &interrupt::interrupted, done: &|| bar.inc(1) };
    for ((evaluation, plan), part) in evaluations.iter().zip(&plans).zip(parts) {
        let done = compute(evaluation, plan, part, &args.out, args.force, watch);
        if done.is_err() {
            bar.finish_and_clear();
        }
        done?;
    }
    bar.finish_and_clear();
    if let Some(shard) = args.shard {
        if common.json {
            return print_json(&serde_json::json!({
                "shard": shard, "cells": cells, "out": args.out,
            }));
        }
        print_line(format!("shard    {shard}: {cells} cells"))?;
        print_line(format!("results  {}", args.out.display()))?;
        return print_line("`quotascale merge` of all shards makes the report");
    }
    finish(&args.out, &manifest, cells, args.force, common)
}

/// Imports the paper's own agent, where the data hold it.
fn import_theirs(out: &Path, manifest: &Manifest) -> Result<()> {
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
    watch: Watch<'_>,
) -> Result<()> {
    let path = folder(out, evaluation.id);
    let shard = part.as_ref().map(|part| part.shard);
    let command = evaluation.command();
    let folder = Folder::open_part(&path, &command, &plan.scenario, VERSION, force, part)?;
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
fn train_all(out: &Path, manifest: &Manifest, force: bool, common: Common) -> Result<usize> {
    let trainings = trainings(manifest.effort());
    for (index, training) in trainings.iter().enumerate() {
        if !common.quiet && !common.json {
            eprintln!("training {} of {}: {}", index + 1, trainings.len(), training.id);
        }
        let bar = progress::bar_with_report(common, 0);
        let done = train_one(training, out, force, &bar);
        bar.finish_and_clear();
        done.map_err(|error| match error {
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
        let plan = evaluation.plan(out, manifest.effort())?;
        cells += plan.cell_count();
        let watch = Watch { stop: &interrupt::interrupted, done: &|| {} };
        compute(&evaluation, &plan, None, out, force, watch)?;
    }
    Ok(cells)
}

/// One training to its end, gone on with where it was interrupted.
fn train_one(training: &Training, out: &Path, force: bool, bar: &ProgressBar) -> Result<()> {
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
    train_in(&args, &args.scenario.load()?, &folder, bar).map(drop)
}

/// Trains, then writes the report and the figures of all chapters.
fn finish(
    out: &Path,
    manifest: &Manifest,
    cells: usize,
    force: bool,
    common: Common,
) -> anyhow::Result<()> {
    let cells = cells + train_all(out, manifest, force, common)?;
    if !common.quiet && !common.json {
        eprintln!("drawing the figures and writing the report …");
    }
    let results = Results {
        root: out,
        effort: manifest.effort(),
        data: manifest.data_folder.as_deref(),
        version: VERSION,
    };
    let page = results.page()?;
    let mut count = 0;
    for figure in page.sections.iter().flat_map(|section| &section.figures) {
        count += 1;
        let name = format!("{count:02}-{}", figure.title);
        figures::write_svg(&figure.svg, &out.join("figures"), &name)?;
    }
    let html = page.to_html()?;
    let file = out.join("report.html");
    write_atomically(&file, |writer| writer.write_all(html.as_bytes()))?;
    if common.json {
        return print_json(&serde_json::json!({
            "out": out, "report": file, "cells": cells, "figures": count,
        }));
    }
    print_line(format!("cells    {cells}"))?;
    print_line(format!("figures  {count} in {}", out.join("figures").display()))?;
    print_line(format!("report   {}", file.display()))
}

/// Whether `folder` holds a reproduction or a shard of one.
pub(super) fn is_reproduction(folder: &Path) -> bool {
    folder.join(MANIFEST).exists()
}

/// Puts shards of a reproduction together.
pub(super) fn merge(
    shards: &[PathBuf],
    out: &Path,
    force: bool,
    common: Common,
) -> anyhow::Result<()> {
    let manifests: Vec<Manifest> =
        shards.iter().map(|shard| Manifest::read(shard)).collect::<Result<_>>()?;
    let whole = Manifest { shard: None, ..manifests[0].clone() };
    for (path, manifest) in shards.iter().zip(&manifests) {
        if manifest.shard.is_none() {
            return Err(Error::input(
                path.display(),
                "the folder holds a whole reproduction, no shard",
                "name folders that `reproduce --shard I/N` wrote",
            )
            .into());
        }
        if !whole.agrees_with(&Manifest { shard: None, ..manifest.clone() }) {
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
    finish(out, &whole, cells, force, common)
}

/// Makes the folder of `manifest`, or goes on with it.
fn claim(out: &Path, manifest: &Manifest, force: bool) -> Result<()> {
    if out.join(MANIFEST).exists() {
        if !force && !Manifest::read(out)?.agrees_with(manifest) {
            return Err(Error::input(
                out.display(),
                "it holds a reproduction of another version, effort, shard or other data",
                "name another folder with --out, or start anew with --force",
            ));
        }
    } else if out.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::input(
            out.display(),
            "the folder is not empty and holds no reproduction",
            "name another with --out",
        ));
    }
    write_json(&out.join(MANIFEST), manifest)
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
