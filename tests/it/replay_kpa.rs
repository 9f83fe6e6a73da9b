//! `replay kpa` against recordings of the real autoscaler, and on bad input.

use std::fs;
use std::path::{Path, PathBuf};

use predicates::prelude::*;
use predicates::str::contains;
use tempfile::TempDir;

use crate::support::{data, quotascale, shared};

/// Metrics may differ by so much from the original, whose sums drift.
const METRIC_TOLERANCE: f64 = 2e-6;

/// Replays the case in `folder` and compares every field with its output.csv.
fn check_case(folder: &Path) {
    let work = TempDir::new().unwrap();
    let out = work.path().join("out.csv");
    quotascale()
        .args(["replay", "kpa", "--params"])
        .arg(folder.join("params.json"))
        .arg("--input")
        .arg(folder.join("input.csv"))
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    let expected = fs::read_to_string(folder.join("output.csv")).unwrap();
    let actual = fs::read_to_string(&out).unwrap();
    let name = folder.display();
    assert_eq!(actual.lines().next(), expected.lines().next(), "{name}: header");
    assert_eq!(actual.lines().count(), expected.lines().count(), "{name}: rows");
    let columns: Vec<&str> = expected.lines().next().unwrap().split(',').collect();
    for (line, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate().skip(1) {
        for ((actual, expected), column) in actual.split(',').zip(expected.split(',')).zip(&columns)
        {
            let same = match (actual.parse::<f64>(), expected.parse::<f64>()) {
                (Ok(actual), Ok(expected)) if column.ends_with("_concurrency") => {
                    (actual - expected).abs() <= METRIC_TOLERANCE
                }
                _ => actual == expected,
            };
            assert!(same, "{name}:{}: {column} is {actual}, not {expected}", line + 1);
        }
    }
}

fn cases(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

#[test]
fn decisions_equal_those_of_the_real_autoscaler() {
    let folders = cases(&data("kpa"));
    assert_eq!(folders.len(), 16);
    folders.iter().for_each(|folder| check_case(folder));
}

#[test]
fn decisions_equal_those_of_the_real_autoscaler_in_all_shared_cases() {
    if let Some(root) = shared("golden/kpa") {
        cases(&root).iter().for_each(|folder| check_case(folder));
    }
}

/// Writes the files and replays them; the assertion and where the output would be.
fn replay_texts(params: &str, input: &str) -> (assert_cmd::assert::Assert, PathBuf, TempDir) {
    let work = TempDir::new().unwrap();
    fs::write(work.path().join("p.json"), params).unwrap();
    fs::write(work.path().join("in.csv"), input).unwrap();
    let assert = quotascale()
        .current_dir(work.path())
        .args([
            "replay", "kpa", "--params", "p.json", "--input", "in.csv", "--out", "out.csv",
            "--json",
        ])
        .assert();
    let out = work.path().join("out.csv");
    (assert, out, work)
}

#[test]
fn json_says_how_many_rows_went_where() {
    let input = "t,total_concurrency,ready_pods\n0,10,1\n1,,1\n2,10,1\n3,0,1\n4,1e1,1\n";
    let (assert, out, work) = replay_texts(r#"{"mode": "open"}"#, input);
    assert.success().stdout("{\"rows\":2,\"out\":\"out.csv\"}\n");
    let text = fs::read_to_string(out).unwrap();
    assert!(text.ends_with("\n4,tick,1,1,6,6,1,-117,0,0,1\n"), "{text}");
    let left: Vec<_> = fs::read_dir(work.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "no partial file stays");
}

#[test]
fn bad_input_is_named_by_file_and_line_and_leaves_no_output() {
    let open = r#"{"mode": "open"}"#;
    let header = "t,total_concurrency,ready_pods";
    let cases = [
        (open, "t,total,ready_pods\n0,1,1\n".to_owned(), "in.csv:1: unknown column `total`"),
        (open, "t,ready_pods\n0,1\n".to_owned(), "in.csv:1: no column `total_concurrency`"),
        (open, "t,total_concurrency\n0,1\n".to_owned(), "in.csv:1: no column `ready_pods`"),
        (open, format!("{header}\n0,1,1\n1,NaN,1\n"), "in.csv:3: total_concurrency: `NaN`"),
        (open, format!("{header}\n0,-1,1\n"), "in.csv:2: total_concurrency: `-1`"),
        (open, format!("{header}\n0,inf,1\n"), "in.csv:2: total_concurrency: `inf`"),
        (open, format!("{header}\n0,1,1\n2,1,1\n"), "in.csv:3: t: `2` where 1 is due"),
        (open, format!("{header}\n1,1,1\n"), "in.csv:2: t: `1` where 0 is due"),
        (open, format!("{header}\n0,1,\n"), "in.csv:2: ready_pods"),
        (open, format!("{header}\n0,1,1\n1,1\n"), "in.csv:3"),
        (open, format!("{header}\n"), "in.csv: no rows"),
        (
            "{\"mode\": \"open\",\n\"pok\": true}",
            format!("{header}\n0,1,1\n"),
            "p.json:2: unknown key `pok`",
        ),
        (
            "{\"mode\": \"open\",\n\"annotations\": {\n\"window\": \"2s\"}}",
            format!("{header}\n0,1,1\n"),
            "p.json:3: annotations.window: 2s is not allowed",
        ),
    ];
    for (params, input, message) in cases {
        let (assert, out, _work) = replay_texts(params, &input);
        assert.code(2).stderr(contains(message)).stdout(predicate::str::is_empty());
        assert!(!out.exists());
    }
}

#[test]
fn a_missing_file_and_a_bad_output_folder_exit_2() {
    let case = data("kpa/001_open_step_up_default");
    for (input, out, message) in [
        (case.join("none.csv"), "out.csv", "none.csv: cannot read the file"),
        (case.join("input.csv"), "no/such/folder/out.csv", "cannot create a file there"),
    ] {
        let work = TempDir::new().unwrap();
        quotascale()
            .current_dir(work.path())
            .args(["replay", "kpa", "--params"])
            .arg(case.join("params.json"))
            .arg("--input")
            .arg(input)
            .args(["--out", out])
            .assert()
            .code(2)
            .stderr(contains(message));
    }
}

#[test]
fn a_bad_autoscaler_key_of_a_scenario_is_named_by_line() {
    let text = "stable-window = \"2h\"";
    let work = TempDir::new().unwrap();
    let scenario = quotascale().args(["scenario", "show", "paper-knative"]).assert().success();
    let shown = String::from_utf8(scenario.get_output().stdout.clone()).unwrap();
    let bad = shown.replace("stable-window = \"60s\"", text);
    let line = bad.lines().position(|line| line.starts_with(text)).unwrap() + 1;
    fs::write(work.path().join("s.toml"), bad).unwrap();
    quotascale()
        .current_dir(work.path())
        .args(["scenario", "check", "s.toml"])
        .assert()
        .code(2)
        .stderr(contains(format!("s.toml:{line}: kpa.stable-window: 2h is not allowed")));
}
