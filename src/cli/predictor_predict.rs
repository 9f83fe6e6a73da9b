//! `predictor predict`: a prediction for every window of a CSV file.
//!
//! Columns `x0` to `x6` are read; `scaled_prediction` and `prediction_users` are computed, in place
//! of columns of these names or else at the end; all other columns pass through. A quantile model reads
//! `x7`, `x8`, … too, where they are there, and computes `prediction_q10` and `prediction_q90`.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Common, print_json, print_line};
use crate::error::{Error, Result, read_input};
use crate::files::{check_output, write_atomically};
use crate::predictor::original::{OriginalPredictor, WINDOW, Workspace};
use crate::predictor::quantile::QuantileModel;
use crate::predictor::quantile::view::{ROWS, View};
use crate::predictor::trained::{self, Network};
use crate::predictor::{Forecast, Forecaster};

/// Arguments of `predictor predict`.
#[derive(clap::Args)]
pub struct Args {
    /// The predictor's folder.
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// CSV with the columns x0 to x6: users, oldest first. A quantile model takes up to x30.
    #[arg(long, value_name = "FILE")]
    windows: PathBuf,
    /// The service whose users they are, for a model that was trained on several.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The CSV file to write; an existing one is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Columns that every network computes.
const COMPUTED: [&str; 2] = ["scaled_prediction", "prediction_users"];
/// Columns that a quantile model computes.
const BANDED: [&str; 4] = [COMPUTED[0], COMPUTED[1], "prediction_q10", "prediction_q90"];
/// Windows that one thread takes at a time.
const CHUNK: usize = 256;

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    check_output(&args.out, true)?;
    let predictor = trained::load(&args.checkpoint)?;
    let text = read_input(&args.windows)?;
    let (most, computed): (usize, &[&str]) = match predictor.network() {
        Network::Original(_) => (WINDOW, &COMPUTED),
        Network::Quantile(_) => (ROWS, &BANDED),
    };
    let table = Table::read(&args.windows, &text, most)?;
    let predictions: Vec<Vec<String>> = match predictor.network() {
        Network::Original(network) => original(network, &table.windows),
        Network::Quantile(model) => {
            let model = service(model, args)?;
            quantiles(&model, &table.windows)
        }
    };
    write_atomically(&args.out, |writer| table.write(computed, &predictions, writer))?;
    if common.json {
        return print_json(&serde_json::json!({
            "out": args.out.display().to_string(),
            "windows": predictions.len(),
        }));
    }
    print_line(format!("{}: {} predictions", args.out.display(), predictions.len()))
}

/// The model for the service asked for, which it has to know.
fn service(model: &QuantileModel, args: &Args) -> Result<QuantileModel> {
    let Some(name) = &args.service else { return Ok(model.clone()) };
    if model.knows(name) {
        return Ok(model.for_services([name.as_str()]));
    }
    let known: Vec<&str> = model.known().collect();
    Err(Error::input(
        format!("--service {name}"),
        format!("{} was not trained on a service of this name", args.checkpoint.display()),
        match &known[..] {
            [] => "leave it out: the model has no lines of single services".to_owned(),
            known => format!("known: {}; leave it out for any other", known.join(", ")),
        },
    ))
}

/// Predicts window by window, as the original does; how they are spread over threads changes nothing.
fn original(predictor: &OriginalPredictor, windows: &[Vec<f64>]) -> Vec<Vec<String>> {
    let predict = |workspace: &mut Workspace, rows: &Vec<f64>| {
        let mut window = [0.0; WINDOW];
        window.copy_from_slice(rows);
        let prediction = predictor.predict(&window, workspace);
        [prediction.scaled, prediction.users].map(|value| format!("{value:?}")).to_vec()
    };
    windows
        .par_chunks(CHUNK)
        .map_init(Workspace::default, |workspace, windows| {
            windows.iter().map(|window| predict(workspace, window)).collect::<Vec<_>>()
        })
        .flatten_iter()
        .collect()
}

