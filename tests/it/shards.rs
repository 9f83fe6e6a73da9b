//! `evaluate --shard` and `merge`: the whole from its parts, byte for byte, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use predicates::prelude::*;
use predicates::str::contains;

use crate::support::{assert_same_files, quotascale};

fn evaluate(out: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    quotascale().arg("evaluate").args(arguments).arg("--out").arg(out).assert()
}

fn merge(shards: &[PathBuf], out: &Path) -> assert_cmd::assert::Assert {
    quotascale().arg("merge").args(shards).arg("--out").arg(out).assert()
}

/// The whole and its shards, put together in another order than that of their numbers.
fn whole_and_merged(arguments: &[&str], count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    evaluate(&whole, arguments).success();
    let shards: Vec<PathBuf> =
        (0..count).rev().map(|index| folder.path().join(index.to_string())).collect();
    for (index, shard) in shards.iter().rev().enumerate() {
        let text = format!("{index}/{count}");
        evaluate(shard, &[arguments, &["--shard", &text]].concat()).success();
    }
    let merged = folder.path().join("merged");
    merge(&shards, &merged).success();
    assert!(merged.join("timing.json").exists());
    assert_same_files(&whole, &merged);
}

#[test]
fn two_shards_of_the_simulator_make_the_whole() {
    let policies = "hybrid,kpa-latency,random";
    let arguments =
        ["paper-knative", "--policies", policies, "--seeds", "0..3", "--reference", "hybrid"];
    whole_and_merged(&arguments, 2);
}

#[test]
fn three_shards_of_the_paper_make_the_whole_with_its_optima() {
    whole_and_merged(&["paper-random", "--policies", "hybrid,greedy", "--seeds", "0..2"], 3);
    // Settings that were searched for belong to the whole.
    let set = "quota.cpu_m=36000";
    let arguments =
        ["paper-random", "--policies", "kpa-latency,oracle", "--seeds", "4", "--set", set];
    whole_and_merged(&arguments, 2);
}

#[test]
fn shards_of_different_policies_of_one_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.csv");
    let decisions = |option: u32| {
        let rows: String = (0..20).map(|_| format!("{option},0,0\n")).collect();
        fs::write(&file, format!("a0,a1,a2\n{rows}")).unwrap();
    };
    let policies = format!("hybrid,replay:{}", file.display());
    let arguments = ["paper-random", "--policies", &policies, "--seeds", "0..2"];
    decisions(20);
    whole_and_merged(&arguments, 2);
    let shards = [(20, "0/2"), (10, "1/2")].map(|(option, shard)| {
        decisions(option);
        let out = folder.path().join(shard.replace('/', "-"));
        evaluate(&out, &[&arguments[..], &["--shard", shard]].concat()).success();
        out
    });
    let out = folder.path().join("merged");
    merge(&shards, &out)
        .code(2)
        .stderr(contains("its policy `replay:d` is another one than that in"));
    assert!(!out.exists(), "nothing half done");
}

#[test]
fn shards_that_do_not_make_a_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let arguments = ["paper-knative", "--policies", "hybrid,random", "--seeds", "0..2"];
    let shard = |name: &str, shard: &str, more: &[&str]| {
        let out = place(name);
        evaluate(&out, &[&arguments[..], &["--shard", shard], more].concat()).success();
        out
    };
    let (zero, one) = (shard("0", "0/2", &[]), shard("1", "1/2", &[]));
    let out = place("merged");

    // A missing shard, by the names of its cells.
    merge(std::slice::from_ref(&zero), &out)
        .code(2)
        .stderr(contains("2 of 4 cells are missing: hybrid/1 (shard 1/2), random/1 (shard 1/2)"));
    assert!(!out.exists(), "nothing half done");
    // A cell that its shard has not finished.
    fs::rename(one.join("random/1"), place("kept")).unwrap();
    merge(&[zero.clone(), one.clone()], &out).code(2).stderr(contains("random/1 (shard 1/2)"));
    fs::rename(place("kept"), one.join("random/1")).unwrap();
    // The same shard twice.
    merge(&[zero.clone(), one.clone(), zero.clone()], &out)
        .code(2)
        .stderr(contains("cell hybrid/0 is in").and(contains("name every shard once")));
    // Of another scenario, other seeds, another number of shards.
    let other = shard("other", "1/2", &["--set", "quota.mode=enforced"]);
    merge(&[zero.clone(), other], &out).code(2).stderr(contains("it holds scenario paper-knative"));
    let arguments_of = |seeds: &str, count: &str, name: &str| {
        let arguments = ["paper-knative", "--policies", "hybrid,random", "--seeds", seeds];
        evaluate(&place(name), &[&arguments[..], &["--shard", count]].concat()).success();
        place(name)
    };
    let seeds = arguments_of("0..3", "1/2", "seeds");
    merge(&[zero.clone(), seeds], &out).code(2).stderr(contains("policies, seeds or shards"));
    let three = arguments_of("0..2", "1/3", "three");
    merge(&[zero.clone(), three], &out).code(2).stderr(contains("policies, seeds or shards"));
    // No shard at all.
    let whole = place("whole");
    evaluate(&whole, &arguments).success();
    merge(&[whole.clone(), one.clone()], &out).code(2).stderr(contains("no shard"));
    merge(&[place("nothing"), one.clone()], &out).code(2).stderr(contains("no evaluation"));
    // A shard's folder is neither the whole's nor another shard's.
    evaluate(&zero, &arguments).code(2).stderr(contains("it holds shard 0/2"));
    evaluate(&zero, &[&arguments[..], &["--shard", "1/2"]].concat())
        .code(2)
        .stderr(contains("it holds shard 0/2, this is shard 1/2"));
    for text in ["2/2", "x", "1"] {
        evaluate(&place("bad"), &["--shard", text]).code(2).stderr(contains("0 <= I < N"));
    }
    assert!(!place("bad").exists());

    // Another CPU is a warning; a merge that is repeated goes on.
    let machine = one.join("hybrid/1/machine.json");
    let text = fs::read_to_string(&machine).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["cpu"] = "another CPU".into();
    fs::write(&machine, value.to_string()).unwrap();
    for _ in 0..2 {
        merge(&[zero.clone(), one.clone()], &out)
            .success()
            .stderr(contains("2 kinds of CPU").and(contains("another CPU")));
    }
    assert_eq!(
        fs::read(out.join("comparison.csv")).unwrap(),
        fs::read(whole.join("comparison.csv")).unwrap()
    );
}
