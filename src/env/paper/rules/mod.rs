//! The rules of one step, in the original's order of operations.

mod build;
mod formula;
#[cfg(test)]
mod tests;

pub use formula::PodFormula;

use super::state::{Action, OBSERVATION, PaperState, SERVICES, StepResult};
use crate::scenario::Corrections;

/// Reward of a decision whose CPU exceeds the quota.
pub const OVER_QUOTA_REWARD: f64 = -100.0;
/// Factor of the reward when old and new pods fit the quota together.
const FITTING_FACTOR: f64 = 200.0;
/// Factor of the reward when they overlap beyond the quota, and of a truncating step.
const OVERLAPPING_FACTOR: f64 = 100.0;
/// Pods needed are looked up below this many users and computed from there on.
const TABLE_USERS: usize = 128;
/// Most users that the observation shows under `clamp_observed_users`.
pub(in crate::env) const OBSERVED_USERS: u32 = 100;

/// One option, with everything about it that a step needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct OptionRules {
    /// CPU of a pod, millicores.
    pub cpu_m: u64,
    concurrency: u32,
    /// SLO / p95.
    pub slo_ratio: f64,
    /// Latency entry of the observation.
    latency_entry: i32,
    /// Whether pods are added without a new revision.
    soft: bool,
    /// Whether unchanged pods go through the growth rule, which promotes them to double precision.
    promotes_unchanged: bool,
    /// p95 above the SLO.
    violates_slo: bool,
}

/// What the users of a service need under one option.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    pub pods: u32,
    /// CPU of these pods, millicores.
    pub full_m: u64,
    /// The same as the shrink test counts it.
    pub whole_m: u64,
}

/// What a service gets in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub pods: u32,
    /// CPU, millicores.
    pub cpu_m: u64,
    /// CPU of pods that were not there before, millicores.
    pub added_m: u64,
    /// Whether the CPU keeps single precision under NumPy 2.
    pub single: bool,
}

/// The rules of one scenario: immutable, shared by any number of states.
#[derive(Clone, Debug)]
pub struct PaperRules {
    counts: [usize; SERVICES],
    /// Index of each service's first option in `options`.
    first: [usize; SERVICES],
    options: Vec<OptionRules>,
    /// Pods needed, [`TABLE_USERS`] entries an option.
    needed: Vec<u16>,
    /// Most pods that grow softly at once.
    growth_limit: [u32; SERVICES],
    quota_m: u64,
    shrink_quota_m: u64,
    /// Services that the shrink test adds up.
    shrink_services: usize,
    corrections: Corrections,
    reset: PaperState,
    /// Whether a reset takes its users from the trace, by service.
    users_from_trace: [bool; SERVICES],
    reset_latency_entries: [i32; SERVICES],
    last_step: u32,
    /// The step that ends a trace too short to be truncated.
    end_step: u32,
    rows: usize,
    scale: f64,
}

impl PaperRules {
    /// Options of each service.
    pub fn option_counts(&self) -> [usize; SERVICES] {
        self.counts
    }

    /// Number of joint actions.
    pub fn joint_actions(&self) -> usize {
        self.counts.iter().product()
    }

    /// Index of `action` among the joint actions, the last service varying fastest.
    pub fn joint_index(&self, action: Action) -> usize {
        let [a, b, c] = action.map(usize::from);
        (a * self.counts[1] + b) * self.counts[2] + c
    }

    /// The joint action of index `joint`.
    pub fn joint_action(&self, joint: usize) -> Action {
        let [_, second, third] = self.counts;
        [(joint / (second * third)) as u16, (joint / third % second) as u16, (joint % third) as u16]
    }

    /// Whether `action` names an option of each service.
    pub fn is_valid(&self, action: Action) -> bool {
        action.iter().zip(self.counts).all(|(&option, count)| usize::from(option) < count)
    }

    /// Rows of the traffic that these rules were made for.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Steps of an episode.
    pub fn steps(&self) -> usize {
        self.end_step.min(self.last_step) as usize
    }

    /// CPU quota, millicores.
    pub fn quota_m(&self) -> u64 {
        self.quota_m
    }

    /// Pods that `users` of `service` need under `option`.
    pub fn pods_needed(&self, service: usize, option: u16, users: u32) -> u32 {
        self.need(service, option, users).pods
    }

    /// CPU of a pod of `option` of `service`, millicores.
    pub fn pod_cpu_m(&self, service: usize, option: u16) -> u64 {
        self.option(service, option).cpu_m
    }

    /// The corrections in force.
    pub fn corrections(&self) -> Corrections {
        self.corrections
    }

    /// `reward` times the scenario's `reward.scale`, as results report it and learners see it.
    pub fn scaled(&self, reward: f64) -> f64 {
        // A scale of 0 silences even an infinite reward.
        if self.scale == 0.0 { 0.0 } else { reward * self.scale }
    }

    /// Whether the p95 of `option` is above the SLO of `service`.
    pub fn violates_slo(&self, service: usize, option: u16) -> bool {
        self.option(service, option).violates_slo
    }

