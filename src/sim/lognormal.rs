//! Log-normal latencies and the quantiles of their mixtures.

use statrs::function::erf::erfc;

/// The 95 % quantile of the standard normal distribution.
pub const Z95: f64 = 1.644_853_626_951_472_2;

/// Distribution function of the standard normal distribution.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// Shape s of the log-normal distribution whose p95 is `ratio` times its mean: the smaller root of
/// ln ratio = z s - s^2 / 2 (1 < ratio < 3.868).
pub fn shape(ratio: f64) -> f64 {
    Z95 - (Z95 * Z95 - 2.0 * ratio.ln()).sqrt()
}

/// One component of a mixture: `weight` requests whose latency is `shift_ms` plus a log-normal draw
/// with mean `mu` of the logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component {
    /// Requests (any unit: only proportions count).
    pub weight: f64,
    /// Mean of the logarithm of the draw in ms.
    pub mu: f64,
    /// Waiting before service, ms.
    pub shift_ms: f64,
}

impl Component {
    fn cdf(&self, x_ms: f64, shape: f64) -> f64 {
        let served = x_ms - self.shift_ms;
        if served <= 0.0 { 0.0 } else { normal_cdf((served.ln() - self.mu) / shape) }
    }

    fn density(&self, x_ms: f64, shape: f64) -> f64 {
        let served = x_ms - self.shift_ms;
        if served <= 0.0 {
            return 0.0;
        }
        let z = (served.ln() - self.mu) / shape;
        (-0.5 * z * z).exp() / (served * shape * (2.0 * std::f64::consts::PI).sqrt())
    }

    /// Share of its requests that take longer than `bound_ms`.
    pub fn share_over(&self, bound_ms: f64, shape: f64) -> f64 {
        1.0 - self.cdf(bound_ms, shape)
    }
}

/// The p95 of a mixture of log-normal distributions with one `shape`, in ms; `None` without weight.
///
/// Exact to rounding: Newton steps inside a bracket. The p95 of a mixture lies between the smallest
/// and the largest p95 of its components.
pub fn p95_ms(components: &[Component], shape: f64) -> Option<f64> {
    let mut total = 0.0;
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    let mut guess = 0.0;
    for component in components.iter().filter(|component| component.weight > 0.0) {
        total += component.weight;
        let p95 = component.shift_ms + (component.mu + Z95 * shape).exp();
        guess += component.weight * p95;
        low = low.min(p95);
        high = high.max(p95);
    }
    if total <= 0.0 {
        return None;
    }
    let target = 0.95 * total;
    let mut x = (guess / total).clamp(low, high);
    // A bracket that does not shrink any more is as exact as doubles allow.
    for _ in 0..100 {
        if high - low <= 1e-12 * high {
            break;
        }
        let (mut below, mut slope) = (0.0, 0.0);
        for component in components {
            below += component.weight * component.cdf(x, shape);
            slope += component.weight * component.density(x, shape);
        }
        let error = below - target;
        if error > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let newton = x - error / slope;
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - x).abs() <= 1e-13 * x {
            return Some(next);
        }
        x = next;
    }
    Some(x)
}

/// Share of the requests in flight at some instant that are still in flight `delay_ms` later: the
/// tail of the residual life of a log-normal latency, E((X - d)+) / E(X).
pub fn residual_over(mu: f64, shape: f64, delay_ms: f64) -> f64 {
    if delay_ms <= 0.0 {
        return 1.0;
    }
    let mean = (mu + 0.5 * shape * shape).exp();
    let z = (mu - delay_ms.ln()) / shape;
    normal_cdf(z + shape) - delay_ms / mean * normal_cdf(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_13_the_default_shape() {
        assert!((shape(1.6) - 0.31612).abs() < 5e-6);
    }

    #[test]
    fn one_component_gives_its_own_p95_and_two_lie_between() {
        let shape = shape(1.6);
        let component = |p95: f64, weight: f64, shift_ms: f64| Component {
            weight,
            mu: (p95 - shift_ms).ln() - Z95 * shape,
            shift_ms,
        };
        let single = p95_ms(&[component(700.0, 3.0, 0.0)], shape).unwrap();
        assert!((single - 700.0).abs() < 1e-9);
        let parts = [component(700.0, 3.0, 0.0), component(4000.0, 1.0, 3000.0)];
        let mixed = p95_ms(&parts, shape).unwrap();
        let below: f64 = parts.iter().map(|part| part.weight * part.cdf(mixed, shape)).sum();
        assert!((below / 4.0 - 0.95).abs() < 1e-10, "{mixed}: {below}");
        assert_eq!(p95_ms(&[], shape), None);
    }

    #[test]
    fn residual_life_agrees_with_numerical_integration() {
        let (mu, shape) = (6.0_f64, 0.316_f64);
        let mean = (mu + 0.5 * shape * shape).exp();
        let delay = 500.0;
        let step = 0.05;
        let tail: f64 = (0..200_000)
            .map(|i| {
                let x: f64 = delay + (f64::from(i) + 0.5) * step;
                (1.0 - normal_cdf((x.ln() - mu) / shape)) * step
            })
            .sum();
        assert!((residual_over(mu, shape, delay) - tail / mean).abs() < 1e-6);
    }
}
