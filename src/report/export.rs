//! Run folders and comparison files: written as CSV, Parquet and JSON, read back from CSV and JSON.
//!
//! A run folder holds `summary.json`, `decisions`, `intervals`, `revisions` and, where asked for,
//! `ticks`, each table as `.csv` and `.parquet`. Nothing in them depends on wall time, host or path.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::comparison::{Comparison, Difference, PolicyResult, Statistic};
use super::rows::{self, Row, row};
use super::rows::{write_csv, write_parquet};
use crate::error::{Error, Result, read_input};
use crate::files::{write_atomically, write_json};
use crate::run::{Run, Summary};

/// File with the figures of a run.
pub const SUMMARY_FILE: &str = "summary.json";

/// Writes the files of a run into `dir`, which exists. The caller renames the folder into place
/// when it is complete.
///
/// # Errors
/// [`Error::Io`].
pub fn write_run(run: &Run, dir: &Path) -> Result<()> {
    write_table(dir, "decisions", &run.decisions)?;
    write_table(dir, "intervals", &run.intervals)?;
    write_table(dir, "revisions", &run.revisions)?;
    if !run.ticks.is_empty() {
        write_table(dir, "ticks", &run.ticks)?;
    }
    write_json(&dir.join(SUMMARY_FILE), &run.summary)
}

/// Writes `name.csv` and `name.parquet` into `dir`, each whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub fn write_table<R: Row>(dir: &Path, name: &str, rows: &[R]) -> Result<()> {
    write_atomically(&dir.join(name).with_extension("csv"), |writer| write_csv(writer, rows))?;
    write_atomically(&dir.join(name).with_extension("parquet"), |writer| {
        write_parquet(writer, rows)
    })
}

/// Reads a run folder.
///
/// # Errors
/// [`Error::Input`] naming file and line when a file is missing or does not fit.
pub fn load_run(dir: &Path) -> Result<Run> {
    let ticks = dir.join("ticks.csv");
    Ok(Run {
        summary: load_summary(dir)?,
        decisions: load_table(&dir.join("decisions.csv"))?,
        intervals: load_table(&dir.join("intervals.csv"))?,
        revisions: load_table(&dir.join("revisions.csv"))?,
        ticks: if ticks.exists() { load_table(&ticks)? } else { Vec::new() },
    })
}

/// Reads the figures of a run folder.
///
/// # Errors
/// As [`load_run`].
pub fn load_summary(dir: &Path) -> Result<Summary> {
    load_json(&dir.join(SUMMARY_FILE), "a run folder of `simulate` or `evaluate` holds it")
}

/// Reads one CSV table.
///
/// # Errors
/// As [`load_run`].
pub fn load_table<R: Row>(path: &Path) -> Result<Vec<R>> {
    let file = File::open(path).map_err(|source| {
        Error::input(
            path.display(),
            format!("cannot read the file: {source}"),
            "a run folder of `simulate` or `evaluate` holds it",
        )
    })?;
    rows::read_csv(BufReader::new(file), path)
}

fn load_json<T: DeserializeOwned>(path: &Path, remedy: &str) -> Result<T> {
    let text = read_input(path)?;
    serde_json::from_str(&text).map_err(|error| {
        Error::input(format!("{}:{}", path.display(), error.line()), error, remedy)
    })
}

/// Writes `comparison.json`, `.csv` and `.parquet` into `dir`.
///
/// # Errors
/// [`Error::Io`].
pub fn write_comparison(comparison: &Comparison, dir: &Path) -> Result<()> {
    write_table(dir, "comparison", &comparison_rows(comparison))?;
    write_json(&dir.join("comparison.json"), comparison)
}

/// Reads `comparison.json` of `dir`.
///
/// # Errors
/// [`Error::Input`] naming file and line.
pub fn load_comparison(dir: &Path) -> Result<Comparison> {
    load_json(&dir.join("comparison.json"), "`quotascale evaluate` writes it")
}

/// One policy and metric (`comparison.csv`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRow {
    /// The scenario.
    pub scenario: String,
    /// The policy.
    pub policy: String,
    /// The metric, as in `comparison.json`.
    pub metric: String,
    /// The service, for `p95_ms`; else `all`.
    pub service: String,
    /// Seeds that have a value.
    pub seeds: u64,
    /// Mean over them.
    pub mean: Option<f64>,
    /// Lower end of the mean's 95 % bootstrap interval.
    pub ci95_low: Option<f64>,
    /// Upper end.
    pub ci95_high: Option<f64>,
    /// Interquartile mean.
    pub iqm: Option<f64>,
    /// The policy that the differences are to.
    pub reference: String,
    /// Mean difference to the reference, paired by seed (reward only).
    pub difference: Option<f64>,
    /// Lower end of its 95 % bootstrap interval.
    pub difference_ci95_low: Option<f64>,
    /// Upper end.
    pub difference_ci95_high: Option<f64>,
    /// p-value of the difference, corrected over the policies (Holm).
    pub p_holm: Option<f64>,
}

