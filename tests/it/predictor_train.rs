//! `predictor train` on the command line, and what takes the folders it writes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{data, quotascale};

/// A trace of `rows` rows that has something to learn.
fn trace(folder: &TempDir, rows: u32) -> String {
    let path = folder.path().join(format!("trace{rows}.csv"));
    let users = (0..rows).map(|row| {
        let wave = (f64::from(row) / 11.0).sin();
        format!("{:.3}", 40.0 + 25.0 * wave + f64::from(row * row % 7))
    });
    let lines: Vec<String> = std::iter::once("users".to_owned()).chain(users).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn train(trace: &str, out: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = quotascale();
    command.args(["predictor", "train", "--trace", trace, "--json", "--out"]).arg(out);
    command.args(more).assert()
}

fn json(assert: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

fn same(one: &Path, other: &Path) {
    for file in ["model.safetensors", "config.json", "metadata.json", "losses.csv"] {
        let [one, other] = [one, other].map(|folder| fs::read(folder.join(file)).unwrap());
        assert!(one == other, "{file} differs");
    }
}

#[test]
fn a_trained_folder_is_a_forecaster_everywhere() {
    let work = TempDir::new().unwrap();
    let trace = trace(&work, 400);
    let [one, two, again] = ["one", "two", "again"].map(|name| work.path().join(name));
    let summary = json(&train(&trace, &one, &["--epochs", "2", "--threads", "1"]).success());
    assert_eq!((&summary["model"], &summary["epochs"]), (&"quantile".into(), &2.into()));
    assert_eq!(summary["stopped"], "epochs");
    for file in ["figures/losses.svg", "figures/losses.png", "losses.csv", "metadata.json"] {
        assert!(one.join(file).exists(), "{file}");
    }
    // Going on from one epoch to two gives the bits of two at once, on two threads.
    train(&trace, &two, &["--epochs", "1", "--threads", "2"]).success();
    train(&trace, &two, &["--epochs", "2", "--threads", "2", "--resume"]).success();
    same(&one, &two);
    train(&trace, &again, &["--epochs", "2", "--seed", "1"]).success();
    let [a, b] = [&one, &again].map(|folder| fs::read(folder.join("model.safetensors")).unwrap());
    assert!(a != b, "another seed");

    let assert = quotascale()
        .args(["predictor", "evaluate", "--trace", &trace, "--horizon", "7", "--json", "--models"])
        .arg(format!("ar,{}", one.display()))
        .arg("--out")
        .arg(work.path().join("scores"))
        .assert()
        .success();
    let scores = json(&assert);
    let model = &scores["traces"][0]["models"][1];
    assert_eq!(model["name"], "one");
    assert!(model["coverage80"]["mean"].as_f64().unwrap() > 0.0, "{model}");
    quotascale()
        .args(["simulate", "paper-knative", "--policy", "hybrid", "--json", "--forecaster"])
        .arg(&one)
        .arg("--out")
        .arg(work.path().join("run"))
        .assert()
        .success()
        .stdout(contains("\"reward\""));
}

#[test]
fn the_originals_recipe_names_its_leak_and_predicts() {
    let work = TempDir::new().unwrap();
    let (trace, out) = (trace(&work, 120), work.path().join("o"));
    let more = ["--model", "original", "--epochs", "1", "--no-early-stopping"];
    let summary = json(&train(&trace, &out, &more).success());
    assert_eq!((&summary["recipe"], &summary["parameters"]), (&"original".into(), &322_601.into()));
    // 96 rows, 89 windows, of which the last 18 validate.
    assert_eq!(summary["windows"], serde_json::json!([71, 18]));
    assert!(fs::read_to_string(out.join("metadata.json")).unwrap().contains("leak"));
    let windows = data("predictor/tiny.csv");
    quotascale()
        .args(["predictor", "predict"])
        .arg(&out)
        .arg("--windows")
        .arg(&windows)
        .arg("--out")
        .arg(work.path().join("predictions.csv"))
        .assert()
        .success();
    train(&trace, &out, &["--resume"]).code(2).stderr(contains("predictor-original"));
}

#[test]
fn bad_input_names_the_place_and_the_remedy() {
    let work = TempDir::new().unwrap();
    let good = trace(&work, 200);
    let [file, out, used] = ["t.csv", "out", "used"].map(|name| work.path().join(name));
    let file_name = file.to_str().unwrap();
    let constant = format!("users\n{}", "5\n".repeat(200));
    let damaged = format!("users\n{}nan\n{}", "5\n6\n".repeat(50), "5\n".repeat(50));
    for (text, message) in [
        ("users\n1\n2\n3\n4\n", "no window"),
        (constant.as_str(), "the same, 5"),
        (damaged.as_str(), "t.csv:102"),
    ] {
        fs::write(&file, text).unwrap();
        for model in ["quantile", "original"] {
            train(file_name, &out, &["--model", model]).code(2).stderr(contains(message));
        }
    }
    train(&good, &out, &["--recipe", "original"]).code(2).stderr(contains("--model original"));
    train(&good, &out, &["--recipe", "best"]).code(2).stderr(contains("known: default, original"));
    train(&good, &out, &["--resume"]).code(2).stderr(contains("no such folder"));
    assert!(!out.exists());

    train(&good, &used, &["--epochs", "1"]).success();
    train(&good, &used, &[]).code(2).stderr(contains("--resume").and(contains("--force")));
    train(&good, &used, &["--resume", "--seed", "4"]).code(2).stderr(contains("has seed 0"));
    train(&good, &used, &["--epochs", "1", "--seed", "4", "--force"]).success();
    fs::write(used.join("training/weights.safetensors"), "no").unwrap();
    train(&good, &used, &["--resume", "--seed", "4"]).code(2).stderr(contains("weights.safet"));
    train(&good, work.path(), &[]).code(2).stderr(contains("holds no predictor"));

    fs::write(used.join("model.safetensors"), "no").unwrap();
    let used = used.to_str().unwrap();
    for folder in [used, work.path().to_str().unwrap(), "./none"] {
        quotascale()
            .args(["evaluate", "paper-knative", "--forecaster", folder])
            .assert()
            .code(2)
            .stderr(contains(folder.trim_start_matches("./")));
        quotascale()
            .args(["predictor", "evaluate", "--trace", &good, "--models", folder])
            .assert()
            .code(2);
    }
    let metadata = Path::new(used).join("metadata.json");
    fs::write(&metadata, r#"{"kind": "predictor-crystal-ball", "format": 1}"#).unwrap();
    quotascale()
        .args(["simulate", "--policy", "hybrid", "--forecaster", used])
        .assert()
        .code(2)
        .stderr(contains("crystal-ball").and(contains("predictor-quantile")));
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_is_saved_and_goes_on_to_the_same_bits() {
    let work = TempDir::new().unwrap();
    let trace = trace(&work, 900);
    let [whole, cut] = ["whole", "cut"].map(|name| work.path().join(name));
    let options = ["--epochs", "6", "--no-early-stopping"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_quotascale"))
        .args(["predictor", "train", "--trace", &trace, "--out"])
        .arg(&cut)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Once the first epoch is saved, it is in the middle of the work.
    let started = Instant::now();
    while !cut.join("metadata.json").exists() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let code = child.wait().unwrap().code();
    // A fast machine may have been done already.
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    if code == Some(130) {
        train(&trace, &cut, &[&options[..], &["--resume"]].concat()).success();
    }
    train(&trace, &whole, &options).success();
    same(&whole, &cut);
}
