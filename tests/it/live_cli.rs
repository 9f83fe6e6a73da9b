//! `live` and `crd` where there is no cluster: what is said, and how it ends.

use std::path::Path;

use assert_cmd::Command;

use crate::e2e_live_rig::{Live, free_port, wait_for};
use crate::support::quotascale;

/// A configuration whose Prometheus nobody serves.
const CONFIG: &str = "\
version = 1
scenario = \"paper-knative\"
checkpoint = \"recurrent-ppo\"
forecaster = \"persistence\"
[prometheus]
url = \"http://127.0.0.1:9\"
[telemetry]
listen = \"\"
";

/// `live` in `folder` with no kubeconfig to be found.
fn live(folder: &Path, config: &str) -> Command {
    std::fs::write(folder.join("live.toml"), config).unwrap();
    let mut command = quotascale();
    command.current_dir(folder).env("HOME", folder).env_remove("KUBECONFIG");
    command.args(["live", "--config", "live.toml"]);
    command
}

/// Exit code, stdout and stderr.
fn outcome(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_decision_can_be_tried_without_a_cluster_and_a_check_says_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = live(folder.path(), CONFIG);
        command.args(arguments);
        outcome(command)
    };
    let (code, said, log) = run(&["--dry-run", "--once"]);
    assert_eq!(code, Some(1), "nothing is known, so all is held: {log}");
    assert!(said.contains("house        users not known"), "{said}");
    assert!(said.contains("guard: house held, users not known"), "{said}");
    assert!(!folder.path().join("state").exists(), "a dry run writes nothing");
    let (code, said, log) = run(&["--check"]);
    assert_eq!(code, Some(1), "{log}");
    let lines: Vec<&str> = said.lines().collect();
    // One line for all signals that fail alike, one for the cluster, each with what mends it.
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[0].starts_with("MISSING  signal users of house, p95_ms of house"), "{said}");
    assert!(lines[1].contains("start Prometheus, or mend url of [prometheus]"), "{said}");
    assert!(lines[2].starts_with("MISSING  no cluster: "), "{said}");
    assert!(lines[3].contains("--kubeconfig"), "{said}");
    let (code, _, log) = run(&["--once"]);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("name a kubeconfig with --kubeconfig or KUBECONFIG"), "{log}");
}

#[test]
fn what_a_configuration_names_wrongly_is_said_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to, expected) in [
        (
            "\"recurrent-ppo\"",
            "\"checkpoints/nowhere\"",
            "error: live.toml:3: checkpoint: checkpoints/nowhere: there is no such folder\n  a folder is looked for",
        ),
        (
            "\"persistence\"",
            "\"persistance\"",
            "error: live.toml:4: forecaster: --forecaster persistance: unknown forecaster\n  did you mean `persistence`?",
        ),
    ] {
        let mut command = live(folder.path(), &CONFIG.replace(from, to));
        command.arg("--check");
        let (code, _, log) = outcome(command);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.starts_with(expected), "{log}");
    }
    // The definition does not need the checkpoint.
    let config = CONFIG.replace("\"recurrent-ppo\"", "\"checkpoints/nowhere\"")
        + "[kubernetes]\nfields = { cpu = \"${service}_c\", concurrency = \"${service}_n\", pods = \"${service}_p\" }\n";
    std::fs::write(folder.path().join("live.toml"), config).unwrap();
    let mut command = quotascale();
    command.current_dir(folder.path()).args(["crd", "--config", "live.toml"]);
    let (code, said, log) = outcome(command);
    assert_eq!(code, Some(0), "{log}");
    assert!(said.contains("\n              senti_n:\n"), "{said}");
    // One for two installations: the fields of both, each once.
    let config = CONFIG.replace("\"recurrent-ppo\"", "\"hybrid\"");
    std::fs::write(folder.path().join("other.toml"), config).unwrap();
    let mut command = quotascale();
    let both = ["crd", "--config", "live.toml", "--config", "other.toml", "--config", "other.toml"];
    command.current_dir(folder.path()).args(both);
    let (code, said, log) = outcome(command);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(said.matches("description: Pods.").count(), 6, "{said}");
    assert_eq!(said.matches("servicesenti_podcount:").count(), 1, "{said}");
}

#[test]
fn without_its_servers_it_keeps_running_and_says_why_it_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: t\n\
                      clusters: [{name: t, cluster: {server: \"http://127.0.0.1:9\"}}]\n\
                      users: [{name: u, user: {}}]\n\
                      contexts: [{name: t, context: {cluster: t, user: u}}]\n";
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let config = CONFIG.replace("listen = \"\"", &format!("listen = \"{address}\""));
    std::fs::write(folder.path().join("live.toml"), config).unwrap();
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_quotascale"))
        .current_dir(folder.path())
        .args(["live", "--config", "live.toml", "--kubeconfig", "kubeconfig"])
        .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let live = Live { child, log: folder.path().join("log"), address };
    // Long before the first tick, which may be two minutes away.
    let reasons = ["cluster: ", "lease: ", "signals: users of house: prometheus connect: "];
    let mut answer = None;
    wait_for("every reason", || {
        answer = live.get("/readyz");
        answer.as_ref().is_some_and(|(status, text)| {
            *status == 503 && reasons.iter().all(|reason| text.contains(reason))
        })
    });
    assert_eq!(live.get("/healthz"), Some((200, "ok\n".to_owned())));
    live.counts("quotascale_live_faults_total{kind=\"connect\",source=\"prometheus\"}", 1.0);
    assert_eq!(live.stop(), 0);
}
