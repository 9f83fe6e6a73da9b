//! From one value a second to desired pods.

use super::window::{ceil, floor};
use super::{DelayWindow, Window, smoothing_coefficient, weighted_average};
use crate::scenario::kpa::{Aggregation, KpaConfig};

/// Not in panic.
const CALM_S: i64 = i64::MIN;

/// What an evaluation saw and what is in force after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Whether there was data. Without, nothing changed and the last decision stays in force.
    pub valid: bool,
    /// The stable window's value; 0 without data.
    pub stable: f64,
    /// The panic window's value; 0 without data.
    pub panic: f64,
    /// Desired pods, not yet within min- and max-scale; `None` as long as no decision was valid.
    pub desired: Option<u32>,
    /// Requests that the ready pods could take beyond the present ones and the reserve; below 0 the
    /// activator belongs in the path.
    pub excess_burst_capacity: i32,
    /// Whether it is in panic.
    pub in_panic: bool,
    /// The most pods desired in the present panic.
    pub max_panic_pods: u32,
}

/// The autoscaler of one revision.
///
/// ```
/// use quotascale::scenario::KpaConfig;
/// use quotascale::sim::kpa::Autoscaler;
///
/// let config = KpaConfig::default().for_revision(10.0, 1, 1);
/// let mut autoscaler = Autoscaler::new(&config, 0, 1, false);
/// for t_s in 0..=2 {
///     autoscaler.record(t_s, 15.0);
/// }
/// // 15 requests at 7 to a pod.
/// assert_eq!(autoscaler.decide(2, 1).desired, Some(3));
/// ```
#[derive(Clone, Debug)]
pub struct Autoscaler {
    stable: Window,
    panic: Window,
    /// Coefficients of the two windows where weights fall exponentially.
    weights: Option<(f64, f64)>,
    target_value: f64,
    total: f64,
    panic_threshold: f64,
    max_scale_up_rate: f64,
    /// 0 where there is no limit on the way down.
    max_scale_down_rate: f64,
    target_burst_capacity: f64,
    activation_scale: f64,
    delay: Option<DelayWindow>,
    panic_since_s: i64,
    max_panic_pods: u32,
    desired: Option<u32>,
    excess_burst_capacity: i32,
}

impl Autoscaler {
    /// An autoscaler without history.
    ///
    /// With `panic_at_start` it behaves as one that is restarted beside `ready_pods` running pods: it
    /// starts in panic if there are more than one, and holds them for a stable window. Without, as one
    /// that is created with its revision, before any pod.
    pub fn new(config: &KpaConfig, created_s: i64, ready_pods: u32, panic_at_start: bool) -> Self {
        let mut autoscaler = Self {
            stable: Window::new(config.stable_window_s),
            panic: Window::new(config.panic_window_s),
            weights: None,
            target_value: 0.0,
            total: 0.0,
            panic_threshold: 0.0,
            max_scale_up_rate: 0.0,
            max_scale_down_rate: 0.0,
            target_burst_capacity: 0.0,
            activation_scale: 0.0,
            delay: None,
            panic_since_s: CALM_S,
            max_panic_pods: 0,
            desired: None,
            excess_burst_capacity: 0,
        };
        autoscaler.reset(config, created_s, ready_pods, panic_at_start);
        autoscaler
    }

