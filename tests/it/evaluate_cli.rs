//! `simulate` and `evaluate` from end to end: shapes, resuming, determinism, bad input.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::Value;

use crate::support::quotascale;

fn json(output: &[u8]) -> Value {
    serde_json::from_slice(output).expect("stdout holds one JSON object")
}

fn evaluate(out: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    quotascale().arg("evaluate").args(arguments).arg("--out").arg(out).assert()
}

/// Every file below `folder` but the timings, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().unwrap() != "timing.json" {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn greedy_and_the_optimum_on_the_paper_trace_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["paper", "--policies", "greedy", "--seeds", "0", "--json"];
    let output = evaluate(folder.path(), &arguments).success().get_output().clone();
    let value = json(&output.stdout);
    let greedy = &value["policies"][0];
    assert_eq!(greedy["name"], "greedy");
    assert_eq!(greedy["reward"]["per_seed"][0], 65015.14350641755);
    let share = greedy["oracle_share"]["per_seed"][0].as_f64().unwrap();
    assert_eq!(share, 65015.14350641755 / 69786.99434914741);
    assert_eq!(greedy["p95_ms"], Value::Null);
    assert_eq!(greedy["cold_starts"], Value::Null);
    let optimum = quotascale().args(["oracle", "paper", "--json"]).assert().success();
    let optimum = json(&optimum.get_output().stdout);
    assert_eq!(optimum["total"], 69786.99434914741);
    assert_eq!(optimum["max_states"], 19817);
}

#[test]
fn the_json_of_evaluate_and_simulate_has_the_agreed_shape() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evaluate");
    let arguments =
        ["paper-knative", "--policies", "kpa-resource,hybrid", "--seeds", "0..2", "--json"];
    let value = json(&evaluate(&out, &arguments).success().get_output().stdout);
    assert_eq!(value["scenario"], "paper-knative");
    assert_eq!(value["seeds"], serde_json::json!([0, 1]));
    assert_eq!(value["reference"], "kpa-resource");
    for policy in value["policies"].as_array().unwrap() {
        for key in [
            "reward",
            "slo_violation_share",
            "over_quota_cpu_seconds",
            "cpu_seconds",
            "cold_starts",
        ] {
            for field in ["mean", "ci95", "iqm", "per_seed"] {
                assert!(!policy[key][field].is_null(), "{key}.{field}");
            }
        }
        assert_eq!(policy["oracle_share"], Value::Null);
        assert_eq!(policy["p95_ms"]["house"]["per_seed"].as_array().unwrap().len(), 2);
        assert_eq!(policy["vs_reference"]["reward"]["ci95"].as_array().unwrap().len(), 2);
        assert!(policy["vs_reference"]["reward"]["p_holm"].is_number());
    }
    for name in [
        "scenario.toml",
        "comparison.csv",
        "comparison.parquet",
        "comparison.json",
        "timing.json",
        "figures/comparison.svg",
        "figures/comparison.png",
        "figures/comparison.pdf",
        "hybrid/1/summary.json",
        "hybrid/1/decisions.csv",
        "hybrid/1/decisions.parquet",
        "hybrid/1/intervals.csv",
        "hybrid/1/revisions.parquet",
    ] {
        assert!(out.join(name).exists(), "{name}");
    }
    assert!(!out.join("hybrid/1/ticks.csv").exists());
    let text = fs::read_to_string(out.join("hybrid/1/summary.json")).unwrap();
    assert!(!text.contains(folder.path().to_str().unwrap()), "no path in a summary");

    let single = quotascale()
        .args([
            "simulate",
            "paper-knative",
            "--policy",
            "hybrid",
            "--seed",
            "1",
            "--ticks",
            "--json",
        ])
        .arg("--out")
        .arg(folder.path().join("simulate"))
        .assert()
        .success();
    let single = json(&single.get_output().stdout);
    assert_eq!(single["name"], "hybrid");
    assert_eq!(single["reward"]["per_seed"][0], value["policies"][1]["reward"]["per_seed"][1]);
    let run = PathBuf::from(single["out"].as_str().unwrap());
    assert!(run.join("ticks.csv").exists());
    let timing = fs::read(folder.path().join("simulate/timing.json")).unwrap();
    assert!(json(&timing)["cell_seconds"]["hybrid/1"].as_f64().unwrap() > 0.0);
    // The same run by another command: the same tables.
    for table in ["decisions.csv", "intervals.csv", "revisions.csv", "summary.json"] {
        assert_eq!(
            fs::read(run.join(table)).unwrap(),
            fs::read(out.join("hybrid/1").join(table)).unwrap()
        );
    }
}

