//! What requests did: stretches of equal load, and the latency distribution they make.
//!
//! Loads are integers, so the latencies of an interval are a finite mixture over (curve, load)
//! (rule 14). The tick only lengthens the present stretch; weights are summed when they are asked for.

use super::curve::{Curve, Spread};
use super::lognormal::{Component, p95_ms};

/// Ticks in a row with the same users on the same pods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    pub from: u32,
    pub ticks: u32,
    pub users: u32,
    /// Pods that serve; 0 = all users wait.
    pub pods: u32,
    pub curve: u32,
    /// Share of the completions that did not wait for a pod first.
    pub unwaited: f64,
}

impl Stretch {
    pub fn end(&self) -> u32 {
        self.from + self.ticks
    }

    /// Ticks of it within [from, to).
    fn overlap(&self, from: u32, to: u32) -> u32 {
        self.end().min(to).saturating_sub(self.from.max(from))
    }

    /// Calls `each(load, completions per second)` for its loads above 0.
    fn each_load(&self, curves: &[Curve], mut each: impl FnMut(u32, f64)) {
        if self.pods == 0 || self.users == 0 {
            return;
        }
        let spread = Spread::new(self.users, self.pods);
        let (heavy, light) = spread.rates(&curves[self.curve as usize]);
        if heavy > 0.0 {
            each(spread.light_load + 1, heavy * self.unwaited);
        }
        if light > 0.0 {
            each(spread.light_load, light * self.unwaited);
        }
    }
}

/// Completions in one tick of users who had waited for a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waited {
    pub tick: u32,
    pub completions: f64,
    pub wait_s: f64,
    pub curve: u32,
    pub load: u32,
}

/// The requests of one service over a stretch of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub completions: f64,
    pub over_slo: f64,
    /// Sum of latencies, ms.
    pub latency_ms: f64,
    pub user_seconds: f64,
    pub waiting_user_seconds: f64,
    /// Users who wait at the end.
    pub waiting_at_end: u32,
    /// (curve, load, completions without a wait).
    pub weights: Vec<(u32, u32, f64)>,
    pub waited: Vec<Waited>,
    /// Where a (curve, load) stands in `weights`, plus one; 0 = not yet.
    slots: Vec<u32>,
    /// Number of curves.
    curves: usize,
}

impl Requests {
    /// The requests within [from, to) of `stretches` and `waited`, both in the order of time.
    pub fn collect(
        stretches: &[Stretch],
        waited: &[Waited],
        (from, to): (u32, u32),
        curves: &[Curve],
        slo_ms: f64,
        shape: f64,
    ) -> Self {
        let mut requests = Self { curves: curves.len(), ..Self::default() };
        let first = stretches.partition_point(|stretch| stretch.end() <= from);
        for stretch in stretches[first..].iter().take_while(|stretch| stretch.from < to) {
            let ticks = stretch.overlap(from, to);
            let seconds = f64::from(ticks);
            requests.user_seconds += f64::from(stretch.users) * seconds;
            if stretch.pods == 0 {
                requests.waiting_user_seconds += f64::from(stretch.users) * seconds;
            }
            let curve = stretch.curve;
            stretch.each_load(curves, |load, rate| {
                requests.add_weight(curve, load, rate * seconds);
            });
            if stretch.end() >= to {
                requests.waiting_at_end = if stretch.pods == 0 { stretch.users } else { 0 };
            }
        }
        for &(curve, load, weight) in &requests.weights {
            let load = curves[curve as usize].load(load);
            requests.completions += weight;
            requests.over_slo += weight * load.over_slo;
            requests.latency_ms += weight * load.mean_ms;
        }
        let first = waited.partition_point(|piece| piece.tick < from);
        for piece in waited[first..].iter().take_while(|piece| piece.tick < to) {
            let load = curves[piece.curve as usize].load(piece.load);
            let wait_ms = piece.wait_s * 1000.0;
            let component = Component { weight: piece.completions, mu: load.mu, shift_ms: wait_ms };
            requests.completions += piece.completions;
            requests.over_slo += piece.completions * component.share_over(slo_ms, shape);
            requests.latency_ms += piece.completions * (load.mean_ms + wait_ms);
            requests.waited.push(*piece);
        }
        requests
    }

    fn add_weight(&mut self, curve: u32, load: u32, weight: f64) {
        let key = load as usize * self.curves + curve as usize;
        if key >= self.slots.len() {
            self.slots.resize(key + 1, 0);
        }
        match self.slots[key].checked_sub(1) {
            Some(slot) => self.weights[slot as usize].2 += weight,
            None => {
                self.weights.push((curve, load, weight));
                self.slots[key] = self.weights.len() as u32;
            }
        }
    }

    /// p95 latency, ms; `None` without completions. `components` is a buffer.
    pub fn p95_ms(
        &self,
        curves: &[Curve],
        shape: f64,
        components: &mut Vec<Component>,
    ) -> Option<f64> {
        components.clear();
        components.extend(self.weights.iter().map(|&(curve, load, weight)| Component {
            weight,
            mu: curves[curve as usize].load(load).mu,
            shift_ms: 0.0,
        }));
        components.extend(self.waited.iter().map(|piece| Component {
            weight: piece.completions,
            mu: curves[piece.curve as usize].load(piece.load).mu,
            shift_ms: piece.wait_s * 1000.0,
        }));
        p95_ms(components, shape)
    }

    /// Requests over the SLO, users still waiting included, and all of them (rule 30).
    pub fn violations(&self) -> (f64, f64) {
        let waiting = f64::from(self.waiting_at_end);
        (self.over_slo + waiting, self.completions + waiting)
    }

    /// Share over the SLO; `None` without requests.
    pub fn share_over_slo(&self) -> Option<f64> {
        let (over, all) = self.violations();
        (all > 0.0).then(|| over / all)
    }
}