    /// As [`Self::new`], in place: allocates only where a window's length differs or there is a
    /// scale-down delay.
    pub fn reset(
        &mut self,
        config: &KpaConfig,
        created_s: i64,
        ready_pods: u32,
        panic_at_start: bool,
    ) {
        self.stable.reset(config.stable_window_s);
        self.panic.reset(config.panic_window_s);
        self.weights = match config.aggregation {
            Aggregation::Linear => None,
            Aggregation::WeightedExponential => Some((
                smoothing_coefficient(config.stable_window_s),
                smoothing_coefficient(config.panic_window_s),
            )),
        };
        self.target_value = config.target_value();
        self.total = config.total;
        self.panic_threshold = config.panic_threshold;
        self.max_scale_up_rate = config.max_scale_up_rate;
        self.max_scale_down_rate = if config.reachable { config.max_scale_down_rate } else { 0.0 };
        self.target_burst_capacity = config.target_burst_capacity;
        self.activation_scale = f64::from(config.activation_scale);
        self.delay =
            (config.scale_down_delay_s > 0).then(|| DelayWindow::new(config.scale_down_delay_s));
        let found = if panic_at_start { ready_pods } else { 0 };
        self.panic_since_s = if found > 1 { created_s } else { CALM_S };
        self.max_panic_pods = found;
        self.desired = None;
        self.excess_burst_capacity = if self.target_burst_capacity > 0.0 {
            (f64::from(config.initial_scale) * self.total - self.target_burst_capacity) as i32
        } else {
            self.target_burst_capacity as i32
        };
    }

    /// Adds `value` (concurrency or requests of that second, over all pods) to the second `t_s`.
    #[inline]
    pub fn record(&mut self, t_s: i64, value: f64) {
        self.stable.record(t_s, value);
        self.panic.record(t_s, value);
    }

    /// Exactly as [`Self::record`] with the same value for each of `seconds` seconds from `from_s` on,
    /// at the cost of two windows' worth of records at most.
    pub fn record_run(&mut self, from_s: i64, seconds: u32, value: f64) {
        self.stable.record_run(from_s, seconds, value);
        self.panic.record_run(from_s, seconds, value);
    }

    /// Desired pods of the last valid decision.
    pub fn desired(&self) -> Option<u32> {
        self.desired
    }

    /// Whether recording `value` wakes the autoscaler for a decision out of turn: it wants no pod and
    /// there is a request.
    pub fn is_poked_by(&self, value: f64) -> bool {
        self.desired == Some(0) && value != 0.0
    }

    /// Decides at `now_s` with so many pods ready.
    pub fn decide(&mut self, now_s: i64, ready_pods: u32) -> Evaluation {
        // With unlimited burst capacity all requests pass the activator, pods are not scraped and
        // silence means zero.
        if self.stable.is_empty(now_s) && self.target_burst_capacity != -1.0 {
            return self.evaluation(false, 0.0, 0.0);
        }
        let (stable, panic) = match self.weights {
            None => (self.stable.average(now_s), self.panic.average(now_s)),
            Some((stable, panic)) => (
                weighted_average(&self.stable, now_s, stable),
                weighted_average(&self.panic, now_s, panic),
            ),
        };
        let ready = f64::from(ready_pods.max(1));
        let most = ceil(self.max_scale_up_rate * ready);
        let fewest = if self.max_scale_down_rate > 0.0 {
            floor(ready / self.max_scale_down_rate)
        } else {
            0.0
        };
        let raw_stable = ceil(stable / self.target_value);
        let raw_panic = ceil(panic / self.target_value);
        let limited = |raw: f64| {
            // The order matters: the upper limit wins, and the activation scale wins over both.
            let pods = raw.max(fewest).min(most);
            if self.activation_scale > 1.0 && raw > 0.0 {
                pods.max(self.activation_scale)
            } else {
                pods
            }
        };
        let mut desired = limited(raw_stable) as u32;
        let desired_in_panic = limited(raw_panic) as u32;

        if raw_panic / ready >= self.panic_threshold {
            self.panic_since_s = now_s;
        } else if self.panic_since_s != CALM_S && now_s - self.panic_since_s > self.stable.seconds()
        {
            self.panic_since_s = CALM_S;
            self.max_panic_pods = 0;
        }
        if self.panic_since_s != CALM_S {
            self.max_panic_pods = self.max_panic_pods.max(desired).max(desired_in_panic);
            desired = self.max_panic_pods;
        }
        if let Some(delay) = &mut self.delay {
            desired = delay.largest_with(now_s, desired);
        }
        self.desired = Some(desired);
        if self.target_burst_capacity > 0.0 {
            let capacity = f64::from(ready_pods) * self.total;
            self.excess_burst_capacity =
                floor(capacity - self.target_burst_capacity - panic) as i32;
        }
        self.evaluation(true, stable, panic)
    }

