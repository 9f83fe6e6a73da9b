//! The autoscaler of one revision inside the simulator: when it decides, and when it has settled.

use super::kpa::{Autoscaler, PaState, Scaler, TICK_S};
use crate::scenario::kpa::{Aggregation, KpaConfig};
use crate::snapshot::ServiceDecision;

/// Knative's autoscaler and scaler for one revision.
#[derive(Clone, Debug)]
pub(super) struct RevisionScaler {
    autoscaler: Autoscaler,
    scaler: Scaler,
    created_s: u32,
    min_scale: u32,
    stable_window_s: u32,
    has_delay: bool,
    excess_burst_capacity: i32,
    in_panic: bool,
    /// The value recorded last, and the first of the seconds in a row that had it.
    value: f64,
    value_since_s: u32,
    /// Second of the last record; records stop while there is no pod and no request.
    last_record_s: Option<u32>,
    /// Whether nothing was recorded before `value_since_s`, and the average of a window that is not
    /// full yet is that of its covered part.
    only_value: bool,
    /// Ready pods and replicas at the last decision, if that saw nothing but the present value.
    saw: Option<(u32, u32)>,
    /// The same, if the decision before was made with the same: the scaler has taken it in.
    settled_with: Option<(u32, u32)>,
}

impl RevisionScaler {
    /// The autoscaler of a revision created at `now`, of which `ready_pods` are ready at once.
    pub fn new(
        kpa: &KpaConfig,
        decision: &ServiceDecision,
        min_scale: u32,
        now: u32,
        ready_pods: u32,
    ) -> Self {
        let config = kpa.for_revision(f64::from(decision.concurrency), min_scale, decision.pods);
        let mut scaler = Self {
            // Rule 4: no panic at the start, whatever is ready.
            autoscaler: Autoscaler::new(&config, i64::from(now), ready_pods, false),
            scaler: Scaler::new(&config, i64::from(now), decision.pods, PaState::Activating),
            created_s: now,
            min_scale,
            stable_window_s: 0,
            has_delay: false,
            excess_burst_capacity: 0,
            in_panic: false,
            value: 0.0,
            value_since_s: now,
            last_record_s: None,
            only_value: true,
            saw: None,
            settled_with: None,
        };
        scaler.begin(&config, decision, min_scale, now, ready_pods);
        scaler
    }

    /// As [`Self::new`], in place and without allocating.
    pub fn restart(
        &mut self,
        kpa: &KpaConfig,
        decision: &ServiceDecision,
        min_scale: u32,
        now: u32,
        ready_pods: u32,
    ) {
        let config = kpa.for_revision(f64::from(decision.concurrency), min_scale, decision.pods);
        self.autoscaler.reset(&config, i64::from(now), ready_pods, false);
        self.begin(&config, decision, min_scale, now, ready_pods);
    }

    fn begin(
        &mut self,
        config: &KpaConfig,
        decision: &ServiceDecision,
        min_scale: u32,
        now: u32,
        ready_pods: u32,
    ) {
        let state = if ready_pods > 0 { PaState::Active } else { PaState::Activating };
        self.scaler = Scaler::new(config, i64::from(now), decision.pods, state);
        self.created_s = now;
        self.min_scale = min_scale;
        self.stable_window_s = config.stable_window_s;
        self.has_delay = config.scale_down_delay_s > 0;
        self.excess_burst_capacity =
            (f64::from(decision.pods) * config.total - config.target_burst_capacity) as i32;
        self.in_panic = false;
        self.value = 0.0;
        self.value_since_s = now;
        self.last_record_s = None;
        self.only_value = config.aggregation == Aggregation::Linear;
        self.unsettle();
    }

    pub fn set_min_scale(&mut self, min_scale: u32) {
        self.min_scale = min_scale;
        self.scaler.set_min_scale(min_scale);
        self.unsettle();
    }

    fn unsettle(&mut self) {
        self.saw = None;
        self.settled_with = None;
    }

    /// Records `value` for each of `seconds` seconds, the first reported at `at`.
    pub fn record(&mut self, at: u32, seconds: u32, value: f64) {
        match self.last_record_s {
            None => {
                self.value = value;
                self.value_since_s = at;
                self.unsettle();
            }
            Some(last) if value != self.value || last + 1 != at => {
                self.value = value;
                self.value_since_s = at;
                self.only_value = false;
                self.unsettle();
            }
            Some(_) => {}
        }
        self.last_record_s = Some(at + seconds - 1);
        if seconds == 1 {
            self.autoscaler.record(i64::from(at), value);
        } else {
            self.autoscaler.record_run(i64::from(at), seconds, value);
        }
    }

    /// The replicas wanted from `now` on, where there is something to decide: every second tick since
    /// the creation of the autoscaler (rule 3), or at once when woken by a request.
    pub fn evaluate(&mut self, now: u32, ready_pods: u32, replicas: u32) -> Option<u32> {
        self.scaler.note_ready(ready_pods);
        let age = i64::from(now - self.created_s);
        let due = age > 0 && age % TICK_S == 0;
        let poked = self.last_record_s == Some(now) && self.autoscaler.is_poked_by(self.value);
        if due || poked {
            let evaluation = self.autoscaler.decide(i64::from(now), ready_pods);
            self.in_panic = evaluation.in_panic;
            if evaluation.valid {
                self.excess_burst_capacity = evaluation.excess_burst_capacity;
            }
            let saw_one_value = self.last_record_s.is_none()
                || self.only_value
                || now - self.value_since_s + 1 >= self.stable_window_s;
            let saw = saw_one_value.then_some((ready_pods, replicas));
            self.settled_with = saw.filter(|_| saw == self.saw);
            self.saw = saw;
        } else if self.min_scale > 0 {
            // Nothing but a decision moves a revision that may not go to zero.
            return None;
        }
        Some(self.scaler.reconcile(
            i64::from(now),
            self.autoscaler.desired(),
            self.excess_burst_capacity,
            ready_pods,
        ))
    }

    /// Whether it would decide what it decided last for as long as nothing changes.
    pub fn is_settled(&self, now: u32, ready_pods: u32, replicas: u32) -> bool {
        if self.in_panic || self.has_delay || self.min_scale == 0 {
            return false;
        }
        // Where records have stopped, the average still moves.
        let recording = self.last_record_s.is_none_or(|last| last == now);
        recording && self.settled_with == Some((ready_pods, replicas))
    }
}
