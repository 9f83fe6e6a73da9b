//! What the traffic of a stage costs at least, whatever a policy does.

use crate::scenario::spec::RewardKind;
use crate::scenario::{PodRule, Scenario};
use crate::sim::Simulator;

/// The least CPU for the users of a stage.
pub(super) struct Cheapest {
    /// By service: CPU of a pod (cores) and concurrency of every option.
    options: Vec<Vec<(f64, u32)>>,
    rule: PodRule,
    /// Reward per core that is held throughout a stage; 0 where usage has no price of its own.
    per_core: f64,
}

impl Cheapest {
    pub fn new(scenario: &Scenario) -> Self {
        let reward = &scenario.spec.reward;
        let options = scenario.profiles.iter().map(|profile| {
            profile.options.iter().map(|option| (option.cpu.cores(), option.concurrency)).collect()
        });
        Self {
            options: options.collect(),
            rule: scenario.pod_rule(),
            per_core: match reward.kind {
                Some(RewardKind::Paper) => 0.0,
                _ => -reward.scale * reward.w_use / scenario.spec.quota.cpu_m.cores(),
            },
        }
    }

    /// What the usage of a stage that ends at `end` costs at least: of the users alone.
    pub fn reward(&self, simulator: &Simulator, end: u32) -> f64 {
        let cores: f64 = self
            .options
            .iter()
            .enumerate()
            .map(|(service, options)| {
                let users = f64::from(simulator.users_at(service, end - 1));
                options
                    .iter()
                    .map(|&(cpu, concurrency)| cpu * f64::from(self.rule.pods(users, concurrency)))
                    .fold(f64::INFINITY, f64::min)
            })
            .sum();
        self.per_core * cores
    }
}
