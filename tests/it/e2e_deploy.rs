//! What is shipped to operators, against the servers and tools that take it: a Kubernetes 1.20 API server
//! (by server dry run) and promtool.

use axum::http::{Request, header};
use serde_json::Value;

use crate::e2e_live_rig::{Rig, free_port};
use crate::support::e2e;

/// What Kubernetes 1.20 says to each object of deploy/: a part of its refusal, or nothing where it accepts.
const OBJECTS: [(&str, &str, Option<&str>); 15] = [
    ("config.yaml", "ConfigMap", None),
    ("crd.yaml", "CustomResourceDefinition", None),
    ("deployment.yaml", "Deployment", None),
    ("deployment.yaml", "Service", None),
    ("networkpolicy.yaml", "NetworkPolicy", None),
    ("rbac.yaml", "ServiceAccount", None),
    ("rbac.yaml", "Role", None),
    ("rbac.yaml", "RoleBinding", None),
    ("sweep-job.yaml", "PersistentVolumeClaim", None),
    ("sweep-merge-job.yaml", "Job", None),
    // policy/v1 came with 1.21; the fields are those of v1beta1.
    ("pdb.yaml", "PodDisruptionBudget", Some("404")),
    ("pdb.yaml as v1beta1", "PodDisruptionBudget", None),
    // A type of the Prometheus operator.
    ("servicemonitor.yaml", "ServiceMonitor", Some("404")),
    // Indexed jobs came with 1.21, limits for each index with 1.28.
    ("sweep-job.yaml", "Job", Some(".spec.backoffLimitPerIndex: field not declared in schema")),
    ("sweep-job.yaml without its newer fields", "Job", None),
];

/// The objects of a shipped file.
fn objects(file: &str) -> Vec<String> {
    let (name, change) = file.split_once(' ').unwrap_or((file, ""));
    let path = format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let text = match change {
        "" => text,
        "as v1beta1" => text.replace("apiVersion: policy/v1", "apiVersion: policy/v1beta1"),
        _ => text
            .lines()
            .filter(|line| !line.contains("PerIndex") && !line.contains("completionMode"))
            .map(|line| format!("{line}\n"))
            .collect(),
    };
    text.split("\n---\n").map(str::to_owned).collect()
}

/// The value of a key that stands at the begin of a line.
fn key<'a>(object: &'a str, key: &str) -> &'a str {
    let mut values = object.lines().filter_map(|line| line.strip_prefix(key));
    values.next().unwrap_or_else(|| panic!("{key} in {object}")).trim()
}

/// What the server says to an object by dry run.
fn dry_run(rig: &Rig, object: &str) -> Result<Value, String> {
    let (version, kind) = (key(object, "apiVersion:"), key(object, "kind:"));
    let api = if version.contains('/') { "apis" } else { "api" };
    let plural = match kind {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    let place = match kind {
        "CustomResourceDefinition" => plural,
        _ => format!("namespaces/{}/{plural}", rig.namespace),
    };
    let name = key(object, "  name:");
    let url = format!("/{api}/{version}/{place}/{name}?dryRun=All&fieldManager=deploy&force=true");
    let request = Request::patch(url)
        .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(object.as_bytes().to_vec())
        .unwrap();
    rig.runtime.block_on(rig.client.request(request)).map_err(|error| match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.message),
        other => other.to_string(),
    })
}

#[test]
fn the_server_takes_what_is_shipped_as_the_page_for_operators_says() {
    let Some(rig) = Rig::new("deploy") else { return };
    for (file, kind, refusal) in OBJECTS {
        let objects = objects(file);
        let object = objects.iter().find(|object| key(object, "kind:") == kind).unwrap();
        let answer = dry_run(&rig, object);
        match (refusal, &answer) {
            (None, Ok(_)) => {}
            (Some(part), Err(said)) if said.contains(part) => {}
            _ => panic!("{file}, {kind}: {answer:?}"),
        }
    }
    // No file and no object is left out.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".yaml") {
            continue;
        }
        for object in objects(&name) {
            let kind = key(&object, "kind:");
            assert!(
                OBJECTS.iter().any(|one| (one.0, one.1) == (name.as_str(), kind)),
                "{name} {kind}"
            );
        }
    }
}

#[test]
fn promtool_accepts_the_metrics_and_the_alerts() {
    let Some(promtool) = e2e("PROMTOOL") else { return };
    let Some(rig) = Rig::new("promtool") else { return };
    rig.scenario(1, &[]);
    let config = rig.config("a", free_port(), "");
    let live = rig.start(&config, &rig.through_proxy(None), &[]);
    live.counts("quotascale_live_ticks_total{outcome=\"unchanged\"}", 1.0);
    let (_, metrics) = live.get("/metrics").unwrap();
    let file = rig.path("metrics");
    std::fs::write(&file, metrics).unwrap();
    let tool = |args: &[&str], input: Option<&std::path::Path>| {
        let mut command = std::process::Command::new(&promtool);
        command.args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus"));
        if let Some(path) = input {
            command.stdin(std::fs::File::open(path).unwrap());
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
    };
    tool(&["check", "metrics"], Some(&file));
    tool(&["check", "rules", "alerts.yaml"], None);
    tool(&["test", "rules", "alerts_test.yaml"], None);
    assert_eq!(live.stop(), 0);
}
