//! The guard: limits that hold whatever the policy says and whatever the signals say.
//!
//! A service whose load is not known keeps its last good decision: first it is left as it is, for
//! `hold_max_s` and `hold_max_failures`, then the stated fallback is asked for, never with less than
//! the last good decision gave. All of it depends on the snapshot and a [`GuardState`] alone, so that
//! simulation and live decide alike.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::intervention::{Intervention, Rule};
use super::quota::QuotaLimit;
use crate::predictor::Forecast;
use crate::scenario::spec::GuardSpec;
use crate::scenario::{Profile, Scenario, parse_options};
use crate::snapshot::{Decision, ServiceDecision, ServiceSnapshot, Snapshot};

/// Checks each decision before it takes effect.
#[derive(Clone, Debug)]
pub struct Guard {
    spec: GuardSpec,
    /// The services' names, for what is said.
    names: Vec<String>,
    profiles: Vec<Profile>,
    /// The option of each service to fall back to; `None`: hold for ever.
    fallback: Option<Vec<u32>>,
    quota: QuotaLimit,
}

/// What the guard remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardState {
    /// One entry a service.
    pub services: Vec<ServiceGuardState>,
}

/// What the guard remembers of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceGuardState {
    /// The last decision that was made with a known load.
    pub good: Option<ServiceDecision>,
    /// When that was (before any: when the first failure was), seconds as in the snapshot.
    pub since_s: Option<f64>,
    /// The last users that were believed.
    pub users: Option<f64>,
    /// Decisions since then in which the load was not known.
    pub failures: u32,
}

impl Guard {
    /// A guard with the limits of `scenario`.
    pub fn new(scenario: &Scenario) -> Self {
        let spec = &scenario.spec.guard;
        let counts: Vec<usize> =
            scenario.profiles.iter().map(|profile| profile.options.len()).collect();
        // What cannot be read was refused with the scenario.
        let fallback = spec
            .fallback
            .strip_prefix("fixed:")
            .and_then(|list| parse_options("guard.fallback", list, &counts).ok());
        Self {
            spec: spec.clone(),
            names: scenario.service_names().iter().map(|name| (*name).to_owned()).collect(),
            profiles: scenario.profiles.clone(),
            fallback,
            quota: QuotaLimit::new(scenario),
        }
    }

    /// The state before the first decision.
    pub fn start(&self) -> GuardState {
        GuardState { services: vec![ServiceGuardState::default(); self.profiles.len()] }
    }

    /// Whether `users` may be true.
    pub fn believable(&self, users: f64) -> bool {
        users.is_finite() && (0.0..=self.spec.max_users).contains(&users)
    }

