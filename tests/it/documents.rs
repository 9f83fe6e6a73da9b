//! What the documents show works: scenarios check, the external policy's lines are the program's.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::quotascale;

fn document(name: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The fenced blocks of `text` that are marked `mark`.
fn blocks(text: &str, mark: &str) -> Vec<String> {
    text.split(&format!("```{mark}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_table_of_the_readme_is_what_the_program_prints() {
    let folder = tempfile::tempdir().unwrap();
    let assert = quotascale()
        .current_dir(folder.path())
        .args(["evaluate", "paper-knative", "--quiet"])
        .assert()
        .success();
    let printed = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let table: Vec<&str> =
        printed.lines().take_while(|line| !line.starts_with("results")).collect();
    assert!(table.len() > 10);
    let readme = document("README.md");
    for line in table {
        let line = line.trim();
        assert!(readme.lines().any(|shown| shown.trim() == line), "not in README.md: {line}");
    }
}

#[test]
fn the_scenario_of_the_document_checks_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = blocks(&document("docs/scenario.md"), "toml").remove(0);
    fs::write(folder.path().join("mine.toml"), scenario).unwrap();
    quotascale()
        .current_dir(folder.path())
        .args(["scenario", "check", "mine.toml"])
        .assert()
        .success();
    quotascale()
        .current_dir(folder.path())
        .args(["simulate", "mine.toml", "--policy", "hybrid", "--out", "run"])
        .assert()
        .success();
}

#[test]
fn the_five_services_of_the_document_are_compared_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = blocks(&document("docs/own-services.md"), "toml").remove(0);
    fs::write(folder.path().join("shop.toml"), scenario).unwrap();
    let run = |arguments: &str| {
        quotascale()
            .current_dir(folder.path())
            .args(arguments.split_whitespace())
            .assert()
            .success();
    };
    run("scenario check shop.toml");
    run("evaluate shop.toml --policies hybrid,greedy --seeds 0..2 --out shop-results");
    run("report shop-results shop-results/hybrid/0 --out shop.html");
    assert!(folder.path().join("shop.html").exists());
}

#[test]
fn the_jobs_of_a_sweep_name_as_many_shards() {
    let (sweep, merge) =
        (document("deploy/sweep-job.yaml"), document("deploy/sweep-merge-job.yaml"));
    let count = |text: &str| sweep.matches(text).count();
    assert_eq!(count("completions: 8") + count("parallelism: 8") + count("value: \"8\""), 3);
    assert!(sweep.contains("--shard=$(JOB_COMPLETION_INDEX)/$(SHARDS)"));
    for shard in 0..8 {
        assert!(merge.contains(&format!("- shard-{shard}\n")));
    }
}

#[test]
fn every_override_of_the_document_is_a_key() {
    let text = document("docs/scenario.md");
    let commands: Vec<&str> =
        text.lines().filter(|line| line.contains("scenario check paper-knative --set")).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        quotascale().args(command.split_whitespace().skip(1)).assert().success();
    }
}

#[test]
fn the_lines_of_an_external_policy_are_as_documented() {
    let text = document("docs/policies.md");
    let shown: Value = serde_json::from_str(&blocks(&text, "json snapshot")[0]).unwrap();
    let answer: Value = serde_json::from_str(&blocks(&text, "json decision")[0]).unwrap();

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("answer"), format!("{answer}\n")).unwrap();
    let command = "external:while read -r line; do echo \"$line\" >> asked; cat answer; done";
    quotascale()
        .current_dir(folder.path())
        .args(["simulate", "paper-knative", "--policy", command, "--out", "run"])
        .assert()
        .success();

    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    let asked: Value = serde_json::from_str(asked.lines().next().unwrap()).unwrap();
    assert_eq!(keys(&asked), keys(&shown));
    assert_eq!(asked["services"][0], shown["services"][0]);

    // The answer arrives: the first two services change, the third is left alone.
    let cells = fs::read_dir(folder.path().join("run")).unwrap().map(|entry| entry.unwrap().path());
    let decisions = cells
        .map(|cell| cell.join("0/decisions.csv"))
        .find(|file| file.exists())
        .map(|file| fs::read_to_string(file).unwrap())
        .unwrap();
    let rows: Vec<Vec<&str>> =
        decisions.lines().skip(1).take(3).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0][4..7], ["20", "4000", "50"]);
    assert_eq!(rows[1][5..8], ["2000", "15", "6"]);
    assert_eq!(rows[2][4..7], ["7", "2000", "25"]);
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[cfg(feature = "live")]
#[test]
fn the_configuration_of_the_rehearsal_is_one() {
    use quotascale::live::config::LiveFile;

    let text = blocks(&document("docs/rehearsal.md"), "toml").remove(0);
    let file = LiveFile::from_text("docs/rehearsal.md", &text, PathBuf::new()).unwrap();
    assert_eq!(file.config.clock.speed, 60.0);
    assert!(document("docs/rehearsal.md").contains("half a second at speed 60"));
}
