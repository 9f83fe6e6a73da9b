//! `predictor evaluate`: forecasters on the last part of traces.
//!
//! Every model sees all rows before the one it forecasts. Models without a network are fitted on all
//! rows before the test part, for they have nothing to choose by a validation part.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::predictor_folder::PredictorManifest;
use super::{Common, VERSION, print_json, print_line, progress};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::predictor::backtest::{Candidate, Judged, judge, mean_change};
use crate::predictor::bands::WithBands;
use crate::predictor::dataset::{Fractions, training};
use crate::predictor::trained::{self, TrainedPredictor};
use crate::predictor::{Baseline, Forecaster, Training};
use crate::report::stats::Bootstrap;
use crate::report::{
    self, ForecastReport, Forecasts, ModelScores, TraceScores, forecast_table, table,
};
use crate::trace::DEFAULT_STAGE_S;
use crate::trace::series::{Mask, Series, SeriesRule};

/// Farthest forecast that can be asked for, rows.
const MOST_ROWS_AHEAD: u64 = 1000;

/// Arguments of `predictor evaluate`.
#[derive(clap::Args)]
pub struct Args {
    /// Traces: CSV files of either form or with a column `users`, or built-in names (diurnal/house).
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    trace: Vec<String>,
    /// Columns or services to take; default: `users`, else all that are no time.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    column: Vec<String>,
    /// Models: names, folders of predictors, or NAME:FOLDER (folders of one name are seeds of one model);
    /// default: all that need no training by `predictor train`.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    models: Vec<String>,
    /// Rows ahead to forecast and judge.
    #[arg(long, value_name = "H", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MOST_ROWS_AHEAD))]
    horizon: u64,
    /// Training, validation and test part in per cent, in time.
    #[arg(long, value_name = "T/V/T", default_value = "64/16/20")]
    split: String,
    /// Rows neither learned from nor judged on, by number or time, without the end; repeatable.
    #[arg(long, value_name = "FROM..TO")]
    mask: Vec<String>,
    /// Length of a row where the file does not say, seconds.
    #[arg(long, value_name = "S", default_value_t = DEFAULT_STAGE_S, value_parser = clap::value_parser!(u32).range(1..))]
    stage_s: u32,
    /// Folder of the results.
    #[arg(long, value_name = "DIR", default_value = "runs/predictor-evaluate")]
    out: PathBuf,
    /// Replace other results in the folder.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let fractions: Fractions = args.split.parse()?;
    let models = models(&args.models)?;
    let masks: Vec<Mask> = args.mask.iter().map(|mask| mask.parse()).collect::<Result<_>>()?;
    let rule = SeriesRule { columns: args.column.clone(), masks, row_s: args.stage_s };
    let all = read(&args.trace, &rule)?;
    let horizon = args.horizon as usize;
    let manifest = PredictorManifest {
        command: command_line(args, &models),
        inputs: hash(&all),
        version: VERSION.to_owned(),
    };
    manifest.claim(&args.out, args.force)?;

    let bar = progress::bar(common, all.len() as u64, "traces");
    let judged: Vec<TraceResult<'_>> = all
        .par_iter()
        .map(|series| {
            let result = evaluate(series, &models, fractions, horizon);
            bar.inc(1);
            result
        })
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    manifest.write(&args.out)?;

    let mut bootstrap = Bootstrap::new();
    let traces = judged.iter().map(|result| result.scores(&mut bootstrap)).collect();
    let report = ForecastReport { horizon, traces };
    let forecasts: Vec<Vec<Forecasts<'_>>> = judged.iter().map(TraceResult::forecasts).collect();
    let mut figures = Vec::new();
    for (forecasts, scores) in forecasts.iter().zip(&report.traces) {
        figures.extend(report::draw_forecast(forecasts, scores, &args.out.join("figures"))?);
    }
    let forecasts: Vec<Forecasts<'_>> = forecasts.into_iter().flatten().collect();
    report::write_forecasts(&report, &forecasts, &args.out)?;
    if common.json {
        return print_json(&report);
    }
    let text = forecast_table::render(&report, table::TableStyle::of_stdout());
    print_line(text.trim_end())?;
    print_line(format!("\nresults  {}", args.out.display()))?;
    for figure in figures {
        print_line(format!("figure   {}", figure.display()))?;
    }
    Ok(())
}

/// A model to judge.
enum Model {
    /// Fitted on each series anew.
    Baseline(Baseline),
    /// Trained before, under the name of its folder or the one given; one predictor a seed.
    Trained(String, Vec<TrainedPredictor>),
}

impl Model {
    fn name(&self) -> String {
        match self {
            Self::Baseline(baseline) => baseline.to_string(),
            Self::Trained(name, _) => name.clone(),
        }
    }

    /// What tells it from others of its name.
    fn identity(&self) -> String {
        match self {
            Self::Baseline(baseline) => baseline.to_string(),
            Self::Trained(name, seeds) => {
                let hashes: Vec<&str> = seeds.iter().map(|seed| seed.sha256.as_str()).collect();
                format!("{name}@{}", hashes.join("+"))
            }
        }
    }
}

