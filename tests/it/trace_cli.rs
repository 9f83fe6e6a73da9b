//! `trace list | show | import | export | generate`: what they write and that it reads back.

use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;
use quotascale::scenario::Scenario;
use quotascale::trace::Trace;
use serde_json::Value;

use crate::support::{data, quotascale, shared};

/// Runs `trace` with `args` and gives its stdout.
fn trace(args: &[&str]) -> String {
    let output = quotascale().arg("trace").args(args).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn users(text: &str, column: &str) -> Vec<f64> {
    let trace = quotascale::trace::csv::read("output", text, 120, &[column]).unwrap();
    trace.services[0].stages.iter().map(|stage| stage.users).collect()
}

#[test]
fn built_in_traces_are_listed_and_shown() {
    let list: Value = serde_json::from_str(&trace(&["list", "--json"])).unwrap();
    for entry in list["traces"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        assert!(trace(&["list"]).contains(name));
        let shown = trace(&["show", name]);
        for service in ["house", "senti", "numbr"] {
            assert!(shown.contains(service), "{shown}");
        }
    }
    insta::assert_snapshot!("show_paper", trace(&["show", "paper"]));
    let house: Value = serde_json::from_str(&trace(&["show", "paper/house", "--json"])).unwrap();
    assert_eq!(house["services"].as_array().unwrap().len(), 1);
    assert_eq!(house["services"][0]["users"]["mean"], 52.25);
    assert_eq!(house["services"][0]["trace"][1]["spawn_rate"], 50.0);
}

#[test]
fn an_export_is_the_trace_again() {
    let folder = tempfile::tempdir().unwrap();
    let paper = include_str!("../../traces/paper.csv");
    assert_eq!(trace(&["export", "paper", "--kind", "csv"]), paper);
    let stages = folder.path().join("stages.csv");
    trace(&["export", "paper", "--kind", "stages", "--out", text(&stages)]);
    assert!(
        std::fs::read_to_string(&stages)
            .unwrap()
            .starts_with("service,duration_s,users,spawn_rate\nhouse,120,34,34\n")
    );
    assert_eq!(trace(&["export", text(&stages), "--kind", "csv"]), paper);
    let some = trace(&["export", text(&stages), "--kind", "csv", "--column", "numbr"]);
    assert_eq!(users(&some, "numbr").len(), 20);
}

#[test]
fn locustfiles_hold_the_stages() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("t.csv");
    std::fs::write(
        &source,
        "service,duration_s,users,spawn_rate\nhouse,60,7.5,0.5\nsenti \"\u{e9}\",1,0,1e6\nhouse,5,2,3\n",
    )
    .unwrap();
    insta::assert_snapshot!(
        "locustfile",
        trace(&["export", text(&source), "--kind", "locustfile"])
    );
}

#[test]
fn files_are_not_overwritten_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new folder/t.csv");
    let write = ["generate", "random", "--out", text(&out)];
    trace(&write);
    let refused = quotascale().arg("trace").args(write).assert().code(2);
    refused.stderr(contains("t.csv").and(contains("--force")));
    let report: Value =
        serde_json::from_str(&trace(&[&write[..], &["--force", "--json"]].concat())).unwrap();
    assert_eq!(report["out"], text(&out));
    assert_eq!(report["kind"], "csv");
    let below_a_file = out.join("t.csv");
    let refused =
        quotascale().args(["trace", "generate", "random", "--out", text(&below_a_file)]).assert();
    refused.code(2).stderr(contains(text(&out)));
}

#[test]
fn generated_traces_repeat_and_are_those_of_scenarios() {
    let generate = |seed: &str| trace(&["generate", "random", "--rows", "20", "--seed", seed]);
    assert_eq!(generate("3"), generate("3"));
    assert_ne!(generate("3"), generate("4"));
    let traffic = Scenario::load("paper-random", &[]).unwrap().traffic(3).unwrap();
    assert_eq!(quotascale::trace::csv::read("t", &generate("3"), 120, &[]).unwrap(), traffic);
    for kind in ["random", "steps", "ramp", "diurnal", "bursts", "walk"] {
        let rows =
            ["generate", kind, "--rows", "300", "--low", "7", "--high", "31", "--services", "a,b"];
        let drawn = trace(&rows);
        for service in ["a", "b"] {
            let users = users(&drawn, service);
            assert_eq!(users.len(), 300);
            assert!(users.iter().all(|users| users.fract() == 0.0 && (7.0..=31.0).contains(users)));
        }
    }
    // Rows of another length are kept as stages, which say how long they are.
    let short = trace(&["generate", "ramp", "--rows", "3", "--stage-s", "10", "--services", "a"]);
    assert_eq!(short, "service,duration_s,users,spawn_rate\na,10,1,1\na,10,51,51\na,10,100,100\n");
    let interval = [
        "generate",
        "ramp",
        "--rows",
        "3",
        "--stage-s",
        "10",
        "--services",
        "a",
        "--form",
        "interval",
    ];
    assert_eq!(trace(&interval), "a\n1\n51\n100\n");
}