    /// The state at the start of an episode whose trace begins with `first_row`.
    pub fn reset(&self, first_row: [u32; SERVICES]) -> PaperState {
        let mut state = self.reset;
        for (service, users) in first_row.into_iter().enumerate() {
            if self.users_from_trace[service] {
                state.users[service] = users;
            }
        }
        state
    }

    /// One step. `next_users` is the row of the trace with the index of the step (counted from 1); a
    /// truncating step does not read it.
    ///
    /// # Panics
    /// When `action` is not [valid](Self::is_valid).
    #[inline]
    pub fn step(
        &self,
        state: &mut PaperState,
        action: Action,
        next_users: [u32; SERVICES],
    ) -> StepResult {
        let last = self.is_last(state);
        let (shares, reward) = self.transition(state, action, last);
        state.step += 1;
        state.pods = shares.map(|share| share.pods);
        if !last || self.corrections.final_step_like_others {
            state.cpu_m = shares.map(|share| share.cpu_m);
            state.options = action;
        }
        if !last {
            state.users = next_users;
        }
        StepResult {
            reward,
            cpu_m: shares[0].cpu_m + shares[1].cpu_m + shares[2].cpu_m,
            terminated: state.step == self.end_step,
            truncated: last,
        }
    }

    /// Whether the next step of `state` truncates the episode.
    pub fn is_last(&self, state: &PaperState) -> bool {
        state.step + 1 >= self.last_step
    }

    /// The observation: CPU held in % of the quota, p95 of the option in force in % of the SLO, and
    /// users of the next step, for each service.
    pub fn observation(&self, state: &PaperState) -> [i64; OBSERVATION] {
        let mut observation = [0; OBSERVATION];
        for service in 0..SERVICES {
            let [cpu, latency, users] = self.entries(state, service);
            observation[3 * service] = i64::from(cpu);
            observation[3 * service + 1] = i64::from(latency);
            observation[3 * service + 2] = i64::from(users);
        }
        observation
    }

    /// The observation as numbers that a network takes, into `out` (nine entries).
    #[inline]
    pub fn observe_into(&self, state: &PaperState, out: &mut [f32]) {
        for (service, out) in out.chunks_exact_mut(3).enumerate().take(SERVICES) {
            let [cpu, latency, users] = self.entries(state, service);
            out[0] = cpu as f32;
            out[1] = latency as f32;
            out[2] = users as f32;
        }
    }

    #[inline]
    fn entries(&self, state: &PaperState, service: usize) -> [i32; 3] {
        // Division first, as in the original; the quotient of millicores is that of cores.
        let percent = state.cpu_m[service] as f64 / self.quota_m as f64 * 100.0;
        let latency = if state.step == 0 {
            self.reset_latency_entries[service]
        } else {
            self.option(service, state.options[service]).latency_entry
        };
        let users = state.users[service];
        let users =
            if self.corrections.clamp_observed_users { users.min(OBSERVED_USERS) } else { users };
        [percent.min(100.0) as i32, latency, users as i32]
    }

    /// What each service gets and what that earns.
    #[inline]
    pub(super) fn transition(
        &self,
        state: &PaperState,
        action: Action,
        last: bool,
    ) -> ([Share; SERVICES], f64) {
        let mut needs = [Need::default(); SERVICES];
        let mut same = [false; SERVICES];
        let mut decreasing = [false; SERVICES];
        for service in 0..SERVICES {
            needs[service] = self.need(service, action[service], state.users[service]);
            same[service] = action[service] == state.options[service];
            decreasing[service] = same[service] && needs[service].pods < state.pods[service];
        }
        let shrink = self.shrinks(decreasing, state.cpu_m, needs.map(|need| need.whole_m));
        let mut shares = [Share::default(); SERVICES];
        let mut cpu_m = 0;
        let mut overlap_m = 0;
        for service in 0..SERVICES {
            let share = if same[service] {
                self.hold(
                    service,
                    action[service],
                    needs[service],
                    state.pods[service],
                    state.cpu_m[service],
                    shrink,
                )
            } else {
                Self::renew(needs[service])
            };
            cpu_m += share.cpu_m;
            overlap_m += state.cpu_m[service] + share.added_m;
            shares[service] = share;
        }
        let single = shares[0].single && shares[1].single && shares[2].single;
        let fits = !last_rule(self, last) && overlap_m <= self.quota_m;
        (shares, self.reward(self.slo_ratios(action), cpu_m, fits, single))
    }

    /// Sum of SLO / p95 over the services, in the original's order.
    #[inline]
    pub(super) fn slo_ratios(&self, action: Action) -> f64 {
        let ratio = |service: usize| self.option(service, action[service]).slo_ratio;
        (ratio(0) + ratio(1)) + ratio(2)
    }

