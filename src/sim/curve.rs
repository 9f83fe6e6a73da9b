//! Latency curves: the p95 of a pod by its CPU size and its load.
//!
//! The curve of a CPU size goes through all profile points of that size, whichever option is
//! chosen (rule 12). Latencies of single requests are log-normal with that p95 and one ratio of
//! p95 to mean (rule 13).

use super::lognormal::{Z95, normal_cdf, shape};
use crate::scenario::Profile;

/// Loads up to this are looked up, larger ones computed.
const TABLE_LOADS: u32 = 1024;

/// The p95 by load of a pod with one CPU size.
#[derive(Clone, Debug)]
pub struct Curve {
    /// CPU of the pod, millicores.
    pub cpu_m: u64,
    /// (concurrency, p95 ms), rising in concurrency.
    points: Vec<(f64, f64)>,
    slo_ms: f64,
    ratio: f64,
    shape: f64,
    table: Vec<Load>,
}

/// A pod under a load of k requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Completed requests per second: k / mean latency.
    pub rate: f64,
    /// Mean latency, ms.
    pub mean_ms: f64,
    /// Mean of the logarithm of the latency in ms.
    pub mu: f64,
    /// Share of requests over the SLO.
    pub over_slo: f64,
}

impl Curve {
    /// One curve for each CPU size of `profile`, in rising order of CPU. `ratio` is p95 / mean.
    pub fn of_profile(profile: &Profile, slo_ms: f64, ratio: f64) -> Vec<Self> {
        let mut sizes: Vec<u64> = profile.options.iter().map(|option| option.cpu.0).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
            .into_iter()
            .map(|cpu_m| {
                let mut points: Vec<(f64, f64)> = profile
                    .options
                    .iter()
                    .filter(|option| option.cpu.0 == cpu_m)
                    .map(|option| (f64::from(option.concurrency), option.p95_ms))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                Self::new(cpu_m, points, slo_ms, ratio)
            })
            .collect()
    }

    fn new(cpu_m: u64, points: Vec<(f64, f64)>, slo_ms: f64, ratio: f64) -> Self {
        let mut curve =
            Self { cpu_m, points, slo_ms, ratio, shape: shape(ratio), table: Vec::new() };
        curve.table = (0..TABLE_LOADS).map(|load| curve.compute(load)).collect();
        curve
    }

    /// p95 latency of a pod that holds `load` requests, ms; `load` is at least 1.
    pub fn p95_ms(&self, load: u32) -> f64 {
        let k = f64::from(load);
        let (first, last) = (self.points[0], self.points[self.points.len() - 1]);
        if k <= first.0 {
            return first.1 * k / first.0;
        }
        if k >= last.0 {
            let proportional = last.1 * k / last.0;
            let Some(before) = self.points.len().checked_sub(2).map(|index| self.points[index])
            else {
                return proportional;
            };
            let slope = (last.1 - before.1) / (last.0 - before.0);
            return (last.1 + slope * (k - last.0)).max(proportional);
        }
        let upper = self.points.partition_point(|point| point.0 < k);
        let (a, b) = (self.points[upper - 1], self.points[upper]);
        a.1 + (b.1 - a.1) * (k - a.0) / (b.0 - a.0)
    }

    fn compute(&self, load: u32) -> Load {
        if load == 0 {
            return Load::default();
        }
        let p95_ms = self.p95_ms(load);
        let mean_ms = p95_ms / self.ratio;
        let mu = p95_ms.ln() - Z95 * self.shape;
        Load {
            rate: f64::from(load) / mean_ms * 1000.0,
            mean_ms,
            mu,
            over_slo: 1.0 - normal_cdf((self.slo_ms.ln() - mu) / self.shape),
        }
    }

    /// What a pod does under `load` requests; nothing under 0.
    pub fn load(&self, load: u32) -> Load {
        match self.table.get(load as usize) {
            Some(entry) => *entry,
            None => self.compute(load),
        }
    }
}

/// How `users` requests spread over `pods` pods (rule 7): `heavy` pods hold `light_load` + 1 each,
/// the other `light` hold `light_load`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Pods with one request more.
    pub heavy: u32,
    /// Pods with the lower load (possibly 0).
    pub light: u32,
    /// The lower load.
    pub light_load: u32,
}

impl Spread {
    /// Integer loads; `pods` is at least 1.
    pub fn new(users: u32, pods: u32) -> Self {
        let light_load = users / pods;
        let heavy = users - light_load * pods;
        Self { heavy, light: pods - heavy, light_load }
    }

    /// Completed requests per second of the heavy and of the light pods, all together.
    pub fn rates(&self, curve: &Curve) -> (f64, f64) {
        (
            f64::from(self.heavy) * curve.load(self.light_load + 1).rate,
            f64::from(self.light) * curve.load(self.light_load).rate,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve::new(1000, points.to_vec(), 1200.0, 1.6)
    }

    #[test]
    fn rule_12_the_curve_is_linear_between_points_and_extends_beyond_them() {
        let two = curve(&[(10.0, 500.0), (20.0, 900.0)]);
        assert_eq!(two.p95_ms(1), 50.0);
        assert_eq!(two.p95_ms(10), 500.0);
        assert_eq!(two.p95_ms(15), 700.0);
        // Slope 40 a request gives 1300 at 30, proportion 1350.
        assert_eq!(two.p95_ms(30), 1350.0);
        let flat = curve(&[(20.0, 530.0), (30.0, 530.0), (40.0, 990.0)]);
        assert_eq!(flat.p95_ms(25), 530.0);
        assert_eq!(flat.p95_ms(60), 990.0 + 46.0 * 20.0);
        let single = curve(&[(10.0, 900.0)]);
        assert_eq!(single.p95_ms(5), 450.0);
        assert_eq!(single.p95_ms(20), 1800.0);
    }

    #[test]
    fn rule_13_mean_and_share_over_the_slo_follow_from_the_p95() {
        let curve = curve(&[(10.0, 1200.0)]);
        let load = curve.load(10);
        assert!((load.mean_ms - 750.0).abs() < 1e-12);
        assert!((load.rate - 10.0 / 0.75).abs() < 1e-12);
        // At a p95 equal to the SLO exactly one request in twenty is over it.
        assert!((load.over_slo - 0.05).abs() < 1e-9, "{}", load.over_slo);
        assert_eq!(curve.load(TABLE_LOADS + 5), curve.compute(TABLE_LOADS + 5));
    }

    #[test]
    fn rule_7_loads_are_integers_and_add_up() {
        assert_eq!(Spread::new(7, 3), Spread { heavy: 1, light: 2, light_load: 2 });
        assert_eq!(Spread::new(2, 5), Spread { heavy: 2, light: 3, light_load: 0 });
        let curve = curve(&[(10.0, 500.0)]);
        let (heavy, light) = Spread::new(2, 5).rates(&curve);
        assert_eq!((heavy, light), (2.0 * curve.load(1).rate, 0.0));
    }
}
