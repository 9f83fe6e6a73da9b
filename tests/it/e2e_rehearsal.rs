//! The rehearsal with a real Prometheus and a real API server: `live` drives the simulated cluster as it
//! would a real one, and decides what `simulate` decides.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::e2e_live_rig::{Rig, free_port, wait_for};
use crate::support::{e2e, quotascale};

const SEED: &str = "3";
/// A decision every second of wall time.
const SPEED: &str = "120.0";

/// A process that is killed with the test.
struct Process(Child);

impl Process {
    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.0.id().to_string()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prometheus and the rehearsal that it scrapes.
struct Stage {
    rig: Rig,
    kubeconfig: PathBuf,
    config: PathBuf,
    log: PathBuf,
    rehearsal: Process,
    _prometheus: Process,
}

impl Stage {
    fn new(test: &str, policy: &str) -> Option<Self> {
        let program = e2e("PROMETHEUS_PROGRAM")?;
        let kubeconfig = PathBuf::from(e2e("KUBECONFIG")?);
        let rig = Rig::new(test)?;
        let (scraped, asked) = (free_port(), free_port());
        let prometheus = rig.path("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs: [{{job_name: r, static_configs: [{{targets: [\"127.0.0.1:{scraped}\"]}}]}}]\n"
        );
        std::fs::write(&prometheus, text).unwrap();
        let config = rig.path("live.toml");
        let text = format!(
            "version = 1\nscenario = \"paper-knative\"\ncheckpoint = \"{policy}\"\n\
             [prometheus]\nurl = \"http://127.0.0.1:{asked}\"\n\
             [lease]\nduration = \"3s\"\nrenew_deadline = \"2s\"\nretry = \"500ms\"\n\
             [state]\ndir = \"{}\"\n\
             [telemetry]\nlisten = \"127.0.0.1:{}\"\n\
             [kubernetes]\nnamespace = \"{}\"\ntimeout = \"1s\"\n\
             [clock]\nspeed = {SPEED}\n",
            rig.path("state").display(),
            free_port(),
            rig.namespace
        );
        std::fs::write(&config, text).unwrap();
        let log = rig.path("rehearsal.log");
        let rehearsal = Command::new(env!("CARGO_BIN_EXE_quotascale"))
            .args(["rehearse", "paper-knative", "--seed", SEED, "--json"])
            .args(["--listen", &format!("127.0.0.1:{scraped}")])
            .args([Path::new("--kubeconfig"), &kubeconfig, Path::new("--config"), &config])
            .args([Path::new("--out"), &rig.path("rehearsed")])
            .stdout(std::fs::File::create(rig.path("rehearsal.json")).unwrap())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let rehearsal = Process(rehearsal);
        let started = Command::new(program)
            .arg(format!("--config.file={}", prometheus.display()))
            .arg(format!("--storage.tsdb.path={}", rig.path("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{asked}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stage = Self { rig, kubeconfig, config, log, rehearsal, _prometheus: Process(started) };
        stage.says("waits for the first tick of live");
        Some(stage)
    }

    fn says(&self, text: &str) {
        let log = || std::fs::read_to_string(&self.log).unwrap();
        wait_for(&format!("`{text}` of the rehearsal:\n{}", log()), || log().contains(text));
    }

    fn decisions(&self) -> PathBuf {
        self.rig.path("rehearsed/live").join(SEED).join("decisions.csv")
    }
}

/// `simulate` of the same policy and seed.
fn simulated(stage: &Stage, policy: &str) -> Vec<[String; 5]> {
    let out = stage.rig.path("simulated");
    let simulate = ["simulate", "paper-knative", "--quiet", "--policy", policy, "--seed", SEED];
    quotascale().args(simulate).arg("--out").arg(&out).assert().success();
    decided(&out.join(policy).join(SEED).join("decisions.csv"))
}

/// What was decided, row by row, beside the time: a record has unix time.
fn decided(path: &Path) -> Vec<[String; 5]> {
    let mut table = csv::Reader::from_path(path).unwrap();
    let header = table.headers().unwrap().clone();
    let columns = ["service", "option", "cpu_m", "concurrency", "pods"]
        .map(|name| header.iter().position(|found| found == name).unwrap());
    let rows = table.records().map(|row| {
        let row = row.unwrap();
        columns.map(|column| row[column].to_owned())
    });
    rows.collect()
}

#[test]
fn live_decides_what_simulate_decides_though_it_is_killed_in_the_middle() {
    let policy = "hybrid";
    let Some(stage) = Stage::new("rehearsal", policy) else { return };
    let record = stage.rig.path("record.jsonl");
    let start = || {
        let record = ["--record", record.to_str().unwrap()];
        stage.rig.start(&stage.config, &stage.kubeconfig, &record)
    };
    let live = start();
    live.counts("quotascale_live_last_decision_timestamp_seconds", 1.0);
    let lines = || std::fs::read_to_string(&record).unwrap().lines().count();
    wait_for("six ticks in the record", || lines() >= 6);
    live.signal("-KILL");
    drop(live);
    let live = start();
    wait_for("the end of the rehearsal", || stage.decisions().exists());
    assert_eq!(live.stop(), 0);

    let simulated = simulated(&stage, policy);
    assert_eq!(simulated.len(), 60);
    assert_eq!(decided(&stage.decisions()), simulated);
    let replayed = stage.rig.path("replayed.csv");
    let replay = ["replay", "controller", "--record", record.to_str().unwrap(), "--out"];
    quotascale().args(replay).arg(&replayed).assert().success();
    assert_eq!(decided(&replayed), simulated);
    let log = std::fs::read_to_string(&stage.log).unwrap();
    assert!(!log.contains("warning"), "{log}");
    let figures = stage.rig.path("rehearsed/figures");
    assert!(figures.join(format!("timeline-live-{SEED}.svg")).exists());
}

#[test]
fn a_rehearsal_that_is_stopped_saves_what_was_played() {
    let Some(mut stage) = Stage::new("stopped", "hybrid") else { return };
    let second: Output = Command::new(env!("CARGO_BIN_EXE_quotascale"))
        .args(["rehearse", "paper-knative", "--listen"])
        .arg(std::fs::read_to_string(&stage.log).unwrap().split('/').nth(2).unwrap())
        .args([Path::new("--kubeconfig"), &stage.kubeconfig])
        .args([Path::new("--config"), &stage.config])
        .args([Path::new("--out"), &stage.rig.path("second")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot listen at 127.0.0.1:"), "{said}");

    // Nobody decides: after ten seconds it goes on, and says so.
    stage.says("live did not report the tick of t = 115 s within 10 s");
    stage.rehearsal.signal("-TERM");
    let status = stage.rehearsal.0.wait().unwrap();
    let said = std::fs::read_to_string(&stage.log).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    let text = std::fs::read_to_string(stage.rig.path("rehearsal.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["out"], stage.decisions().parent().unwrap().to_str().unwrap());
    assert_eq!(decided(&stage.decisions()), Vec::<[String; 5]>::new());
    let summary = stage.decisions().with_file_name("summary.json");
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    let warnings = summary["warnings"].to_string();
    assert!(warnings.contains("interrupted at t = "), "{warnings}");
    assert!(warnings.contains("1 of 1 ticks were not reported by live"), "{warnings}");
}