#[test]
fn threads_and_repetition_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let policies = "kpa-latency,hybrid,greedy,random,oracle";
    let run = |name: &str, threads: &str| {
        let out = folder.path().join(name);
        let arguments =
            ["knative-random", "--policies", policies, "--seeds", "0..3", "--threads", threads];
        evaluate(&out, &arguments).success();
        files(&out)
    };
    let one = run("one", "1");
    assert!(one == run("two", "2"));
    assert!(one == run("again", "2"));
}

#[test]
fn a_killed_evaluation_goes_on_and_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["knative-random", "--policies", "oracle,hybrid", "--seeds", "0..12"];
    let whole = folder.path().join("whole");
    evaluate(&whole, &arguments).success();

    let out = folder.path().join("killed");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_quotascale"))
        .arg("evaluate")
        .args(arguments)
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let finished = |out: &Path| {
        ["clairvoyant-beam", "hybrid"]
            .iter()
            .flat_map(|policy| (0..12).map(move |seed| format!("{policy}/{seed}/summary.json")))
            .filter(|name| out.join(name).exists())
            .collect::<Vec<_>>()
    };
    let start = Instant::now();
    while finished(&out).len() < 2 && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = finished(&out);
    assert!(!kept.is_empty(), "nothing was finished before the kill");
    let written: Vec<_> =
        kept.iter().map(|name| fs::metadata(out.join(name)).unwrap().modified().unwrap()).collect();
    // What a killed process leaves behind.
    fs::create_dir_all(out.join("hybrid/.unfinished-3-1")).unwrap();
    evaluate(&out, &arguments).success();
    for (name, time) in kept.iter().zip(written) {
        let now = fs::metadata(out.join(name)).unwrap().modified().unwrap();
        assert_eq!(now, time, "{name} was computed again");
    }
    assert!(files(&out) == files(&whole));
}

/// Waits for what a program in the background does, for a minute at most.
fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn kill(child: &std::process::Child, signal: &str) {
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn an_interrupted_evaluation_says_so_and_keeps_what_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_quotascale"))
        .args(["evaluate", "knative-random", "--policies", "oracle", "--seeds", "0..500", "--json"])
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| {
        fs::read_dir(out.join("clairvoyant-beam")).is_ok_and(|mut cells| cells.next().is_some())
    });
    kill(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("interrupted: finished runs are saved"), "{message}");
    for cell in fs::read_dir(out.join("clairvoyant-beam")).unwrap() {
        assert!(cell.unwrap().path().join("summary.json").exists());
    }
}

/// What has nothing to save ends at once, and with the same exit code.
#[test]
fn an_interrupted_simulation_leaves_no_results() {
    for signal in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        // As nohup starts it: a hangup changes nothing.
        let mut child = std::process::Command::new("sh")
            .args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_quotascale")])
            .args(["simulate", "paper", "--policy", "external:exec cat >&2", "--json", "--out"])
            .arg(&out)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until(|| out.join("scenario.toml").exists());
        kill(&child, "-HUP");
        std::thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none(), "a hangup ended it");
        kill(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}");
        assert!(output.stdout.is_empty());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains("error: interrupted"), "{message}");
        assert!(!files(&out).keys().any(|name| name.ends_with("summary.json")));
    }
}

#[test]
fn a_run_lasts_as_long_as_the_traffic_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("t.csv");
    fs::write(&trace, "house,senti,numbr\n34,28,16\n50,70,25\n66,30,47\n").unwrap();
    let simulate = |arguments: &[&str]| {
        let assert = quotascale()
            .args(["simulate", "paper-knative", "--policy", "hybrid", "--json", "--force"])
            .args(["--trace", trace.to_str().unwrap()])
            .args(arguments)
            .arg("--out")
            .arg(folder.path().join("out"))
            .assert()
            .success();
        let value = json(&assert.get_output().stdout);
        let run = PathBuf::from(value["out"].as_str().unwrap());
        let intervals = fs::read_to_string(run.join("intervals.csv")).unwrap();
        let last = intervals.lines().last().unwrap();
        (last.split(',').nth(1).unwrap().to_owned(), value["reward"]["mean"].to_string())
    };
    assert_eq!(simulate(&[]).0, "360.0");
    // Too short for a rewarded decision: a sum of nothing, without a sign.
    assert_eq!(simulate(&["--set", "duration_s=120"]), ("120.0".to_owned(), "0.0".to_owned()));
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let hybrid = ["--policies", "hybrid", "--seeds", "0"];
    evaluate(&out, &[&["paper-knative"], &hybrid[..]].concat()).success();
    let before = files(&out);
    evaluate(&out, &[&["knative-random"], &hybrid[..]].concat())
        .code(2)
        .stderr(contains("paper-knative").and(contains("knative-random")).and(contains("--force")))
        .stdout(is_empty());
    evaluate(&out, &[&["paper-knative", "--forecaster", "perfect"], &hybrid[..]].concat())
        .code(2)
        .stderr(contains("--forecaster perfect"));
    assert!(before == files(&out));
    fs::write(out.join("mine.txt"), "keep").unwrap();
    evaluate(&out, &[&["knative-random", "--force"], &hybrid[..]].concat()).success();
    assert_eq!(fs::read_to_string(out.join("mine.txt")).unwrap(), "keep");

    let foreign = folder.path().join("foreign");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("thesis.tex"), "").unwrap();
    evaluate(&foreign, &[&["paper-knative", "--force"], &hybrid[..]].concat())
        .code(2)
        .stderr(contains("not empty"));
}

