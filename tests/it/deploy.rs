//! What is shipped to operators fits the program: definition, configurations, alerts, dashboard.

use std::path::{Path, PathBuf};

use quotascale::live::config::LiveFile;
use quotascale::live::metrics::Metrics;

use crate::support::quotascale;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

#[test]
fn the_committed_definition_is_what_crd_prints() {
    let output = quotascale().arg("crd").output().unwrap();
    let committed = std::fs::read_to_string(deploy("crd.yaml")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        committed,
        "quotascale crd > deploy/crd.yaml"
    );
}

#[test]
fn the_shipped_configurations_load_and_the_example_states_the_defaults() {
    let example = LiveFile::load(&deploy("examples/live.toml")).unwrap().config;
    LiveFile::load(&deploy("examples/live-paper.toml")).unwrap();
    let least = "version = 1\nscenario = \"paper-knative\"\ncheckpoint = \"hybrid\"\n\
                 [prometheus]\nurl = \"http://prometheus:9090\"\n";
    let defaults = LiveFile::from_text("least", least, PathBuf::new()).unwrap().config;
    assert_eq!(example.prometheus, defaults.prometheus);
    assert_eq!(example.kubernetes, defaults.kubernetes);
    assert_eq!(example.lease, defaults.lease);
    assert_eq!(example.state, defaults.state);
    assert_eq!(example.telemetry, defaults.telemetry);
    assert_eq!(example.clock, defaults.clock);
    assert_eq!(example.forecaster, defaults.forecaster);
    let manifest = std::fs::read_to_string(deploy("config.yaml")).unwrap();
    let (_, block) = manifest.split_once("live.toml: |\n").unwrap();
    let text: String = block.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    LiveFile::from_text("config.yaml", &text, PathBuf::new()).unwrap();
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let text = String::from_utf8(Metrics::new("1", "c").unwrap().text().unwrap()).unwrap();
    // Gauges by service have no series before the first tick.
    let mut known: Vec<String> = [
        "quotascale_live_observed_users",
        "quotascale_live_p95_latency_seconds",
        "quotascale_live_decided_cpu_cores",
        "quotascale_live_decided_pods",
        "quotascale_live_sample_age_seconds",
    ]
    .map(str::to_owned)
    .to_vec();
    known.extend(
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(['{', ' ']).next().unwrap().to_owned()),
    );
    let mut asked = 0;
    for file in ["prometheus/alerts.yaml", "grafana/dashboard.json"] {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        for name in text
            .split(word)
            .filter(|name| name.starts_with("quotascale_live_") || *name == "quotascale_build_info")
        {
            assert!(known.iter().any(|one| one == name), "{file} asks for {name}");
            asked += 1;
        }
    }
    assert!(asked > 20);
    let dashboard = std::fs::read_to_string(deploy("grafana/dashboard.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
}