    /// What the policy is shown. Users that cannot be believed are replaced by the last that could:
    /// the service is held anyway, and what the policy remembers stays finite.
    pub(super) fn show<'a>(&self, snapshot: &'a Snapshot, state: &GuardState) -> Cow<'a, Snapshot> {
        if snapshot.services.iter().all(|service| self.believable(service.users)) {
            return Cow::Borrowed(snapshot);
        }
        let mut shown = snapshot.clone();
        for (service, known) in shown.services.iter_mut().zip(&state.services) {
            if !self.believable(service.users) {
                service.users = known.users.unwrap_or(0.0);
            }
        }
        Cow::Owned(shown)
    }

    /// The forecast that the policy is shown, on the same grounds as [`Self::show`].
    pub(super) fn show_forecast<'a>(
        &self,
        forecast: &'a Forecast,
        shown: &Snapshot,
    ) -> Cow<'a, Forecast> {
        if forecast.next().iter().all(|&users| self.believable(users)) {
            return Cow::Borrowed(forecast);
        }
        let believed = |(&users, service): (&f64, &ServiceSnapshot)| {
            if self.believable(users) { users } else { service.users }
        };
        let users: Vec<f64> = forecast.next().iter().zip(&shown.services).map(believed).collect();
        let mut shown = Forecast::default();
        shown.set_known(&users);
        Cow::Owned(shown)
    }

    /// The decision within the limits. What was done is pushed to `words` and stands in the
    /// decision's reason. `forecast` holds one number a service.
    pub fn check(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        mut decision: Decision,
        state: &mut GuardState,
        words: &mut Vec<Intervention>,
    ) -> Decision {
        words.clear();
        state.services.resize_with(self.profiles.len(), ServiceGuardState::default);
        let services = decision.services.len().min(snapshot.services.len());
        for index in 0..services {
            let seen = &snapshot.services[index];
            let memory = &mut state.services[index];
            if self.believable(seen.users) {
                memory.users = Some(seen.users);
            }
            match self.load_unknown(index, seen, forecast.get(index).copied()) {
                Some(unknown) => {
                    words.push(unknown);
                    decision.services[index] =
                        self.without_load(index, snapshot.t_s, seen, memory, words);
                }
                None => {
                    memory.failures = 0;
                    self.limit(index, seen, &mut decision.services[index], words);
                }
            }
        }
        self.quota.keep(snapshot, &mut decision.services, words);
        for (index, slot) in decision.services[..services].iter().enumerate() {
            let memory = &mut state.services[index];
            if memory.failures == 0 {
                memory.good = Some(slot.unwrap_or(snapshot.services[index].newest.as_decision()));
                memory.since_s = Some(snapshot.t_s);
            }
        }
        for word in &*words {
            if !decision.reason.is_empty() {
                decision.reason.push_str("; ");
            }
            decision.reason.push_str(&word.reason(&self.names[word.service]));
        }
        decision
    }

    /// Why a service's load, or what it runs, is not known.
    fn load_unknown(
        &self,
        index: usize,
        seen: &ServiceSnapshot,
        forecast: Option<f64>,
    ) -> Option<Intervention> {
        let hold = |rule, words| Some(Intervention::hold(index, rule, words));
        if !seen.users.is_finite() {
            return hold(Rule::UsersUnknown, "users not known".to_owned());
        }
        if !self.believable(seen.users) {
            return hold(Rule::UsersAbsurd, format!("{} users not believable", seen.users));
        }
        if seen.missing {
            return hold(Rule::SignalMissing, "a signal is missing".to_owned());
        }
        if !seen.newest.is_known() {
            return hold(Rule::OptionUnknown, "option in force not known".to_owned());
        }
        match forecast.filter(|&users| !self.believable(users)) {
            Some(users) => hold(Rule::ForecastAbsurd, format!("forecast {users} not believable")),
            None => None,
        }
    }

    /// What a service gets whose load is not known: nothing new for a while, then the fallback.
    fn without_load(
        &self,
        index: usize,
        now_s: f64,
        seen: &ServiceSnapshot,
        memory: &mut ServiceGuardState,
        words: &mut Vec<Intervention>,
    ) -> Option<ServiceDecision> {
        memory.failures = memory.failures.saturating_add(1);
        let held_s = now_s - *memory.since_s.get_or_insert(now_s);
        let held_long = held_s > f64::from(self.spec.hold_max_s)
            || memory.failures > self.spec.hold_max_failures;
        if !held_long {
            return None;
        }
        let option = self.fallback.as_ref()?[index];
        let in_force = seen.newest.is_known().then(|| seen.newest.as_decision());
        let least = memory.good.or(in_force)?;
        let wanted = self.no_less_than(index, option, least);
        // A part of it could be less than the last good decision gave: all of it or nothing.
        if in_force.is_some() && self.limit_step(seen, wanted) != Some(wanted) {
            words.push(Intervention::hold(index, Rule::StepTooLarge, "fallback: step too large"));
            return None;
        }
        words.push(Intervention::change(
            index,
            Rule::Fallback,
            format!("fallback to option {option} with {} pods", wanted.pods),
        ));
        Some(wanted)
    }

    /// Option `option` with no fewer pods, no less CPU and no less concurrency than `least`.
    fn no_less_than(&self, index: usize, option: u32, least: ServiceDecision) -> ServiceDecision {
        let decision = self.profiles[index].decision(option, least.pods);
        let pods = u64::from(least.pods);
        let by_cpu = (pods * least.cpu_m).div_ceil(decision.cpu_m);
        let by_concurrency =
            (pods * u64::from(least.concurrency)).div_ceil(u64::from(decision.concurrency));
        let pods = pods.max(by_cpu).max(by_concurrency);
        ServiceDecision { pods: u32::try_from(pods).unwrap_or(u32::MAX), ..decision }
    }

    /// Keeps the CPU sizes of the profile and the limits of a step.
    fn limit(
        &self,
        index: usize,
        seen: &ServiceSnapshot,
        slot: &mut Option<ServiceDecision>,
        words: &mut Vec<Intervention>,
    ) {
        let Some(wanted) = *slot else { return };
        let sizes = &self.profiles[index].options;
        if !sizes.iter().any(|option| option.cpu.0 == wanted.cpu_m) {
            *slot = None;
            let said = format!("no option has {}m", wanted.cpu_m);
            words.push(Intervention::hold(index, Rule::NoSuchOption, said));
            return;
        }
        let limited = self.limit_step(seen, wanted);
        if limited == Some(wanted) {
            return;
        }
        words.push(match limited {
            Some(kept) => {
                let said = format!("{} pods, not {}", kept.pods, wanted.pods);
                Intervention::change(index, Rule::StepLimited, said)
            }
            None => Intervention::hold(index, Rule::StepTooLarge, "step too large"),
        });
        *slot = limited;
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
    use crate::snapshot::{QuotaSnapshot, RevisionSnapshot};

    struct Case {
        guard: Guard,
        scenario: Scenario,
        state: GuardState,
        words: Vec<Intervention>,
        snapshot: Snapshot,
    }

    impl Case {
        fn new(sets: &[&str]) -> Self {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            let scenario = Scenario::load("paper-knative", &sets).unwrap();
            let guard = Guard::new(&scenario);
            let newest =
                RevisionSnapshot { option: Some(21), cpu_m: 4000, concurrency: 60, pods: 2 };
            let service = ServiceSnapshot { users: 50.0, newest, ..ServiceSnapshot::default() };
            let mut small = service;
            small.newest = RevisionSnapshot { pods: 1, cpu_m: 500, concurrency: 10, option: None };
            let snapshot =
                Snapshot { services: vec![service, small, small], ..Snapshot::default() };
            let state = guard.start();
            Self { guard, scenario, state, words: Vec::new(), snapshot }
        }

        /// Asks for option 16 (3500m) of the first service with `pods` pods.
        fn ask(&mut self, pods: u32) -> Decision {
            let decision = Decision {
                services: vec![Some(self.scenario.profiles[0].decision(16, pods)), None, None],
                reason: "because".to_owned(),
            };
            let forecast: Vec<f64> =
                self.snapshot.services.iter().map(|service| service.users).collect();
            self.guard.check(&self.snapshot, &forecast, decision, &mut self.state, &mut self.words)
        }

        fn rules(&self) -> Vec<Rule> {
            self.words.iter().map(|word| word.rule).collect()
        }
    }

    #[test]
    fn a_wide_guard_changes_nothing() {
        let mut case = Case::new(&[]);
        let decision = case.ask(9);
        assert_eq!(decision.services[0].unwrap().pods, 9);
        assert_eq!(decision.reason, "because");
    }

    #[test]
    fn steps_are_limited_in_cpu_and_in_pods() {
        let mut case = Case::new(&["guard.max_step_cpu_m=8000", "guard.max_step_pods=3"]);
        let decision = case.ask(9);
        assert_eq!(decision.services[0].unwrap().pods, 4);
        assert_eq!(decision.reason, "because; guard: house 4 pods, not 9");
        assert_eq!(case.rules(), [Rule::StepLimited]);
    }

    #[test]
    fn each_unknown_holds_its_service_by_its_own_rule() {
        let mut case = Case::new(&["guard.max_users=1000"]);
        for (users, rule) in [
            (f64::NAN, Rule::UsersUnknown),
            (-1.0, Rule::UsersAbsurd),
            (1001.0, Rule::UsersAbsurd),
            (f64::INFINITY, Rule::UsersUnknown),
        ] {
            case.snapshot.services[0].users = users;
            assert_eq!(case.ask(3).services[0], None);
            assert_eq!(case.rules(), [rule]);
        }
        case.snapshot.services[0].users = 50.0;
        case.snapshot.services[0].missing = true;
        assert_eq!(case.ask(3).services[0], None);
        assert_eq!(case.rules(), [Rule::SignalMissing]);
        case.snapshot.services[0].missing = false;
        case.snapshot.services[0].newest = RevisionSnapshot::default();
        assert_eq!(case.ask(3).services[0], None);
        assert_eq!(case.rules(), [Rule::OptionUnknown]);
    }

    #[test]
    fn the_fallback_follows_the_hold_and_gives_no_less() {
        let mut case = Case::new(&["guard.hold_max_failures=3", "guard.fallback=\"fixed:0/6/7\""]);
        assert_eq!(case.ask(2).services[0].unwrap().pods, 2);
        case.snapshot.services[0].users = f64::NAN;
        for second in [120.0, 240.0, 360.0] {
            case.snapshot.t_s = second;
            assert_eq!(case.ask(1).services[0], None, "held");
        }
        case.snapshot.t_s = 480.0;
        // The last good decision: two pods of 3500m; option 0 has 1500m at concurrency 10.
        let good = case.scenario.profiles[0].decision(16, 2);
        let fallback = case.ask(1).services[0].unwrap();
        assert_eq!((fallback.option, fallback.cpu_m), (Some(0), 1500));
        assert!(u64::from(fallback.pods) * 1500 >= 7000);
        assert!(fallback.pods * fallback.concurrency >= good.pods * good.concurrency);
        assert_eq!(case.rules(), [Rule::UsersUnknown, Rule::Fallback]);
        case.snapshot.services[0].users = 50.0;
        assert_eq!(case.ask(1).services[0].unwrap().pods, 1, "known again: the policy decides");
        case.snapshot.services[0].users = f64::NAN;
        assert_eq!(case.ask(1).services[0], None, "held anew");
    }

    #[test]
    fn the_hold_ends_by_time_too_and_a_clock_set_back_does_not_shorten_it() {
        let mut case = Case::new(&["guard.hold_max_s=600", "guard.fallback=\"fixed:21/6/7\""]);
        case.snapshot.t_s = 10_000.0;
        case.ask(2);
        case.snapshot.services[0].users = f64::NAN;
        case.snapshot.t_s = 5000.0;
        assert_eq!(case.ask(2).services[0], None);
        case.snapshot.t_s = 10_601.0;
        assert!(case.ask(2).services[0].is_some());
        let mut never = Case::new(&["guard.hold_max_failures=0"]);
        never.snapshot.services[0].users = f64::NAN;
        never.ask(2);
        assert_eq!(never.ask(2).services[0], None, "`hold` holds for ever");
    }

    #[test]
    fn a_fallback_that_would_have_to_be_cut_is_held() {
        let sets = ["guard.hold_max_failures=0", "guard.fallback=\"fixed:0/6/7\""];
        let mut case = Case::new(&[&sets[..], &["guard.max_step_pods=3"]].concat());
        case.ask(4);
        case.snapshot.services[0].users = f64::NAN;
        assert_eq!(case.ask(1).services[0], None);
        assert_eq!(case.rules(), [Rule::UsersUnknown, Rule::StepTooLarge]);
        let mut case = Case::new(&sets);
        case.ask(4);
        case.snapshot.services[0].users = f64::NAN;
        case.snapshot.quota = Some(QuotaSnapshot { cpu_m: Some(15_000), memory_mib: None });
        assert_eq!(case.ask(1).services[0], None);
        assert_eq!(case.rules(), [Rule::UsersUnknown, Rule::Fallback, Rule::QuotaTooSmall]);
    }
}
