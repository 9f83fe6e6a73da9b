//! `replay env`: recorded actions and users through the `paper` environment.
//!
//! The input's columns `episode`, `step`, `a0..a2` and the users after each step (`obs2`, `obs5`,
//! `obs8`) are read; every column of the format is computed anew and columns of other names pass
//! through.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Common, print_json, print_line};
use crate::env::paper::{OBSERVATION, PaperRules, PaperState, SERVICES};
use crate::error::{Error, Result, read_input};
use crate::files::{check_output, write_atomically};
use crate::scenario::{Corrections, Scenario};

/// Arguments of `replay env`.
#[derive(clap::Args)]
pub struct Args {
    /// CSV with the columns episode, step, a0, a1, a2, obs2, obs5 and obs8.
    #[arg(long, value_name = "FILE")]
    rows: PathBuf,
    /// Where the computed rows go.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Corrections of the environment to switch on.
    #[arg(long, value_name = "A,B", default_value = "none")]
    corrections: String,
}

/// Columns of the format, in its order.
const COLUMNS: [&str; 26] = [
    "episode",
    "step",
    "users0",
    "users1",
    "users2",
    "a0",
    "a1",
    "a2",
    "obs0",
    "obs1",
    "obs2",
    "obs3",
    "obs4",
    "obs5",
    "obs6",
    "obs7",
    "obs8",
    "pods0",
    "pods1",
    "pods2",
    "res0",
    "res1",
    "res2",
    "reward",
    "truncated",
    "reward_numpy2",
];
/// Columns that are read.
const READ: [&str; 8] = ["episode", "step", "a0", "a1", "a2", "obs2", "obs5", "obs8"];
/// Corrections that need the first row of the trace, which the rows do not hold, or its length.
const REFUSED: [&str; 2] = ["first_users_from_trace", "truncate_at_trace_end"];
/// Rows that stand for "long enough for the original's 200 steps".
const ROWS: usize = 200;

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let corrections = Corrections::parse("--corrections", &args.corrections)?;
    if let Some(name) = corrections.names().into_iter().find(|name| REFUSED.contains(name)) {
        return Err(Error::input(
            "--corrections",
            format!("`{name}` cannot be replayed: the rows hold neither the first row of the trace nor its length"),
            format!("leave it out; not replayed: {}", REFUSED.join(", ")),
        )
        .into());
    }
    check_output(&args.out, true)?;
    let text = read_input(&args.rows)?;
    let (rows, output) = replay(&args.rows, &text, corrections)?;
    write_atomically(&args.out, |writer| writer.write_all(&output))?;
    if common.json {
        print_json(&serde_json::json!({ "rows": rows, "out": args.out }))
    } else {
        print_line(format!("{rows} rows in {}", args.out.display()))
    }
}

/// Rules of the built-in environment, and the same with rewards as under NumPy 2.
fn rules(mut corrections: Corrections) -> Result<[PaperRules; 2]> {
    let mut scenario = Scenario::load("paper", &[])?;
    scenario.corrections = corrections;
    let own = PaperRules::with_rows(&scenario, ROWS)?;
    corrections.numpy2_promotion = true;
    scenario.corrections = corrections;
    Ok([own, PaperRules::with_rows(&scenario, ROWS)?])
}

