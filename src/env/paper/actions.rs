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

/// The last service's candidates column by column, so that their rewards become vector instructions:
/// without the shrink decision, millicores as whole numbers in f64, which are exact.
#[derive(Clone, Debug, Default)]
struct Columns {
    slo_ratio: Vec<f64>,
    cpu_m: Vec<f64>,
    added_m: Vec<f64>,
}

/// Rewards of all joint actions in one state. Buffers are kept from state to state.
#[derive(Clone, Debug, Default)]
pub struct JointActions {
    candidates: [Vec<Candidate>; SERVICES],
    columns: Columns,
    rewards: Vec<f64>,
    cpu_m: Vec<u64>,
    shrinks: Vec<bool>,
    may_shrink: bool,
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

    /// Whether any joint action can shrink.
    pub fn may_shrink(&self) -> bool {
        self.may_shrink
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
        self.may_shrink =
            self.candidates.iter().flatten().any(|candidate: &Candidate| candidate.decreasing);
        self.evaluate_usual(rules, state);
        // Only options in force can shrink, or keep single precision.
        for service in 0..SERVICES {
            let kept = usize::from(state.options[service]);
            if self.candidates[service].get(kept).is_some_and(|candidate| candidate.decreasing) {
                self.evaluate_exactly(rules, state, service, kept);
            }
        }
        if rules.corrections().numpy2_promotion && rules.is_valid(state.options) {
            let joint = rules.joint_index(state.options);
            self.evaluate_one(rules, state, joint, state.options.map(usize::from));
        }
    }

    /// All joint actions, as if none shrank.
    fn evaluate_usual(&mut self, rules: &PaperRules, state: &PaperState) {
        let fits_counts = fits_counts(rules, state);
        let held_m = state.cpu_m.iter().sum::<u64>() as f64;
        let [first, second, third] = &self.candidates;
        let joint_actions = first.len() * second.len() * third.len();
        self.rewards.resize(joint_actions, 0.0);
        self.cpu_m.resize(joint_actions, 0);
        self.shrinks.clear();
        self.shrinks.resize(joint_actions, false);
        let columns = &mut self.columns;
        columns.slo_ratio.clear();
        columns.cpu_m.clear();
        columns.added_m.clear();
        for candidate in third {
            columns.slo_ratio.push(candidate.slo_ratio);
            columns.cpu_m.push(candidate.shares[0].cpu_m as f64);
            columns.added_m.push(candidate.shares[0].added_m as f64);
        }
        let usual = rules.usual_rewards(fits_counts);
        let rewards = self.rewards.chunks_exact_mut(third.len());
        let mut rows = rewards.zip(self.cpu_m.chunks_exact_mut(third.len()));
        for a in first {
            for b in second {
                let Some((rewards, all_cpu_m)) = rows.next() else { return };
                let two_ratios = a.slo_ratio + b.slo_ratio;
                let [a, b] = [a, b].map(|of| of.shares[0]);
                let two_cpu_m = a.cpu_m + b.cpu_m;
                let two_overlap_m = held_m + (a.added_m + b.added_m) as f64;
                let inputs = columns.slo_ratio.iter().zip(&columns.cpu_m).zip(&columns.added_m);
                for (reward, ((ratio, cpu_m), added_m)) in rewards.iter_mut().zip(inputs) {
                    let cpu_m = two_cpu_m as f64 + cpu_m;
                    *reward = usual.of(two_ratios + ratio, cpu_m, two_overlap_m + added_m);
                }
                for (all_cpu_m, c) in all_cpu_m.iter_mut().zip(third) {
                    *all_cpu_m = two_cpu_m + c.shares[0].cpu_m;
                }
            }
        }
    }

    /// Every joint action with `option` of `service`, with the shrink decision.
    fn evaluate_exactly(
        &mut self,
        rules: &PaperRules,
        state: &PaperState,
        service: usize,
        option: usize,
    ) {
        let mut ranges = rules.option_counts().map(|count| 0..count);
        ranges[service] = option..option + 1;
        let [first, second, third] = ranges;
        let [_, seconds, thirds] = rules.option_counts();
        for a in first {
            for b in second.clone() {
                for c in third.clone() {
                    let joint = (a * seconds + b) * thirds + c;
                    self.evaluate_one(rules, state, joint, [a, b, c]);
                }
            }
        }
    }

    /// One joint action by all rules.
    fn evaluate_one(
        &mut self,
        rules: &PaperRules,
        state: &PaperState,
        joint: usize,
        options: [usize; SERVICES],
    ) {
        let [a, b, c] = std::array::from_fn(|service| {
            let candidate: &Candidate = &self.candidates[service][options[service]];
            candidate
        });
        let shrink = rules.shrinks(
            [a.decreasing, b.decreasing, c.decreasing],
            state.cpu_m,
            [a.need.whole_m, b.need.whole_m, c.need.whole_m],
        );
        let ratios = (a.slo_ratio + b.slo_ratio) + c.slo_ratio;
        let [a, b, c] = [a, b, c].map(|of| of.shares[usize::from(shrink)]);
        let cpu_m = a.cpu_m + b.cpu_m + c.cpu_m;
        let held_m: u64 = state.cpu_m.iter().sum();
        let overlap_m = held_m + a.added_m + b.added_m + c.added_m;
        let fits = fits_counts(rules, state) && overlap_m <= rules.quota_m();
        let single = a.single && b.single && c.single;
        self.rewards[joint] = rules.reward(ratios, cpu_m, fits, single);
        self.cpu_m[joint] = cpu_m;
        self.shrinks[joint] = shrink;
    }

    fn prepare(&mut self, rules: &PaperRules, state: &PaperState, service: usize) {
        let candidates = &mut self.candidates[service];
        candidates.clear();
        for option in 0..rules.option_counts()[service] as u16 {
            let need = rules.need(service, option, state.users[service]);
            let pods = state.pods[service];
            let same = option == state.options[service];
            let shares = if same {
                [false, true].map(|shrink| {
                    rules.hold(service, option, need, pods, state.cpu_m[service], shrink)
                })
            } else {
                [PaperRules::renew(need); 2]
            };
            candidates.push(Candidate {
                need,
                slo_ratio: rules.option(service, option).slo_ratio,
                shares,
                decreasing: same && need.pods < pods,
            });
        }
    }
}

/// Whether the coming step pays more where old and new pods fit together.
fn fits_counts(rules: &PaperRules, state: &PaperState) -> bool {
    !(rules.is_last(state) && rules.last_step_differs())
}
