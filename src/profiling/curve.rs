//! The latency curve of one CPU size.
//!
//! Load tests of this kind are closed loops without think time: N users keep N requests in one pod.
//! Such a loop obeys R = N / X, and its throughput X grows with N only until the pod is saturated.
//! So the latency has two asymptotes (Denning and Buzen, "The operational analysis of queueing
//! network models", 1978): it stays at that of an unloaded pod, and from the saturation point on grows
//! by the service demand of every further user,
//!
//! ```text
//! p95(N) = max(floor, base + slope * N).
//! ```
//!
//! For an ideal processor-sharing pod `base` is 0; contention beyond the CPU (locks, caches) makes it
//! negative, batching positive. Measurements scatter in proportion to themselves and now and then one
//! is far off, so the fit is Huber's M-estimate of the relative residuals ("Robust estimation of a
//! location parameter", 1964), by iteratively reweighted least squares. The floor is fitted only where
//! it explains the points better than a line alone (by the Bayesian information criterion).

use serde::Serialize;

use super::Point;

/// Residuals beyond so many of their scales count less (95 % efficient for normal ones).
const HUBER: f64 = 1.345;
/// Median absolute deviation to standard deviation, for normal residuals.
const MAD_TO_SIGMA: f64 = 1.4826;
/// Relative scatter that no load test goes below: keeps exact points from an infinite weight.
const LEAST_SCATTER: f64 = 1e-3;
const ROUNDS: usize = 40;
/// Fewest different loads for a line, and for a floor beside it.
const LOADS_FOR_LINE: usize = 2;
const LOADS_FOR_FLOOR: usize = 4;
/// A floor is believed where it lowers the criterion by this ("strong" evidence: Raftery 1995).
const EVIDENCE: f64 = 6.0;
/// A larger error than this is worth a warning.
const LARGE_ERROR: f64 = 0.15;

/// The p95 latency of a pod of one CPU size by its load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// CPU of the pod, millicores.
    pub cpu_m: u64,
    /// Latency of an unloaded pod, ms; `None` where only the line was needed.
    pub floor_ms: Option<f64>,
    /// Where the line begins, ms.
    pub base_ms: f64,
    /// What every user adds, ms.
    pub slope_ms: f64,
    /// Points that it is fitted to.
    pub points: usize,
    /// The lowest and the highest load measured, users a pod.
    pub loads: [f64; 2],
    /// Root mean square of the relative residuals: 0.05 is 5 %.
    pub rms_error: f64,
    /// The largest relative residual.
    pub largest_error: f64,
    /// How many different loads were measured.
    pub distinct_loads: usize,
}

/// A line and the scatter about it.
#[derive(Clone, Copy)]
struct Line {
    base: f64,
    slope: f64,
}

impl Curve {
    /// Fits `points`, which are of one CPU size, rise in load and are at least one.
    ///
    /// # Panics
    /// Without points.
    pub fn fit(points: &[Point]) -> Self {
        let xy: Vec<(f64, f64)> = points.iter().map(|point| (point.users, point.p95_ms)).collect();
        let mut loads: Vec<f64> = xy.iter().map(|point| point.0).collect();
        loads.dedup();
        let line = fit_line(&xy);
        let mut best = (None, line, criterion(&xy, None, line, 2.0));
        if loads.len() >= LOADS_FOR_FLOOR {
            for &edge in &loads[1..loads.len() - 1] {
                let split = xy.partition_point(|point| point.0 <= edge);
                let (flat, rising) = xy.split_at(split);
                if distinct(rising) < LOADS_FOR_LINE || distinct(flat) < LOADS_FOR_LINE {
                    continue;
                }
                let floor = Some(median(flat.iter().map(|point| point.1)));
                let line = fit_line(rising);
                let value = criterion(&xy, floor, line, 3.0);
                if value < best.2 - EVIDENCE {
                    best = (floor, line, value);
                }
            }
        }
        let (floor_ms, line, _) = best;
        let residuals: Vec<f64> =
            xy.iter().map(|&point| residual(point, floor_ms, line).abs()).collect();
        let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
        Self {
            cpu_m: points[0].cpu_m,
            floor_ms,
            base_ms: line.base,
            slope_ms: line.slope,
            points: points.len(),
            loads: [loads[0], loads[loads.len() - 1]],
            rms_error: (squares / residuals.len() as f64).sqrt(),
            largest_error: residuals.iter().copied().fold(0.0, f64::max),
            distinct_loads: loads.len(),
        }
    }

    /// The p95 at `users` a pod, ms.
    pub fn p95_ms(&self, users: f64) -> f64 {
        value(users, self.floor_ms, Line { base: self.base_ms, slope: self.slope_ms })
    }

