//! Forecasters against each other over traces (`scores.json`, `scores.csv`, `predictions.csv`).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::comparison::Statistic;
use super::rows::{Row, row, write_csv};
use super::stats::{self, Bootstrap};
use crate::error::Result;
use crate::files::{write_atomically, write_json};
use crate::predictor::QUANTILES;
use crate::predictor::backtest::{Judged, Scores};
use crate::trace::series::Series;

/// Forecasters over traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ForecastReport {
    /// Rows ahead, at most.
    pub horizon: usize,
    /// One entry a trace.
    pub traces: Vec<TraceScores>,
}

/// Forecasters over one trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TraceScores {
    /// The trace's name.
    pub name: String,
    /// Rows of the trace.
    pub rows: usize,
    /// The first row of the test part.
    pub test_from: usize,
    /// Forecasts one row ahead that are judged.
    pub targets: usize,
    /// One entry a model, in the order asked for.
    pub models: Vec<ModelScores>,
}

/// One model over one trace. Errors are in users.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelScores {
    /// The model's name.
    pub name: String,
    /// Mean absolute error.
    pub mae: Score,
    /// Root of the mean squared error.
    pub rmse: Score,
    /// MAE over the mean one-step change of the rows before the test part.
    pub mase: Score,
    /// Pinball loss, mean of the quantiles.
    pub pinball: Pinball,
    /// Share of rows inside the 80 % band.
    pub coverage80: Score,
    /// Share of the forecasts for which the latest users stood in: too short a history.
    pub by_persistence: f64,
}

/// One figure over the seeds of a model: over all rows ahead together, and for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Over all rows ahead.
    #[serde(flatten)]
    pub all: Statistic,
    /// Mean over the seeds for 1, 2, … rows ahead.
    pub by_horizon: Vec<Option<f64>>,
}

/// The pinball loss, and its parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pinball {
    /// Mean of the quantiles' losses.
    #[serde(flatten)]
    pub mean: Score,
    /// Mean over the seeds for each quantile.
    pub by_quantile: BTreeMap<String, Option<f64>>,
}

impl ModelScores {
    /// Of a model judged once for each of its seeds.
    pub fn new(name: &str, seeds: &[Judged], bootstrap: &mut Bootstrap) -> Self {
        let mut score = |of: &dyn Fn(&Scores) -> Option<f64>| {
            let horizon = seeds.first().map_or(0, |judged| judged.by_ahead.len());
            let all = seeds.iter().map(|judged| of(&judged.overall)).collect();
            let by_horizon = (0..horizon).map(|ahead| {
                let values: Vec<f64> =
                    seeds.iter().filter_map(|judged| of(&judged.by_ahead[ahead])).collect();
                stats::mean(&values)
            });
            Score { by_horizon: by_horizon.collect(), all: Statistic::new(all, bootstrap) }
        };
        let by_quantile = QUANTILES.iter().enumerate().map(|(index, quantile)| {
            let losses: Vec<f64> = seeds
                .iter()
                .filter_map(|judged| judged.overall.pinball.map(|losses| losses[index]))
                .collect();
            (quantile.to_string(), stats::mean(&losses))
        });
        let forecasts = || seeds.iter().flat_map(|judged| &judged.predictions);
        let stood_in = forecasts().filter(|prediction| prediction.by_persistence).count();
        Self {
            name: name.to_owned(),
            mae: score(&|scores| scores.mae),
            rmse: score(&|scores| scores.rmse),
            mase: score(&|scores| scores.mase),
            pinball: Pinball {
                mean: score(&Scores::mean_pinball),
                by_quantile: by_quantile.collect(),
            },
            coverage80: score(&|scores| scores.coverage80),
            by_persistence: stood_in as f64 / forecasts().count().max(1) as f64,
        }
    }
}

/// Every forecast of one model and seed on one trace.
pub struct Forecasts<'a> {
    /// The trace.
    pub series: &'a Series,
    /// The model's name.
    pub model: &'a str,
    /// Which of the model's seeds, from 0.
    pub seed: usize,
    /// The forecasts and their scores.
    pub judged: &'a Judged,
}

