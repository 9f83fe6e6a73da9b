//! Bad traces: each is refused with exit code 2 and a message that names the place and the remedy.

use predicates::prelude::*;
use predicates::str::contains;

use crate::support::{data, quotascale};

/// Runs `trace` with `args` in a folder where `t.csv` holds `text`.
fn refused(text: &str, args: &[&str], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), text).unwrap();
    let mut run = quotascale();
    let assert = run.current_dir(folder.path()).arg("trace").args(args).assert();
    let assert = assert.code(2).stdout(predicate::str::is_empty());
    for part in expected {
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(stderr.contains(part), "{args:?} on {text:?}: no {part:?} in\n{stderr}");
    }
}

#[test]
fn interval_form() {
    let cases: [(&str, &[&str]); 17] = [
        ("", &["t.csv: the file is empty"]),
        ("house;senti\n1;2\n", &["t.csv:1: the columns are separated by `;`", "by commas"]),
        ("house\tsenti\n1\t2\n", &["t.csv:1: the columns are separated by a tab"]),
        ("house,senti\n", &["t.csv: the trace is empty"]),
        ("house,senti\n1,2\n3\n", &["t.csv:3: 1 cells for 2 columns", "cut off"]),
        ("house,senti\n1,2\n3,4,5\n", &["t.csv:3: 3 cells for 2 columns"]),
        ("house,senti\n1,2\n3,\n", &["t.csv:3: the cell of `senti` is empty"]),
        ("house,senti\n1,NaN\n", &["t.csv:2: `NaN` in column `senti` is not finite"]),
        ("house\n1\n\ninf\n", &["t.csv:4: `inf` in column `house` is not finite"]),
        ("house\n1\n1e999\n", &["t.csv:3: `1e999` in column `house` is not finite"]),
        ("house\n-1\n", &["t.csv:2: house = -1: the number of users is negative"]),
        ("house\nmany\n", &["t.csv:2: `many` in column `house` is not a number"]),
        ("house\n1e10\n", &["t.csv:2: house = 1e10: more users than the model counts"]),
        ("1,2\n3,4\n", &["t.csv:1: the first line holds numbers"]),
        ("house,house\n3,4\n", &["t.csv:1: the column `house` is there twice"]),
        ("house,\n3,4\n", &["t.csv:1: column 2 has no name"]),
        ("house,senti\n1,2\n,\n", &["t.csv:3: the cell of `house` is empty"]),
    ];
    for (text, expected) in cases {
        refused(text, &["show", "t.csv"], expected);
    }
    refused(
        "house\n1\n",
        &["show", "t.csv", "--column", "hause"],
        &["t.csv:1", "did you mean `house`?"],
    );
}

#[test]
fn stage_form() {
    let cases: [(&str, &[&str]); 11] = [
        ("", &["t.csv: the trace is empty"]),
        ("a,10,1\n", &["t.csv:2: 3 cells for 4 columns"]),
        ("a,10,1,1\n,10,1,1\n", &["t.csv:3: the cell of `service` is empty"]),
        ("a,1.5,1,1\n", &["t.csv:2: duration_s = 1.5: a duration is a whole number of seconds"]),
        ("a,0,1,1\n", &["t.csv:2: duration_s = 0"]),
        ("a,-5,1,1\n", &["t.csv:2: duration_s = -5"]),
        ("a,nan,1,1\n", &["t.csv:2: `nan` in column `duration_s` is not finite"]),
        ("a,10,-1,1\n", &["t.csv:2: users = -1: the number of users is negative"]),
        ("a,10,inf,1\n", &["t.csv:2: `inf` in column `users`"]),
        ("a,10,1,0\n", &["t.csv:2: spawn_rate = 0: a spawn rate is above zero"]),
        ("a,10,1,x\n", &["t.csv:2: `x` in column `spawn_rate` is not a number"]),
    ];
    for (rows, expected) in cases {
        let text = format!("service,duration_s,users,spawn_rate\n{rows}");
        refused(&text, &["show", "t.csv"], expected);
    }
    refused(
        "service,duration_s,users,spawnrate\na,1,1,1\n",
        &["show", "t.csv"],
        &["t.csv:1: there is no column `spawn_rate`", "did you mean `spawnrate`?"],
    );
    let two = "service,duration_s,users,spawn_rate\na,1,1,1\nb,2,1,1\n";
    refused(two, &["show", "t.csv", "--column", "c"], &["t.csv: there is no service `c`", "a, b"]);
    refused(
        two,
        &["export", "t.csv", "--kind", "csv"],
        &["the interval form cannot hold this trace"],
    );
}