    /// What the reader should know of the fit.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.distinct_loads < LOADS_FOR_LINE {
            warnings.push(format!(
                "{}m: one load alone; the curve is taken as proportional to the users",
                self.cpu_m
            ));
        }
        if self.rms_error > LARGE_ERROR {
            warnings.push(format!(
                "{}m: the points scatter by {:.0} % about the curve; measure longer, or look at the figure for outliers",
                self.cpu_m,
                self.rms_error * 100.0
            ));
        }
        warnings
    }
}

fn value(users: f64, floor: Option<f64>, line: Line) -> f64 {
    (line.base + line.slope * users).max(floor.unwrap_or(0.0))
}

/// Relative to the curve, and symmetric: a point twice the curve is as far as one of half.
fn residual((users, p95): (f64, f64), floor: Option<f64>, line: Line) -> f64 {
    let fitted = value(users, floor, line).max(f64::MIN_POSITIVE);
    (p95 / fitted).ln()
}

/// The Bayesian information criterion with Huber's loss in place of the squares.
fn criterion(points: &[(f64, f64)], floor: Option<f64>, line: Line, parameters: f64) -> f64 {
    let residuals: Vec<f64> = points.iter().map(|&point| residual(point, floor, line)).collect();
    let scale = median(residuals.iter().map(|residual| residual.abs())) * MAD_TO_SIGMA;
    let limit = HUBER * scale.max(LEAST_SCATTER);
    let loss: f64 = residuals
        .iter()
        .map(|residual| residual.abs())
        .map(|size| if size <= limit { size * size } else { limit * (2.0 * size - limit) })
        .sum();
    let count = points.len() as f64;
    count * (loss / count).max(LEAST_SCATTER * LEAST_SCATTER).ln() + parameters * count.ln()
}

/// Huber's line through points that scatter in proportion to themselves. It never falls, and lies above zero
/// at every load measured.
fn fit_line(points: &[(f64, f64)]) -> Line {
    if distinct(points) < LOADS_FOR_LINE {
        let slope = median(points.iter().map(|(users, p95)| p95 / users));
        return Line { base: 0.0, slope };
    }
    let mut weights: Vec<f64> = points.iter().map(|(_, p95)| 1.0 / (p95 * p95)).collect();
    let mut line = least_squares(points, &weights);
    for _ in 0..ROUNDS {
        let residuals: Vec<f64> = points.iter().map(|&point| residual(point, None, line)).collect();
        let sizes = residuals.iter().map(|residual| residual.abs());
        let limit = HUBER * (median(sizes) * MAD_TO_SIGMA).max(LEAST_SCATTER);
        for ((weight, point), residual) in weights.iter_mut().zip(points).zip(&residuals) {
            let fitted = value(point.0, None, line).max(point.1 * 0.01);
            *weight = (limit / residual.abs().max(limit)) / (fitted * fitted);
        }
        let next = least_squares(points, &weights);
        let moved = (next.base - line.base).abs() + (next.slope - line.slope).abs();
        line = next;
        if moved <= 1e-9 * (line.base.abs() + line.slope.abs()) {
            break;
        }
    }
    line
}

/// The weighted line, its slope at least 0 and its value positive at the first point.
fn least_squares(points: &[(f64, f64)], weights: &[f64]) -> Line {
    let total: f64 = weights.iter().sum();
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| {
        points.iter().zip(weights).map(|(point, weight)| weight * of(point)).sum::<f64>() / total
    };
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let spread = mean(&|point| (point.0 - x) * (point.0 - x));
    let slope = (mean(&|point| (point.0 - x) * (point.1 - y)) / spread).max(0.0);
    let line = Line { base: y - slope * x, slope };
    if line.base + line.slope * points[0].0 > 0.0 {
        return line;
    }
    // A line that would be negative where something was measured: through the origin instead.
    Line { base: 0.0, slope: mean(&|point| point.0 * point.1) / mean(&|point| point.0 * point.0) }
}