row!(ComparisonRow {
    scenario,
    policy,
    metric,
    service,
    seeds,
    mean,
    ci95_low,
    ci95_high,
    iqm,
    reference,
    difference,
    difference_ci95_low,
    difference_ci95_high,
    p_holm,
});

/// The table of a comparison, a row per policy and metric.
pub fn comparison_rows(comparison: &Comparison) -> Vec<ComparisonRow> {
    let mut table = Vec::new();
    for policy in &comparison.policies {
        let mut add = |metric: &str, service: &str, statistic: &Statistic, versus: &Difference| {
            table.push(ComparisonRow {
                scenario: comparison.scenario.clone(),
                policy: policy.name.clone(),
                metric: metric.to_owned(),
                service: service.to_owned(),
                seeds: statistic.per_seed.iter().flatten().count() as u64,
                mean: statistic.mean,
                ci95_low: statistic.ci95.map(|[low, _]| low),
                ci95_high: statistic.ci95.map(|[_, high]| high),
                iqm: statistic.iqm,
                reference: comparison.reference.clone(),
                difference: versus.mean,
                difference_ci95_low: versus.ci95.map(|[low, _]| low),
                difference_ci95_high: versus.ci95.map(|[_, high]| high),
                p_holm: versus.p_holm,
            });
        };
        let nothing = Difference::default();
        let versus = policy.vs_reference.as_ref().map_or(&nothing, |versus| &versus.reward);
        for (metric, statistic) in metrics(policy) {
            let versus = if metric == "reward" { versus } else { &nothing };
            add(metric, crate::run::ALL_SERVICES, statistic, versus);
        }
        for (service, statistic) in policy.p95_ms.iter().flat_map(BTreeMap::iter) {
            add("p95_ms", service, statistic, &nothing);
        }
    }
    table
}