/// The models asked for, each once.
fn models(names: &[String]) -> Result<Vec<Model>> {
    if names.is_empty() {
        return Ok(Baseline::ALL.map(Model::Baseline).into());
    }
    let mut models: Vec<Model> = Vec::new();
    for name in names {
        let (named, model) = model(name.trim())?;
        match (models.iter_mut().find(|other| other.name() == model.name()), model) {
            (None, model) => models.push(model),
            // The same name given to several folders: seeds of one model.
            (Some(Model::Trained(_, seeds)), Model::Trained(_, more)) if named => {
                seeds.extend(more)
            }
            (Some(_), model) => {
                return Err(Error::input(
                    "--models",
                    format!("`{}` is there twice", model.name()),
                    "name it once; predictors go by the last part of their folder's name, or by NAME in NAME:FOLDER, where folders of one name are seeds of one model",
                ));
            }
        }
    }
    Ok(models)
}

/// A baseline's name, a predictor's folder, or `NAME:FOLDER`; and whether a name was given.
fn model(text: &str) -> Result<(bool, Model)> {
    if let Some((name, folder)) = text.split_once(':').filter(|(name, _)| !name.is_empty()) {
        let predictor = trained::load(Path::new(folder))?;
        return Ok((true, Model::Trained(name.to_owned(), vec![predictor])));
    }
    Ok((false, unnamed_model(text)?))
}

fn unnamed_model(name: &str) -> Result<Model> {
    let path = Path::new(name);
    match name.parse() {
        Ok(baseline) => Ok(Model::Baseline(baseline)),
        Err(_) if path.is_dir() || name.contains(['/', '\\', '.']) => {
            let predictor = trained::load(path)?;
            // The folder's own name, even where it was reached as `.` or `..`.
            let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let last = whole.file_name().unwrap_or(whole.as_os_str());
            Ok(Model::Trained(last.to_string_lossy().into_owned(), vec![predictor]))
        }
        Err(error) => Err(error),
    }
}

/// All series of all files, under names of their own.
pub(super) fn read(files: &[String], rule: &SeriesRule) -> Result<Vec<Series>> {
    let mut all: Vec<Series> = Vec::new();
    for file in files {
        for series in Series::load(file, rule)? {
            if all.iter().any(|other| other.name == series.name) {
                return Err(Error::input(
                    file,
                    format!("two traces are named `{}`", series.name),
                    "name each once; files in different folders need different names",
                ));
            }
            all.push(series);
        }
    }
    Ok(all)
}

/// What the results depend on beside the traces' contents.
fn command_line(args: &Args, models: &[Model]) -> String {
    let models: Vec<String> = models.iter().map(Model::identity).collect();
    let models = models.join(",");
    format!(
        "predictor evaluate --models {models} --horizon {} --split {}",
        args.horizon, args.split
    )
}

/// SHA-256 over names and contents of series, hexadecimal.
pub(super) fn hash(all: &[Series]) -> String {
    let mut hash = Sha256::new();
    for series in all {
        hash.update(&series.name);
        hash.update(series.row_s.to_le_bytes());
        for (users, masked) in series.users.iter().zip(&series.masked) {
            hash.update(if *masked { f64::NAN } else { *users }.to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A trace and how each model did on it, once for each of its seeds.
struct TraceResult<'a> {
    series: &'a Series,
    test_from: usize,
    models: Vec<(String, Vec<Judged>)>,
}

fn evaluate<'a>(
    series: &'a Series,
    models: &[Model],
    fractions: Fractions,
    horizon: usize,
) -> Result<TraceResult<'a>> {
    let split = fractions.split(series.len());
    let before = 0..split.test.start;
    let naive = mean_change(series, before.clone());
    let rows = training(series, before.clone());
    let judged = models.iter().map(|model| {
        let candidate = candidate(model, &rows, series, before.clone(), horizon);
        let seeds = candidate
            .forecasters
            .iter()
            .map(|one| judge(one.as_ref(), series, split.test.clone(), horizon, naive))
            .collect::<Result<Vec<_>>>()?;
        Ok((candidate.name, seeds))
    });
    let models = judged.collect::<Result<_>>()?;
    Ok(TraceResult { series, test_from: split.test.start, models })
}

/// A model with bands. One without a network is fitted on the rows before the test part; one without
/// bands gets them from its errors there.
fn candidate(
    model: &Model,
    training: &Training,
    series: &Series,
    before: Range<usize>,
    horizon: usize,
) -> Candidate {
    let with_bands = |forecaster: Arc<dyn Forecaster>| -> Arc<dyn Forecaster> {
        Arc::new(WithBands::fit(forecaster, series, before.clone(), horizon))
    };
    let forecasters = match model {
        Model::Baseline(baseline) => vec![with_bands(baseline.fit(std::slice::from_ref(training)))],
        Model::Trained(_, seeds) => seeds
            .iter()
            .map(|seed| {
                let forecaster = seed.for_services([series.name.as_str()]);
                if seed.has_bands { forecaster } else { with_bands(forecaster) }
            })
            .collect(),
    };
    Candidate { name: model.name(), forecasters }
}

impl TraceResult<'_> {
    fn scores(&self, bootstrap: &mut Bootstrap) -> TraceScores {
        let first = self.models.first().and_then(|(_, seeds)| seeds.first());
        TraceScores {
            name: self.series.name.clone(),
            rows: self.series.len(),
            test_from: self.test_from,
            targets: first.map_or(0, |judged| judged.by_ahead[0].targets),
            models: self
                .models
                .iter()
                .map(|(name, seeds)| ModelScores::new(name, seeds, bootstrap))
                .collect(),
        }
    }

    fn forecasts(&self) -> Vec<Forecasts<'_>> {
        let each = self.models.iter().flat_map(|(model, seeds)| {
            seeds.iter().enumerate().map(|(seed, judged)| Forecasts {
                series: self.series,
                model,
                seed,
                judged,
            })
        });
        each.collect()
    }
}
