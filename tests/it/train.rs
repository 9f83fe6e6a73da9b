//! `train` on the command line, and what takes the folders it writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use predicates::str::contains;
use quotascale::nn::Checkpoint;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::quotascale;

/// A small training on the paper's trace: 20 iterations.
const SMALL: &str = "[network]
lstm = 12
[training]
steps = 3040
environments = 8
epochs = 2
evaluations = 20
imitation = { weight = 0.1, from = 0.2 }
";

fn config(work: &TempDir, text: &str) -> PathBuf {
    let path = work.path().join("config.toml");
    fs::write(&path, text).unwrap();
    path
}

fn train(config: &Path, out: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = quotascale();
    command.args(["train", "paper", "--json", "--config"]).arg(config);
    command.arg("--out").arg(out).args(more).assert()
}

fn json(assert: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

/// What has to be equal after the same training, whatever the threads and interruptions.
fn same(one: &Path, other: &Path) {
    let files = ["model.safetensors", "optimizer.safetensors", "rng.json", "metadata.json"];
    for file in files.map(|file| format!("last/{file}")) {
        let [one, other] = [one, other].map(|folder| fs::read(folder.join(&file)).unwrap());
        assert!(one == other, "{file} differs");
    }
    // All of the log but the times in it.
    let rows = |folder: &Path| -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_path(folder.join("log.csv")).unwrap();
        let timed: Vec<bool> = reader
            .headers()
            .unwrap()
            .iter()
            .map(|name| {
                name.starts_with("seconds") || name == "steps_per_s" || name.ends_with("_share")
            })
            .collect();
        let untimed = |record: csv::StringRecord| {
            record
                .iter()
                .zip(&timed)
                .filter(|(_, timed)| !**timed)
                .map(|(cell, _)| cell.to_owned())
                .collect()
        };
        reader.records().map(|record| untimed(record.unwrap())).collect()
    };
    assert_eq!(rows(one), rows(other));
}

