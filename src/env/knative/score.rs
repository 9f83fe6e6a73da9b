//! Candidates of one decision on `knative`, scored in closed form (rule 31): steady latency at the
//! forecast users, CPU after the roll-out, and the overlap of old and new pods over the expected
//! roll-out time. Nothing is simulated.

use std::sync::Arc;

use statrs::distribution::{ContinuousCDF, Normal};

use crate::env::StageReward;
use crate::scenario::spec::{OperatorKind, OperatorRule, RewardKind};
use crate::scenario::{Scenario, pods};
use crate::sim::{Model, Spread};
use crate::snapshot::{RevisionSnapshot, ServiceDecision, ServiceSnapshot};

/// Scores joint decisions.
#[derive(Clone, Debug)]
pub struct Scorer {
    model: Arc<Model>,
    reward: StageReward,
    /// From the decision to the start of the stage it is made for, seconds.
    lead_s: f64,
    /// Length of that stage, seconds.
    stage_s: f64,
}

/// What one service's part of a decision would do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The part of the decision.
    pub decision: ServiceDecision,
    /// CPU of the service once the roll-out is over, cores.
    pub cores: f64,
    /// CPU of old pods that stays until `old_until_s`, cores.
    pub old_cores: f64,
    /// Seconds after the decision at which the old pods are gone.
    pub old_until_s: f64,
    /// Completed requests per second in the steady state.
    pub rate: f64,
    /// Those over the SLO.
    pub over_rate: f64,
    /// p95 of the option, or in the steady state, as the `paper` reward wants it, ms.
    pub p95_ms: f64,
}

/// Running sums over the services of a joint candidate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// CPU after the roll-out, cores.
    pub cores: f64,
    rate: f64,
    over_rate: f64,
}

impl Scorer {
    /// A scorer for `scenario`.
    pub fn new(scenario: &Scenario, model: Arc<Model>) -> Self {
        let interval = scenario.spec.interval_s;
        // Traffic changes with the interval; the offset says how long before.
        let lead = (interval - scenario.spec.offset_s % interval) % interval;
        Self {
            model,
            reward: StageReward::new(scenario),
            lead_s: f64::from(lead),
            stage_s: f64::from(interval),
        }
    }

    /// The candidates of service `index`: each option with the pods that `users` ask for.
    pub fn candidates(
        &self,
        index: usize,
        seen: &ServiceSnapshot,
        users: f64,
        into: &mut Vec<Candidate>,
    ) {
        let model = &self.model.services[index];
        let sim = &self.model.sim;
        into.clear();
        for (option, spec) in model.profile.options.iter().enumerate() {
            let pods = pods(users, spec.concurrency, sim.target_utilization, sim.min_pods);
            let decision = model.profile.decision(option as u32, pods);
            into.push(self.candidate(index, seen, users, decision));
        }
    }

    /// What `decision` would do for service `index` under `users`.
    pub fn candidate(
        &self,
        index: usize,
        seen: &ServiceSnapshot,
        users: f64,
        decision: ServiceDecision,
    ) -> Candidate {
        let model = &self.model.services[index];
        let newest = &seen.newest;
        let alive = seen.ready_pods + seen.starting_pods + seen.pending_pods;
        let same_option =
            (newest.cpu_m, newest.concurrency) == (decision.cpu_m, decision.concurrency);
        let in_place = same_option
            && !seen.rolling_out
            && (newest.pods == decision.pods
                || self.model.operator.rule == OperatorRule::OptionChange);
        let cpu_cores = decision.cpu_m as f64 / 1000.0;
        // Pods that the autoscaler has added stay with their revision.
        let pods = if in_place { decision.pods.max(alive) } else { decision.pods };
        let (old_cores, old_until_s) = if in_place {
            (0.0, 0.0)
        } else {
            (seen.cpu_m as f64 / 1000.0, self.roll_out_s(index, decision.pods))
        };
        let curve = model.curve_of(decision.cpu_m).map(|curve| &model.curves[curve]);
        let users = users.round().max(0.0) as u32;
        let (mut rate, mut over_rate, mut load) = (0.0, 0.0, 1);
        if let Some(curve) = curve.filter(|_| pods > 0) {
            let spread = Spread::new(users, pods);
            let (heavy, light) = spread.rates(curve);
            rate = heavy + light;
            over_rate = heavy * curve.load(spread.light_load + 1).over_slo
                + light * curve.load(spread.light_load).over_slo;
            load = if spread.heavy > 0 { spread.light_load + 1 } else { spread.light_load }.max(1);
        }
        let p95_ms = match (decision.option, self.reward.stated_latency(), curve) {
            (Some(option), true, _) => model.profile.options[option as usize].p95_ms,
            (_, _, Some(curve)) => curve.p95_ms(load),
            _ => f64::INFINITY,
        };
        Candidate {
            decision: ServiceDecision { pods: decision.pods, ..decision },
            cores: f64::from(pods) * cpu_cores,
            old_cores,
            old_until_s,
            rate,
            over_rate,
            p95_ms,
        }
    }

