//! The best reward with an empty cluster: what traffic alone is worth in a step.
//!
//! It does not depend on what a policy did before, so taking it off every reward changes no policy
//! and removes most of the noise that traffic makes.

use super::rules::PaperRules;
use super::state::{PaperState, SERVICES};

/// Searches the best reward. Buffers are kept from step to step.
#[derive(Clone, Debug, Default)]
pub struct EmptyCluster {
    /// Options of each service that no other beats in both: (SLO / p95, CPU in millicores).
    fronts: [Vec<(f64, u64)>; SERVICES],
}

impl EmptyCluster {
    /// The best reward (unscaled) that the step of `state` could have if all pods were new and none
    /// had to go; 0 where nobody is there to be served.
    pub fn best(&mut self, rules: &PaperRules, state: &PaperState) -> f64 {
        for (service, front) in self.fronts.iter_mut().enumerate() {
            front.clear();
            for option in 0..rules.option_counts()[service] as u16 {
                let need = rules.need(service, option, state.users[service]);
                front.push((rules.option(service, option).slo_ratio, need.full_m));
            }
            // More reward per CPU first; what costs more and gives no more is left out.
            front.sort_unstable_by(|a, b| a.1.cmp(&b.1).then(b.0.total_cmp(&a.0)));
            let mut top = f64::NEG_INFINITY;
            front.retain(|&(ratio, _)| {
                let better = ratio > top;
                top = top.max(ratio);
                better
            });
        }
        let fits = !(rules.is_last(state) && rules.last_step_differs());
        let [first, second, third] = &self.fronts;
        let mut best = f64::NEG_INFINITY;
        for a in first {
            for b in second {
                for c in third {
                    let cpu_m = a.1 + b.1 + c.1;
                    let fits = fits && cpu_m <= rules.quota_m();
                    best = best.max(rules.reward((a.0 + b.0) + c.0, cpu_m, fits, false));
                }
            }
        }
        if best.is_finite() { best } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::paper::JointActions;
    use crate::scenario::Scenario;

    #[test]
    fn it_is_the_best_of_all_joint_actions_on_an_empty_cluster() {
        let scenario = Scenario::load("paper", &[]).unwrap();
        let rules = PaperRules::new(&scenario).unwrap();
        let mut empty = EmptyCluster::default();
        let mut all = JointActions::new();
        for step in [3, 199] {
            for users in [[34, 28, 16], [0, 5, 0], [100, 100, 100], [1, 1, 1], [90, 7, 400]] {
                // No option is in force: every choice makes new pods.
                let state = PaperState {
                    step,
                    options: [u16::MAX; SERVICES],
                    users,
                    ..PaperState::default()
                };
                all.evaluate(&rules, &state);
                let best = all.rewards().iter().copied().fold(f64::NEG_INFINITY, f64::max);
                assert_eq!(empty.best(&rules, &state), best, "{users:?}");
            }
        }
        let nobody = PaperState::default();
        assert_eq!(empty.best(&rules, &nobody), 0.0);
    }
}
