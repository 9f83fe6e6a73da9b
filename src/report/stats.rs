//! Statistics over seeds.
//!
//! - The interval of a mean is the *percentile bootstrap*: 2.5 % and 97.5 % quantiles of the means
//!   of resamples with replacement, as Agarwal et al. (2021, arXiv:2108.13264) take for
//!   reinforcement learning. It stays inside the data and needs no model; with fewer than about
//!   ten seeds it is too narrow, which is why a difference also gets a p-value.
//! - The *interquartile mean* leaves out floor(n / 4) values at each end, as
//!   `scipy.stats.trim_mean(x, 0.25)` and that paper do.
//! - Two policies are compared *paired by seed*. The p-value is of the two-sided sign-flip
//!   permutation test of the mean difference: exact up to [`EXACT_PAIRS`] pairs, else Monte Carlo
//!   with (b + 1) / (m + 1) (Phipson and Smyth 2010, DOI 10.2202/1544-6115.1585).
//! - Many policies against one reference: Holm (1979), step-down.
//!
//! The random numbers come from streams of a fixed master seed: the same runs give the same
//! intervals, whatever else is compared with them.

use std::collections::BTreeMap;

use rand::RngExt;

use crate::rng::Streams;

/// Resamples of a bootstrap.
pub const RESAMPLES: usize = 10_000;
/// Up to so many pairs every sign pattern is tried.
pub const EXACT_PAIRS: usize = 14;
/// Sign patterns drawn where there are more pairs.
const DRAWN_PATTERNS: u32 = 99_999;
/// Bounds the memory of the resamples (4 bytes each); beyond 2000 seeds there are fewer than
/// [`RESAMPLES`], where the quantiles of so smooth a distribution need no more.
const MAX_DRAWS: usize = 20_000_000;
const FEWEST_RESAMPLES: usize = 1000;
/// Master seed of the streams; no result of a simulation depends on it.
const SEED: u64 = 0;

/// Mean; `None` for no values or inf - inf.
pub fn mean(values: &[f64]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (!mean.is_nan()).then_some(mean)
}

/// Mean of the middle half: floor(n / 4) values are left out at each end.
pub fn interquartile_mean(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// Quantile of sorted values, linear between neighbours (numpy's default).
pub fn quantile_of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    let part = place - below as f64;
    Some(sorted[below] + (sorted[above] - sorted[below]) * part)
}

/// Bootstraps means. Keeps the resamples for each number of values, so that all metrics of all
/// policies share them.
#[derive(Default)]
pub struct Bootstrap {
    draws: BTreeMap<usize, Vec<u32>>,
    means: Vec<f64>,
}

impl Bootstrap {
    /// Without any resamples yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// 95 % interval of the mean; `None` for fewer than two values or one that is not finite.
    pub fn interval(&mut self, values: &[f64]) -> Option<[f64; 2]> {
        let count = values.len();
        if count < 2 || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        if values.iter().all(|value| *value == values[0]) {
            // Resampled sums of equal values would differ in the last digit.
            return Some([values[0]; 2]);
        }
        let draws = self.draws.entry(count).or_insert_with(|| draw(count));
        self.means.clear();
        self.means.extend(draws.chunks_exact(count).map(|resample| {
            resample.iter().map(|&index| values[index as usize]).sum::<f64>() / count as f64
        }));
        self.means.sort_unstable_by(f64::total_cmp);
        Some([quantile_of_sorted(&self.means, 0.025)?, quantile_of_sorted(&self.means, 0.975)?])
    }
}

/// The resamples of `count` values, one after the other.
fn draw(count: usize) -> Vec<u32> {
    let resamples = (MAX_DRAWS / count).clamp(FEWEST_RESAMPLES, RESAMPLES);
    let mut rng = Streams::new(SEED).open_indexed("report/bootstrap", count as u64);
    (0..resamples * count).map(|_| rng.random_range(0..count as u32)).collect()
}

/// Two-sided p-value of the sign-flip test that the mean of paired differences is 0; `None` without
/// pairs or where a difference is not finite.
pub fn sign_flip_p(differences: &[f64]) -> Option<f64> {
    if differences.is_empty() || differences.iter().any(|value| !value.is_finite()) {
        return None;
    }
    // Sums of the same numbers in another order differ in the last digits: ties count as extreme.
    let tolerance = 1e-12 * differences.iter().map(|value| value.abs()).sum::<f64>();
    let observed = differences.iter().sum::<f64>().abs() - tolerance;
    if differences.len() <= EXACT_PAIRS {
        let patterns = 1u32 << differences.len();
        let extreme = (0..patterns).filter(|&signs| flipped(differences, signs) >= observed);
        return Some(extreme.count() as f64 / f64::from(patterns));
    }
    let mut rng = Streams::new(SEED).open_indexed("report/sign-flip", differences.len() as u64);
    let extreme = (0..DRAWN_PATTERNS)
        .filter(|_| {
            let sum: f64 =
                differences.chunks(32).map(|chunk| signed_sum(chunk, rng.random::<u32>())).sum();
            sum.abs() >= observed
        })
        .count();
    Some((extreme + 1) as f64 / f64::from(DRAWN_PATTERNS + 1))
}

fn flipped(differences: &[f64], signs: u32) -> f64 {
    signed_sum(differences, signs).abs()
}

