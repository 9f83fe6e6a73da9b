//! The hybrid scaler of the original's sister system: each service decides alone, by least CPU.

use super::{Episode, Policy, PolicyState};
use crate::error::Result;
use crate::scenario::Profile;
use crate::snapshot::{Decision, Snapshot};

/// Per CPU size the largest concurrency whose p95 meets the SLO; of these the one with the least total
/// CPU for the forecast. It keeps its own order of operations: pods = ceil(x / (concurrency *
/// utilization)). The lowest CPU size wins ties. The quota is not considered.
#[derive(Clone, Debug)]
pub struct Hybrid {
    profiles: Vec<Profile>,
    /// Candidates of each service, rising in CPU.
    candidates: Vec<Vec<u32>>,
    utilization: f64,
}

impl Hybrid {
    /// `slo_ms` holds each service's bound. A service none of whose options meets it considers all.
    pub fn new(profiles: &[Profile], slo_ms: &[f64], utilization: f64) -> Self {
        let candidates = profiles
            .iter()
            .zip(slo_ms)
            .map(|(profile, &slo)| {
                let within = candidates(profile, slo);
                if within.is_empty() { candidates(profile, f64::INFINITY) } else { within }
            })
            .collect();
        Self { profiles: profiles.to_vec(), candidates, utilization }
    }
}

/// For each CPU size, rising, the option with the largest concurrency within `slo_ms`.
fn candidates(profile: &Profile, slo_ms: f64) -> Vec<u32> {
    let mut sizes: Vec<u64> = profile.options.iter().map(|option| option.cpu.0).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
        .into_iter()
        .filter_map(|size| {
            profile
                .options
                .iter()
                .enumerate()
                .filter(|(_, option)| option.cpu.0 == size && option.p95_ms <= slo_ms)
                .max_by_key(|(_, option)| option.concurrency)
                .map(|(index, _)| index as u32)
        })
        .collect()
}

impl Policy for Hybrid {
    fn name(&self) -> &'static str {
        "hybrid"
    }

    fn start(&self, _episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::None)
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        _state: &mut PolicyState,
    ) -> Result<Decision> {
        let services = self
            .profiles
            .iter()
            .enumerate()
            .map(|(service, profile)| {
                let mut best: Option<(u64, u32, u32)> = None;
                for &index in &self.candidates[service] {
                    let option = &profile.options[index as usize];
                    let per_pod = f64::from(option.concurrency) * self.utilization;
                    let pods = ((forecast[service] / per_pod).ceil() as u32).max(1);
                    let usage = u64::from(pods) * option.cpu.0;
                    if best.is_none_or(|(least, ..)| usage < least) {
                        best = Some((usage, index, pods));
                    }
                }
                best.map(|(_, index, pods)| {
                    // Same size and concurrency: the option in force stays, whatever its index.
                    let chosen = profile.decision(index, pods);
                    let newest = &snapshot.services[service].newest;
                    let same =
                        (newest.cpu_m, newest.concurrency) == (chosen.cpu_m, chosen.concurrency);
                    if same {
                        profile.decision(newest.option.unwrap_or(index), pods)
                    } else {
                        chosen
                    }
                })
            })
            .collect();
        Ok(Decision { services, reason: "least CPU within the SLO".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn candidates_are_those_derived_from_the_published_rule() {
        let scenario = Scenario::load("paper-knative", &[]).unwrap();
        let list = |service: usize| -> Vec<(u64, u32)> {
            candidates(&scenario.profiles[service], scenario.spec.service[service].slo_p95_ms)
                .into_iter()
                .map(|index| {
                    let option = &scenario.profiles[service].options[index as usize];
                    (option.cpu.0, option.concurrency)
                })
                .collect()
        };
        assert_eq!(
            list(0),
            [(1500, 10), (2000, 15), (2500, 25), (3000, 35), (3500, 45), (4000, 60)]
        );
        assert_eq!(list(1), [(2000, 15), (3000, 15), (4000, 20)]);
        assert_eq!(list(2), [(500, 10), (1000, 20), (2000, 25)]);
    }
}
