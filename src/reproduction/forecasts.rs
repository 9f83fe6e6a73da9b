//! Forecasters that need no training, judged on one series.

use rayon::prelude::*;

use crate::error::Result;
use crate::predictor::Baseline;
use crate::predictor::backtest::{Judged, judge, mean_change};
use crate::predictor::bands::WithBands;
use crate::predictor::dataset::{Fractions, training};
use crate::report::html::{Figure, Table};
use crate::report::stats::Bootstrap;
use crate::report::{Forecasts, ModelScores, TraceScores, figures, forecast_table};
use crate::rng::Streams;
use crate::trace::generate::{Generator, Shape};
use crate::trace::series::{Series, SeriesRule};

/// Rows of the synthetic days: enough to fit and to judge.
const SYNTHETIC_ROWS: u32 = 2000;
/// Rows of one of its days, of 2 minutes each: a real day.
const ROWS_OF_A_DAY: u32 = 720;

/// Days that repeat with noise, drawn from a seed of their own.
///
/// # Errors
/// Never, but for a slip in the text made of it.
pub fn synthetic_days() -> Result<Vec<Series>> {
    let shape = Shape::Diurnal { period_rows: ROWS_OF_A_DAY, noise: 0.05 };
    let generator = Generator { shape, rows: SYNTHETIC_ROWS, low: 5, high: 90 };
    let users = generator.generate(&mut Streams::new(0).open("reproduction/synthetic-days"));
    let mut text = "users\n".to_owned();
    for users in users {
        text += &format!("{users}\n");
    }
    let rule = SeriesRule { columns: Vec::new(), masks: Vec::new(), row_s: 120 };
    Series::read("synthetic days", "synthetic days", &text, &rule)
}

/// The scores of every baseline on `series` and the figure of the stretch with its peak.
///
/// # Errors
/// [`crate::Error::Input`] when the series is too short.
pub fn judged(series: &Series) -> Result<(Table, Figure)> {
    let split = Fractions::default().split(series.len());
    let before = 0..split.test.start;
    let naive = mean_change(series, before.clone());
    let rows = training(series, before.clone());
    let models: Vec<(String, Judged)> = Baseline::ALL
        .par_iter()
        .map(|baseline| {
            let fitted = baseline.fit(std::slice::from_ref(&rows));
            let banded = WithBands::fit(fitted, series, before.clone(), 1);
            Ok((baseline.to_string(), judge(&banded, series, split.test.clone(), 1, naive)?))
        })
        .collect::<Result<_>>()?;
    let mut bootstrap = Bootstrap::new();
    let scores = TraceScores {
        name: series.name.clone(),
        rows: series.len(),
        test_from: split.test.start,
        targets: models.first().map_or(0, |(_, judged)| judged.by_ahead[0].targets),
        models: models
            .iter()
            .map(|(name, judged)| {
                ModelScores::new(name, std::slice::from_ref(judged), &mut bootstrap)
            })
            .collect(),
    };
    let forecasts: Vec<Forecasts<'_>> =
        models.iter().map(|(model, judged)| Forecasts { series, model, seed: 0, judged }).collect();
    let (header, cells) = forecast_table::cells(&scores);
    let table = Table {
        caption: format!(
            "Errors in users one row ahead on {}: {} rows, judged on {}; MASE is relative to the mean change from \
             row to row",
            series.name, scores.rows, scores.targets
        ),
        header,
        rows: cells,
    };
    let figure = Figure {
        title: format!("Forecasts of {}", series.name),
        description: "Users that came and users expected one row ahead, with the 80 % band, around the peak of \
                      the part that is judged; a panel a model."
            .to_owned(),
        picture: figures::forecast_picture(&forecasts, &scores),
        numbers: vec![table.clone()],
    };
    Ok((table, figure))
}