/// Sum in which bit i of `signs` flips value i.
fn signed_sum(values: &[f64], signs: u32) -> f64 {
    values
        .iter()
        .enumerate()
        .map(|(bit, value)| if signs >> bit & 1 == 1 { -value } else { *value })
        .sum()
}

/// Holm's step-down correction; a missing p-value stays missing and is no test.
pub fn holm(p_values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<usize> =
        (0..p_values.len()).filter(|&index| p_values[index].is_some()).collect();
    order.sort_by(|&a, &b| p_values[a].unwrap_or(1.0).total_cmp(&p_values[b].unwrap_or(1.0)));
    let mut corrected = vec![None; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        if let Some(p) = p_values[index] {
            largest = largest.max((p * (order.len() - rank) as f64).min(1.0));
            corrected[index] = Some(largest);
        }
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 10] = [3.1, -0.4, 2.2, 5.9, 1.0, 0.7, 4.4, 2.8, -1.3, 3.6];

    // from scipy.stats import trim_mean; import numpy as np
    // x = [3.1, -0.4, 2.2, 5.9, 1.0, 0.7, 4.4, 2.8, -1.3, 3.6]
    // np.mean(x); trim_mean(x, 0.25); np.quantile(np.sort(x), [0.025, 0.5])
    #[test]
    fn mean_iqm_and_quantiles_are_those_of_numpy_and_scipy() {
        assert!((mean(&X).unwrap() - 2.2).abs() < 1e-12);
        assert!((interquartile_mean(&X).unwrap() - 2.233_333_333_333_333).abs() < 1e-12);
        assert_eq!(interquartile_mean(&[1.0, 2.0, 6.0]), Some(3.0));
        let mut sorted = X;
        sorted.sort_unstable_by(f64::total_cmp);
        assert!((quantile_of_sorted(&sorted, 0.025).unwrap() + 1.0975).abs() < 1e-12);
        assert!((quantile_of_sorted(&sorted, 0.5).unwrap() - 2.5).abs() < 1e-12);
    }

    // from scipy.stats import bootstrap
    // bootstrap((x,), np.mean, n_resamples=200000, method="percentile").confidence_interval
    #[test]
    fn the_interval_is_close_to_scipys_and_repeats() {
        let [low, high] = Bootstrap::new().interval(&X).unwrap();
        assert!((low - SCIPY_LOW).abs() < 0.05, "{low}");
        assert!((high - SCIPY_HIGH).abs() < 0.05, "{high}");
        let mut other = Bootstrap::new();
        other.interval(&X[..7]);
        assert_eq!(other.interval(&X), Some([low, high]));
    }
    const SCIPY_LOW: f64 = 0.89;
    const SCIPY_HIGH: f64 = 3.50;

    #[test]
    fn no_interval_without_spread_to_judge() {
        let mut bootstrap = Bootstrap::new();
        assert_eq!(bootstrap.interval(&[]), None);
        assert_eq!(bootstrap.interval(&[1.0]), None);
        assert_eq!(bootstrap.interval(&[1.0, f64::INFINITY]), None);
        assert_eq!(bootstrap.interval(&[0.1, 0.1, 0.1]), Some([0.1, 0.1]));
        assert_eq!(mean(&[]), None);
        assert_eq!(interquartile_mean(&[]), None);
        assert_eq!(mean(&[1.0, f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(mean(&[f64::NEG_INFINITY, f64::INFINITY]), None);
    }

    // from scipy.stats import permutation_test
    // permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf,
    //                  alternative="two-sided").pvalue      # 10 values: all 1024 patterns
    #[test]
    fn the_sign_flip_test_is_scipys() {
        assert_eq!(sign_flip_p(&X), Some(EXACT_P));
        // All of one sign: only the pattern itself and its mirror are as extreme.
        assert_eq!(sign_flip_p(&[0.1, 0.2, 0.3]), Some(0.25));
        assert_eq!(sign_flip_p(&[0.4]), Some(1.0));
        assert_eq!(sign_flip_p(&[0.0, 0.0]), Some(1.0));
        assert_eq!(sign_flip_p(&[]), None);
        assert_eq!(sign_flip_p(&[1.0, f64::INFINITY]), None);
        // Forty pairs are drawn: 28 of one size up, 12 down, so a binomial test.
        let many: Vec<f64> = (0..40).map(|i| if i % 10 < 7 { 1.0 } else { -1.0 }).collect();
        let p = sign_flip_p(&many).unwrap();
        assert!((p - BINOMIAL_P).abs() < 0.002, "{p}");
        assert_eq!(sign_flip_p(&many), Some(p));
    }
    const EXACT_P: f64 = 18.0 / 1024.0;
    // scipy.stats.binomtest(28, 40).pvalue
    const BINOMIAL_P: f64 = 0.016_589;

    // from statsmodels.stats.multitest import multipletests
    // multipletests([0.01, 0.04, 0.03, 0.005], method="holm")[1]
    #[test]
    fn holm_is_that_of_statsmodels() {
        let corrected = holm(&[Some(0.01), Some(0.04), None, Some(0.03), Some(0.005)]);
        let expected = [Some(0.03), Some(0.06), None, Some(0.06), Some(0.02)];
        for (got, want) in corrected.iter().zip(expected) {
            assert_eq!(got.is_some(), want.is_some());
            assert!((got.unwrap_or(0.0) - want.unwrap_or(0.0)).abs() < 1e-12);
        }
        assert_eq!(holm(&[Some(0.9), Some(0.8)]), [Some(1.0), Some(1.0)]);
    }
}
