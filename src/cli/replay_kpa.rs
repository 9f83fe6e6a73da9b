//! `replay kpa`: files in and out; the work is [`crate::sim::kpa::replay`].

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Common, print_json, print_line};
use crate::error::{Error, Result, read_input};
use crate::scenario::did_you_mean;
use crate::sim::kpa::replay::{InputRow, OutputRow, RowKind, replay};
use crate::sim::kpa::{Mode, PaState, ReplayParams, SksMode};

/// Arguments of `replay kpa`.
#[derive(clap::Args)]
pub struct Args {
    /// Settings and mode of the replay (JSON).
    #[arg(long, value_name = "FILE")]
    params: PathBuf,
    /// Recorded input (CSV: t, total_concurrency, ready_pods).
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the decisions go (CSV).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let params = ReplayParams::read(&args.params)?;
    let input = read_rows(&args.input, params.mode)?;
    let out = OutputFile::create(&args.out)?;
    let rows = replay(&params, &input);
    out.write(&csv_text(&rows, params.mode))?;
    if common.json {
        print_json(&serde_json::json!({ "rows": rows.len(), "out": args.out }))
    } else {
        print_line(format!("{} rows in {}", rows.len(), args.out.display()))
    }
}

const COLUMNS: [&str; 3] = ["t", "total_concurrency", "ready_pods"];

/// Reads the input; ready pods have to be there in mode open only.
fn read_rows(path: &Path, mode: Mode) -> Result<Vec<InputRow>> {
    let name = path.display();
    let text = read_input(path)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| csv_error(path, &error))?.clone();
    for (index, column) in header.iter().enumerate() {
        let place = format!("{name}:1");
        if !COLUMNS.contains(&column) {
            let remedy =
                format!("{}columns: {}", did_you_mean(column, &COLUMNS), COLUMNS.join(","));
            return Err(Error::input(place, format!("unknown column `{column}`"), remedy));
        }
        if header.iter().take(index).any(|earlier| earlier == column) {
            return Err(Error::input(place, format!("two columns `{column}`"), "remove one"));
        }
    }
    let column = |wanted: &str| header.iter().position(|column| column == wanted);
    let needed = |wanted: &str| {
        column(wanted).ok_or_else(|| {
            let remedy = format!("the first line has to be {}", COLUMNS.join(","));
            Error::input(format!("{name}:1"), format!("no column `{wanted}`"), remedy)
        })
    };
    let (t, value) = (needed(COLUMNS[0])?, needed(COLUMNS[1])?);
    let ready = if mode == Mode::Open { Some(needed(COLUMNS[2])?) } else { column(COLUMNS[2]) };

    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| csv_error(path, &error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let at = |column: &str| format!("{name}:{line}: {column}");
        let second = record[t].parse::<usize>().ok();
        if second != Some(rows.len()) {
            return Err(Error::input(
                at("t"),
                format!("`{}` where {} is due", &record[t], rows.len()),
                "give every second, one row each: 0, 1, 2, …",
            ));
        }
        let value = match &record[value] {
            "" => None,
            text => Some(parse_value(text).ok_or_else(|| {
                Error::input(
                    at("total_concurrency"),
                    format!("`{text}` is not a finite number of at least 0"),
                    "give one, or leave the field empty where nothing was reported",
                )
            })?),
        };
        let ready_pods = match ready.map_or("", |column| &record[column]) {
            "" if mode != Mode::Open => 0,
            text => text.parse::<u32>().map_err(|_| {
                Error::input(
                    at("ready_pods"),
                    format!("`{text}` is not a whole number of pods"),
                    "mode open needs it in every row; the other modes find it themselves",
                )
            })?,
        };
        rows.push(InputRow { value, ready_pods });
    }
    if rows.is_empty() {
        return Err(Error::input(name, "no rows", "give at least the second 0"));
    }
    Ok(rows)
}

fn parse_value(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0)
}

fn csv_error(path: &Path, error: &csv::Error) -> Error {
    let place = match error.position() {
        Some(position) => format!("{}:{}", path.display(), position.line()),
        None => path.display().to_string(),
    };
    Error::input(place, error, "every row needs as many fields as the header")
}

/// The rows as the original writes them: what a row does not have is blank.
fn csv_text(rows: &[OutputRow], mode: Mode) -> String {
    let mut text =
        "t,kind,ready_pods,scale_valid,stable_concurrency,panic_concurrency,desired_pods,\
                    excess_burst_capacity,in_panic,max_panic_pods,bounded_pods"
            .to_owned();
    text.push_str(match mode {
        Mode::Open => "\n",
        Mode::Closed => ",replicas\n",
        Mode::Lifecycle => ",replicas,pa_state,sks_mode\n",
    });
    for row in rows {
        let seen = row.evaluation;
        let valid = seen.filter(|evaluation| evaluation.valid);
        let kind = match row.kind {
            RowKind::Tick => "tick",
            RowKind::Poke => "poke",
            RowKind::Event => "event",
        };
        let mut fields = vec![
            row.t_s.to_string(),
            kind.to_owned(),
            row.ready_pods.to_string(),
            field(seen.map(|evaluation| u8::from(evaluation.valid))),
            field(valid.map(|evaluation| evaluation.stable)),
            field(valid.map(|evaluation| evaluation.panic)),
            field(valid.and_then(|evaluation| evaluation.desired)),
            field(valid.map(|evaluation| evaluation.excess_burst_capacity)),
            field(seen.map(|evaluation| u8::from(evaluation.in_panic))),
            field(seen.map(|evaluation| evaluation.max_panic_pods)),
            field(row.bounded_pods),
        ];
        fields.extend(row.replicas.map(|replicas| replicas.to_string()));
        if let Some((state, sks_mode)) = row.state {
            let state = match state {
                PaState::Activating => "activating",
                PaState::Active => "active",
                PaState::Inactive => "inactive",
            };
            let sks_mode = match sks_mode {
                SksMode::Serve => "Serve",
                SksMode::Proxy => "Proxy",
            };
            fields.extend([state.to_owned(), sks_mode.to_owned()]);
        }
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

fn field(value: Option<impl Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A file that appears under its name only when it is complete.
struct OutputFile<'a> {
    path: &'a Path,
    partial: PathBuf,
    file: std::fs::File,
}

impl<'a> OutputFile<'a> {
    /// Creates the partial file, so that a bad path fails before any work.
    fn create(path: &'a Path) -> Result<Self> {
        let Some(file_name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(Error::input(path.display(), "not the name of a file", "name a CSV file"));
        };
        let mut name = file_name.to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let file = std::fs::File::create(&partial).map_err(|source| {
            let problem = format!("cannot create a file there: {source}");
            Error::input(path.display(), problem, "name a file in a folder that exists")
        })?;
        Ok(Self { path, partial, file })
    }

    fn write(mut self, text: &str) -> Result<()> {
        let written = self
            .file
            .write_all(text.as_bytes())
            .map_err(|source| Error::io("write", self.path, source))
            .and_then(|()| {
                std::fs::rename(&self.partial, self.path)
                    .map_err(|source| Error::io("rename", self.path, source))
            });
        if written.is_err() {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&self.partial);
        }
        written
    }
}