/// One forecast (`predictions.csv`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionRow {
    /// The trace.
    pub trace: String,
    /// The model.
    pub model: String,
    /// Which of the model's seeds, from 0.
    pub seed: u64,
    /// The row that is forecast, the first of the trace being 0.
    pub row: u64,
    /// Its time as the trace has it; empty without times.
    pub time: String,
    /// How many rows ahead it was forecast.
    pub ahead: u64,
    /// Users that came.
    pub actual: f64,
    /// Users that were expected.
    pub forecast: f64,
    /// The 10 % quantile; empty where the model has none.
    pub q10: Option<f64>,
    /// The median.
    pub q50: Option<f64>,
    /// The 90 % quantile.
    pub q90: Option<f64>,
}

row!(PredictionRow { trace, model, seed, row, time, ahead, actual, forecast, q10, q50, q90 });

/// The scores of one model and seed, for one number of rows ahead or for all (`scores.csv`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// The trace.
    pub trace: String,
    /// The model.
    pub model: String,
    /// Which of the model's seeds, from 0.
    pub seed: u64,
    /// Rows ahead; empty for all together.
    pub ahead: Option<u64>,
    /// Forecasts judged.
    pub targets: u64,
    /// Mean absolute error, users.
    pub mae: Option<f64>,
    /// Root of the mean squared error, users.
    pub rmse: Option<f64>,
    /// MAE over the mean one-step change of the rows before the test part.
    pub mase: Option<f64>,
    /// Mean of the three pinball losses.
    pub pinball: Option<f64>,
    /// Pinball loss at the 10 % quantile.
    pub pinball10: Option<f64>,
    /// Pinball loss at the median.
    pub pinball50: Option<f64>,
    /// Pinball loss at the 90 % quantile.
    pub pinball90: Option<f64>,
    /// Share of rows inside the 80 % band.
    pub coverage80: Option<f64>,
}

row!(ScoreRow {
    trace,
    model,
    seed,
    ahead,
    targets,
    mae,
    rmse,
    mase,
    pinball,
    pinball10,
    pinball50,
    pinball90,
    coverage80,
});

/// Writes `predictions.csv`, `scores.csv` and `scores.json` into `dir`, which exists.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_forecasts(
    report: &ForecastReport,
    forecasts: &[Forecasts<'_>],
    dir: &Path,
) -> Result<()> {
    let predictions: Vec<PredictionRow> = forecasts.iter().flat_map(prediction_rows).collect();
    write_rows(dir, "predictions.csv", &predictions)?;
    let scores: Vec<ScoreRow> = forecasts.iter().flat_map(score_rows).collect();
    write_rows(dir, "scores.csv", &scores)?;
    write_json(&dir.join("scores.json"), report)
}

fn write_rows<R: Row>(dir: &Path, name: &str, rows: &[R]) -> Result<()> {
    write_atomically(&dir.join(name), |writer| write_csv(writer, rows))
}

fn prediction_rows<'a>(of: &'a Forecasts<'a>) -> impl Iterator<Item = PredictionRow> + 'a {
    of.judged.predictions.iter().map(|prediction| PredictionRow {
        trace: of.series.name.clone(),
        model: of.model.to_owned(),
        seed: of.seed as u64,
        row: prediction.row as u64,
        time: of.series.times.get(prediction.row).cloned().unwrap_or_default(),
        ahead: prediction.ahead as u64,
        actual: prediction.actual,
        forecast: prediction.users,
        q10: prediction.band.map(|band| band[0]),
        q50: prediction.band.map(|band| band[1]),
        q90: prediction.band.map(|band| band[2]),
    })
}

fn score_rows<'a>(of: &'a Forecasts<'a>) -> impl Iterator<Item = ScoreRow> + 'a {
    let by_ahead = (1..).zip(&of.judged.by_ahead).map(|(ahead, scores)| (Some(ahead), scores));
    std::iter::once((None, &of.judged.overall)).chain(by_ahead).map(|(ahead, scores)| ScoreRow {
        trace: of.series.name.clone(),
        model: of.model.to_owned(),
        seed: of.seed as u64,
        ahead,
        targets: scores.targets as u64,
        mae: scores.mae,
        rmse: scores.rmse,
        mase: scores.mase,
        pinball: scores.mean_pinball(),
        pinball10: scores.pinball.map(|losses| losses[0]),
        pinball50: scores.pinball.map(|losses| losses[1]),
        pinball90: scores.pinball.map(|losses| losses[2]),
        coverage80: scores.coverage80,
    })
}