    fn evaluation(&self, valid: bool, stable: f64, panic: f64) -> Evaluation {
        Evaluation {
            valid,
            stable,
            panic,
            desired: self.desired,
            excess_burst_capacity: self.excess_burst_capacity,
            in_panic: self.panic_since_s != CALM_S,
            max_panic_pods: self.max_panic_pods,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(target: f64) -> KpaConfig {
        KpaConfig::default().for_revision(target, 0, 1)
    }

    /// Records `value` for the two seconds up to `now_s` and decides.
    fn tick(autoscaler: &mut Autoscaler, now_s: i64, value: f64, ready_pods: u32) -> Evaluation {
        autoscaler.record(now_s - 1, value);
        autoscaler.record(now_s, value);
        autoscaler.decide(now_s, ready_pods)
    }

    #[test]
    fn without_data_nothing_changes() {
        let mut autoscaler = Autoscaler::new(&config(10.0), 0, 0, true);
        let evaluation = autoscaler.decide(2, 1);
        assert_eq!((evaluation.valid, evaluation.desired), (false, None));
        assert_eq!(evaluation.excess_burst_capacity, 10 - 211);
        autoscaler.record(4, 20.0);
        assert_eq!(autoscaler.decide(4, 2).desired, Some(3));
        // A whole window of silence is still data, with an average of 0.
        let silent = autoscaler.decide(64, 4);
        assert_eq!((silent.valid, silent.desired), (true, Some(2)));
        let late = autoscaler.decide(66, 2);
        assert_eq!((late.valid, late.desired, late.stable), (false, Some(2), 0.0));
    }

    #[test]
    fn unlimited_burst_capacity_reads_silence_as_zero() {
        let config = KpaConfig { target_burst_capacity: -1.0, ..config(10.0) };
        let evaluation = Autoscaler::new(&config, 0, 4, true).decide(2, 4);
        assert!(evaluation.valid && evaluation.in_panic);
        assert_eq!((evaluation.desired, evaluation.excess_burst_capacity), (Some(4), -1));
    }

    #[test]
    fn panic_ends_at_the_tick_more_than_a_window_after_the_last_one_over_the_threshold() {
        let mut autoscaler = Autoscaler::new(&config(10.0), 0, 0, true);
        // 30 requests want 5 pods, at least twice the 2 that are ready.
        assert!(tick(&mut autoscaler, 2, 30.0, 2).in_panic);
        for now_s in (4..=62).step_by(2) {
            assert!(tick(&mut autoscaler, now_s, 30.0, 5).in_panic, "{now_s}");
        }
        let left = tick(&mut autoscaler, 64, 30.0, 5);
        assert_eq!((left.in_panic, left.max_panic_pods), (false, 0));
    }

    /// knative/serving issue 3153: while in panic nothing goes, and the tick that leaves panic drops to the stable
    /// value at once, however far below.
    #[test]
    fn knative_serving_issue_3153_leaving_panic_drops_from_the_most_panic_pods_to_the_stable_value()
    {
        let mut autoscaler = Autoscaler::new(&config(10.0), 0, 0, true);
        let spike = tick(&mut autoscaler, 2, 140.0, 1);
        assert_eq!((spike.in_panic, spike.desired), (true, Some(20)));
        for now_s in (4..=62).step_by(2) {
            let held = tick(&mut autoscaler, now_s, 7.0, 20);
            assert_eq!((held.in_panic, held.desired), (true, Some(20)), "{now_s}");
        }
        let left = tick(&mut autoscaler, 64, 7.0, 20);
        assert!(!left.in_panic);
        // Half of 20: only the rate limit softens the fall.
        assert_eq!((left.stable, left.desired), (7.0, Some(10)));
        assert_eq!(tick(&mut autoscaler, 66, 7.0, 10).desired, Some(5));
    }

    #[test]
    fn a_restarted_autoscaler_holds_the_pods_it_found() {
        let mut restarted = Autoscaler::new(&config(10.0), 0, 4, true);
        for now_s in (2..=60).step_by(2) {
            assert_eq!(tick(&mut restarted, now_s, 0.0, 4).desired, Some(4), "{now_s}");
        }
        assert_eq!(tick(&mut restarted, 62, 0.0, 4).desired, Some(2));
        let mut new = Autoscaler::new(&config(10.0), 0, 4, false);
        assert_eq!(tick(&mut new, 2, 0.0, 4).desired, Some(2));
        let one = Autoscaler::new(&config(10.0), 0, 1, true).decide(2, 1);
        assert_eq!((one.in_panic, one.max_panic_pods), (false, 1));
    }

    #[test]
    fn rates_limit_the_step_and_the_upper_limit_wins() {
        let limits = KpaConfig { max_scale_up_rate: 1.5, ..config(10.0) };
        assert_eq!(tick(&mut Autoscaler::new(&limits, 0, 0, false), 2, 1000.0, 3).desired, Some(5));
        let down = config(10.0);
        assert_eq!(tick(&mut Autoscaler::new(&down, 0, 0, false), 2, 0.0, 9).desired, Some(4));
        let unreachable = KpaConfig { reachable: false, ..down };
        assert_eq!(
            tick(&mut Autoscaler::new(&unreachable, 0, 0, false), 2, 0.0, 9).desired,
            Some(0)
        );
    }

    #[test]
    fn the_activation_scale_lifts_any_traffic_even_above_the_rate_limit() {
        let config = KpaConfig { activation_scale: 5, max_scale_up_rate: 2.0, ..config(10.0) };
        assert_eq!(tick(&mut Autoscaler::new(&config, 0, 0, false), 2, 1.0, 1).desired, Some(5));
        assert_eq!(tick(&mut Autoscaler::new(&config, 0, 0, false), 2, 0.0, 1).desired, Some(0));
        // Nothing raw is wanted: the lower rate limit alone does not lift to it.
        assert_eq!(tick(&mut Autoscaler::new(&config, 0, 0, false), 2, 0.0, 4).desired, Some(2));
    }

    #[test]
    fn boundaries_are_cut_at_six_digits() {
        let desired =
            |value| tick(&mut Autoscaler::new(&config(10.0), 0, 0, false), 2, value, 3).desired;
        assert_eq!(desired(21.0), Some(3));
        assert_eq!(desired(21.000_000_7), Some(3));
        assert_eq!(desired(21.000_002), Some(4));
    }

    #[test]
    fn excess_burst_capacity_counts_ready_pods_and_the_panic_value() {
        let mut autoscaler = Autoscaler::new(&config(10.0), 0, 0, false);
        assert_eq!(tick(&mut autoscaler, 2, 4.5, 0).excess_burst_capacity, -216);
        let none = KpaConfig { target_burst_capacity: 0.0, ..config(10.0) };
        assert_eq!(
            tick(&mut Autoscaler::new(&none, 0, 0, false), 2, 4.5, 9).excess_burst_capacity,
            0
        );
    }

    #[test]
    fn a_reset_autoscaler_behaves_as_a_new_one() {
        let delayed = KpaConfig { scale_down_delay_s: 7, ..config(20.0) };
        let mut used = Autoscaler::new(&config(10.0), 0, 5, true);
        for now_s in (2..300).step_by(2) {
            tick(&mut used, now_s, f64::from(now_s as u32 % 37), 3);
        }
        for config in [config(10.0), delayed] {
            used.reset(&config, 7, 2, true);
            let mut new = Autoscaler::new(&config, 7, 2, true);
            for now_s in (9..200).step_by(2) {
                let value = f64::from(now_s as u32 * 7 % 41);
                assert_eq!(tick(&mut used, now_s, value, 2), tick(&mut new, now_s, value, 2));
            }
        }
    }
}
