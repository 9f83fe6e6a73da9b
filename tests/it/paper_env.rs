//! The `paper` environment, its policies and its oracle against the rows measured on the original.

use std::collections::BTreeMap;
use std::fs;

use predicates::prelude::*;
use predicates::str::contains;
use quotascale::env::paper::{DEFAULT_PRICE, PaperRules, PaperTrace, oracle, run_episode};
use quotascale::policy::Policy;
use quotascale::policy::paper::{Greedy, Oracle};
use quotascale::scenario::{Corrections, Scenario};
use quotascale::trace::{ServiceTrace, Trace};

use crate::support::{data, quotascale};

/// Files of golden rows.
const GOLDEN: [&str; 9] = [
    "paper_trace_random_actions.csv",
    "paper_trace_sticky_actions.csv",
    "paper_trace_trpo.csv",
    "paper_trace_greedy_optimum.csv",
    "train200_random.csv",
    "train200_sticky.csv",
    "train200_trpo.csv",
    "train200_greedy_optimum.csv",
    "edge_cases.csv",
];

fn golden(name: &str) -> std::path::PathBuf {
    data("paper_env").join(name)
}

/// Corrections 1 to 10 of the original's list.
fn all_corrections() -> Vec<&'static str> {
    Corrections::NAMES.iter().copied().filter(|name| *name != "numpy2_promotion").collect()
}

fn scenario(corrections: &[&str]) -> Scenario {
    let list = corrections.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
    Scenario::load("paper", &[format!("corrections=[{list}]")]).unwrap()
}

/// The actions of episode 1 of a golden file: the exact optimum.
fn optimal_actions(name: &str) -> Vec<[u16; 3]> {
    let mut reader = csv::Reader::from_path(golden(name)).unwrap();
    let rows = reader.records().map(Result::unwrap).filter(|row| &row[0] == "1");
    rows.map(|row| [5, 6, 7].map(|column| row[column].parse().unwrap())).collect()
}

/// A trace file of three columns.
fn trace(name: &str) -> Trace {
    let mut reader = csv::Reader::from_path(golden(name)).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<Vec<f64>> = reader.deserialize().map(Result::unwrap).collect();
    let services = names.iter().enumerate().map(|(column, name)| {
        let users: Vec<f64> = rows.iter().map(|row| row[column]).collect();
        ServiceTrace::from_rows(name, &users, 120)
    });
    Trace { services: services.collect() }
}

fn replay(input: &std::path::Path, corrections: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.csv");
    let assert = quotascale()
        .args(["replay", "env", "--json", "--corrections", corrections, "--rows"])
        .arg(input)
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    let told: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let text = fs::read_to_string(out).unwrap();
    assert_eq!(told["rows"], text.lines().count() - 1);
    text
}

#[test]
fn replaying_every_golden_file_gives_it_back_byte_for_byte() {
    let mut rows = 0;
    for name in GOLDEN {
        let expected = fs::read_to_string(golden(name)).unwrap();
        assert_eq!(replay(&golden(name), "none"), expected, "{name}");
        rows += expected.lines().count() - 1;
    }
    assert_eq!(rows, 3931);
}

#[test]
fn totals_under_corrections_are_the_golden_ones() {
    let mut reader = csv::Reader::from_path(golden("corrected_totals.csv")).unwrap();
    let mut computed: BTreeMap<(String, String), BTreeMap<String, f64>> = BTreeMap::new();
    let mut compared = 0;
    for record in reader.records() {
        let record = record.unwrap();
        let key = (record[0].to_owned(), record[1].to_owned());
        let totals = computed.entry(key).or_insert_with_key(|(options, file)| {
            let text = replay(&golden(file), options);
            let mut totals = BTreeMap::new();
            for row in csv::Reader::from_reader(text.as_bytes()).records() {
                let row = row.unwrap();
                *totals.entry(row[0].to_owned()).or_insert(0.0) += row[23].parse::<f64>().unwrap();
            }
            totals
        });
        let expected: f64 = record[4].parse().unwrap();
        assert_eq!(totals[&record[2]].to_bits(), expected.to_bits(), "{record:?}");
        compared += 1;
    }
    assert_eq!(compared, 360);
}