#[test]
fn shipped_traces_are_what_the_generator_draws() {
    let diurnal = [
        "generate",
        "diurnal",
        "--rows",
        "180",
        "--period-rows",
        "60",
        "--noise",
        "0.05",
        "--low",
        "5",
    ];
    assert_eq!(trace(&diurnal), include_str!("../../traces/diurnal.csv"));
    let bursts =
        ["generate", "bursts", "--rows", "120", "--rate", "0.1", "--size", "0.8", "--low", "5"];
    assert_eq!(trace(&bursts), include_str!("../../traces/bursts.csv"));
}

/// Recordings of one trace by two versions of Locust give that trace back.
#[test]
fn recordings_of_locust_give_the_stages_that_were_played() {
    let folder = tempfile::tempdir().unwrap();
    let played = Trace::load(text(&data("locust/played.csv")), 120, &["house"]).unwrap();
    let played = &played.services[0].stages;
    for (file, whole) in [("2.47.0", true), ("2.8.6", false)] {
        let out = folder.path().join(file);
        let history = data(&format!("locust/{file}_stats_history.csv"));
        let import = ["import", text(&history), "--kind", "locust-history", "--services", "house"];
        trace(&[&import[..], &["--users-max", "100", "--out", text(&out)]].concat());
        let read = Trace::load(text(&out), 120, &[]).unwrap();
        let read = &read.services[0].stages;
        // 2.8.6 lost the rows after its last flush.
        let compared = if whole { played.len() } else { played.len() - 1 };
        assert_eq!(read.len(), compared);
        for (index, (read, played)) in read.iter().zip(played).enumerate() {
            assert_eq!(read.users, played.users);
            if index + 1 < compared || whole {
                assert_eq!(read.duration_s, played.duration_s);
            }
        }
        let rates: Vec<f64> = read.iter().map(|stage| stage.spawn_rate).collect();
        assert_eq!(rates[..3], [2.0, 3.0, 1.0]);
        assert!((1.4..1.7).contains(&rates[3]), "{rates:?}");
        let rows = trace(&[&import[..], &["--stage-s", "5", "--form", "interval"]].concat());
        assert_eq!(users(&rows, "house")[..4], [8.0, 3.0, 0.0, 6.0]);
    }
    let named = trace(&[
        "import",
        text(&data("locust/2.47.0_stats_history.csv")),
        "--kind",
        "locust-history",
        "--users-max",
        "6",
    ]);
    assert!(named.contains("2.47.0,6,4,1\n") && named.contains("2.47.0,4,6,"), "{named}");
}

#[test]
fn the_counts_rule_gives_the_known_users_of_the_world_cup() {
    let Some(small) = shared("data/traces/wc98_small_2min.csv") else { return };
    let import = |args: &[&str]| trace(&[&["import", "--kind", "counts"], args].concat());
    let imported = import(&[text(&small), "--column", "requests_2min", "--users-min", "8"]);
    let known = trace(&["export", text(&small), "--kind", "csv", "--column", "users"]);
    assert_eq!(users(&imported, "requests_2min"), users(&known, "users"));

    let Some(all) = shared("data/traces/worldcup98_requests_per_minute.csv") else { return };
    let Some(tournament) = shared("data/traces/wc98_tournament_2min.csv") else { return };
    let rows = ["--skip-rows", "57750", "--rows", "47520", "--sum", "2", "--fractional"];
    let imported = import(&[&[text(&all), "--services", "house"], &rows[..]].concat());
    let known = trace(&["export", text(&tournament), "--kind", "csv", "--column", "users"]);
    let (imported, known) = (users(&imported, "house"), users(&known, "users"));
    assert_eq!(imported.len(), known.len());
    assert!(imported.iter().zip(&known).all(|(a, b)| (a - b).abs() <= 0.5000001e-6));

    let Some(nasa) = shared("data/traces/nasa95_requests_per_minute.csv") else { return };
    let gap = quotascale().args(["trace", "import", "--kind", "counts", text(&nasa)]).assert();
    gap.code(2).stderr(contains("rows are missing between 1995-07-28T13:32 and 1995-08-01T00:00"));
}
