//! The rehearsal with a real Prometheus and a real API server: `live` drives the simulated cluster as it
//! would a real one, and decides what `simulate` decides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::e2e_live_rig::{Live, Rig, SHOP_FIELDS, free_port, shop_scenario, wait_for};
use crate::support::{e2e, quotascale};

const SEED: &str = "3";
/// A decision every second of wall time.
const SPEED: &str = "120.0";
const DECISIONS: &str = "quotascale_live_decision_duration_seconds_count{phase=\"decide\"}";

/// The count of ticks that ended so.
fn ticks(outcome: &str) -> String {
    format!("quotascale_live_ticks_total{{outcome=\"{outcome}\"}}")
}

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

/// Prometheus, and the rehearsal that it scrapes.
struct Stage {
    rig: Rig,
    /// What is played, by name or file.
    scenario: String,
    kubeconfig: PathBuf,
    /// Those of two processes of `live` that share a lease.
    configs: [PathBuf; 2],
    log: PathBuf,
    prometheus: String,
    rehearsal: Process,
    _prometheus: Process,
}

impl Stage {
    /// On the paper's three services.
    fn new(test: &str, policy: &str) -> Option<Self> {
        Self::of(Rig::new(test)?, "paper-knative", policy, "")
    }

    /// `fields`: the line of `[kubernetes]` that names them, where they are not the default's.
    fn of(rig: Rig, scenario: &str, policy: &str, fields: &str) -> Option<Self> {
        let program = e2e("PROMETHEUS_PROGRAM")?;
        let kubeconfig = PathBuf::from(e2e("KUBECONFIG")?);
        let (scraped, asked) = (free_port(), free_port());
        let told = [free_port(), free_port()];
        let prometheus = rig.path("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs:\n\
             - {{job_name: rehearsal, static_configs: [{{targets: [\"127.0.0.1:{scraped}\"]}}]}}\n\
             - {{job_name: live, static_configs: [{{targets: [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]}}]}}\n",
            told[0], told[1]
        );
        std::fs::write(&prometheus, text).unwrap();
        let configs = [0, 1].map(|process| {
            let config = rig.path(&format!("live{process}.toml"));
            let text = format!(
                "version = 1\nscenario = \"{scenario}\"\ncheckpoint = \"{policy}\"\n\
                 [prometheus]\nurl = \"http://127.0.0.1:{asked}\"\n\
                 [lease]\nduration = \"3s\"\nrenew_deadline = \"2s\"\nretry = \"500ms\"\n\
                 [state]\ndir = \"{}\"\n\
                 [telemetry]\nlisten = \"127.0.0.1:{}\"\n\
                 [kubernetes]\nnamespace = \"{}\"\ntimeout = \"1s\"\n{fields}\
                 [clock]\nspeed = {SPEED}\n",
                rig.path(&format!("state{process}")).display(),
                told[process],
                rig.namespace
            );
            std::fs::write(&config, text).unwrap();
            config
        });
        let log = rig.path("rehearsal.log");
        let rehearsal = Command::new(env!("CARGO_BIN_EXE_quotascale"))
            .args(["rehearse", scenario, "--seed", SEED, "--json"])
            .args(["--listen", &format!("127.0.0.1:{scraped}")])
            .args([Path::new("--kubeconfig"), &kubeconfig, Path::new("--config"), &configs[0]])
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
        let stage = Self {
            rig,
            scenario: scenario.to_owned(),
            kubeconfig,
            configs,
            log,
            prometheus: format!("http://127.0.0.1:{asked}"),
            rehearsal,
            _prometheus: Process(started),
        };
        stage.says("waits for the first tick of live");
        Some(stage)
    }

    fn says(&self, text: &str) {
        let log = || std::fs::read_to_string(&self.log).unwrap();
        let asked = &self.prometheus;
        wait_for(&format!("`{text}` of a rehearsal behind {asked}"), || log().contains(text));
    }

    fn decisions(&self) -> PathBuf {
        self.rig.path("rehearsed/live").join(SEED).join("decisions.csv")
    }

    /// Starts a process of `live`, which goes on with one record.
    fn start(&self, process: usize) -> Live {
        let record = self.record();
        let record = ["--record", record.to_str().unwrap()];
        self.rig.start(&self.configs[process], &self.kubeconfig, &record)
    }

    fn record(&self) -> PathBuf {
        self.rig.path("record.jsonl")
    }