#[test]
fn replay_computes_from_the_needed_columns_alone_and_passes_others_through() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.csv");
    let text = fs::read_to_string(golden("paper_trace_trpo.csv")).unwrap();
    let mut thin = "note,obs8,obs5,obs2,a2,a1,a0,step,reward,episode\n".to_owned();
    for line in text.lines().skip(1) {
        let f: Vec<&str> = line.split(',').collect();
        let fields = ["\"x, y\"", f[16], f[13], f[10], f[7], f[6], f[5], f[1], "0", f[0]];
        thin += &format!("{}\n", fields.join(","));
    }
    fs::write(&input, thin).unwrap();
    let expected: String = text
        .lines()
        .enumerate()
        .map(|(index, line)| format!("{line},{}\n", if index == 0 { "note" } else { "\"x, y\"" }))
        .collect();
    assert_eq!(replay(&input, "none"), expected);
}

#[test]
fn replay_refuses_what_it_cannot_do_and_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.csv");
    let out = folder.path().join("out.csv");
    let run = |corrections: &str| {
        let mut command = quotascale();
        command.args(["replay", "env", "--corrections", corrections, "--rows"]);
        command.arg(&input).arg("--out").arg(&out);
        command.assert().code(2)
    };
    fs::write(&input, "episode,step,a0,a1,a2,obs2,obs5,obs8\n0,1,0,0,0,5,5,5\n0,2,22,0,0,5,5,5\n")
        .unwrap();
    run("none").stderr(contains("in.csv:3: action 22, 0, 0 names no option"));
    run("first_users_from_trace").stderr(contains("first_users_from_trace"));
    run("min_one_pod+truncate_at_trace_end").stderr(contains("truncate_at_trace_end"));
    fs::write(&input, "episode,step,a0,a1,a2,obs2,obs5,obs8\n0,2,0,0,0,5,5,5\n").unwrap();
    run("none").stderr(contains("in.csv:2: step 2 of episode 0"));
    fs::write(&input, "episode,step,a0,a1,a2,obs2,obs5\n0,1,0,0,0,5,5\n").unwrap();
    run("none").stderr(contains("no column `obs8`"));
    assert!(!out.exists());
    fs::create_dir(&out).unwrap();
    run("none").stderr(contains("out.csv: is a folder"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing half-written");
}

#[test]
fn greedy_and_oracle_earn_their_known_totals() {
    let reward = |scenario: &Scenario, traffic: &Trace, policy: &dyn Policy| {
        run_episode(scenario, traffic, policy, 0).unwrap().summary.reward
    };
    let original = scenario(&[]);
    let paper = trace("paper_trace.csv");
    assert_eq!(original.traffic(0).unwrap(), paper);
    assert_eq!(reward(&original, &paper, &Greedy::new(&original).unwrap()), 65015.14350641755);
    assert_eq!(reward(&original, &paper, &Oracle), 69786.99434914741);
    let corrected = scenario(&all_corrections());
    assert_eq!(reward(&corrected, &paper, &Greedy::new(&corrected).unwrap()), 71136.47309443253);
    assert_eq!(reward(&corrected, &paper, &Oracle), 75908.3239371624);
    // The training lists reach the truncating step; greedy has to be made for their length.
    let long = trace("train200.csv");
    assert_eq!(reward(&original, &long, &Greedy::new(&original).unwrap()), 725475.7233457682);
}

#[test]
fn one_correction_alone_leaves_the_optimum_of_the_paper_trace() {
    let plan = oracle(&scenario(&[]), &trace("paper_trace.csv")).unwrap();
    assert_eq!(plan.max_states, 19_817);
    let numpy2 = scenario(&["numpy2_promotion"]);
    assert_eq!(oracle(&numpy2, &trace("paper_trace.csv")).unwrap().total, plan.total);
    let nineteen: Vec<&str> =
        all_corrections().into_iter().filter(|name| *name != "truncate_at_trace_end").collect();
    let corrected = oracle(&scenario(&nineteen), &trace("paper_trace.csv")).unwrap();
    assert_eq!(corrected.actions, plan.actions);
    assert_eq!(corrected.total, plan.total);
}

#[test]
fn oracle_prints_the_optimum_as_json() {
    let output = quotascale().args(["oracle", "--json"]).output().unwrap();
    assert!(output.status.success());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["scenario"], "paper");
    assert_eq!(json["total"], 69786.99434914741);
    assert_eq!(json["steps"], 19);
    assert_eq!(json["max_states"], 19817);
    assert_eq!(json["exact"], true);
    assert_eq!(json["rewards"][0], 6900.869565217391);
    let actions = optimal_actions("paper_trace_greedy_optimum.csv");
    assert_eq!(json["actions"], serde_json::json!(actions));
}

