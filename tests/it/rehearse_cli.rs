//! What `rehearse` refuses, before any server is asked.

use predicates::prelude::*;

use crate::support::quotascale;

/// A kubeconfig of a server that does not listen.
const NOBODY: &str = "\
apiVersion: v1
kind: Config
current-context: t
clusters: [{name: t, cluster: {server: \"http://127.0.0.1:1\"}}]
users: [{name: u, user: {}}]
contexts: [{name: t, context: {cluster: t, user: u}}]
";

#[test]
fn bad_input_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, NOBODY).unwrap();
    let config = folder.path().join("live.toml");
    let text =
        "version = 1\nscenario = \"paper-knative\"\ncheckpoint = \"hybrid\"\n[clock]\nspeed = 60\n";
    std::fs::write(&config, text).unwrap();
    let refused = |scenario: &str, kubeconfig: &str, more: &[&str], said: &str| {
        quotascale()
            .current_dir(folder.path())
            .args(["rehearse", scenario, "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0"])
            .args(more)
            .assert()
            .code(2)
            .stderr(predicate::str::contains(said));
    };
    refused("paper", "kubeconfig", &[], "has no clock to rehearse by\n  use paper-knative");
    refused("paper-knative", "nowhere", &[], "nowhere");
    refused("paper-knative", "kubeconfig", &["--speed", "0"], "--speed 0: not a number above 0");
    refused(
        "paper-knative",
        "kubeconfig",
        &["--speed", "nan"],
        "--speed NaN: not a number above 0",
    );
    let both = ["--config", "live.toml", "--speed", "30"];
    refused("paper-knative", "kubeconfig", &both, "--speed 30: live.toml:5: clock.speed is 60");
    refused("paper-knative", "kubeconfig", &[], "needs a running API server");
    quotascale()
        .args(["rehearse", "paper-knative"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("--kubeconfig <FILE>"));
    // Nothing half-made is left where nothing was played.
    assert!(!folder.path().join("runs/rehearse-paper-knative/live").exists());
}
