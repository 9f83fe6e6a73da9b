//! A window of rows as the model sees it: relative to its last row, in units of a robust scale.
//!
//! The scale is the mean change from row to row, and a little of the mean level, so that a series that
//! stood still does not make the next change infinite. A history shorter than a window is continued
//! into the past by its first row.

/// Rows that the model looks at.
pub const ROWS: usize = 31;
/// Steps of the network: from each row to the next.
pub const STEPS: usize = ROWS - 1;
/// Numbers the network sees at a step: where the row lies, and the change to it.
pub const STEP_INPUTS: usize = 2;
/// Numbers the network sees once, beside what the lines expect.
pub const SUMMARY: usize = 3;
/// Fewest rows of a history to forecast from.
pub const LEAST_ROWS: usize = 7;

/// Rows of the short mean change.
const SHORT: usize = 5;
/// Share of the mean level in the scale.
const LEVEL_SHARE: f64 = 0.01;
/// The least scale, users: that of a service without any.
const LEAST_SCALE: f64 = 1e-3;
/// Bound of scaled values: farther is as far.
const BOUND: f64 = 40.0;
/// Where the network's view of scaled values begins to saturate.
const KNEE: f64 = 8.0;

/// A window, scaled.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    last: f64,
    moved: bool,
    scale: f64,
    summary: [f32; SUMMARY],
    /// Distance from the last row in units of the scale.
    values: [f64; ROWS],
}

impl View {
    /// Of the last [`ROWS`] of `rows`, or as many as there are; without any, of nothing but zero.
    pub fn of(rows: &[f64]) -> Self {
        let rows = &rows[rows.len().saturating_sub(ROWS)..];
        let last = rows.last().copied().unwrap_or(0.0);
        let changes = || rows.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
        let pairs = rows.len().saturating_sub(1);
        let change = mean(changes().sum(), pairs);
        let short = mean(changes().skip(pairs.saturating_sub(SHORT)).sum(), pairs.min(SHORT));
        let level = mean(rows.iter().map(|users| users.abs()).sum(), rows.len());
        let scale = change + LEVEL_SHARE * level + LEAST_SCALE;
        let first = rows.first().copied().unwrap_or(0.0);
        let mut values = [scaled(first - last, scale); ROWS];
        for (value, users) in values[ROWS - rows.len()..].iter_mut().zip(rows) {
            *value = scaled(users - last, scale);
        }
        let summary = [
            // How much of the level a row changes by, how busy it is now, and how the last row lies.
            (0.5 * (scale / (level + LEAST_SCALE)).ln() + 1.0) as f32,
            (short / scale) as f32,
            squashed((last - level) / scale) as f32,
        ];
        Self { last, moved: change > 0.0, scale, summary, values }
    }

    /// The last row, users.
    pub fn last(&self) -> f64 {
        self.last
    }

    /// Whether the rows differ.
    pub fn moved(&self) -> bool {
        self.moved
    }

    /// The unit, users.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The rows, oldest first; the last is 0.
    pub fn values(&self) -> &[f64; ROWS] {
        &self.values
    }

    /// What the network sees at each step.
    pub fn steps(&self, inputs: &mut [f32]) {
        for (inputs, pair) in inputs.chunks_exact_mut(STEP_INPUTS).zip(self.values.windows(2)) {
            inputs[0] = squashed(pair[1]) as f32;
            inputs[1] = squashed(pair[1] - pair[0]) as f32;
        }
    }

    /// What the network sees once, beside what the lines expect.
    pub fn summary(&self) -> &[f32; SUMMARY] {
        &self.summary
    }
}

/// `users` in units of `scale`, bounded.
pub fn scaled(users: f64, scale: f64) -> f64 {
    (users / scale).clamp(-BOUND, BOUND)
}

/// The same near 0, bounded far out.
pub fn squashed(value: f64) -> f64 {
    value / (1.0 + value.abs() / KNEE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_does_not_depend_on_the_size_of_a_series() {
        let rows: Vec<f64> = (0..40).map(|row| 50.0 + f64::from(row * row % 17)).collect();
        let large: Vec<f64> = rows.iter().map(|users| users * 1e5).collect();
        let (small, large) = (View::of(&rows), View::of(&large));
        for (small, large) in small.values().iter().zip(large.values()) {
            assert!((small - large).abs() < 1e-2, "{small} {large}");
        }
        assert!((large.scale() / small.scale() / 1e5 - 1.0).abs() < 1e-3);
        assert_eq!(small.values()[ROWS - 1], 0.0);
    }

    #[test]
    fn short_constant_and_empty_histories_have_a_finite_view() {
        let short = View::of(&[4.0, 6.0]);
        assert_eq!(short.values()[0], short.values()[ROWS - 2]);
        for rows in [&[][..], &[0.0; 40], &[7.0; 9], &[0.0, 1e9]] {
            let view = View::of(rows);
            let mut inputs = [0.0; STEPS * STEP_INPUTS];
            view.steps(&mut inputs);
            let all = inputs.iter().chain(view.summary());
            assert!(all.clone().all(|value| value.is_finite()) && view.scale() > 0.0);
        }
    }
}
