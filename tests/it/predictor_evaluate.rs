//! `predictor evaluate` and `--forecaster` from end to end.

use std::fs;
use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use crate::support::{quotascale, shared};

fn evaluate(out: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    quotascale().args(["predictor", "evaluate"]).args(arguments).arg("--out").arg(out).assert()
}

fn json(assert: assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.success().get_output().stdout).unwrap()
}

/// The figures of two independent implementations, to their printed digits.
#[test]
fn the_baselines_reproduce_the_reference_figures() {
    let references = [
        (
            "small",
            [
                ("persistence", 1.003, 1.707, 3),
                ("moving-average", 1.577, 2.800, 3),
                ("ar", 0.958, 1.483, 3),
                ("seasonal", 11.30, 20.34, 2),
            ],
        ),
        (
            "tournament",
            [
                ("persistence", 0.268, 0.719, 3),
                ("moving-average", 0.338, 1.248, 3),
                ("ar", 0.273, 0.575, 3),
                ("seasonal", 3.724, 11.43, 2),
            ],
        ),
    ];
    for (series, models) in references {
        let Some(file) = shared(&format!("data/traces/wc98_{series}_2min.csv")) else { return };
        let folder = tempfile::tempdir().unwrap();
        for split in ["64/16/20", "80/0/20"] {
            let out = folder.path().join(split.replace('/', "-"));
            let arguments = ["--trace", file.to_str().unwrap(), "--split", split, "--json"];
            let value = json(evaluate(&out, &arguments));
            let found = value["traces"][0]["models"].as_array().unwrap();
            for (name, mae, rmse, digits) in models {
                let model = found.iter().find(|model| model["name"] == name).unwrap();
                for (key, want) in [("mae", mae), ("rmse", rmse)] {
                    let got = model[key]["per_seed"][0].as_f64().unwrap();
                    let half = 0.5 * 10f64.powi(-digits) + 1e-9;
                    assert!((got - want).abs() <= half, "{series} {name} {key}: {got}, not {want}");
                }
            }
        }
    }
}

#[test]
fn shapes_files_and_going_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("one");
    let arguments = ["--trace", "diurnal", "--horizon", "3", "--json"];
    let value = json(evaluate(&out, &arguments));
    assert_eq!(value["traces"].as_array().unwrap().len(), 3);
    let trace = &value["traces"][0];
    assert_eq!(
        (&trace["name"], &trace["rows"], &trace["test_from"]),
        (&Value::from("diurnal/house"), &Value::from(180), &Value::from(144))
    );
    let names: Vec<&str> = trace["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["persistence", "moving-average", "seasonal", "ar", "holt-winters"]);
    for model in trace["models"].as_array().unwrap() {
        for key in ["mae", "rmse", "mase", "pinball", "coverage80"] {
            assert_eq!(model[key]["per_seed"].as_array().unwrap().len(), 1, "{key}");
            assert_eq!(model[key]["by_horizon"].as_array().unwrap().len(), 3, "{key}");
        }
    }
    // A day of the trace is 60 rows, a day of the clock 720: there is none before the test part.
    let seasonal = &trace["models"][2];
    assert_eq!(seasonal["by_persistence"], 1.0);
    assert_eq!(seasonal["mae"]["mean"], trace["models"][0]["mae"]["mean"]);
    assert_eq!(seasonal["pinball"]["mean"], Value::Null);
    for file in [
        "manifest.json",
        "scores.json",
        "scores.csv",
        "predictions.csv",
        "figures/forecast-diurnal-house.svg",
        "figures/forecast-diurnal-house.png",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    let figure = fs::read_to_string(out.join("figures/forecast-diurnal-house.svg")).unwrap();
    for text in ["Forecasts on diurnal/house", "test part, min", "users", "holt-winters", "MAE"] {
        assert!(figure.contains(text), "{text}");
    }
    // Errors that stand in the table are those of the forecasts that stand beside it.
    let mut predictions = csv::Reader::from_path(out.join("predictions.csv")).unwrap();
    let errors: Vec<f64> = predictions
        .records()
        .map(Result::unwrap)
        .filter(|row| &row[0] == "diurnal/house" && &row[1] == "ar")
        .map(|row| (row[6].parse::<f64>().unwrap() - row[7].parse::<f64>().unwrap()).abs())
        .collect();
    // 36 test rows: 29, 28 and 27 targets.
    assert_eq!(errors.len(), 29 + 28 + 27);
    let mae = trace["models"][3]["mae"]["mean"].as_f64().unwrap();
    assert!((errors.iter().sum::<f64>() / errors.len() as f64 - mae).abs() < 1e-12);

    let again = folder.path().join("two");
    let mut threaded: Vec<&str> = arguments.to_vec();
    threaded.extend(["--threads", "1"]);
    evaluate(&again, &threaded).success();
    for file in
        ["scores.csv", "scores.json", "predictions.csv", "figures/forecast-diurnal-senti.png"]
    {
        assert_eq!(
            fs::read(out.join(file)).unwrap(),
            fs::read(again.join(file)).unwrap(),
            "{file}"
        );
    }
    evaluate(&out, &arguments).success();
    evaluate(&out, &["--trace", "diurnal"])
        .code(2)
        .stderr(contains("--horizon 3").and(contains("--horizon 1")).and(contains("--force")));
    evaluate(&out, &["--trace", "diurnal/house", "--force"]).success();
}

#[test]
fn constant_and_masked_traces_are_judged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.csv");
    let rows = |hole: &str| {
        let rows: Vec<String> =
            (0..100).map(|row| if row == 30 { hole.to_owned() } else { "5".to_owned() }).collect();
        format!("users\n{}\n", rows.join("\n"))
    };
    fs::write(&file, rows("NaN")).unwrap();
    let file = file.to_str().unwrap();
    evaluate(&folder.path().join("a"), &["--trace", file])
        .code(2)
        .stderr(contains("t.csv:32").and(contains("--mask 30..31")));
    let arguments = ["--trace", file, "--mask", "30..31", "--json"];
    let value = json(evaluate(&folder.path().join("b"), &arguments));
    for model in value["traces"][0]["models"].as_array().unwrap() {
        assert_eq!(model["mae"]["mean"], 0.0, "{model}");
        assert_eq!(model["mase"]["mean"], Value::Null);
        assert_eq!(model["mase"]["per_seed"], serde_json::json!([null]));
    }
}

