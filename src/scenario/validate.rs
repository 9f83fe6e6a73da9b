//! Checks of a scenario as a whole, before anything runs.

use std::collections::BTreeSet;
use std::path::Path;

use super::profile::{Profile, ProfileOption};
use super::source::{KeyPath, Source};
use super::spec::{
    EnvironmentKind, KpaSpec, OperatorSpec, RewardKind, ScenarioSpec, ServiceSpec, SimSpec,
};
use super::{Corrections, KpaConfig, Scenario};
use crate::error::{Error, Result};
use crate::run::ALL_SERVICES;
use crate::trace::{MOST_COUNTED_USERS, round_half_up};

/// Largest p95 / mean of a log-normal distribution (at shape s = z = 1.6448536).
const MAX_P95_MEAN_RATIO: f64 = 3.868;

/// Checks `spec`, fills in what depends on other keys, and reads the traffic once.
pub(super) fn check(mut spec: ScenarioSpec, source: Source, base_dir: &Path) -> Result<Scenario> {
    let checker = Checker { source: &source };
    checker.top(&spec)?;
    match spec.environment {
        EnvironmentKind::Paper => checker.paper(&spec)?,
        EnvironmentKind::Knative => {
            spec.sim.get_or_insert_with(SimSpec::default);
            spec.operator.get_or_insert_with(OperatorSpec::default);
            spec.kpa.get_or_insert_with(KpaSpec::default);
            checker.knative(&spec)?;
        }
    }
    spec.reward.kind.get_or_insert(match spec.environment {
        EnvironmentKind::Paper => RewardKind::Paper,
        EnvironmentKind::Knative => RewardKind::Slo,
    });
    let mut profiles = Vec::new();
    for (index, service) in spec.service.iter().enumerate() {
        profiles.push(checker.service(index, service, &spec)?);
    }
    checker.guard(&spec)?;
    let corrections = Corrections::from_names(&checker.place("corrections"), &spec.corrections)?;
    let mut scenario =
        Scenario { spec, base_dir: base_dir.to_owned(), profiles, corrections, source };
    let traffic = scenario.traffic(0)?;
    for (index, service) in traffic.services.iter().enumerate() {
        let most = f64::from(MOST_COUNTED_USERS);
        let beyond = service.stages.iter().position(|stage| round_half_up(stage.users) > most);
        if let Some(stage) = beyond {
            return Err(Error::input(
                traffic_place(&scenario, index),
                format!(
                    "stage {} of {} has {} users",
                    stage + 1,
                    service.service,
                    service.stages[stage].users
                ),
                format!("give 0 to {most}"),
            ));
        }
    }
    if scenario.environment() == EnvironmentKind::Knative {
        let longest = traffic.services.iter().map(|service| service.duration_s()).max();
        scenario.spec.duration_s.get_or_insert(longest.unwrap_or(0));
        let checker = Checker { source: &scenario.source };
        checker.boundaries(&scenario.spec)?;
    } else {
        let rows: Vec<usize> =
            traffic.services.iter().map(|service| service.stages.len()).collect();
        let shortest = (0..rows.len()).min_by_key(|&index| rows[index]).unwrap_or(0);
        if rows.iter().any(|&count| count != rows[0]) {
            return Err(Error::input(
                traffic_place(&scenario, shortest),
                format!("the traces have unequal lengths: {rows:?} rows"),
                "give every service the same number of rows",
            ));
        }
        if rows[0] < 2 {
            return Err(Error::input(
                traffic_place(&scenario, shortest),
                "a trace of one row makes an episode of no steps",
                "give every service at least two rows",
            ));
        }
    }
    Ok(scenario)
}

/// Where the traffic of service `index` is written: its file, else its key.
fn traffic_place(scenario: &Scenario, index: usize) -> String {
    match &scenario.spec.service[index].trace.file {
        Some(file) => scenario.base_dir.join(file).display().to_string(),
        None => scenario.source.place_of_key(&KeyPath::parse(&format!("service[{index}].trace"))),
    }
}

