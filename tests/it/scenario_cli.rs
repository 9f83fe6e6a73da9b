//! `scenario list | show | check | schema`.

use predicates::prelude::*;
use predicates::str::contains;

use crate::support::quotascale;

#[test]
fn every_listed_scenario_checks() {
    for name in ["paper", "paper-random", "paper-knative", "knative-random"] {
        quotascale().args(["scenario", "list"]).assert().success().stdout(contains(name));
        quotascale().args(["scenario", "check", name]).assert().success().stdout(contains("ok"));
    }
}

#[test]
fn an_unknown_scenario_names_the_nearest() {
    quotascale()
        .args(["scenario", "check", "paper-knativ"])
        .assert()
        .code(2)
        .stderr(contains("did you mean `paper-knative`?"))
        .stdout(predicate::str::is_empty());
}
