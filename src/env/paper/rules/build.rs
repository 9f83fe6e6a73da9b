//! From a scenario to its rules.

use super::{OptionRules, PaperRules, TABLE_USERS};
use crate::env::paper::state::{PaperState, SERVICES};
use crate::env::paper::traffic::MAX_USERS;
use crate::error::{Error, Result};
use crate::scenario::{EnvironmentKind, Scenario};

/// The step that truncates an episode of the original.
const ORIGINAL_LAST_STEP: u32 = 200;
/// The literal in the original's shrink test.
const ORIGINAL_SHRINK_QUOTA_M: u64 = 40_000;
/// More CPU than this in a pod could overflow sums of millicores.
const MAX_POD_CPU_M: u64 = 1_000_000_000;

impl PaperRules {
    /// The rules of `scenario`, for traffic as long as the scenario's.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario is not one of environment `paper`.
    pub fn new(scenario: &Scenario) -> Result<Self> {
        let traffic = scenario.traffic(0)?;
        let rows = traffic.services.first().map_or(0, |service| service.stages.len());
        Self::with_rows(scenario, rows)
    }

    /// The rules of `scenario`, for traffic of `rows` rows.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_rows(scenario: &Scenario, rows: usize) -> Result<Self> {
        let spec = &scenario.spec;
        if scenario.environment() != EnvironmentKind::Paper || spec.service.len() != SERVICES {
            return Err(Error::input(
                format!("scenario `{}`", scenario.name()),
                "not a scenario of environment \"paper\"",
                "use one with environment = \"paper\", as the built-in `paper` or `paper-random`",
            ));
        }
        let corrections = scenario.corrections;
        let mut rules = Self {
            counts: [0; SERVICES],
            first: [0; SERVICES],
            options: Vec::new(),
            needed: Vec::new(),
            growth_limit: [u32::MAX; SERVICES],
            quota_m: spec.quota.cpu_m.0,
            shrink_quota_m: if corrections.quota_everywhere {
                spec.quota.cpu_m.0
            } else {
                ORIGINAL_SHRINK_QUOTA_M
            },
            shrink_services: if corrections.include_third_service { SERVICES } else { 2 },
            corrections,
            reset: PaperState::default(),
            users_from_trace: [false; SERVICES],
            reset_latency_entries: [0; SERVICES],
            last_step: ORIGINAL_LAST_STEP,
            end_step: u32::MAX,
            rows,
            scale: spec.reward.scale,
        };
        let length = u32::try_from(rows).unwrap_or(u32::MAX);
        if corrections.truncate_at_trace_end {
            rules.last_step = length;
        } else if length < ORIGINAL_LAST_STEP {
            rules.end_step = length.saturating_sub(1);
        }
        for service in 0..SERVICES {
            rules.add_service(scenario, service)?;
        }
        Ok(rules)
    }

    fn add_service(&mut self, scenario: &Scenario, index: usize) -> Result<()> {
        let service = &scenario.spec.service[index];
        let profile = &scenario.profiles[index];
        let growth = service.soft_growth;
        self.first[index] = self.options.len();
        self.counts[index] = profile.options.len();
        if let Some(limit) = growth.map(|growth| growth.max_pods).filter(|&limit| limit > 0) {
            self.growth_limit[index] = limit;
        }
        for (number, option) in profile.options.iter().enumerate() {
            if option.cpu.0 > MAX_POD_CPU_M || number > usize::from(u16::MAX) {
                return Err(Error::input(
                    format!("{}: service[{index}].option[{number}]", scenario.source.name),
                    "more than environment \"paper\" can count",
                    format!("use at most 65536 options of at most {MAX_POD_CPU_M}m each"),
                ));
            }
            let soft = growth.is_some_and(|growth| option.p95_ms <= growth.p95_ms);
            self.options.push(OptionRules {
                cpu_m: option.cpu.0,
                concurrency: option.concurrency,
                slo_ratio: service.slo_p95_ms / option.p95_ms,
                latency_entry: (option.p95_ms / service.slo_p95_ms * 100.0) as i32,
                soft,
                promotes_unchanged: soft && self.growth_limit[index] != u32::MAX,
                violates_slo: option.p95_ms > service.slo_p95_ms,
            });
            for users in 0..TABLE_USERS {
                // 127 users need 182 pods at most.
                self.needed.push(self.compute_pods(option.concurrency, users as u32) as u16);
            }
        }
        let initial = &service.initial;
        let most = u64::from(MAX_USERS);
        let held_m = initial.cpu_held_m.map_or(0, |held| held.0);
        if u64::from(initial.pods) > most
            || u64::from(initial.users.unwrap_or(0)) > most
            || held_m > most * 1000
        {
            return Err(Error::input(
                format!("{}: service[{index}].initial", scenario.source.name),
                "more than environment \"paper\" can count",
                format!("use at most {most} pods, users and cores"),
            ));
        }
        let option = self.option(index, initial.option as u16);
        let own_cpu_m = u64::from(initial.pods) * option.cpu_m;
        let own_entry = option.latency_entry;
        let consistent = self.corrections.consistent_initial_state;
        let held = initial.cpu_held_m.filter(|_| !consistent);
        let entry = initial.latency_entry.filter(|_| !consistent);
        self.reset.options[index] = initial.option as u16;
        self.reset.pods[index] = initial.pods;
        self.reset.cpu_m[index] = held.map_or(own_cpu_m, |held| held.0);
        self.reset_latency_entries[index] = entry.map_or(own_entry, |entry| entry as i32);
        match initial.users.filter(|_| !self.corrections.first_users_from_trace) {
            Some(users) => self.reset.users[index] = users,
            None => self.users_from_trace[index] = true,
        }
        Ok(())
    }
}
