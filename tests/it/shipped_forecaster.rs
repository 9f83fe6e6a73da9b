//! The forecaster in checkpoints/: it loads, forecasts, and gives the figures of its card.

use std::fs;
use std::path::PathBuf;

use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{quotascale, shared};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("checkpoints/forecaster")
}

/// The scores of the forecaster on a trace, beside those of persistence.
fn scores(trace: &str, horizon: &str) -> [Value; 2] {
    let work = TempDir::new().unwrap();
    let assert = quotascale()
        .args(["predictor", "evaluate", "--trace", trace, "--horizon", horizon, "--json"])
        .arg("--models")
        .arg(format!("persistence,forecaster:{}", folder().display()))
        .arg("--out")
        .arg(work.path().join("scores"))
        .assert()
        .success();
    let value: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    [0, 1].map(|model| value["traces"][0]["models"][model].clone())
}

/// The rows of the card's table of results: what is measured, rows ahead, the figure.
fn card() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [measure, ahead, figure, ..] = cells[..] else { return None };
        let is_row =
            measure.contains("`") && figure.parse::<f64>().is_ok() && ahead.parse::<u32>().is_ok();
        is_row.then(|| (measure.to_owned(), ahead.to_owned(), figure.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_figures_of_the_card_come_out_again() {
    let rows = card();
    assert_eq!(rows.len(), 8, "the card's table");
    let Some(trace) = shared("data/traces/wc98_tournament_2min.csv") else { return };
    let trace = trace.to_str().unwrap();
    for horizon in ["1", "5"] {
        let [_, model] = scores(trace, horizon);
        for (measure, ahead, figure) in rows.iter().filter(|row| row.1 == horizon) {
            let key = measure.rsplit('`').nth(1).unwrap();
            let got = model[key]["mean"].as_f64().unwrap();
            let digits = figure.split('.').nth(1).map_or(0, str::len) as i32;
            let want: f64 = figure.parse().unwrap();
            let half = 0.5 * 10f64.powi(-digits) + 1e-9;
            assert!((got - want).abs() <= half, "{measure}, {ahead} ahead: {got}, not {want}");
        }
    }
}

#[test]
fn it_forecasts_with_bands_wherever_a_forecaster_is_asked_for() {
    let [persistence, model] = scores("diurnal/house", "3");
    assert_eq!(model["by_persistence"], 0.0);
    let ratio =
        model["mae"]["mean"].as_f64().unwrap() / persistence["mae"]["mean"].as_f64().unwrap();
    assert!(ratio < 1.5, "{ratio}");
    let coverage = model["coverage80"]["mean"].as_f64().unwrap();
    assert!((0.5..=1.0).contains(&coverage), "{coverage}");

    let work = TempDir::new().unwrap();
    let arguments = ["simulate", "paper-knative", "--policy", "hybrid", "--json", "--forecaster"];
    quotascale()
        .args(arguments)
        .arg(folder())
        .arg("--out")
        .arg(work.path().join("run"))
        .assert()
        .success()
        .stdout(contains("\"reward\""));
    let decisions = fs::read_to_string(work.path().join("run/hybrid/0/decisions.csv")).unwrap();
    assert!(!decisions.contains("persistence"), "the services' history is long enough");
}

#[test]
fn it_predicts_windows_of_any_length() {
    let work = TempDir::new().unwrap();
    let [windows, out] = ["w.csv", "out.csv"].map(|name| work.path().join(name));
    let predict = |text: &str, more: &[&str]| {
        fs::write(&windows, text).unwrap();
        let mut command = quotascale();
        command.args(["predictor", "predict"]).arg(folder()).arg("--windows").arg(&windows);
        command.arg("--out").arg(&out).args(more).assert()
    };
    predict("x0,x1,x2,x3,x4,x5,x6,note\n40,42,41,43,44,46,45,a\n9,9,9,9,9,9,9,b\n", &[]).success();
    let mut reader = csv::Reader::from_path(&out).unwrap();
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let computed = ["scaled_prediction", "prediction_users", "prediction_q10", "prediction_q90"];
    assert_eq!(header[7], "note");
    assert_eq!(header[8..], computed);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    for (row, last) in rows.iter().zip([45.0, 9.0]) {
        let [scaled, users, low, high] =
            [8, 9, 10, 11].map(|column: usize| row[column].parse::<f64>().unwrap());
        assert!(low <= users && users <= high && (users - last).abs() < 5.0, "{row:?}");
        assert_eq!(scaled > 0.0, users > last);
    }
    // Older rows are read where they are there, and change what is expected.
    let longer: Vec<String> = (0..12).map(|index| format!("x{index}")).collect();
    let text = format!("{}\n10,80,10,80,10,40,42,41,43,44,46,45\n", longer.join(","));
    predict(&text, &[]).success();
    let longer = csv::Reader::from_path(&out).unwrap().records().next().unwrap().unwrap();
    assert!(longer[13] != rows[0][9], "{longer:?}");
    predict("x0\n1\n", &[]).code(2).stderr(contains("`x1` is missing"));
    predict(&text, &["--service", "house"]).code(2).stderr(contains("no lines of single services"));
}