/// How many different loads there are among points that rise in load.
fn distinct(points: &[(f64, f64)]) -> usize {
    let changes = points.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    changes + usize::from(!points.is_empty())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::rng::Streams;
    use crate::scenario::Scenario;
    use crate::sim::Curve as Simulated;

    fn points(xy: &[(f64, f64)]) -> Vec<Point> {
        xy.iter().map(|&(users, p95_ms)| Point { cpu_m: 1000, users, p95_ms }).collect()
    }

    #[test]
    fn a_saturated_pod_is_proportional_and_an_outlier_does_not_bend_it() {
        let mut measured: Vec<(f64, f64)> =
            (1..=10).map(|k| (f64::from(k) * 5.0, f64::from(k) * 100.0)).collect();
        let curve = Curve::fit(&points(&measured));
        assert!((curve.slope_ms - 20.0).abs() < 1e-6 && curve.base_ms.abs() < 1e-4, "{curve:?}");
        measured[8].1 *= 4.0;
        let bent = Curve::fit(&points(&measured));
        for load in [5.0, 25.0, 50.0] {
            assert!((bent.p95_ms(load) / (load * 20.0) - 1.0).abs() < 0.03, "{bent:?}");
        }
        assert!(bent.largest_error > 1.0 && !bent.warnings().is_empty());
    }

    #[test]
    fn an_unloaded_pod_has_a_floor() {
        let law = |k: f64| (80.0_f64).max(-40.0 + 12.0 * k);
        let measured: Vec<(f64, f64)> =
            [1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0, 30.0].map(|k| (k, law(k))).into();
        let curve = Curve::fit(&points(&measured));
        assert_eq!(curve.floor_ms, Some(80.0));
        assert!((curve.slope_ms - 12.0).abs() < 0.1 && curve.rms_error < 0.02, "{curve:?}");
    }

    #[test]
    fn degenerate_points_still_give_a_rising_curve() {
        let single = Curve::fit(&points(&[(10.0, 500.0)]));
        assert_eq!(single.p95_ms(20.0), 1000.0);
        assert!(single.warnings()[0].contains("one load alone"));
        let falling = Curve::fit(&points(&[(10.0, 500.0), (20.0, 400.0)]));
        assert!(falling.slope_ms >= 0.0 && falling.p95_ms(10.0) > 0.0);
        let steep = Curve::fit(&points(&[(10.0, 10.0), (11.0, 500.0), (12.0, 1000.0)]));
        assert!(steep.p95_ms(10.0) > 0.0, "{steep:?}");
    }

    /// The simulator's own curves of the paper's profiles, measured with 5 % of noise, come back: every
    /// option within three times the stated error, and within 1.5 times of it on average.
    #[test]
    fn the_simulators_own_curves_come_back_within_the_stated_error() {
        let scenario = Scenario::load("paper-knative", &[]).unwrap();
        let mut rng = Streams::new(7).open("profile-fit-test");
        let (mut shares, mut worst) = (Vec::new(), 0.0_f64);
        for (profile, service) in scenario.profiles.iter().zip(&scenario.spec.service) {
            for truth in Simulated::of_profile(profile, service.slo_p95_ms, 1.6) {
                let own = profile.options.iter().filter(|option| option.cpu.0 == truth.cpu_m);
                let loads: Vec<u32> = own.map(|option| option.concurrency).collect();
                let (low, high) = (loads[0], loads[loads.len() - 1]);
                if loads.len() < 3 {
                    continue;
                }
                let measured: Vec<(f64, f64)> = (low..=high)
                    .step_by(5)
                    .flat_map(|load| [load; 3])
                    .map(|load| {
                        let noise: f64 = StandardNormal.sample(&mut rng);
                        (f64::from(load), truth.p95_ms(load) * (0.05 * noise).exp())
                    })
                    .collect();
                let curve = Curve::fit(&points(&measured));
                for load in loads {
                    let error = (curve.p95_ms(f64::from(load)) / truth.p95_ms(load)).ln().abs();
                    shares.push(error / curve.rms_error);
                    worst = worst.max(error / curve.rms_error);
                }
            }
        }
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!(shares.len() > 20 && worst < 3.0 && mean < 1.5, "worst {worst}, mean {mean}");
    }

    /// On a straight curve the fit is better than the points: within half of their 5 % of noise.
    #[test]
    fn noise_averages_out_on_a_straight_curve() {
        let mut rng = Streams::new(3).open("profile-fit-test");
        let measured: Vec<(f64, f64)> = (1..=12)
            .flat_map(|k| [f64::from(k) * 5.0; 2])
            .map(|load| {
                let noise: f64 = StandardNormal.sample(&mut rng);
                (load, (30.0 + 17.0 * load) * (0.05 * noise).exp())
            })
            .collect();
        let curve = Curve::fit(&points(&measured));
        for load in [5.0, 20.0, 40.0, 60.0] {
            let error = (curve.p95_ms(load) / (30.0 + 17.0 * load)).ln().abs();
            assert!(error < 0.025, "{load}: {error}");
        }
        assert!((0.03..0.07).contains(&curve.rms_error), "{curve:?}");
    }
}
