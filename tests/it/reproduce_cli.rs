//! `reproduce`: bad input, that a stopped one goes on, and that a quick one gives the same bytes again and
//! from shards. The full one is run by hand (REPRODUCE.md), for it takes minutes.

use std::fs;

use predicates::prelude::*;
use predicates::str::contains;

use crate::support::{assert_same_files, quotascale};

#[test]
fn folders_of_something_else_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine.txt"), "").unwrap();
    let reproduce = |more: &[&str]| {
        let mut command = quotascale();
        command.args(["reproduce", "--quick", "--out"]).arg(&out).args(more);
        command
    };
    reproduce(&[]).assert().code(2).stderr(contains("holds no reproduction"));
    reproduce(&["--shard", "3/3"]).assert().code(2).stderr(contains("0 <= I < N"));
    reproduce(&["--data", "nowhere"]).assert().code(2).stderr(contains("no World Cup file"));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    // One of many shards: a cell of each evaluation, which a test can wait for.
    fs::remove_file(out.join("mine.txt")).unwrap();
    reproduce(&["--shard", "0/200"]).assert().success().stdout(contains("shard    0/200"));
    reproduce(&["--shard", "0/200"]).assert().success();
    let both = contains("it holds shard 0/200 of a quick").and(contains("this is a quick"));
    reproduce(&[]).assert().code(2).stderr(both);
    quotascale()
        .arg("merge")
        .arg(&out)
        .arg("--out")
        .arg(folder.path().join("merged"))
        .assert()
        .code(2)
        .stderr(contains("cells are missing"));
}

#[test]
fn a_quick_reproduction_gives_the_same_bytes_again_and_from_shards() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let reproduce = |out: &str, more: &[&str]| {
        let mut command = quotascale();
        command.args(["reproduce", "--quick", "--out"]).arg(place(out)).args(more);
        command.assert().success()
    };
    reproduce("whole", &["--threads", "1"]).stderr(contains("done").and(contains("left")));
    for shard in ["0", "1"] {
        reproduce(shard, &["--quiet", "--shard", &format!("{shard}/2")]).stderr("");
    }
    let mut merge = quotascale();
    merge.arg("merge").args([place("1"), place("0")]).arg("--out").arg(place("merged"));
    merge.assert().success().stdout(contains("report.html"));
    assert_same_files(&place("whole"), &place("merged"));
    // What is there is not computed anew.
    let cell = place("whole/evaluations/paper-knative/hybrid/0/summary.json");
    let before = fs::metadata(&cell).unwrap().modified().unwrap();
    // A figure of an earlier version goes, what is somebody's own stays.
    let [older, own] = ["whole/figures/77-older.svg", "whole/figures/own.svg"].map(place);
    fs::write(&older, "").unwrap();
    fs::write(&own, "").unwrap();
    reproduce("whole", &[]);
    assert_eq!(fs::metadata(&cell).unwrap().modified().unwrap(), before);
    assert!(!older.exists() && own.exists());
}