    /// The state that a process saved last.
    fn saved(&self, process: usize) -> Option<Value> {
        let file = self.rig.path(&format!("state{process}/state.json"));
        serde_json::from_slice(&std::fs::read(file).ok()?).ok()
    }

    /// Kills a process right after it has carried out its sixth decision, and gives what it had saved. The
    /// count of ticks is the last that a tick changes: before that the state may be in the folder and
    /// not yet published, and then a follower makes the sixth decision once more.
    fn kill_after_six(&self, live: Live, process: usize) -> Value {
        wait_for("six decisions", || {
            self.saved(process)
                .is_some_and(|saved| saved["step"].as_u64() >= Some(6) && saved["applied"] == true)
                && ["applied", "unchanged"]
                    .map(|outcome| live.metric(&ticks(outcome)))
                    .iter()
                    .sum::<f64>()
                    >= 6.0
        });
        live.signal("-KILL");
        drop(live);
        self.saved(process).unwrap()
    }

    /// Waits for the end of the rehearsal and compares its decisions with those of `simulate`, which it
    /// gives, and those of the replay of the record.
    fn ends_as_simulated(&self, policy: &str) -> Vec<[String; 5]> {
        wait_for("the end of the rehearsal", || self.decisions().exists());
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(!log.contains("warning"), "{log}");
        let simulated = simulated(self, policy);
        assert_eq!(decided(&self.decisions()), simulated);
        let replayed = self.rig.path("replayed.csv");
        assert_eq!(self.replay(&self.record(), &replayed)["differing"], json!([]));
        // A tick of `live` after the end stands in its record alone.
        assert_eq!(decided(&replayed)[..simulated.len()], simulated);
        simulated
    }

    /// The same for a rehearsal that was broken in the middle. `killed` is the state that the first
    /// process left.
    fn ends_as_if_unbroken(&self, policy: &str, killed: &Value) {
        assert_eq!(self.ends_as_simulated(policy).len(), 60);
        // Not only do the decisions agree: the second process began with every number of the first.
        let text = std::fs::read_to_string(self.record()).unwrap();
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let starts: Vec<usize> =
            (0..lines.len()).filter(|&index| !lines[index]["start"].is_null()).collect();
        assert_eq!(starts, [0, killed["step"].as_u64().unwrap() as usize]);
        let second = &mut lines[starts[1]];
        assert_eq!(second["start"]["state"], killed["controller"]);
        // Without its memory the agent would have decided otherwise.
        let memory = recurrent(&mut second["start"]["state"]["policy"]).unwrap();
        assert!(memory.iter().any(|number| number.as_f64() != Some(0.0)));
        memory.fill(json!(0.0));
        let forgetful = self.rig.path("forgetful.jsonl");
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        std::fs::write(&forgetful, text.join("\n")).unwrap();
        let replayed = self.replay(&forgetful, &self.rig.path("forgetful.csv"));
        assert_ne!(replayed["differing"], json!([]), "the memory does not matter here");
    }