#[test]
fn two_hundred_steps_have_the_known_optimum() {
    let plan = oracle(&scenario(&[]), &trace("train200.csv")).unwrap();
    assert_eq!(plan.total, 777094.065224283);
    assert_eq!(plan.max_states, 1_445_238);
    assert_eq!(plan.actions, optimal_actions("train200_greedy_optimum.csv"));
    assert!(plan.peak_bytes < 2 << 30, "{} bytes", plan.peak_bytes);
}

#[test]
fn the_optimum_does_not_depend_on_threads() {
    let totals = ["1", "3"].map(|threads| {
        let arguments = ["oracle", "paper-random", "--seed", "3", "--json", "--threads", threads];
        let output = quotascale().args(arguments).output().unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json.as_object_mut().unwrap().remove("seconds");
        json
    });
    assert_eq!(totals[0], totals[1]);
}

#[test]
fn oracle_refuses_knative_and_unknown_corrections() {
    quotascale().args(["oracle", "paper-knative"]).assert().code(2).stderr(contains("paper"));
    quotascale()
        .args(["oracle", "--corrections", "min_pod"])
        .assert()
        .code(2)
        .stderr(contains("--corrections").and(contains("min_one_pod")));
}

#[test]
fn traffic_without_users_has_an_infinite_optimum() {
    let scenario = scenario(&[]);
    let rules = PaperRules::with_rows(&scenario, 3).unwrap();
    let trace = PaperTrace { rows: vec![[0; 3]; 3] };
    let plan = oracle::search(&rules, &trace, &oracle::Watch::default()).unwrap();
    assert_eq!(plan.total, f64::INFINITY);
    assert_eq!(plan.rewards[1], f64::INFINITY);
}

#[test]
fn tables_of_an_episode_add_up() {
    let scenario = scenario(&[]);
    let traffic = scenario.traffic(0).unwrap();
    let run = run_episode(&scenario, &traffic, &Greedy::new(&scenario).unwrap(), 0).unwrap();
    assert_eq!(run.decisions.len(), 3 * 19);
    // A row for each service and one for all.
    assert_eq!(run.intervals.len(), 4 * 19);
    let all = || run.intervals.iter().filter(|row| row.service == "all");
    let rewards: f64 = run.decisions.iter().step_by(3).map(|row| row.reward.unwrap()).sum();
    assert_eq!(rewards, run.summary.reward);
    let cpu: f64 = all().map(|row| row.cpu_seconds).sum();
    assert_eq!(cpu, run.summary.cpu_seconds);
    // Step 1: (20, 1, 0) for 34, 28 and 16 users gives 4 + 6 + 1.5 CPU.
    assert_eq!(all().next().unwrap().cpu_seconds, 11.5 * 120.0);
    let services: f64 = run.intervals[..3].iter().map(|row| row.cpu_seconds).sum();
    assert_eq!(services, 11.5 * 120.0);
    assert_eq!(run.intervals[1].p95_ms, Some(2200.0));
    assert_eq!(run.summary.slo_violation_share, Some(0.0));
    assert_eq!(run.summary.cold_starts, None);
}

/// Shares of the optimum on random traffic, as published for these policies.
#[test]
fn greedy_policies_have_their_known_shares_on_random_traffic() {
    let scenario = Scenario::load("paper-random", &[]).unwrap();
    let policies: [Box<dyn Policy>; 2] = [
        Box::new(Greedy::new(&scenario).unwrap()),
        Box::new(Greedy::priced(&scenario, DEFAULT_PRICE).unwrap()),
    ];
    let mut shares = [0.0; 2];
    for seed in 0..100 {
        let traffic = scenario.traffic(seed).unwrap();
        let optimum = oracle(&scenario, &traffic).unwrap().total;
        for (share, policy) in shares.iter_mut().zip(&policies) {
            let run = run_episode(&scenario, &traffic, policy.as_ref(), seed).unwrap();
            assert!(run.summary.reward <= optimum);
            *share += run.summary.reward / optimum / 100.0;
        }
    }
    println!("mean shares of the optimum: greedy {}, priced-greedy {}", shares[0], shares[1]);
    assert!((0.930..=0.955).contains(&shares[0]), "{shares:?}");
    assert!((0.95..=0.97).contains(&shares[1]), "{shares:?}");
}
