//! Small clusters for the tests of the tick simulator.

use std::path::Path;
use std::sync::Arc;

use quotascale::env::knative::{EpisodeOptions, run_episode};
use quotascale::policy::{Policy, Replay};
use quotascale::run::{IntervalRow, RevisionRow, Run, TickRow};
use quotascale::scenario::Scenario;
use quotascale::sim::Model;
use quotascale::trace::{ServiceTrace, Stage, Trace};

/// A service whose pods do 20 requests a second under any load at 1000m and 40 at 2000m: the p95 is
/// 80 and 40 ms a request. Its cold start is exact.
pub const SERVICE: &str = r#"
[[service]]
name = "NAME"
slo_p95_ms = 1000
cold_start_mean_s = 3.3
cold_start_cv = 0
memory_mib = 100
initial = { option = 0, pods = 2, ready = true, min_scale = 1 }
trace = { generator = "random", low = 1, high = 100, rows = 20, stage_s = 120 }
option = [
  { cpu_m = 1000, concurrency = 10, p95_ms = 800 },
  { cpu_m = 2000, concurrency = 10, p95_ms = 400 },
  { cpu_m = 2000, concurrency = 20, p95_ms = 800 },
]
"#;

/// A scenario of the services `names` over `duration_s` seconds, the autoscaler off, with overrides.
pub fn scenario(names: &[&str], duration_s: u32, sets: &[&str]) -> Scenario {
    let mut text = format!(
        "name = \"test\"\nenvironment = \"knative\"\nduration_s = {duration_s}\n\
         [quota]\ncpu_m = 40000\n[kpa]\nenabled = false\n"
    );
    for name in names {
        text.push_str(&SERVICE.replace("NAME", name));
    }
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Scenario::from_text("test.toml", &text, Path::new(""), &sets).unwrap()
}

/// Traffic by (duration, users, spawn rate), one list a service.
pub fn traffic(services: &[&[(u32, f64, f64)]]) -> Trace {
    let services = services
        .iter()
        .enumerate()
        .map(|(index, stages)| ServiceTrace {
            service: index.to_string(),
            stages: stages
                .iter()
                .map(|&(duration_s, users, spawn_rate)| Stage { duration_s, users, spawn_rate })
                .collect(),
        })
        .collect();
    Trace { services }
}

/// The same number of users from the first tick on.
pub fn steady(duration_s: u32, users: &[u32]) -> Trace {
    let stages: Vec<[(u32, f64, f64); 1]> = users
        .iter()
        .map(|&users| [(duration_s, f64::from(users), f64::from(users.max(1)))])
        .collect();
    let stages: Vec<&[(u32, f64, f64)]> = stages.iter().map(<[_; 1]>::as_slice).collect();
    traffic(&stages)
}

/// Replays decisions `t_s,service,cpu_m,concurrency,pods`, with ticks recorded.
pub fn replay(scenario: &Scenario, traffic: &Trace, decisions: &[&str]) -> Run {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("decisions.csv");
    let mut text = "t_s,service,cpu_m,concurrency,pods\n".to_owned();
    if decisions.is_empty() {
        // After the end: a controlled run without a decision.
        text.push_str(&format!("999999,{},1000,10,1\n", scenario.service_names()[0]));
    }
    decisions.iter().for_each(|row| text.push_str(&format!("{row}\n")));
    std::fs::write(&path, text).unwrap();
    run(scenario, traffic, Arc::new(Replay::read(&path, scenario).unwrap()), true)
}

/// One run of a policy with seed 0.
pub fn run(scenario: &Scenario, traffic: &Trace, policy: Arc<dyn Policy>, ticks: bool) -> Run {
    let model = Arc::new(Model::new(scenario).unwrap());
    let options = EpisodeOptions { ticks, ..EpisodeOptions::default() };
    run_episode(scenario, &model, traffic, &policy, 0, options).unwrap()
}

/// What the tests ask of a run.
pub trait Look {
    /// Tick `t_s` of `service`.
    fn tick(&self, service: &str, t_s: u32) -> &TickRow;
    /// The interval of `service` that starts at `from_s`.
    fn interval(&self, service: &str, from_s: u32) -> &IntervalRow;
    /// Revision `number` of `service`.
    fn revision(&self, service: &str, number: u32) -> &RevisionRow;
    /// How many revisions `service` has had.
    fn revisions_of(&self, service: &str) -> usize;
}

impl Look for Run {
    fn tick(&self, service: &str, t_s: u32) -> &TickRow {
        let found = |row: &&TickRow| row.service == service && row.t_s == f64::from(t_s);
        self.ticks.iter().find(found).unwrap()
    }

    fn interval(&self, service: &str, from_s: u32) -> &IntervalRow {
        let found = |row: &&IntervalRow| row.service == service && row.from_s == f64::from(from_s);
        self.intervals.iter().find(found).unwrap()
    }

    fn revision(&self, service: &str, number: u32) -> &RevisionRow {
        let found = |row: &&RevisionRow| row.service == service && row.revision == number;
        self.revisions.iter().find(found).unwrap()
    }

    fn revisions_of(&self, service: &str) -> usize {
        self.revisions.iter().filter(|row| row.service == service).count()
    }
}

/// Equal to nine digits.
pub fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}