/// The metrics of a policy that speak of all services, by their names in JSON.
fn metrics(policy: &PolicyResult) -> impl Iterator<Item = (&'static str, &Statistic)> {
    [
        ("reward", Some(&policy.reward)),
        ("oracle_share", policy.oracle_share.as_ref()),
        ("slo_violation_share", Some(&policy.slo_violation_share)),
        ("over_quota_cpu_seconds", Some(&policy.over_quota_cpu_seconds)),
        ("cpu_seconds", Some(&policy.cpu_seconds)),
        ("cold_starts", policy.cold_starts.as_ref()),
        ("denied_pod_seconds", policy.denied_pod_seconds.as_ref()),
        ("requests_at_risk", policy.requests_at_risk.as_ref()),
    ]
    .into_iter()
    .filter_map(|(metric, statistic)| Some((metric, statistic?)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use polars::prelude::{AnyValue, ParquetReader, SerReader};

    use super::*;
    use crate::report::fixtures;
    use crate::run::TickRow;

    fn csv_of<R: Row>(rows: &[R]) -> String {
        let mut bytes = Vec::new();
        write_csv(&mut bytes, rows).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_run_folder_reads_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = fixtures::knative_run(&["house", "senti, the second"], 2);
        run.summary.reward = f64::NEG_INFINITY;
        run.decisions[0].reward = Some(f64::INFINITY);
        run.decisions[1].forecast = 0.1 + 0.2;
        write_run(&run, dir.path()).unwrap();
        assert_eq!(load_run(dir.path()).unwrap(), run);
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 9, "{names:?}");

        let empty = Run::default();
        let dir = tempfile::tempdir().unwrap();
        write_run(&empty, dir.path()).unwrap();
        assert_eq!(load_run(dir.path()).unwrap(), empty);
        assert!(!dir.path().join("ticks.csv").exists());
    }

    #[test]
    fn tables_have_stable_text() {
        let run = fixtures::knative_run(&["house"], 2);
        insta::assert_snapshot!("decisions", csv_of(&run.decisions));
        insta::assert_snapshot!("intervals", csv_of(&run.intervals));
        insta::assert_snapshot!("revisions", csv_of(&run.revisions));
        insta::assert_snapshot!("ticks", csv_of(&run.ticks[..4]));
        insta::assert_snapshot!("summary", serde_json::to_string_pretty(&run.summary).unwrap());
        let comparison = fixtures::comparison(&["kpa-latency", "hybrid"], 3);
        insta::assert_snapshot!("comparison", csv_of(&comparison_rows(&comparison)));
        insta::assert_snapshot!(
            "comparison_json",
            serde_json::to_string_pretty(&comparison).unwrap()
        );
        // The listed columns are serde's: a header from serde over the same row says so.
        let mut own = csv::Writer::from_writer(Vec::new());
        own.serialize(&run.ticks[0]).unwrap();
        let text = String::from_utf8(own.into_inner().unwrap()).unwrap();
        assert_eq!(csv_of(&run.ticks[..1]), text);
    }

    fn parquet_of<R: Row>(rows: &[R]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_parquet(&mut bytes, rows).unwrap();
        bytes
    }

    /// Every cell of the Parquet file says what the CSV file says, in the type of the field.
    fn assert_parquet_equals_csv<R: Row>(rows: &[R]) {
        let bytes = parquet_of(rows);
        assert_eq!(bytes, parquet_of(rows), "the same bytes each time");
        let frame = ParquetReader::new(std::io::Cursor::new(bytes)).finish().unwrap();
        let names: Vec<String> =
            frame.get_column_names().iter().map(|name| name.to_string()).collect();
        assert_eq!(names, R::COLUMNS);
        assert_eq!(frame.height(), rows.len());
        let csv = csv_of(rows);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        for (row, record) in reader.records().enumerate() {
            for (cell, column) in record.unwrap().iter().zip(frame.columns()) {
                match column.get(row).unwrap() {
                    AnyValue::Null => assert_eq!(cell, ""),
                    AnyValue::String(text) => assert_eq!(cell, text),
                    AnyValue::StringOwned(text) => assert_eq!(cell, text.as_str()),
                    AnyValue::Float64(value) => assert_eq!(cell.parse(), Ok(value)),
                    AnyValue::UInt32(value) => assert_eq!(cell.parse(), Ok(value)),
                    AnyValue::UInt64(value) => assert_eq!(cell.parse(), Ok(value)),
                    other => panic!("{other:?} in {}", column.name()),
                }
            }
        }
    }

    #[test]
    fn parquet_holds_what_csv_holds() {
        let run = fixtures::knative_run(&["house", "senti"], 3);
        assert_parquet_equals_csv(&run.decisions);
        assert_parquet_equals_csv(&run.intervals);
        assert_parquet_equals_csv(&run.revisions);
        assert_parquet_equals_csv(&run.ticks[..50]);
        assert_parquet_equals_csv(&comparison_rows(&fixtures::comparison(&["a", "b"], 2)));
        // A column without any value keeps its type, and so does a table without rows.
        let frame = |rows: &[TickRow]| {
            ParquetReader::new(std::io::Cursor::new(parquet_of(rows)))
                .finish()
                .unwrap()
                .schema()
                .clone()
        };
        assert_eq!(frame(&[]), frame(&run.ticks));
        assert_eq!(frame(&[TickRow::default()]), frame(&run.ticks));
    }

    #[test]
    fn a_comparison_reads_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let comparison = fixtures::comparison(&["kpa-latency", "hybrid"], 1);
        write_comparison(&comparison, dir.path()).unwrap();
        assert_eq!(load_comparison(dir.path()).unwrap(), comparison);
        assert!(dir.path().join("comparison.csv").exists());
        assert!(dir.path().join("comparison.parquet").exists());
    }

    #[test]
    fn faults_name_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        write_run(&fixtures::knative_run(&["house"], 2), dir.path()).unwrap();
        let fault = |file: &str, from: &str, to: &str| {
            let path = dir.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = load_run(dir.path()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            fs::write(&path, text).unwrap();
            error.to_string()
        };
        let message = fault("decisions.csv", "235.0", "soon");
        assert!(message.contains("decisions.csv:3: column 1 (t_s)"), "{message}");
        let message = fault("decisions.csv", "forecast,", "expected,");
        assert!(message.contains("decisions.csv:1: column `forecast` is missing"), "{message}");
        let message = fault("intervals.csv", "\n120.0,", "\n120.0,1,");
        assert!(message.contains("intervals.csv:4: 17 cells"), "{message}");
        let message = fault("summary.json", "\"seed\": 3", "\"seed\": -3");
        assert!(message.contains("summary.json:4"), "{message}");
        fs::remove_file(dir.path().join("revisions.csv")).unwrap();
        let message = load_run(dir.path()).unwrap_err().to_string();
        assert!(message.contains("revisions.csv: cannot read the file"), "{message}");
    }
}