#[test]
fn bad_input_names_the_place_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t.csv"), "users\n1\n2\n3\n").unwrap();
    fs::write(folder.path().join("bad.csv"), "users\n1\n-2\n").unwrap();
    let cases: [(&[&str], &str); 13] = [
        (&[], "--trace"),
        (&["--trace", "none.csv"], "none.csv: cannot read the file"),
        (&["--trace", "diurnl"], "did you mean `diurnal`?"),
        (&["--trace", "bad.csv"], "bad.csv:3: users = -2"),
        (&["--trace", "t.csv"], "t: no forecast to judge"),
        (&["--trace", "t.csv", "--column", "user"], "did you mean `users`?"),
        (&["--trace", "t.csv", "t.csv"], "two traces are named `t`"),
        (&["--trace", "diurnal", "--models", "arr"], "did you mean `ar`?"),
        (&["--trace", "diurnal", "--models", "ar,ar"], "`ar` is there twice"),
        (&["--trace", "diurnal", "--split", "80/20"], "as 64/16/20"),
        (&["--trace", "diurnal", "--mask", "7..3"], "the end is not after the start"),
        (&["--trace", "diurnal", "--mask", "900..999"], "no row has the number of a mask"),
        (&["--trace", "diurnal", "--horizon", "0"], "--horizon"),
    ];
    for (arguments, expected) in cases {
        let mut run = quotascale();
        run.current_dir(folder.path()).args(["predictor", "evaluate"]).args(arguments);
        run.assert().code(2).stdout(predicate::str::is_empty()).stderr(contains(expected));
    }
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("mine.txt"), "").unwrap();
    evaluate(&other, &["--trace", "diurnal"]).code(2).stderr(contains("holds no results"));
}

#[test]
fn a_scenario_runs_with_every_forecaster() {
    let folder = tempfile::tempdir().unwrap();
    let mut rewards = Vec::new();
    for name in ["persistence", "moving-average", "seasonal", "ar", "holt-winters", "perfect"] {
        let out = folder.path().join(name);
        let arguments = ["evaluate", "paper-knative", "--policies", "hybrid", "--seeds", "0"];
        let output = quotascale()
            .args(arguments)
            .args(["--forecaster", name, "--json", "--out"])
            .arg(&out)
            .assert()
            .success()
            .get_output()
            .clone();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        rewards.push(value["policies"][0]["reward"]["per_seed"][0].as_f64().unwrap());
        let decisions = fs::read_to_string(out.join("hybrid/0/decisions.csv")).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        // A day is longer than what was seen.
        let stands_in = name == "seasonal";
        assert_eq!(decisions.contains("forecast by persistence: too few rows for"), stands_in);
        assert_eq!(stderr.contains("60 of 60 forecasts are by persistence"), stands_in, "{stderr}");
    }
    assert_eq!(rewards[0], rewards[2]);
    rewards.remove(2);
    rewards.sort_by(f64::total_cmp);
    rewards.dedup();
    assert_eq!(rewards.len(), 5, "each other forecaster decides differently: {rewards:?}");
    quotascale()
        .args(["evaluate", "paper-knative", "--forecaster", "holt-winter"])
        .assert()
        .code(2)
        .stderr(contains("did you mean `holt-winters`?").and(contains("perfect")));
}