#[test]
fn names_and_arguments() {
    refused("", &["show", "none.csv"], &["none.csv: cannot read the file", "check the path"]);
    refused("", &["show", "papr"], &["did you mean `paper`?", "diurnal"]);
    refused("", &["show", "paper/hause"], &["did you mean `house`?"]);
    refused("", &["show", "paper/house", "--column", "senti"], &["columns are chosen twice"]);
    refused("", &["generate", "random", "--noise", "0.1"], &["`noise` does not belong"]);
    refused(
        "",
        &["generate", "random", "--low", "9", "--high", "3"],
        &["low = 9 is above high = 3"],
    );
    refused("", &["generate", "walk", "--step", "-1"], &["step = -1 is out of range"]);
    refused("", &["generate", "ramp", "--rows", "0"], &["rows = 0"]);
    refused("", &["generate", "ramp", "--stage-s", "0"], &["stage_s = 0"]);
    refused(
        "",
        &["generate", "ramp", "--services", "a,a"],
        &["`a` is no name of a service, or is there twice"],
    );
    refused("", &["generate", "waves"], &["random", "diurnal"]);
    refused(
        "a,b\n1,2\n",
        &["import", "t.csv", "--kind", "counts"],
        &["choose with --column (in settings: columns) from a, b"],
    );
    refused(
        "n\n1\n",
        &["import", "t.csv", "--kind", "counts", "--users-max", "1"],
        &["users from 1 to 1"],
    );
    refused(
        "n\n1\nNaN\n",
        &["import", "t.csv", "--kind", "counts"],
        &["t.csv:3: `NaN` in column `n`"],
    );
    refused(
        "n\n1\n",
        &["import", "t.csv", "--kind", "locust-history"],
        &["there is no column `Timestamp`"],
    );
    refused(
        "",
        &["import", "http://h/x.csv", "--kind", "counts"],
        &["http://h/x.csv", "download it first"],
    );
    let headless = data("locust/2.8.6_headless_stats_history.csv");
    let import = ["import", headless.to_str().unwrap(), "--kind", "locust-history"];
    refused("", &import, &["none of the 1 rows has users", "--autostart"]);
}

#[test]
fn a_scenario_names_the_file_and_its_own_line() {
    let folder = tempfile::tempdir().unwrap();
    let check = |trace: &str, expected: &str| {
        let text = include_str!("../../scenarios/paper.toml").replacen(
            "{ builtin = \"paper/house\" }",
            trace,
            1,
        );
        std::fs::write(folder.path().join("s.toml"), text).unwrap();
        let mut run = quotascale();
        run.current_dir(folder.path()).args(["scenario", "check", "s.toml"]);
        run.assert().code(2).stderr(contains(expected));
    };
    std::fs::write(folder.path().join("t.csv"), "house\n1\n2\n-3\n").unwrap();
    check("{ file = \"t.csv\" }", "t.csv:4: house = -3");
    check("{ file = \"t.csv\", column = \"huose\" }", "did you mean `house`?");
    check("{ file = \"t.csv\", rows = 3 }", "s.toml:22: service[0].trace: `rows` does not belong");
    check(
        "{ file = \"t.csv\", generator = \"walk\" }",
        "s.toml:22: service[0].trace: more than one",
    );
    check("{ column = \"house\" }", "s.toml:22: service[0].trace: no source of traffic");
    std::fs::write(folder.path().join("t.csv"), "house\n1\n2\n").unwrap();
    check("{ file = \"t.csv\" }", "t.csv: the traces have unequal lengths: [2, 20, 20] rows");
    std::fs::write(folder.path().join("t.csv"), "house\n1\n10000001\n").unwrap();
    check("{ file = \"t.csv\" }", "t.csv: stage 2 of house has 10000001 users");
}
