//! `reproduce`: bad input, and that a stopped one goes on. The whole is run by hand (REPRODUCE.md),
//! for it takes minutes.

use std::fs;

use predicates::str::contains;

use crate::support::quotascale;

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
    reproduce(&[]).assert().code(2).stderr(contains("another version, effort, shard"));
    quotascale()
        .arg("merge")
        .arg(&out)
        .arg("--out")
        .arg(folder.path().join("merged"))
        .assert()
        .code(2)
        .stderr(contains("cells are missing"));
}