    /// `replay controller`, which exits with 1 where a decision differs.
    fn replay(&self, record: &Path, out: &Path) -> Value {
        let replay = ["replay", "controller", "--json", "--record"];
        let output =
            quotascale().args(replay).args([record, Path::new("--out"), out]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The recurrent state within what a policy remembers.
fn recurrent(value: &mut Value) -> Option<&mut Vec<Value>> {
    let fields = value.as_object_mut()?;
    if fields.contains_key("recurrent") {
        return fields["recurrent"].as_array_mut();
    }
    fields.values_mut().find_map(recurrent)
}

/// `simulate` of the same policy, as a name or `NAME:FOLDER`, and seed.
fn simulated(stage: &Stage, policy: &str) -> Vec<[String; 5]> {
    let out = stage.rig.path("simulated");
    let simulate = ["simulate", &stage.scenario, "--quiet", "--policy", policy, "--seed", SEED];
    quotascale().args(simulate).arg("--out").arg(&out).assert().success();
    let name = policy.split(':').next().unwrap();
    decided(&out.join(name).join(SEED).join("decisions.csv"))
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
fn a_restart_in_the_middle_decides_what_an_unbroken_run_decides() {
    let policy = "recurrent-ppo";
    let Some(stage) = Stage::new("restart", policy) else { return };
    let killed = stage.kill_after_six(stage.start(0), 0);
    let live = stage.start(0);
    stage.ends_as_if_unbroken(policy, &killed);
    assert_eq!(live.stop(), 0);
    let figures = stage.rig.path("rehearsed/figures");
    assert!(figures.join(format!("timeline-live-{SEED}.svg")).exists());
}

#[test]
fn a_failover_in_the_middle_decides_what_an_unbroken_run_decides() {
    let policy = "recurrent-ppo";
    let Some(stage) = Stage::new("failover", policy) else { return };
    let leader = stage.start(0);
    leader.logs("this process writes");
    let follower = stage.start(1);
    wait_for("a warm follower", || follower.get("/readyz").is_some_and(|(code, _)| code == 200));
    assert_eq!(follower.metric("quotascale_live_leader"), 0.0);
    let killed = stage.kill_after_six(leader, 0);
    follower.logs("goes on from a saved state");
    stage.ends_as_if_unbroken(policy, &killed);
    assert_eq!(follower.stop(), 0);
}

#[test]
fn an_agent_for_five_services_is_rehearsed_as_simulated() {
    let Some(rig) = Rig::new("five") else { return };
    let scenario = rig.path("shop.toml");
    let text = shop_scenario().replace("duration_s = 3600", "duration_s = 1800");
    std::fs::write(&scenario, text).unwrap();
    // After so few steps, and without a hint to leave all alone, its decisions change all the time.
    let config = rig.path("agent.toml");
    let text = "[environment.observation]\nhints = \"none\"\n[network]\nlstm = 8\n\
                [training]\nsteps = 600\nenvironments = 8\nrollout = 15\nlearning_rate = 0.01\n\
                evaluations = 1\nevaluation_episodes = 1\n";
    std::fs::write(&config, text).unwrap();
    let agent = rig.path("agent");
    quotascale()
        .args([Path::new("train"), &scenario, Path::new("--config"), &config])
        .args([Path::new("--out"), &agent])
        .assert()
        .success();
    let (scenario, agent) = (scenario.to_str().unwrap(), agent.to_str().unwrap());
    let Some(stage) = Stage::of(rig, scenario, agent, SHOP_FIELDS) else { return };
    let live = stage.start(0);
    let decided = stage.ends_as_simulated(&format!("agent:{agent}"));
    assert_eq!(live.stop(), 0);
    assert_eq!(decided.len(), 5 * 15);
    for service in 0..5 {
        let of: BTreeSet<_> = decided.iter().skip(service).step_by(5).collect();
        assert!(of.len() >= 3, "{of:?}");
    }
    // What was asked for last stands in fields of these names.
    let spec = stage.rig.spec();
    let last: Vec<String> = decided[5 * 14..]
        .iter()
        .flat_map(|[service, _, cpu_m, concurrency, pods]| {
            [
                format!("{service}-cpu={cpu_m}m"),
                format!("{service}-pods={pods}"),
                format!("{service}-target={concurrency}"),
            ]
        })
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let spec: Vec<String> = spec.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(spec, last);
}

#[test]
fn the_dashboards_queries_have_answers() {
    let Some(stage) = Stage::new("dashboard", "hybrid") else { return };
    let live = [stage.start(0), stage.start(1)];
    wait_for("three decisions", || live.iter().any(|one| one.metric(DECISIONS) >= 3.0));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/dashboard");
    let ask = || {
        let output = Command::new(&script).arg(&stage.prometheus).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
    };
    // What was decided last is scraped in a moment.
    let mut said = (false, String::new());
    wait_for("an answer to every query", || {
        said = ask();
        said.0 || stage.decisions().exists()
    });
    assert!(said.0 && said.1.contains("queries, 0 without an answer"), "{}", said.1);
    // It finds what is missing.
    let dashboard = include_str!("../../deploy/grafana/dashboard.json");
    let other = stage.rig.path("other.json");
    std::fs::write(&other, dashboard.replace("quotascale_live_decided_pods", "no_such_name"))
        .unwrap();
    let output = Command::new(&script)
        .args([stage.prometheus.as_ref(), Path::new("--dashboard"), &other])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("EMPTY  Pods decided: no number in the answer to max"), "{said}");
    for one in live {
        assert_eq!(one.stop(), 0);
    }
}

#[test]
fn a_rehearsal_that_is_stopped_saves_what_was_played() {
    let Some(mut stage) = Stage::new("stopped", "hybrid") else { return };
    let second: Output = Command::new(env!("CARGO_BIN_EXE_quotascale"))
        .args(["rehearse", "paper-knative", "--listen"])
        .arg(std::fs::read_to_string(&stage.log).unwrap().split('/').nth(2).unwrap())
        .args([Path::new("--kubeconfig"), &stage.kubeconfig])
        .args([Path::new("--config"), &stage.configs[0]])
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