/// How many rows there are, and the computed ones as CSV.
fn replay(file: &Path, text: &str, corrections: Corrections) -> Result<(usize, Vec<u8>)> {
    let [rules, numpy2] = rules(corrections)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let bad_csv = |error: csv::Error| {
        Error::input(
            file.display(),
            format!("not a table of comma-separated values: {error}"),
            "give every line as many fields as the header has",
        )
    };
    let header = reader.headers().map_err(bad_csv)?.clone();
    let mut positions = [0; READ.len()];
    for (position, name) in positions.iter_mut().zip(READ) {
        *position = header.iter().position(|column| column.trim() == name).ok_or_else(|| {
            Error::input(
                format!("{}:1", file.display()),
                format!("there is no column `{name}`"),
                format!("needed: {}", READ.join(", ")),
            )
        })?;
    }
    let passing: Vec<usize> =
        (0..header.len()).filter(|&column| !COLUMNS.contains(&header[column].trim())).collect();
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::with_capacity(text.len()));
    let bad_write = |error: csv::Error| Error::Failed(format!("cannot write a row: {error}"));
    writer
        .write_record(COLUMNS.into_iter().chain(passing.iter().map(|&column| &header[column])))
        .map_err(bad_write)?;
    let mut states: HashMap<String, PaperState> = HashMap::new();
    let mut record = csv::StringRecord::new();
    let mut field = String::new();
    let mut rows = 0;
    while reader.read_record(&mut record).map_err(bad_csv)? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row { file, line, record: &record, positions: &positions };
        let episode = row.text(0);
        let step = row.number(1, u32::MAX)?;
        let action = [2, 3, 4].map(|column| row.number(column, u32::from(u16::MAX)));
        let action = row.action(&rules, action)?;
        if step == 1 {
            states.insert(episode.to_owned(), rules.reset([0; SERVICES]));
        }
        let state = states.get_mut(episode).filter(|state| state.step + 1 == step);
        let state = state.ok_or_else(|| {
            row.error(
                format!("step {step} of episode {episode} does not follow its last row"),
                "begin every episode with step 1 and leave no step out",
            )
        })?;
        let users = state.users;
        // A truncating step serves nothing after it.
        let next_users = if rules.is_last(state) { users } else { row.users()? };
        let mut other = *state;
        let reward_numpy2 = numpy2.step(&mut other, action, next_users).reward;
        let result = rules.step(state, action, next_users);
        let observation: [i64; OBSERVATION] = rules.observation(state);
        writer.write_field(episode).map_err(bad_write)?;
        let mut put = |value: &dyn std::fmt::Display| {
            field.clear();
            write!(field, "{value}").map_err(|_| Error::Failed("cannot write a number".into()))?;
            writer.write_field(&field).map_err(bad_write)
        };
        put(&step)?;
        for value in users {
            put(&value)?;
        }
        for value in action {
            put(&value)?;
        }
        for value in observation {
            put(&value)?;
        }
        for value in state.pods {
            put(&value)?;
        }
        for value in state.cpu_m {
            put(&format_args!("{:?}", value as f64 / 1000.0))?;
        }
        put(&format_args!("{:?}", result.reward))?;
        put(&u8::from(result.truncated))?;
        put(&format_args!("{reward_numpy2:?}"))?;
        for &column in &passing {
            put(&&record[column])?;
        }
        writer.write_record(None::<&[u8]>).map_err(bad_write)?;
        rows += 1;
    }
    let bytes = writer.into_inner().map_err(|error| Error::Failed(error.to_string()))?;
    Ok((rows, bytes))
}

/// One line of the input, for reading and for messages.
struct Row<'a> {
    file: &'a Path,
    line: u64,
    record: &'a csv::StringRecord,
    positions: &'a [usize; READ.len()],
}

impl Row<'_> {
    fn error(&self, problem: impl std::fmt::Display, remedy: impl std::fmt::Display) -> Error {
        Error::input(format!("{}:{}", self.file.display(), self.line), problem, remedy)
    }

    fn text(&self, column: usize) -> &str {
        self.record[self.positions[column]].trim()
    }

    /// A whole number up to `most`; `50.0` is one too.
    fn number(&self, column: usize, most: u32) -> Result<u32> {
        let text = self.text(column);
        let number = text
            .parse::<f64>()
            .ok()
            .filter(|number| number.fract() == 0.0 && (0.0..=f64::from(most)).contains(number));
        number.map(|number| number as u32).ok_or_else(|| {
            self.error(
                format!("{} is `{text}`", READ[column]),
                format!("give a whole number from 0 to {most}"),
            )
        })
    }

    fn action(
        &self,
        rules: &PaperRules,
        options: [Result<u32>; SERVICES],
    ) -> Result<[u16; SERVICES]> {
        let [a, b, c] = options;
        let action = [a? as u16, b? as u16, c? as u16];
        if rules.is_valid(action) {
            return Ok(action);
        }
        let [a, b, c] = rules.option_counts().map(|count| count - 1);
        Err(self.error(
            format!("action {}, {}, {} names no option", action[0], action[1], action[2]),
            format!("options go up to {a}, {b} and {c}"),
        ))
    }

    fn users(&self) -> Result<[u32; SERVICES]> {
        let most = crate::env::paper::MAX_USERS;
        Ok([self.number(5, most)?, self.number(6, most)?, self.number(7, most)?])
    }
}
