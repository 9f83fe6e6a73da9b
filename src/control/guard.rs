//! The guard: limits that hold whatever the policy says.

use crate::scenario::Profile;
use crate::scenario::spec::GuardSpec;
use crate::snapshot::{Decision, ServiceDecision, ServiceSnapshot, Snapshot};

/// Checks each decision before it takes effect.
#[derive(Clone, Debug)]
pub struct Guard {
    spec: GuardSpec,
    cpu_sizes: Vec<Vec<u64>>,
}

impl Guard {
    /// A guard with the limits of `spec`.
    pub fn new(spec: &GuardSpec, profiles: &[Profile]) -> Self {
        let cpu_sizes = profiles
            .iter()
            .map(|profile| profile.options.iter().map(|option| option.cpu.0).collect())
            .collect();
        Self { spec: spec.clone(), cpu_sizes }
    }

    /// The decision within the limits; its reason says where the guard stepped in. A service whose
    /// users or forecast cannot be believed, or whose step cannot be made small enough, is held.
    pub fn check(&self, snapshot: &Snapshot, forecast: &[f64], mut decision: Decision) -> Decision {
        let mut words = Vec::new();
        for (index, slot) in decision.services.iter_mut().enumerate() {
            let (Some(wanted), Some(seen)) = (*slot, snapshot.services.get(index)) else {
                continue;
            };
            let believable =
                |users: f64| users.is_finite() && (0.0..=self.spec.max_users).contains(&users);
            if !believable(seen.users) || !forecast.get(index).copied().is_none_or(believable) {
                *slot = None;
                words.push(format!("guard: service {index} held, users not believable"));
                continue;
            }
            if !self.cpu_sizes[index].contains(&wanted.cpu_m) {
                *slot = None;
                words.push(format!("guard: service {index} held, no option has {}m", wanted.cpu_m));
                continue;
            }
            let limited = self.limit_step(seen, wanted);
            if limited != Some(wanted) {
                words.push(match limited {
                    Some(kept) => {
                        format!("guard: service {index} {} pods, not {}", kept.pods, wanted.pods)
                    }
                    None => format!("guard: service {index} held, step too large"),
                });
                *slot = limited;
            }
        }
        for word in words {
            if !decision.reason.is_empty() {
                decision.reason.push_str("; ");
            }
            decision.reason.push_str(&word);
        }
        decision
    }

    /// The nearest number of pods whose step from what is there keeps both limits.
    fn limit_step(
        &self,
        seen: &ServiceSnapshot,
        wanted: ServiceDecision,
    ) -> Option<ServiceDecision> {
        let current = &seen.newest;
        let from_cpu_m = u64::from(current.pods) * current.cpu_m;
        let max_cpu_m = self.spec.max_step_cpu_m.0;
        let low_cpu = from_cpu_m.saturating_sub(max_cpu_m).div_ceil(wanted.cpu_m);
        let high_cpu = from_cpu_m.saturating_add(max_cpu_m) / wanted.cpu_m;
        let low = low_cpu.max(u64::from(current.pods.saturating_sub(self.spec.max_step_pods)));
        let high = high_cpu.min(u64::from(current.pods) + u64::from(self.spec.max_step_pods));
        if low > high {
            return None;
        }
        let pods = u64::from(wanted.pods).clamp(low, high) as u32;
        Some(ServiceDecision { pods, ..wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::snapshot::RevisionSnapshot;

    fn guard(sets: &[&str]) -> (Guard, Scenario) {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let scenario = Scenario::load("paper-knative", &sets).unwrap();
        (Guard::new(&scenario.spec.guard, &scenario.profiles), scenario)
    }

    fn snapshot(users: f64) -> Snapshot {
        let newest = RevisionSnapshot { option: Some(21), cpu_m: 4000, concurrency: 60, pods: 2 };
        let service = ServiceSnapshot { users, newest, ..ServiceSnapshot::default() };
        Snapshot { services: vec![service; 3], ..Snapshot::default() }
    }

    fn check(guard: &Guard, scenario: &Scenario, users: f64, pods: u32) -> Decision {
        let decision = Decision {
            services: vec![Some(scenario.profiles[0].decision(16, pods)), None, None],
            reason: "because".to_owned(),
        };
        guard.check(&snapshot(users), &[users; 3], decision)
    }

    #[test]
    fn a_wide_guard_changes_nothing() {
        let (guard, scenario) = guard(&[]);
        let decision = check(&guard, &scenario, 50.0, 9);
        assert_eq!(decision.services[0].unwrap().pods, 9);
        assert_eq!(decision.reason, "because");
    }

    #[test]
    fn steps_are_limited_in_cpu_and_in_pods() {
        let (guard, scenario) = guard(&["guard.max_step_cpu_m=8000", "guard.max_step_pods=3"]);
        assert_eq!(check(&guard, &scenario, 50.0, 9).services[0].unwrap().pods, 4);
        let reason = check(&guard, &scenario, 50.0, 9).reason;
        assert_eq!(reason, "because; guard: service 0 4 pods, not 9");
    }

    #[test]
    fn users_that_cannot_be_believed_hold_the_service() {
        let (guard, scenario) = guard(&["guard.max_users=1000"]);
        for users in [f64::NAN, -1.0, 1001.0] {
            assert_eq!(check(&guard, &scenario, users, 3).services[0], None);
        }
    }
}