fn begin(config: &Path, out: &Path, more: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("quotascale"))
        .args(["train", "paper", "--quiet", "--config"])
        .arg(config)
        .arg("--out")
        .arg(out)
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until a row of the log is there.
fn wait_for_progress(out: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    let rows = || fs::read_to_string(out.join("log.csv")).map_or(0, |text| text.lines().count());
    while rows() < 3 {
        assert!(Instant::now() < until, "no progress");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_training_repeats_and_its_folder_is_a_policy_everywhere() {
    let work = TempDir::new().unwrap();
    let config = config(&work, SMALL);
    let [one, two, again] = ["one", "two", "again"].map(|name| work.path().join(name));
    let summary = json(&train(&config, &one, &["--threads", "1"]).success());
    assert_eq!((&summary["agent"], &summary["steps"]), (&"recurrent-ppo".into(), &3040.into()));
    assert!(summary["best"]["share"].as_f64().unwrap() > 0.5, "{summary}");
    for file in
        ["figures/training.svg", "figures/training.png", "scenario.toml", "best/metadata.json"]
    {
        assert!(one.join(file).exists(), "{file}");
    }
    train(&config, &two, &["--threads", "2"]).success();
    same(&one, &two);
    train(&config, &again, &["--seed", "1"]).success();
    let [a, b] =
        [&one, &again].map(|folder| fs::read(folder.join("last/model.safetensors")).unwrap());
    assert!(a != b, "another seed");
    train(&config, &one, &[]).code(2).stderr(contains("--resume"));

    let evaluated = json(
        &quotascale()
            .args(["evaluate", "paper", "--seeds", "0", "--json", "--policies"])
            .arg(format!("greedy,mine:{}", one.display()))
            .arg("--out")
            .arg(work.path().join("evaluation"))
            .assert()
            .success(),
    );
    let mine = &evaluated["policies"][1];
    assert_eq!(mine["name"], "mine");
    // The trainer's own judgement, over the same environment by another way.
    assert_eq!(mine["reward"]["per_seed"][0], summary["best"]["reward"]);

    // Both trainings and the comparison in figures, and on a page.
    let plot = |runs: &[&Path]| {
        let mut command = quotascale();
        command.arg("plot").args(runs).arg("--out").arg(work.path().join("plotted"));
        command.assert()
    };
    let plotted = plot(&[&one, &again, &work.path().join("evaluation")]).success();
    for name in ["training-one.pdf", "training-again.png", "curves.svg", "comparison.svg"] {
        assert!(work.path().join("plotted").join(name).exists(), "{name}: {plotted}");
    }
    plot(&[&one, &one]).code(2).stderr(contains("would replace"));
    plot(&[&work.path().join("nowhere")]).code(2).stderr(contains("no such folder"));
    let page = work.path().join("training.html");
    quotascale().arg("report").arg(&one).arg("--out").arg(&page).assert().success();
    assert!(
        fs::read_to_string(&page).unwrap().contains("Training of recurrent-ppo on paper, seed 0")
    );

    let observations = work.path().join("observations.csv");
    let header: Vec<String> = (0..46).map(|index| format!("obs{index}")).collect();
    let row = vec!["0.1"; 46].join(",");
    fs::write(&observations, format!("{}\n{row}\n{row}\n", header.join(","))).unwrap();
    let out = work.path().join("acts.csv");
    let act = |out: &Path| {
        let mut command = quotascale();
        command.arg("act").arg(&one).arg("--observations").arg(&observations).arg("--out").arg(out);
        command.assert()
    };
    act(&out).success();
    let mut acts = csv::Reader::from_path(&out).unwrap();
    assert_eq!(acts.headers().unwrap().len(), 46 + 37 + 3 + 1);
    let rows: Vec<csv::StringRecord> = acts.records().map(Result::unwrap).collect();
    assert_ne!(rows[0].get(46), rows[1].get(46), "it remembers the row before");
    fs::write(&observations, "obs0\n1\n").unwrap();
    act(&work.path().join("other.csv")).code(2).stderr(contains("obs1 is missing"));
}

#[test]
fn an_interrupted_training_goes_on_bit_for_bit() {
    let work = TempDir::new().unwrap();
    let config = config(&work, SMALL);
    let [whole, cut] = ["whole", "cut"].map(|name| work.path().join(name));
    train(&config, &whole, &[]).success();
    let mut child = begin(&config, &cut, &[]);
    wait_for_progress(&cut);
    let pid = child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let code = child.wait().unwrap().code();
    // It may have come to its end before the signal came.
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    train(&config, &cut, &["--resume", "--steps", "9999"])
        .code(2)
        .stderr(contains("training.steps"));
    train(&config, &cut, &["--resume"]).success();
    same(&whole, &cut);
}

#[test]
fn killed_at_any_moment_a_folder_loads_and_goes_on() {
    let work = TempDir::new().unwrap();
    let config = config(&work, SMALL);
    let [whole, cut] = ["whole", "cut"].map(|name| work.path().join(name));
    train(&config, &whole, &[]).success();
    let mut child = begin(&config, &cut, &[]);
    wait_for_progress(&cut);
    for round in 0..20 {
        // Moments spread over an iteration and the saving after it.
        std::thread::sleep(Duration::from_millis(3 + 7 * round % 40));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = Checkpoint::load(&cut.join("last"), &["recurrent-ppo"], None).unwrap();
        if Checkpoint::exists(&cut.join("best")) {
            quotascale::agent::Agent::load(&cut.join("best")).unwrap();
        }
        child = begin(&config, &cut, &["--resume"]);
        if last.metadata.steps >= 3040 {
            break;
        }
        std::thread::sleep(Duration::from_millis(80));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    train(&config, &cut, &["--resume"]).success();
    same(&whole, &cut);
}

#[test]
fn bad_input_names_the_place_and_the_remedy() {
    let work = TempDir::new().unwrap();
    let out = work.path().join("out");
    for (text, message) in [
        ("[training]\nbptt = 0\n", "training: bptt"),
        ("[training]\nminibatches = 7\n", "7 minibatches do not divide environments = 128"),
        ("[training]\nentropie = 0.1\n", "line 2"),
        ("[network]\nlstm = 0\n", "network.lstm"),
        ("[network]\nhead = \"joint\"\n[environment.observation]\nhints = \"gredy\"\n", "gredy"),
    ] {
        let config = config(&work, text);
        train(&config, &out, &[]).code(2).stderr(contains(message));
        assert!(!out.exists(), "nothing is begun");
    }
    // Without users the reward is infinite.
    let empty = work.path().join("empty.csv");
    fs::write(&empty, "house,senti,numbr\n5,5,5\n0,0,0\n5,5,5\n").unwrap();
    let small = config(&work, SMALL);
    train(&small, &out, &["--trace", empty.to_str().unwrap()])
        .code(2)
        .stderr(contains("min_one_pod"));
    train(&small, &out, &["--resume"]).code(2).stderr(contains("no such folder"));

    train(&small, &out, &["--steps", "152"]).success();
    let model = out.join("best/model.safetensors");
    let bytes = fs::read(&model).unwrap();
    fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    let evaluate = |scenario: &str, policy: &Path| {
        quotascale()
            .args(["simulate", scenario, "--policy"])
            .arg(policy)
            .arg("--out")
            .arg(work.path().join("run"))
            .assert()
    };
    evaluate("paper", &out).code(2).stderr(contains("model.safetensors: is damaged"));

    // The same services, but one has an option fewer.
    let shown = quotascale().args(["scenario", "show", "paper"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let other = work.path().join("other.toml");
    let row = shown.lines().rfind(|line| line.trim_start().starts_with("{ cpu_m")).unwrap();
    let fewer = shown.replacen(row, "", 1).replacen(
        "option = 7, pods = 1, users = 16",
        "option = 6, pods = 1, users = 16",
        1,
    );
    fs::write(&other, fewer).unwrap();
    evaluate(other.to_str().unwrap(), &out.join("last"))
        .code(2)
        .stderr(contains("options of its services"));
}

#[test]
fn a_training_whose_numbers_burst_stops_and_keeps_its_last_checkpoint() {
    let work = TempDir::new().unwrap();
    let text = format!("{SMALL}reward_scale = 1e38\nvalue_weight = 1e30\n");
    let (config, out) = (config(&work, &text), work.path().join("out"));
    train(&config, &out, &[]).code(1).stderr(contains("update 1")).stderr(contains("last"));
    Checkpoint::load(&out.join("last"), &["recurrent-ppo"], None).unwrap();
}
