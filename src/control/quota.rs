//! The guard's quota: what a decision asks for, once rolled out, fits into it.

use super::intervention::{Intervention, Rule};
use crate::scenario::{Profile, Scenario};
use crate::snapshot::{ServiceDecision, Snapshot};

/// CPU (millicores) and memory (MiB).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Amount {
    cpu_m: u64,
    memory_mib: u64,
}

impl Amount {
    fn fits(self, limit: Self) -> bool {
        self.cpu_m <= limit.cpu_m && self.memory_mib <= limit.memory_mib
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_m: self.cpu_m.saturating_add(other.cpu_m),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
        }
    }
}

/// Keeps decisions within the smaller of the scenario's quota and the real one, where a real one was
/// read (live).
///
/// In simulation nothing is cut: `accounted` measures what exceeds the quota, and under `enforced` pods
/// that do not fit are denied, which is what a policy is judged by.
#[derive(Clone, Debug)]
pub(super) struct QuotaLimit {
    scenario: Amount,
    profiles: Vec<Profile>,
}

impl QuotaLimit {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let quota = &scenario.spec.quota;
        Self {
            scenario: Amount { cpu_m: quota.cpu_m.0, memory_mib: quota.memory_mib.0 },
            profiles: scenario.profiles.clone(),
        }
    }

    fn limit(&self, snapshot: &Snapshot) -> Option<Amount> {
        let real = snapshot.quota?;
        Some(Amount {
            cpu_m: self.scenario.cpu_m.min(real.cpu_m.unwrap_or(u64::MAX)),
            memory_mib: self.scenario.memory_mib.min(real.memory_mib.unwrap_or(u64::MAX)),
        })
    }

    /// What `pods` pods of `decision` hold.
    fn cost(&self, index: usize, decision: &ServiceDecision, pods: u32) -> Amount {
        let options = &self.profiles[index].options;
        let memory = options
            .iter()
            .find(|option| {
                option.cpu.0 == decision.cpu_m && option.concurrency == decision.concurrency
            })
            .or_else(|| options.iter().find(|option| option.cpu.0 == decision.cpu_m))
            .map_or(0, |option| option.memory.0);
        let pods = u64::from(pods);
        Amount {
            cpu_m: pods.saturating_mul(decision.cpu_m),
            memory_mib: pods.saturating_mul(memory),
        }
    }

    /// Takes pods away until all fits: of the service that keeps the largest share of what it asks
    /// for, the one with most CPU among equals, down to one pod each. What was asked for as a fallback
    /// is not cut. If even that does not fit, services that ask for more than they have are held.
    pub(super) fn keep(
        &self,
        snapshot: &Snapshot,
        services: &mut [Option<ServiceDecision>],
        words: &mut Vec<Intervention>,
    ) {
        let Some(limit) = self.limit(snapshot) else { return };
        let pods: Vec<u32> = services.iter().map(|slot| slot.map_or(0, |one| one.pods)).collect();
        if self.total(snapshot, services, &pods).fits(limit) {
            return;
        }
        let fallback = |index: usize| {
            words.iter().any(|word| word.service == index && word.rule == Rule::Fallback)
        };
        let may_cut: Vec<bool> = (0..services.len())
            .map(|index| services[index].is_some() && !fallback(index))
            .collect();
        let mut kept = pods.clone();
        while !self.total(snapshot, services, &kept).fits(limit) {
            let next = (0..kept.len()).filter(|&index| may_cut[index] && kept[index] > 1).max_by(
                |&a, &b| {
                    let share = |index: usize| f64::from(kept[index]) / f64::from(pods[index]);
                    let cpu = |index: usize| {
                        services[index].map_or(0, |one| u64::from(kept[index]) * one.cpu_m)
                    };
                    share(a).total_cmp(&share(b)).then(cpu(a).cmp(&cpu(b))).then(b.cmp(&a))
                },
            );
            let Some(index) = next else {
                return self.hold_those_that_grow(snapshot, services, words);
            };
            kept[index] -= 1;
        }
        for (index, slot) in services.iter_mut().enumerate() {
            if let Some(decision) = slot.as_mut().filter(|one| one.pods != kept[index]) {
                let said = format!("{} pods, not {}: quota", kept[index], decision.pods);
                words.push(Intervention::change(index, Rule::QuotaLimited, said));
                decision.pods = kept[index];
            }
        }
    }

    /// CPU and memory of all services with so many pods; a service without a decision keeps what it has.
    fn total(
        &self,
        snapshot: &Snapshot,
        services: &[Option<ServiceDecision>],
        pods: &[u32],
    ) -> Amount {
        services.iter().zip(pods).enumerate().fold(
            Amount::default(),
            |sum, (index, (slot, &pods))| {
                sum.plus(match slot {
                    Some(decision) => self.cost(index, decision, pods),
                    None => self.in_force(snapshot, index),
                })
            },
        )
    }

    fn in_force(&self, snapshot: &Snapshot, index: usize) -> Amount {
        let Some(seen) = snapshot.services.get(index) else { return Amount::default() };
        if seen.newest.is_known() {
            return self.cost(index, &seen.newest.as_decision(), seen.newest.pods);
        }
        Amount { cpu_m: seen.cpu_m, memory_mib: seen.memory_mib }
    }

    fn hold_those_that_grow(
        &self,
        snapshot: &Snapshot,
        services: &mut [Option<ServiceDecision>],
        words: &mut Vec<Intervention>,
    ) {
        for (index, slot) in services.iter_mut().enumerate() {
            let Some(decision) = *slot else { continue };
            if !self.cost(index, &decision, decision.pods).fits(self.in_force(snapshot, index)) {
                *slot = None;
                words.push(Intervention::hold(index, Rule::QuotaTooSmall, "no room in the quota"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{QuotaSnapshot, RevisionSnapshot, ServiceSnapshot};

    fn limit(sets: &[&str]) -> (QuotaLimit, Scenario) {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let scenario = Scenario::load("paper-knative", &sets).unwrap();
        (QuotaLimit::new(&scenario), scenario)
    }

    fn snapshot(cpu_m: Option<u64>) -> Snapshot {
        let newest = RevisionSnapshot { option: None, cpu_m: 500, concurrency: 10, pods: 1 };
        let service = ServiceSnapshot { newest, ..ServiceSnapshot::default() };
        let quota = cpu_m.map(|cpu_m| QuotaSnapshot { cpu_m: Some(cpu_m), memory_mib: None });
        Snapshot { services: vec![service; 3], quota, ..Snapshot::default() }
    }

    fn wanted(scenario: &Scenario) -> Vec<Option<ServiceDecision>> {
        // 6 pods of 4000m, 3 of 3000m at least, 8 of 500m.
        vec![
            Some(scenario.profiles[0].decision(21, 6)),
            Some(scenario.profiles[1].decision(6, 3)),
            Some(scenario.profiles[2].decision(0, 8)),
        ]
    }

    fn cpu(services: &[Option<ServiceDecision>]) -> u64 {
        services.iter().flatten().map(|one| u64::from(one.pods) * one.cpu_m).sum()
    }

    #[test]
    fn the_smaller_of_the_scenarios_and_a_real_quota_binds_and_without_a_real_one_none() {
        for mode in ["accounted", "enforced"] {
            let (quota, scenario) = limit(&["quota.cpu_m=20000", &format!("quota.mode={mode}")]);
            let mut services = wanted(&scenario);
            let mut words = Vec::new();
            quota.keep(&snapshot(None), &mut services, &mut words);
            assert_eq!((services, words.len()), (wanted(&scenario), 0), "{mode}");

            for (real, most) in [(90_000, 20_000), (9000, 9000)] {
                let mut services = wanted(&scenario);
                let mut words = Vec::new();
                quota.keep(&snapshot(Some(real)), &mut services, &mut words);
                assert!(cpu(&services) <= most, "{services:?}");
                assert!(services.iter().flatten().all(|one| one.pods >= 1));
                assert!(words.iter().all(|word| word.rule == Rule::QuotaLimited), "{words:?}");
                let largest = scenario.profiles[0].options[21].cpu.0;
                assert!(
                    cpu(&services) + largest > most,
                    "no more is cut than needed: {services:?}"
                );
            }
        }
    }

    #[test]
    fn where_one_pod_each_does_not_fit_nothing_grows() {
        let (limit, scenario) = limit(&[]);
        let mut services = wanted(&scenario);
        services[2] = Some(scenario.profiles[2].decision(0, 1));
        let mut words = Vec::new();
        limit.keep(&snapshot(Some(1000)), &mut services, &mut words);
        assert_eq!((services[0], services[1]), (None, None));
        assert!(services[2].is_some(), "it asks for no more than it has");
    }
}
