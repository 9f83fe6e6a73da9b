//! The agents in checkpoints/: their names work anywhere, and the results of their cards come out again.

use std::fs;
use std::path::PathBuf;

use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::quotascale;

fn checkpoints() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("checkpoints")
}

/// Mean and digits of the figure in the card's row of this scenario and policy.
fn card(folder: &str, scenario: &str, policy: &str) -> (f64, f64) {
    let text = fs::read_to_string(checkpoints().join(folder).join("README.md")).unwrap();
    let cells = text
        .lines()
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .find(|cells| cells.len() > 2 && cells[0] == scenario && cells[1] == policy)
        .unwrap_or_else(|| panic!("{folder}: no row of {scenario}"));
    let digits = cells[2].split_once('.').map_or(0, |(_, digits)| digits.len());
    (cells[2].parse().unwrap(), 0.5 * 0.1f64.powi(digits as i32) + 1e-9)
}

/// The mean reward of `policy` in an empty folder, where nothing but the program is there.
fn reward(policy: &str, scenario: &str, seeds: &str) -> f64 {
    let work = TempDir::new().unwrap();
    let assert = quotascale()
        .current_dir(work.path())
        .args(["evaluate", scenario, "--policies", policy, "--seeds", seeds, "--json"])
        .assert()
        .success();
    let value: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    value["policies"][0]["reward"]["mean"].as_f64().unwrap()
}

#[test]
fn the_results_of_the_cards_come_out_again() {
    for (folder, policy, scenario, seeds) in [
        ("recurrent-ppo-paper", "recurrent-ppo", "paper", "0"),
        ("recurrent-ppo-knative", "recurrent-ppo", "knative-random", "0..20"),
        ("recurrent-ppo-knative", "recurrent-ppo", "paper-knative", "0..20"),
        ("ppo-paper-random", "ppo", "paper-random", "0..20"),
    ] {
        let (want, half) = card(folder, scenario, policy);
        let got = reward(policy, scenario, seeds);
        assert!((got - want).abs() <= half, "{scenario}: {got}, not {want}");
    }
}

#[test]
fn the_name_and_the_folder_are_the_same_agent() {
    for (folder, policy, scenario) in [
        ("recurrent-ppo-paper", "recurrent-ppo", "paper"),
        ("recurrent-ppo-knative", "recurrent-ppo", "knative-random"),
        ("ppo-paper-random", "ppo", "paper-random"),
    ] {
        let folder = format!("it:{}", checkpoints().join(folder).display());
        assert_eq!(reward(policy, scenario, "3"), reward(&folder, scenario, "3"));
    }
}

#[test]
fn together_they_are_small() {
    let mut bytes = 0;
    for folder in fs::read_dir(checkpoints()).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name();
            assert!(name != "optimizer.safetensors" && name != "rng.json", "{name:?}");
            bytes += file.metadata().unwrap().len();
        }
    }
    assert!(bytes < 5_000_000, "{bytes} bytes");
}

#[test]
fn what_does_not_fit_is_refused_with_both_sizes() {
    let work = TempDir::new().unwrap();
    let simulate = |arguments: &[&str]| {
        let mut command = quotascale();
        command.current_dir(work.path()).arg("simulate").args(arguments).assert().code(2)
    };
    simulate(&["paper-random", "--policy", "recurrent-ppo"])
        .stderr(contains("no checkpoint for scenario paper-random is shipped"))
        .stderr(contains("quotascale train paper-random --agent recurrent-ppo"));
    simulate(&["paper", "--policy", "trpo"])
        .stderr(contains("no checkpoint for scenario paper is shipped"));
    // The scenario by its name, but one service has an option more.
    let show = quotascale().args(["scenario", "show", "paper"]).assert().success();
    let text = String::from_utf8(show.get_output().stdout.clone()).unwrap();
    let option = text.lines().rfind(|line| line.contains("p95_ms")).unwrap();
    let file = work.path().join("paper.toml");
    let more = format!("{option}\n  {{ cpu_m = 3000, concurrency = 25, p95_ms = 700 }},");
    fs::write(&file, text.replace(option, &more)).unwrap();
    simulate(&[file.to_str().unwrap(), "--policy", "recurrent-ppo"])
        .stderr(contains("[22, 7, 8]"))
        .stderr(contains("[22, 7, 9]"));
}