#[test]
fn a_perfect_forecast_is_worth_something() {
    let folder = tempfile::tempdir().unwrap();
    let violations = |forecaster: &str| {
        let out = folder.path().join(forecaster);
        let arguments = [
            "knative-random",
            "--policies",
            "hybrid",
            "--seeds",
            "0..5",
            "--forecaster",
            forecaster,
            "--json",
        ];
        let value = json(&evaluate(&out, &arguments).success().get_output().stdout);
        value["policies"][0]["slo_violation_share"]["mean"].as_f64().unwrap()
    };
    assert!(violations("perfect") < violations("persistence"));
}

#[test]
fn an_external_program_decides_like_the_policy_it_imitates() {
    let folder = tempfile::tempdir().unwrap();
    // Answers every snapshot with the same options; pods follow from the forecast.
    let program = folder.path().join("policy.sh");
    fs::write(
        &program,
        r#"while read -r line; do echo '{"services":[{"name":"house","option":20},{"name":"senti","option":1},{"name":"numbr","option":0}]}'; done"#,
    )
    .unwrap();
    let external = format!("external:sh {}", program.display());
    let out = folder.path().join("out");
    let arguments =
        ["paper", "--policies", "fixed:20/1/0", "--policies", &external, "--seeds", "0", "--json"];
    let value = json(&evaluate(&out, &arguments).success().get_output().stdout);
    let rewards: Vec<&Value> = value["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| &policy["reward"]["per_seed"])
        .collect();
    assert_eq!(rewards[0], rewards[1]);

    for (answer, problem) in [
        ("exit 3", "ended without an answer"),
        ("read -r l; echo nonsense", "answered `nonsense`"),
        (r#"read -r l; echo '{"services":[{"name":"haus","option":1}]}'"#, "named service `haus`"),
        (r#"read -r l; echo '{"services":[{"name":"house","option":99}]}'"#, "chose option 99"),
        (r#"read -r l; echo '{"services":[{"name":"house"}]}'"#, "neither `option`"),
    ] {
        let external = format!("external:{answer}");
        evaluate(
            &folder.path().join("bad"),
            &["paper", "--policies", &external, "--seeds", "0", "--force"],
        )
        .code(2)
        .stderr(contains(problem));
    }
}

#[test]
fn replayed_decisions_are_followed_and_wrong_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.csv");
    let simulate = |text: &str, scenario: &str| {
        fs::write(&file, text).unwrap();
        quotascale()
            .args(["simulate", scenario, "--force", "--json", "--policy"])
            .arg(format!("replay:{}", file.display()))
            .arg("--out")
            .arg(folder.path().join("out"))
            .assert()
    };
    let header = "t_s,service,cpu_m,concurrency,pods\n";
    let assert =
        simulate(&format!("{header}7,house,4000,77,3\n900,senti,2000,15,9\n"), "paper-knative");
    let value = json(&assert.success().get_output().stdout);
    assert_eq!(value["name"], "replay:d");
    let run = PathBuf::from(value["out"].as_str().unwrap());
    let revisions = fs::read_to_string(run.join("revisions.csv")).unwrap();
    assert!(revisions.contains("house,2,7.0,"), "{revisions}");
    for (row, problem) in [
        ("7,haus,4000,60,3\n", ":2: there is no service `haus`"),
        ("7,house,4100,60,3\n", ":2: no option of house has 4100m"),
        ("7,house,4000,60,NaN\n", ":2: pods `NaN`"),
        ("7.5,house,4000,60,3\n", ":2: t_s `7.5`"),
        ("7,house,4000,60\n", "d.csv"),
        ("", "no rows"),
    ] {
        simulate(&format!("{header}{row}"), "paper-knative").code(2).stderr(contains(problem));
    }
    simulate("t,service,cpu_m,concurrency,pods\n", "paper-knative").code(2);
    simulate("t_s,service,cpu,concurrency,pods\n1,house,4000,60,1\n", "paper-knative")
        .code(2)
        .stderr(contains("no column `cpu_m`"));
    // A table of steps that says more than the options.
    let rows: String = (1..20).map(|step| format!("{step},20,1,0,x\n")).collect();
    let assert = simulate(&format!("step,a0,a1,a2,note\n{rows}"), "paper").success();
    let reward = &json(&assert.get_output().stdout)["reward"]["mean"];
    assert_eq!(*reward, 55384.63218031129);
    simulate("a0,a1,a2,a3\n20,1,0,0\n", "paper").code(2).stderr(contains("for 3 services"));
    simulate("a0,a1,a2\n22,0,0\n", "paper").code(2).stderr(contains("option 22"));
    simulate("a0,a1,a2\n20,1,0\n", "paper").code(2).stderr(contains("no row for decision 2"));
}

#[test]
fn results_of_another_policy_of_the_same_name_are_not_reused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.csv");
    let policy = format!("replay:{}", file.display());
    let decisions = |option: u32| {
        let rows: String = (0..20).map(|_| format!("{option},0,0\n")).collect();
        fs::write(&file, format!("a0,a1,a2\n{rows}")).unwrap();
    };
    let (evaluated, simulated) = (folder.path().join("evaluated"), folder.path().join("simulated"));
    let evaluation = |more: &[&str]| {
        let arguments = [&["paper", "--policies", &policy, "--seeds", "0", "--json"], more];
        evaluate(&evaluated, &arguments.concat())
    };
    let simulation = |more: &[&str]| {
        let arguments = ["simulate", "paper", "--policy", &policy, "--out"];
        quotascale().args(arguments).arg(&simulated).args(more).assert()
    };
    let reward = |assert: assert_cmd::assert::Assert| {
        let value = json(&assert.success().get_output().stdout);
        value["policies"][0]["reward"]["per_seed"][0].as_f64().unwrap()
    };
    decisions(20);
    let first = reward(evaluation(&[]));
    simulation(&[]).success();
    assert_eq!(first, reward(evaluation(&[])), "the same policy goes on");
    decisions(10);
    let before = (files(&evaluated), files(&simulated));
    let refused = || contains("another policy that is called").and(contains("--force"));
    evaluation(&[]).code(2).stderr(refused()).stdout(is_empty());
    simulation(&[]).code(2).stderr(refused()).stdout(is_empty());
    assert!(before == (files(&evaluated), files(&simulated)));
    assert_ne!(first, reward(evaluation(&["--force"])));
    simulation(&["--force"]).success();
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let below_a_file = folder.path().join("file/out");
    fs::write(folder.path().join("file"), "").unwrap();
    for (arguments, problem) in [
        (vec!["nowhere.toml"], "nowhere.toml: cannot read the file"),
        (vec!["papr"], "did you mean `paper`?"),
        (vec!["paper", "--seeds", "x"], "--seeds x"),
        (vec!["paper", "--seeds", "5..5"], "empty"),
        (vec!["paper", "--policies", "hybird"], "did you mean `hybrid`?"),
        (vec!["paper", "--policies", "fixed:21/6"], "2 options for 3 services"),
        (vec!["paper", "--policies", "fixed:22/6/7"], "option 22 of service 0"),
        (vec!["paper", "--policies", "greedy,greedy"], "two policies are named `greedy`"),
        (vec!["paper", "--policies", "trpo"], "no checkpoint"),
        (vec!["paper", "--policies", "replay:nowhere.csv"], "nowhere.csv"),
        (vec!["paper", "--forecaster", "perfct"], "did you mean `perfect`?"),
        (vec!["paper", "--corrections", "min_pod"], "unknown correction"),
        (vec!["paper", "--set", "quota"], "no `=`"),
        (vec!["paper", "--set", "quota.cpu=1"], "did you mean `cpu_m`?"),
        (vec!["paper", "--trace", "nowhere.csv"], "nowhere.csv"),
        (
            vec!["paper-knative", "--set", "service.house.initial.option=22"],
            "there is no option 22",
        ),
        (
            vec!["paper-knative", "--set", "quota.cpu_m=100"],
            "not one option of house fits the quota",
        ),
        (vec!["paper-knative", "--set", "kpa.stable-window=\"5s\""], "kpa.stable-window"),
        (vec!["paper", "--set", "sim.pod_drain_s=1"], "sim"),
    ] {
        evaluate(&out, &arguments).code(2).stderr(contains(problem)).stdout(is_empty());
        assert!(!out.exists(), "{arguments:?} left a folder");
    }
    evaluate(&below_a_file, &["paper", "--policies", "hybrid"])
        .code(2)
        .stderr(contains("the folder cannot be used"));
    quotascale().args(["simulate", "paper"]).assert().code(2);
}