/// Median and band one row ahead; scaled is the median as the model sees it: relative to the last row,
/// in units of the window's scale.
fn quantiles(model: &QuantileModel, windows: &[Vec<f64>]) -> Vec<Vec<String>> {
    let predict = |forecast: &mut Forecast, rows: &Vec<f64>| {
        model.forecast(&model.start(&[rows]), 1, forecast);
        let [low, median, high] = forecast.bands(0).map_or([f64::NAN; 3], |bands| bands[0]);
        let view = View::of(rows);
        let scaled = (median - view.last()) / view.scale();
        [scaled, median, low, high].map(|value| value.to_string()).to_vec()
    };
    windows
        .par_chunks(CHUNK)
        .map_init(Forecast::default, |forecast, windows| {
            windows.iter().map(|window| predict(forecast, window)).collect::<Vec<_>>()
        })
        .flatten_iter()
        .collect()
}

/// The input.
struct Table {
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
    windows: Vec<Vec<f64>>,
}

impl Table {
    /// Reads windows of at most `most` rows.
    fn read(path: &Path, text: &str, most: usize) -> Result<Self> {
        let file = path.display();
        // Flexible, because a short row is our own complaint, with the line and the remedy.
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let bad_csv = |error: csv::Error| Error::input(&file, error, "the file has to be CSV text");
        let header = reader.headers().map_err(bad_csv)?.clone();
        let columns = columns(&format!("{file}:1"), &header, most)?;
        let (mut rows, mut windows) = (Vec::new(), Vec::new());
        for row in reader.records() {
            let row = row.map_err(bad_csv)?;
            let line = row.position().map_or(0, csv::Position::line);
            let place = || format!("{file}:{line}");
            if row.len() != header.len() {
                return Err(Error::input(
                    place(),
                    format!("{} cells for {} columns", row.len(), header.len()),
                    "every row has one cell a column; the file may be cut off here",
                ));
            }
            let window = columns.iter().enumerate().map(|(index, &column)| {
                let cell = row[column].trim();
                cell.parse().ok().filter(|users: &f64| users.is_finite()).ok_or_else(|| {
                    Error::input(
                        place(),
                        format!("x{index} is `{cell}`"),
                        "write a finite number with a decimal point, as 34 or 5.25",
                    )
                })
            });
            let window = window.collect::<Result<_>>()?;
            rows.push(row);
            windows.push(window);
        }
        Ok(Self { header, rows, windows })
    }

    fn write(
        &self,
        computed: &[&str],
        predictions: &[Vec<String>],
        writer: &mut dyn std::io::Write,
    ) -> std::io::Result<()> {
        let is = |column: usize, name: &str| self.header[column].trim() == name;
        let place = |name: &&str| (0..self.header.len()).find(|&column| is(column, name));
        let places: Vec<Option<usize>> = computed.iter().map(place).collect();
        // A second column of a computed name would contradict the first.
        let kept: Vec<usize> = (0..self.header.len())
            .filter(|&column| {
                let replaced = computed.iter().any(|name| is(column, name));
                !replaced || places.contains(&Some(column))
            })
            .collect();
        let mut out = csv::Writer::from_writer(writer);
        let mut write = |cells: &csv::StringRecord, computed: &[&str]| {
            for &column in &kept {
                let replaced = places.iter().position(|&place| place == Some(column));
                out.write_field(replaced.map_or(&cells[column], |index| computed[index]))?;
            }
            for (_, cell) in places.iter().zip(computed).filter(|(place, _)| place.is_none()) {
                out.write_field(cell)?;
            }
            out.write_record(None::<&[u8]>)
        };
        write(&self.header, computed)?;
        for (row, prediction) in self.rows.iter().zip(predictions) {
            let cells: Vec<&str> = prediction.iter().map(String::as_str).collect();
            write(row, &cells)?;
        }
        out.flush()
    }
}

/// Where the columns of the window are: x0 to x6, and those that follow, up to `most`.
fn columns(place: &str, header: &csv::StringRecord, most: usize) -> Result<Vec<usize>> {
    let find = |name: &str| -> Vec<usize> {
        header
            .iter()
            .enumerate()
            .filter(|(_, cell)| cell.trim() == name)
            .map(|(at, _)| at)
            .collect()
    };
    let mut columns = Vec::with_capacity(most);
    for index in 0..most {
        let name = format!("x{index}");
        match find(&name)[..] {
            [at] => columns.push(at),
            [] if index >= WINDOW => break,
            ref found => {
                let problem = if found.is_empty() { "is missing" } else { "is there twice" };
                return Err(Error::input(
                    place,
                    format!("the column `{name}` {problem}"),
                    "the first line has to name x0, x1, x2, x3, x4, x5, x6 once each",
                ));
            }
        }
    }
    Ok(columns)
}
