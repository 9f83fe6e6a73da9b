//! Rewards of the `knative` environment: one number for each traffic stage.

use crate::scenario::spec::{RewardKind, RewardLatency, RewardSpec};
use crate::scenario::{Profile, Scenario};
use crate::sim::{Simulator, Stage};

/// The reward of a scenario, ready to be applied to measured stages.
#[derive(Clone, Debug)]
pub struct StageReward {
    spec: RewardSpec,
    kind: RewardKind,
    quota_cores: f64,
    slo_ms: Vec<f64>,
    profiles: Vec<Profile>,
}

impl StageReward {
    /// The reward of a checked scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let spec = &scenario.spec;
        Self {
            spec: spec.reward.clone(),
            kind: spec.reward.kind.unwrap_or(RewardKind::Slo),
            quota_cores: spec.quota.cpu_m.cores(),
            slo_ms: spec.service.iter().map(|service| service.slo_p95_ms).collect(),
            profiles: scenario.profiles.clone(),
        }
    }

    /// The reward of the stage from `from` to `to`, which `simulator` has passed.
    pub fn measure(&self, simulator: &Simulator, from: u32, to: u32) -> f64 {
        self.of(&simulator.stage(from, to, self.kind == RewardKind::Paper))
    }

    /// The reward of a stage; the `paper` formula needs its latencies.
    pub fn of(&self, stage: &Stage) -> f64 {
        let reward = match self.kind {
            RewardKind::Slo => self.slo(stage),
            RewardKind::Paper => self.paper(stage),
        };
        self.spec.scale * reward
    }

    /// -(w_slo * share over SLO + w_over * over-quota share + w_use * usage share); an outage (users, no
    /// request, nobody waiting at the end) has share 1 (rule 30).
    fn slo(&self, stage: &Stage) -> f64 {
        let share = if stage.requests > 0.0 {
            stage.violations / stage.requests
        } else if stage.user_seconds > 0.0 {
            1.0
        } else {
            0.0
        };
        let whole = self.quota_cores * f64::from(stage.to_s - stage.from_s);
        self.slo_from(share, stage.over_quota_cpu_seconds / whole, stage.cpu_seconds / whole)
    }

    /// The `slo` formula from its three shares, without the scale.
    pub fn slo_from(&self, over_slo: f64, over_quota: f64, usage: f64) -> f64 {
        -(self.spec.w_slo * over_slo + self.spec.w_over * over_quota + self.spec.w_use * usage)
    }

    /// The original's formula: 200 s if the quota held throughout, 100 s if it holds at the end, else
    /// -100, with s = sum of SLO / p95 + 9 quota / total CPU at the end.
    fn paper(&self, stage: &Stage) -> f64 {
        let latencies = stage.p95_ms.iter().zip(&stage.options).enumerate().map(
            |(service, (measured, option))| {
                let stated = option
                    .map(|index| self.profiles[service].options[index as usize].p95_ms)
                    .filter(|_| self.spec.latency == RewardLatency::Profile);
                // Without a completion there is no latency to praise.
                stated.or(*measured).unwrap_or(f64::INFINITY)
            },
        );
        let cores = stage.cpu_at_end_m as f64 / 1000.0;
        self.paper_from(latencies, cores, stage.over_quota_cpu_seconds > 0.0)
    }

    /// The `paper` formula from the services' latencies (ms), the CPU at the end (cores) and whether
    /// the quota was exceeded on the way there; without the scale.
    pub fn paper_from(
        &self,
        latencies_ms: impl Iterator<Item = f64>,
        cores: f64,
        exceeded: bool,
    ) -> f64 {
        if cores > self.quota_cores {
            return -100.0;
        }
        let praise: f64 = self.slo_ms.iter().zip(latencies_ms).map(|(slo, p95)| slo / p95).sum();
        let sum = praise + 9.0 * self.quota_cores / cores;
        if exceeded { 100.0 * sum } else { 200.0 * sum }
    }

    /// Which formula it is.
    pub fn kind(&self) -> RewardKind {
        self.kind
    }

    /// Whether the `paper` formula takes the profile's latency rather than the measured one.
    pub fn stated_latency(&self) -> bool {
        self.spec.latency == RewardLatency::Profile
    }

    /// The factor on every reward.
    pub fn scale(&self) -> f64 {
        self.spec.scale
    }

    /// The quota in cores.
    pub fn quota_cores(&self) -> f64 {
        self.quota_cores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reward(sets: &[&str]) -> StageReward {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        StageReward::new(&Scenario::load("paper-knative", &sets).unwrap())
    }

    fn stage() -> Stage {
        Stage {
            from_s: 120,
            to_s: 240,
            violations: 30.0,
            requests: 100.0,
            user_seconds: 50.0,
            cpu_seconds: 2400.0,
            over_quota_cpu_seconds: 480.0,
            cpu_at_end_m: 20_000,
            p95_ms: vec![Some(600.0), Some(1100.0), None],
            options: vec![Some(0), Some(0), None],
        }
    }

    #[test]
    fn rule_30_slo_reward_and_the_outage() {
        let slo = reward(&["reward.scale=2"]);
        assert!((slo.of(&stage()) + 2.0 * (0.3 + 0.1 + 0.1 * 0.5)).abs() < 1e-12);
        let outage = Stage { violations: 0.0, requests: 0.0, ..stage() };
        assert!((slo.of(&outage) + 2.0 * (1.0 + 0.1 + 0.05)).abs() < 1e-12);
        let silence = Stage { user_seconds: 0.0, ..outage };
        assert!((slo.of(&silence) + 2.0 * 0.15).abs() < 1e-12);
    }

    #[test]
    fn paper_reward_on_measured_and_on_stated_latencies() {
        let stated = reward(&["reward.kind=paper"]);
        // The third service serves no option of the profile and completed nothing.
        let sum = 1200.0 / 1100.0 + 2200.0 / 1500.0 + 360.0 / 20.0;
        assert!((stated.of(&stage()) - 100.0 * sum).abs() < 1e-9);
        let measured = reward(&["reward.kind=paper", "reward.latency=measured"]);
        let held = Stage { over_quota_cpu_seconds: 0.0, ..stage() };
        assert!((measured.of(&held) - 200.0 * (2.0 + 2.0 + 18.0)).abs() < 1e-9);
        let over = Stage { cpu_at_end_m: 40_500, ..stage() };
        assert_eq!(measured.of(&over), -100.0);
    }
}
