//! `predictor predict`: a prediction for every window of a CSV file.
//!
//! Columns `x0` to `x6` are read; `scaled_prediction` and `prediction_users` are computed, in place
//! of columns of these names or else at the end; all other columns pass through.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Common, print_json, print_line};
use crate::error::{Error, Result, read_input};
use crate::files::write_atomically;
use crate::predictor::original::checkpoint::OriginalCheckpoint;
use crate::predictor::original::{OriginalPredictor, Prediction, WINDOW, Workspace};

/// Arguments of `predictor predict`.
#[derive(clap::Args)]
pub struct Args {
    /// The predictor's folder.
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// CSV with the columns x0 to x6: users, oldest first.
    #[arg(long, value_name = "FILE")]
    windows: PathBuf,
    /// The CSV file to write; an existing one is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Columns that are read.
const READ: [&str; WINDOW] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6"];
/// Columns that are computed.
const COMPUTED: [&str; 2] = ["scaled_prediction", "prediction_users"];
/// Windows that one thread takes at a time.
const CHUNK: usize = 256;

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let predictor = OriginalCheckpoint::load(&args.checkpoint)?.predictor();
    let text = read_input(&args.windows)?;
    let table = Table::read(&args.windows, &text)?;
    let predictions = predict(&predictor, &table.windows);
    write_atomically(&args.out, |writer| table.write(&predictions, writer))?;
    if common.json {
        return print_json(&serde_json::json!({
            "out": args.out.display().to_string(),
            "windows": predictions.len(),
        }));
    }
    print_line(format!("{}: {} predictions", args.out.display(), predictions.len()))
}

/// Predicts window by window, as the original does; how they are spread over threads changes nothing.
fn predict(predictor: &OriginalPredictor, windows: &[[f64; WINDOW]]) -> Vec<Prediction> {
    windows
        .par_chunks(CHUNK)
        .map_init(Workspace::default, |workspace, windows| {
            windows.iter().map(|window| predictor.predict(window, workspace)).collect::<Vec<_>>()
        })
        .flatten_iter()
        .collect()
}

/// The input.
struct Table {
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
    windows: Vec<[f64; WINDOW]>,
}

impl Table {
    fn read(path: &Path, text: &str) -> Result<Self> {
        let file = path.display();
        // Flexible, because a short row is our own complaint, with the line and the remedy.
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let bad_csv = |error: csv::Error| Error::input(&file, error, "the file has to be CSV text");
        let header = reader.headers().map_err(bad_csv)?.clone();
        let columns = columns(&format!("{file}:1"), &header)?;
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
            let mut window = [0.0; WINDOW];
            for ((users, &column), name) in window.iter_mut().zip(&columns).zip(READ) {
                let cell = row[column].trim();
                *users =
                    cell.parse().ok().filter(|users: &f64| users.is_finite()).ok_or_else(|| {
                        Error::input(
                            place(),
                            format!("{name} is `{cell}`"),
                            "write a finite number with a decimal point, as 34 or 5.25",
                        )
                    })?;
            }
            rows.push(row);
            windows.push(window);
        }
        Ok(Self { header, rows, windows })
    }

    fn write(
        &self,
        predictions: &[Prediction],
        writer: &mut dyn std::io::Write,
    ) -> std::io::Result<()> {
        let is = |column: usize, name: &str| self.header[column].trim() == name;
        let place = COMPUTED.map(|name| (0..self.header.len()).find(|&column| is(column, name)));
        // A second column of a computed name would contradict the first.
        let kept: Vec<usize> = (0..self.header.len())
            .filter(|&column| {
                let computed = COMPUTED.iter().any(|name| is(column, name));
                !computed || place.contains(&Some(column))
            })
            .collect();
        let mut out = csv::Writer::from_writer(writer);
        let mut write = |cells: &csv::StringRecord, computed: [&str; 2]| {
            for &column in &kept {
                let replaced = place.iter().position(|&place| place == Some(column));
                out.write_field(replaced.map_or(&cells[column], |index| computed[index]))?;
            }
            for (_, cell) in place.iter().zip(computed).filter(|(place, _)| place.is_none()) {
                out.write_field(cell)?;
            }
            out.write_record(None::<&[u8]>)
        };
        write(&self.header, COMPUTED)?;
        for (row, prediction) in self.rows.iter().zip(predictions) {
            let [scaled, users] = [prediction.scaled, prediction.users].map(|p| format!("{p:?}"));
            write(row, [&scaled, &users])?;
        }
        out.flush()
    }
}

/// Where the columns of the window are.
fn columns(place: &str, header: &csv::StringRecord) -> Result<[usize; WINDOW]> {
    let mut columns = [0; WINDOW];
    for (column, name) in columns.iter_mut().zip(READ) {
        let mut found =
            header.iter().enumerate().filter(|(_, cell)| cell.trim() == name).map(|(at, _)| at);
        *column = match (found.next(), found.next()) {
            (Some(at), None) => at,
            (first, _) => {
                let problem = if first.is_some() { "is there twice" } else { "is missing" };
                return Err(Error::input(
                    place,
                    format!("the column `{name}` {problem}"),
                    format!("the first line has to name {} once each", READ.join(", ")),
                ));
            }
        };
    }
    Ok(columns)
}
