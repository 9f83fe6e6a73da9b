//! `train --agent trpo` and `--agent fitted-value`.

use std::fs;
use std::path::Path;

use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::quotascale;

fn train(scenario: &str, agent: &str, out: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = quotascale();
    command.args(["train", scenario, "--agent", agent, "--json", "--quiet", "--out"]).arg(out);
    command.args(more).assert()
}

fn json(assert: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

fn weights(out: &Path) -> Vec<u8> {
    fs::read(out.join("last/model.safetensors")).unwrap()
}

#[test]
fn the_fitted_value_is_trained_alike_by_any_threads_and_is_a_policy() {
    let work = TempDir::new().unwrap();
    let [one, two] = ["one", "two"].map(|name| work.path().join(name));
    let few = ["--steps", "12000", "--seed", "3"];
    let of = |out: &Path, threads: &str| {
        let more = [&few[..], &["--threads", threads]].concat();
        json(&train("paper-random", "fitted-value", out, &more).success())
    };
    let summary = of(&one, "1");
    assert_eq!(summary["steps"], 12000);
    assert_eq!(summary["stages"].as_array().unwrap().len(), 5);
    of(&two, "2");
    assert!(weights(&one) == weights(&two), "the threads matter");
    // Even so few states beat the greedy policy.
    let [reward, greedy] =
        ["reward", "greedy"].map(|key| summary["evaluation"][key].as_f64().unwrap());
    assert!(reward > greedy, "{summary}");
    quotascale()
        .current_dir(work.path())
        .args(["evaluate", "paper-random", "--seeds", "0..2", "--json", "--policies"])
        .arg(format!("greedy,mine:{}", one.display()))
        .assert()
        .success()
        .stdout(contains("mine"));
    // What is finished goes on to nothing; what is another's is refused.
    let go_on = |more: &[&str]| train("paper-random", "fitted-value", &one, more);
    go_on(&["--steps", "12000", "--seed", "3", "--resume"]).success();
    assert!(weights(&one) == weights(&two));
    go_on(&["--steps", "12000", "--seed", "4", "--resume"])
        .code(2)
        .stderr(contains("seed 3, not 4"));
    go_on(&few).code(2).stderr(contains("--resume"));
    // Other services than those it was trained for.
    let other = "service.house.slo_p95_ms=1000";
    quotascale()
        .current_dir(work.path())
        .args(["simulate", "paper-random", "--set", other, "--policy"])
        .arg(format!("mine:{}", one.display()))
        .assert()
        .code(2)
        .stderr(contains("layout"));
}

#[test]
fn the_fitted_value_refuses_what_it_is_not_for() {
    let work = TempDir::new().unwrap();
    let out = work.path().join("out");
    let refused = |scenario: &str, more: &[&str], text: &str| {
        train(scenario, "fitted-value", &out, more).code(2).stderr(contains(text));
        assert!(!out.exists());
    };
    refused("knative-random", &[], "environment \"paper\"");
    refused("paper", &["--observation", "opt"], "--observation");
    let config = work.path().join("config.toml");
    fs::write(&config, "[training]\nexploration = 2\n").unwrap();
    let file = config.to_str().unwrap();
    refused("paper", &["--config", file], "exploration");
    fs::write(&config, "[training]\nhorizons = 2\n").unwrap();
    refused("paper", &["--config", file], "horizons");
    let nobody = "[[environment.traffic]]\nkind = \"constant\"\nlow = 0\nhigh = 0\n";
    fs::write(&config, nobody).unwrap();
    refused("paper-random", &["--config", file], "infinite");
}

#[test]
fn the_fitted_value_is_fitted_to_the_traffic_that_its_settings_name() {
    let work = TempDir::new().unwrap();
    let config = work.path().join("config.toml");
    let counts = work.path().join("counts.csv");
    fs::write(&counts, (0..40).fold("requests\n".to_owned(), |all, row| format!("{all}{row}\n")))
        .unwrap();
    let of = |name: &str, environment: &str| {
        let out = work.path().join(name);
        fs::write(&config, format!("{environment}\n[training]\nhorizon = 2\n")).unwrap();
        let more = ["--config", config.to_str().unwrap(), "--steps", "2000"];
        train("paper-random", "fitted-value", &out, &more).success();
        (weights(&out), out)
    };
    let source =
        format!("[[environment.traffic]]\nkind = \"counts\"\nfile = '{}'", counts.display());
    let (own, _) = of("own", "");
    let (steady, _) = of("steady", "[[environment.traffic]]\nkind = \"constant\"");
    let (counted, out) = of("counted", &source);
    assert!(own != steady && steady != counted && counted != own, "the traffic does not matter");
    // The agent needs the file no more; a training that goes on does.
    fs::remove_file(&counts).unwrap();
    quotascale()
        .current_dir(work.path())
        .args(["simulate", "paper-random", "--policy"])
        .arg(format!("mine:{}", out.display()))
        .assert()
        .success();
    fs::write(&config, "[environment]\nhints = \"none\"\n").unwrap();
    train("paper-random", "fitted-value", &out, &["--force", "--config", config.to_str().unwrap()])
        .code(2)
        .stderr(contains("hints"));
}

#[test]
fn trpo_is_trained_alike_by_any_threads_and_goes_on_bit_for_bit() {
    let work = TempDir::new().unwrap();
    let [one, two] = ["one", "two"].map(|name| work.path().join(name));
    let config = work.path().join("config.toml");
    let text = "[network]\nhidden = [8]\n[training]\nn_envs = 8\nn_steps = 19\nsteps = 1216\n\
                cg_max_steps = 5\nn_critic_updates = 2\nevaluations = 2\n";
    fs::write(&config, text).unwrap();
    let file = config.to_str().unwrap();
    let summary =
        json(&train("paper", "trpo", &one, &["--config", file, "--threads", "1"]).success());
    assert_eq!((&summary["agent"], &summary["steps"]), (&Value::from("trpo"), &1216.into()));
    train("paper", "trpo", &two, &["--config", file, "--threads", "2"]).success();
    assert!(weights(&one) == weights(&two), "the threads matter");
    train("paper", "trpo", &one, &["--config", file, "--resume"]).success();
    train("paper", "trpo", &two, &["--config", file, "--seed", "1", "--resume"]).code(2);
    let recurrent = work.path().join("recurrent");
    fs::write(&config, "[network]\nlstm = 8\n").unwrap();
    train("paper", "trpo", &recurrent, &["--config", file])
        .code(2)
        .stderr(contains("network.lstm"));
}