struct Checker<'a> {
    source: &'a Source,
}

impl Checker<'_> {
    fn place(&self, key: &str) -> String {
        self.source.place_of_key(&KeyPath::parse(key))
    }

    fn error(
        &self,
        key: &str,
        problem: impl std::fmt::Display,
        remedy: impl std::fmt::Display,
    ) -> Error {
        Error::input(self.place(key), problem, remedy)
    }

    /// `value` has to be finite and at least `least`.
    fn at_least(&self, key: &str, value: f64, least: f64) -> Result<()> {
        if value.is_finite() && value >= least {
            return Ok(());
        }
        Err(self.error(
            key,
            format!("{value} is not allowed"),
            format!("give a number of at least {least}"),
        ))
    }

    /// `value` has to be finite and above `bound`.
    fn above(&self, key: &str, value: f64, bound: f64) -> Result<()> {
        if value.is_finite() && value > bound {
            return Ok(());
        }
        Err(self.error(
            key,
            format!("{value} is not allowed"),
            format!("give a number above {bound}"),
        ))
    }

    fn top(&self, spec: &ScenarioSpec) -> Result<()> {
        if spec.name.is_empty() || spec.name.contains(['/', '\\']) {
            return Err(self.error(
                "name",
                format!("`{}` cannot name a folder", spec.name),
                "use letters, digits and -",
            ));
        }
        self.at_least("interval_s", f64::from(spec.interval_s), 1.0)?;
        self.above("quota.cpu_m", spec.quota.cpu_m.0 as f64, 0.0)?;
        self.above("quota.memory_mib", spec.quota.memory_mib.0 as f64, 0.0)?;
        for (key, value) in [
            ("reward.scale", spec.reward.scale),
            ("reward.w_slo", spec.reward.w_slo),
            ("reward.w_over", spec.reward.w_over),
            ("reward.w_use", spec.reward.w_use),
        ] {
            self.at_least(key, value, 0.0)?;
        }
        if spec.service.is_empty() {
            return Err(self.error("service", "no service", "add at least one [[service]] table"));
        }
        let mut names = BTreeSet::new();
        for (index, service) in spec.service.iter().enumerate() {
            let key = format!("service[{index}].name");
            let name = &service.name;
            let plain =
                name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if name.is_empty() || !plain || name == ALL_SERVICES {
                return Err(self.error(
                    &key,
                    format!("`{name}` cannot name a service"),
                    "use letters, digits, - and _ (`all` stands for all services)",
                ));
            }
            if !names.insert(name) {
                return Err(self.error(
                    &key,
                    format!("there are two services `{name}`"),
                    "give each its own name",
                ));
            }
        }
        Ok(())
    }

    fn paper(&self, spec: &ScenarioSpec) -> Result<()> {
        if spec.service.len() != 3 {
            return Err(self.error(
                "service",
                format!(
                    "environment \"paper\" has exactly three services, not {}",
                    spec.service.len()
                ),
                "use environment = \"knative\" for any other number",
            ));
        }
        for (key, present) in [
            ("sim", spec.sim.is_some()),
            ("operator", spec.operator.is_some()),
            ("kpa", spec.kpa.is_some()),
            ("duration_s", spec.duration_s.is_some()),
        ] {
            if present {
                return Err(self.error(
                    key,
                    "not allowed with environment = \"paper\"",
                    "remove it, or use environment = \"knative\"",
                ));
            }
        }
        if spec.reward.kind == Some(RewardKind::Slo) {
            return Err(self.error(
                "reward.kind",
                "\"slo\" needs measured latencies, which environment \"paper\" has not",
                "use kind = \"paper\", or environment = \"knative\"",
            ));
        }
        Ok(())
    }

    fn knative(&self, spec: &ScenarioSpec) -> Result<()> {
        if !spec.corrections.is_empty() {
            return Err(self.error(
                "corrections",
                "only environment \"paper\" has quirks to correct",
                "remove the key",
            ));
        }
        if let Some(duration) = spec.duration_s {
            self.at_least("duration_s", f64::from(duration), 1.0)?;
        }
        let sim = spec.sim.clone().unwrap_or_default();
        self.above("sim.target_utilization", sim.target_utilization, 0.0)?;
        self.at_least("sim.pod_drain_s", sim.pod_drain_s, 0.0)?;
        self.at_least("sim.ready_rounding_s", sim.ready_rounding_s, 0.0)?;
        self.at_least("sim.p95_window_s", f64::from(sim.p95_window_s), 1.0)?;
        if sim.ready_rounding_s > 1.0 {
            return Err(self.error(
                "sim.ready_rounding_s",
                format!("{} is more than one tick", sim.ready_rounding_s),
                "give a number from 0 to 1",
            ));
        }
        if !(sim.p95_mean_ratio > 1.0 && sim.p95_mean_ratio < MAX_P95_MEAN_RATIO) {
            return Err(self.error(
                "sim.p95_mean_ratio",
                format!("no log-normal distribution has p95 / mean = {}", sim.p95_mean_ratio),
                format!("give a number between 1 and {MAX_P95_MEAN_RATIO}"),
            ));
        }
        let operator = spec.operator.clone().unwrap_or_default();
        self.at_least("operator.delay_s", operator.delay_s, 0.0)?;
        self.at_least("operator.termination_s", operator.termination_s, 0.0)?;
        self.at_least("operator.poll_s", f64::from(operator.poll_s), 1.0)?;
        KpaConfig::from_spec(&spec.kpa.clone().unwrap_or_default()).map_err(|problem| {
            self.error(&format!("kpa.{}", problem.key), problem.problem, problem.remedy)
        })?;
        Ok(())
    }

    fn service(&self, index: usize, service: &ServiceSpec, spec: &ScenarioSpec) -> Result<Profile> {
        let key = |name: &str| format!("service[{index}].{name}");
        self.above(&key("slo_p95_ms"), service.slo_p95_ms, 0.0)?;
        self.above(&key("cold_start_mean_s"), service.cold_start_mean_s, 0.0)?;
        self.at_least(&key("cold_start_cv"), service.cold_start_cv, 0.0)?;
        for &users in &service.history_users {
            self.at_least(&key("history_users"), users, 0.0)?;
        }
        if spec.environment == EnvironmentKind::Knative {
            for (name, present) in [
                ("soft_growth", service.soft_growth.is_some()),
                ("initial.cpu_held_m", service.initial.cpu_held_m.is_some()),
                ("initial.users", service.initial.users.is_some()),
                ("initial.latency_entry", service.initial.latency_entry.is_some()),
            ] {
                if present {
                    return Err(self.error(
                        &key(name),
                        "only for environment \"paper\"",
                        "remove it",
                    ));
                }
            }
        }
        if let Some(growth) = service.soft_growth {
            self.at_least(&key("soft_growth.p95_ms"), growth.p95_ms, 0.0)?;
        }
        let profile = self.profile(index, service, spec)?;
        let initial = &service.initial;
        if initial.option as usize >= profile.options.len() {
            return Err(self.error(
                &key("initial.option"),
                format!(
                    "there is no option {}: {} has {} options",
                    initial.option,
                    service.name,
                    profile.options.len()
                ),
                format!("give an index from 0 to {}", profile.options.len() - 1),
            ));
        }
        Ok(profile)
    }

    fn profile(&self, index: usize, service: &ServiceSpec, spec: &ScenarioSpec) -> Result<Profile> {
        let key = |name: &str| format!("service[{index}].{name}");
        if service.option.is_empty() {
            return Err(self.error(
                &key("option"),
                "no option",
                "add at least one: option = [ { cpu_m = 1000, concurrency = 10, p95_ms = 500 } ]",
            ));
        }
        let mut seen = BTreeSet::new();
        let mut options = Vec::new();
        for (number, option) in service.option.iter().enumerate() {
            let key = |name: &str| key(&format!("option[{number}].{name}"));
            self.above(&key("cpu_m"), option.cpu_m.0 as f64, 0.0)?;
            self.at_least(&key("concurrency"), f64::from(option.concurrency), 1.0)?;
            self.above(&key("p95_ms"), option.p95_ms, 0.0)?;
            if !seen.insert((option.cpu_m.0, option.concurrency)) {
                return Err(self.error(
                    &key("cpu_m"),
                    format!(
                        "{} has two options with {} and concurrency {}",
                        service.name, option.cpu_m, option.concurrency
                    ),
                    "remove one of them",
                ));
            }
            options.push(ProfileOption {
                cpu: option.cpu_m,
                memory: option.memory_mib.unwrap_or(service.memory_mib),
                concurrency: option.concurrency,
                p95_ms: option.p95_ms,
            });
        }
        let quota = &spec.quota;
        let fits = |option: &ProfileOption| {
            option.cpu.0 <= quota.cpu_m.0 && option.memory.0 <= quota.memory_mib.0
        };
        if !options.iter().any(fits) {
            return Err(self.error(
                &key("option"),
                format!(
                    "not one option of {} fits the quota of {} and {}, even with a single pod",
                    service.name, quota.cpu_m, quota.memory_mib
                ),
                "raise quota.cpu_m or quota.memory_mib, or add a smaller option",
            ));
        }
        Ok(Profile { options })
    }

    fn guard(&self, spec: &ScenarioSpec) -> Result<()> {
        self.above("guard.max_users", spec.guard.max_users, 0.0)?;
        if spec.guard.fallback == "hold" {
            return Ok(());
        }
        let counts: Vec<usize> = spec.service.iter().map(|service| service.option.len()).collect();
        let Some(list) = spec.guard.fallback.strip_prefix("fixed:") else {
            return Err(self.error(
                "guard.fallback",
                format!("`{}` is not known", spec.guard.fallback),
                "use \"hold\" or \"fixed:\" and an option per service, as \"fixed:21/6/7\"",
            ));
        };
        parse_options(&self.place("guard.fallback"), list, &counts)?;
        Ok(())
    }

    fn boundaries(&self, spec: &ScenarioSpec) -> Result<()> {
        let edges = &spec.report.boundaries_s;
        let duration = spec.duration_s.unwrap_or(0);
        if edges.is_empty() {
            return Ok(());
        }
        let rising = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if edges.len() < 2 || !rising || edges.last().is_some_and(|&last| last > duration) {
            return Err(self.error(
                "report.boundaries_s",
                "not a list of at least two rising seconds within the scenario",
                format!("give all edges, both ends included, up to {duration}"),
            ));
        }
        Ok(())
    }
}

/// Parses one option index per service, as `21/6/7`; `counts` are the services' numbers of options.
///
/// # Errors
/// [`Error::Input`] at `place`.
pub(crate) fn parse_options(place: &str, list: &str, counts: &[usize]) -> Result<Vec<u32>> {
    let example = counts.iter().map(|_| "0").collect::<Vec<_>>().join("/");
    let remedy = format!("give one option index per service, as {example}");
    let options = list
        .split('/')
        .map(|text| text.trim().parse::<u32>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| {
            Error::input(place, format!("`{list}` is not a list of option indices"), &remedy)
        })?;
    if options.len() != counts.len() {
        return Err(Error::input(
            place,
            format!("{} options for {} services", options.len(), counts.len()),
            &remedy,
        ));
    }
    for (service, (&option, &count)) in options.iter().zip(counts).enumerate() {
        if option as usize >= count {
            return Err(Error::input(
                place,
                format!("option {option} of service {service} is out of range"),
                format!("that service has options 0 to {}", count - 1),
            ));
        }
    }
    Ok(options)
}
