//! Running statistics of observations and of discounted returns.
//!
//! Mean and variance are those of all values so far, merged batch by batch (Chan, Golub and LeVeque
//! 1983). Both change between rollouts only, so that all of a rollout and its updates see the same
//! numbers.

use serde::{Deserialize, Serialize};

/// Added to variances, as Stable-Baselines3's VecNormalize does.
const EPSILON: f64 = 1e-8;
/// Normalised observations are cut off here; rewards are not.
const BOUND: f32 = 10.0;

/// Number, mean and sum of squared differences from the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn merge(&mut self, other: Self) {
        if other.count == 0.0 {
            return;
        }
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        self.mean += apart * other.count / count;
        self.squares += other.squares + apart * apart * self.count * other.count / count;
        self.count = count;
    }

    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count() as f64;
        if count == 0.0 {
            return Self::default();
        }
        let mean = values.clone().sum::<f64>() / count;
        let squares = values.map(|value| (value - mean) * (value - mean)).sum();
        Self { count, mean, squares }
    }

    fn variance(&self) -> f64 {
        if self.count > 0.0 { self.squares / self.count } else { 1.0 }
    }
}

/// Makes every feature of an observation have mean 0 and variance 1; hints pass as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservationNormaliser {
    moments: Vec<Moments>,
}

impl ObservationNormaliser {
    /// For `features` features; changes nothing before the first [`Self::update`].
    pub fn new(features: usize) -> Self {
        Self { moments: vec![Moments::default(); features] }
    }

    /// Features that are normalised.
    pub fn features(&self) -> usize {
        self.moments.len()
    }

    /// Takes rows of `stride` numbers into account, of which the features come first.
    pub fn update(&mut self, rows: &[f32], stride: usize) {
        for (feature, moments) in self.moments.iter_mut().enumerate() {
            let column = rows.iter().skip(feature).step_by(stride);
            moments.merge(Moments::of(column.map(|&value| f64::from(value))));
        }
    }

    /// Normalises rows of `stride` numbers in place.
    pub fn apply(&self, rows: &mut [f32], stride: usize) {
        for (feature, moments) in self.moments.iter().enumerate() {
            if moments.count == 0.0 {
                continue;
            }
            let mean = moments.mean as f32;
            let factor = (1.0 / (moments.variance() + EPSILON).sqrt()) as f32;
            for value in rows.iter_mut().skip(feature).step_by(stride) {
                *value = ((*value - mean) * factor).clamp(-BOUND, BOUND);
            }
        }
    }
}

/// Divides rewards by the standard deviation of the discounted sum of the rewards so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReturnNormaliser {
    moments: Moments,
    /// The discounted sum of each environment's current episode.
    sums: Vec<f64>,
}

impl ReturnNormaliser {
    /// For `environments` environments.
    pub fn new(environments: usize) -> Self {
        Self { moments: Moments::default(), sums: vec![0.0; environments] }
    }

    /// What rewards are multiplied by.
    pub fn factor(&self) -> f64 {
        if self.moments.count == 0.0 {
            return 1.0;
        }
        1.0 / (self.moments.variance() + EPSILON).sqrt()
    }

    /// Takes the rewards of one environment's steps into account; `ends`: its episode ended there.
    pub fn update(&mut self, environment: usize, rewards: &[f64], ends: &[bool], gamma: f64) {
        let sum = &mut self.sums[environment];
        let mut seen = Moments::default();
        for (&reward, &end) in rewards.iter().zip(ends) {
            *sum = *sum * gamma + reward;
            seen.merge(Moments { count: 1.0, mean: *sum, squares: 0.0 });
            if end {
                *sum = 0.0;
            }
        }
        self.moments.merge(seen);
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::rng::Streams;

    /// Batch by batch as in two passes over everything.
    #[test]
    fn statistics_are_those_of_two_passes() {
        let mut rng = Streams::new(2).open("numbers");
        let rows: Vec<f32> = (0..3 * 700)
            .map(|k| rng.random_range(-1.0..1.0) * 10_f32.powi(k % 3) + 1000.0 * (k % 3) as f32)
            .collect();
        let mut normaliser = ObservationNormaliser::new(2);
        for part in rows.chunks(3 * 90) {
            normaliser.update(part, 3);
        }
        let mut normalised = rows.clone();
        normaliser.apply(&mut normalised, 3);
        for feature in 0..2 {
            let column: Vec<f64> =
                rows.iter().skip(feature).step_by(3).map(|&x| f64::from(x)).collect();
            let mean = column.iter().sum::<f64>() / 700.0;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 700.0;
            let found = normaliser.moments[feature];
            assert!((found.mean / mean - 1.0).abs() < 1e-12);
            assert!((found.variance() / variance - 1.0).abs() < 1e-9);
            let wanted = (column[5] - mean) / (variance + EPSILON).sqrt();
            assert!((f64::from(normalised[15 + feature]) - wanted).abs() < 1e-4);
        }
        let hints = |rows: &[f32]| rows.iter().skip(2).step_by(3).copied().collect::<Vec<_>>();
        assert_eq!(hints(&normalised), hints(&rows));
    }

    #[test]
    fn returns_are_discounted_within_their_episode() {
        let mut normaliser = ReturnNormaliser::new(1);
        assert_eq!(normaliser.factor(), 1.0);
        normaliser.update(0, &[1.0, 2.0], &[false, true], 0.5);
        normaliser.update(0, &[4.0], &[false], 0.5);
        // Sums 1, 2.5 and, after the end, 4.
        let mean = 2.5;
        let variance = ((1.0 - mean) * (1.0 - mean) + 0.0 + 1.5 * 1.5) / 3.0_f64;
        assert!((normaliser.factor() - 1.0 / (variance + EPSILON).sqrt()).abs() < 1e-12);
    }
}