    /// What becomes of service `index` if it is left alone: its autoscaler follows the users.
    pub fn held(&self, index: usize, seen: &ServiceSnapshot, users: f64) -> Candidate {
        let newest = &seen.newest;
        let needed = match (&self.model.kpa, newest.concurrency) {
            (Some(kpa), concurrency) if concurrency > 0 => {
                pods(users, concurrency, kpa.utilization, newest.pods)
            }
            _ => newest.pods,
        };
        let decision = ServiceDecision {
            option: newest.option,
            cpu_m: newest.cpu_m,
            concurrency: newest.concurrency,
            pods: needed,
        };
        let as_newest = RevisionSnapshot { pods: needed, ..*newest };
        let settled = ServiceSnapshot {
            newest: as_newest,
            ready_pods: needed,
            starting_pods: 0,
            pending_pods: 0,
            ..*seen
        };
        self.candidate(index, &settled, users, decision)
    }

    /// Seconds from the decision until the old pods are gone: the slowest of `pods` cold starts at
    /// its median rank (Blom's approximation), the operator's delay, the termination.
    fn roll_out_s(&self, index: usize, pods: u32) -> f64 {
        let model = &self.model.services[index];
        let n = f64::from(pods.max(1));
        let slowest = if model.cold_start_sigma == 0.0 {
            model.cold_start_mean_s
        } else {
            let z = Normal::standard().inverse_cdf((n - 0.375) / (n + 0.25));
            (model.cold_start_mu + model.cold_start_sigma * z).exp()
        };
        let operator = &self.model.operator;
        let (delay, gone) = match operator.kind {
            OperatorKind::Ideal => (operator.delay_s, operator.termination_s),
            OperatorKind::Graceful => (operator.delay_s, self.model.sim.pod_drain_s),
            OperatorKind::Published => {
                (f64::from(operator.published_delay_s), operator.termination_s)
            }
        };
        slowest + delay + gone
    }

    /// Adds a service's candidate to the sums.
    pub fn add(&self, sums: Sums, candidate: &Candidate) -> Sums {
        Sums {
            cores: sums.cores + candidate.cores,
            rate: sums.rate + candidate.rate,
            over_rate: sums.over_rate + candidate.over_rate,
        }
    }

    /// The reward expected of a joint candidate, less `price` for each core held afterwards.
    /// `joint` names the candidates whose sums are `sums`.
    pub fn score<'a>(
        &self,
        sums: &Sums,
        joint: impl Iterator<Item = &'a Candidate> + Clone,
        price: f64,
    ) -> f64 {
        let quota = self.reward.quota_cores();
        let (mut over, mut used) = (0.0, sums.cores * self.stage_s);
        over += (sums.cores - quota).max(0.0) * self.stage_s;
        // Old pods leave one after the other; between two departures the overlap is constant.
        let mut begin = self.lead_s;
        loop {
            let next = joint
                .clone()
                .map(|candidate| candidate.old_until_s)
                .filter(|&until| until > begin)
                .fold(f64::INFINITY, f64::min)
                .min(self.lead_s + self.stage_s);
            let old: f64 = joint
                .clone()
                .filter(|candidate| candidate.old_until_s > begin)
                .map(|candidate| candidate.old_cores)
                .sum();
            if old <= 0.0 || next <= begin {
                break;
            }
            let seconds = next - begin;
            used += old * seconds;
            over += ((sums.cores + old - quota).max(0.0) - (sums.cores - quota).max(0.0)) * seconds;
            begin = next;
        }
        let reward = match self.reward.kind() {
            RewardKind::Slo => {
                let share = if sums.rate > 0.0 { sums.over_rate / sums.rate } else { 0.0 };
                let whole = quota * self.stage_s;
                self.reward.slo_from(share, over / whole, used / whole)
            }
            RewardKind::Paper => self.reward.paper_from(
                joint.map(|candidate| candidate.p95_ms),
                sums.cores,
                over > 0.0,
            ),
        };
        self.reward.scale() * reward - price * sums.cores
    }
}