    /// The reward of a decision of `cpu_m` in all; `fits`: old and new pods fit the quota together.
    #[inline]
    pub(super) fn reward(&self, slo_ratios: f64, cpu_m: u64, fits: bool, single: bool) -> f64 {
        // 9 quotas over the CPU; without any CPU this is infinite, as in the original.
        let mut usage = (9 * self.quota_m) as f64 / cpu_m as f64;
        if self.corrections.numpy2_promotion && single {
            usage = f64::from(usage as f32);
        }
        let factor = if fits { FITTING_FACTOR } else { OVERLAPPING_FACTOR };
        let reward = factor * (slo_ratios + usage);
        if cpu_m > self.quota_m { OVER_QUOTA_REWARD } else { reward }
    }

    /// [`Self::reward`] without single precision, for many decisions; `fits_counts`: old and new pods
    /// that fit together are rewarded.
    pub(super) fn usual_rewards(&self, fits_counts: bool) -> UsualRewards {
        UsualRewards {
            quota_m: self.quota_m as f64,
            nine_quotas_m: (9 * self.quota_m) as f64,
            fitting: if fits_counts { FITTING_FACTOR } else { OVERLAPPING_FACTOR },
        }
    }

    /// Whether the truncating step's own reward rule holds in it.
    pub(super) fn last_step_differs(&self) -> bool {
        !self.corrections.final_step_like_others
    }

    /// What `users` of `service` need under `option`.
    #[inline]
    pub(super) fn need(&self, service: usize, option: u16, users: u32) -> Need {
        let row = self.first[service] + usize::from(option);
        let rules = &self.options[row];
        let pods = if (users as usize) < TABLE_USERS {
            u32::from(self.needed[row * TABLE_USERS + users as usize])
        } else {
            self.compute_pods(rules.concurrency, users)
        };
        let full_m = u64::from(pods) * rules.cpu_m;
        let whole_m = if self.corrections.exact_cpu_arithmetic {
            full_m
        } else {
            // The original stores this CPU in an array of integers, in cores.
            full_m / 1000 * 1000
        };
        Need { pods, full_m, whole_m }
    }

    fn compute_pods(&self, concurrency: u32, users: u32) -> u32 {
        PodFormula::new(&self.corrections).pods(f64::from(users), concurrency)
    }

    /// The one decision for all services whether those with too many pods are made anew.
    #[inline]
    pub(super) fn shrinks(
        &self,
        decreasing: [bool; SERVICES],
        held_m: [u64; SERVICES],
        whole_m: [u64; SERVICES],
    ) -> bool {
        let mut kept_m = 0;
        for service in 0..self.shrink_services {
            kept_m += if decreasing[service] { held_m[service] } else { whole_m[service] };
        }
        let all_m: u64 = whole_m.iter().sum();
        (decreasing[0] | decreasing[1] | decreasing[2])
            & (all_m <= self.shrink_quota_m)
            & (kept_m > self.shrink_quota_m)
    }

    /// A service that keeps its option, with `pods` pods and `cpu_m` CPU before.
    #[inline]
    pub(super) fn hold(
        &self,
        service: usize,
        option: u16,
        need: Need,
        pods: u32,
        cpu_m: u64,
        shrink: bool,
    ) -> Share {
        let rules = self.option(service, option);
        if need.pods > pods {
            let grown = need.pods - pods;
            if rules.soft && grown <= self.growth_limit[service] {
                let added_m = u64::from(grown) * rules.cpu_m;
                return Share { pods: need.pods, cpu_m: cpu_m + added_m, added_m, single: false };
            }
            return Self::renew(need);
        }
        if need.pods < pods && shrink {
            return Self::renew(need);
        }
        // Enough pods, or too many: those are kept rather than made anew.
        let single = need.pods < pods || !rules.promotes_unchanged;
        Share { pods, cpu_m, added_m: 0, single }
    }

    /// A service whose pods are all made anew.
    #[inline]
    pub(super) fn renew(need: Need) -> Share {
        Share { pods: need.pods, cpu_m: need.full_m, added_m: need.full_m, single: false }
    }

    #[inline]
    pub(super) fn option(&self, service: usize, option: u16) -> &OptionRules {
        &self.options[self.first[service] + usize::from(option)]
    }
}

/// Rewards of many decisions in one state, in f64 throughout: millicores are whole numbers, so nothing
/// is rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsualRewards {
    quota_m: f64,
    nine_quotas_m: f64,
    fitting: f64,
}

impl UsualRewards {
    /// The reward of a decision of `cpu_m` in all, whose old and new pods together take `overlap_m`.
    #[inline(always)]
    pub fn of(&self, slo_ratios: f64, cpu_m: f64, overlap_m: f64) -> f64 {
        let factor = if overlap_m <= self.quota_m { self.fitting } else { OVERLAPPING_FACTOR };
        let reward = factor * (slo_ratios + self.nine_quotas_m / cpu_m);
        if cpu_m > self.quota_m { OVER_QUOTA_REWARD } else { reward }
    }
}

#[inline]
fn last_rule(rules: &PaperRules, last: bool) -> bool {
    last && rules.last_step_differs()
}
