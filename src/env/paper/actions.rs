//! What every joint action would earn in a state: the search of the greedy policies, and what
//! learners that know the profile start from.

use super::rules::{Need, PaperRules, Share};
use super::state::{PaperState, SERVICES};

/// What a core held after a step costs those that plan ahead, reward points per core, unless it is
/// searched for: the best for the paper's own services on random traffic.
pub const DEFAULT_PRICE: f64 = 90.0;

/// What one option would give its service.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    need: Need,
    slo_ratio: f64,
    /// Without and with the shrink decision.
    shares: [Share; 2],
    decreasing: bool,
}

/// Rewards of all joint actions in one state. Buffers are kept from state to state.
#[derive(Clone, Debug, Default)]
pub struct JointActions {
    candidates: [Vec<Candidate>; SERVICES],
    rewards: Vec<f64>,
    cpu_m: Vec<u64>,
    shrinks: Vec<bool>,
}

impl JointActions {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The reward of each joint action, by joint index (unscaled).
    pub fn rewards(&self) -> &[f64] {
        &self.rewards
    }

    /// The CPU of each joint action in all services, millicores, by joint index.
    pub fn cpu_m(&self) -> &[u64] {
        &self.cpu_m
    }

    /// Whether each joint action makes services with too many pods anew, by joint index.
    pub fn shrinks(&self) -> &[bool] {
        &self.shrinks
    }

    /// Pods of `service` after a step with `option`, given whether the joint action shrinks.
    pub fn pods_after(&self, service: usize, option: usize, shrinks: bool) -> u32 {
        self.candidates[service][option].shares[usize::from(shrinks)].pods
    }

    /// Computes the rewards of all joint actions in `state`.
    pub fn evaluate(&mut self, rules: &PaperRules, state: &PaperState) {
        for service in 0..SERVICES {
            self.prepare(rules, state, service);
        }
        let may_shrink =
            self.candidates.iter().flatten().any(|candidate: &Candidate| candidate.decreasing);
        let fits_counts = !(rules.is_last(state) && rules.last_step_differs());
        let held_m: u64 = state.cpu_m.iter().sum();
        self.rewards.clear();
        self.cpu_m.clear();
        self.shrinks.clear();
        let [first, second, third] = &self.candidates;
        for a in first {
            for b in second {
                let two_ratios = a.slo_ratio + b.slo_ratio;
                for c in third {
                    let shrink = may_shrink
                        && rules.shrinks(
                            [a.decreasing, b.decreasing, c.decreasing],
                            state.cpu_m,
                            [a.need.whole_m, b.need.whole_m, c.need.whole_m],
                        );
                    let ratios = two_ratios + c.slo_ratio;
                    let [a, b, c] = [a, b, c].map(|of| of.shares[usize::from(shrink)]);
                    let cpu_m = a.cpu_m + b.cpu_m + c.cpu_m;
                    let overlap_m = held_m + a.added_m + b.added_m + c.added_m;
                    let fits = fits_counts && overlap_m <= rules.quota_m();
                    let single = a.single && b.single && c.single;
                    self.rewards.push(rules.reward(ratios, cpu_m, fits, single));
                    self.cpu_m.push(cpu_m);
                    self.shrinks.push(shrink);
                }
            }
        }
    }

    fn prepare(&mut self, rules: &PaperRules, state: &PaperState, service: usize) {
        let candidates = &mut self.candidates[service];
        candidates.clear();
        for option in 0..rules.option_counts()[service] as u16 {
            let need = rules.need(service, option, state.users[service]);
            let pods = state.pods[service];
            let same = option == state.options[service];
            let shares = [false, true].map(|shrink| {
                if same {
                    rules.hold(service, option, need, pods, state.cpu_m[service], shrink)
                } else {
                    PaperRules::renew(need)
                }
            });
            candidates.push(Candidate {
                need,
                slo_ratio: rules.option(service, option).slo_ratio,
                shares,
                decreasing: same && need.pods < pods,
            });
        }
    }
}
