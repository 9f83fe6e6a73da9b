//! The linear autoregression under the network: one line for each row ahead, on scaled rows.
//!
//! A line is a median regression: it makes the sum of absolute errors least, which few but large bursts
//! hardly move. It is fitted by least squares over and over, each row weighted by the inverse of its
//! last error.

use serde::{Deserialize, Serialize};

use super::view::{ROWS, View, squashed};
use crate::predictor::baselines::weighted_least_squares;

/// Rows before the last one that a line looks at.
pub const LINE_ROWS: usize = 11;

/// Fits of a median regression, each with the weights of the one before.
const FITS: u32 = 25;
/// Errors below this share of the mean error count as it, in the first fit; less in each further one.
const LEAST_SHARE: f64 = 0.1;
const LEAST_SHARE_DECAY: f64 = 0.7;

/// What is expected some rows ahead, relative to the last row and in units of the view's scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// For the rows before the last one, oldest first.
    pub slopes: [f64; LINE_ROWS],
    /// What is added.
    pub intercept: f64,
}

/// The rows that a line looks at, oldest first.
pub fn inputs(view: &View) -> &[f64] {
    &view.values()[ROWS - 1 - LINE_ROWS..ROWS - 1]
}

impl Line {
    /// Expects the last row again.
    pub const STILL: Self = Self { slopes: [0.0; LINE_ROWS], intercept: 0.0 };

    /// By least absolute errors on the `inputs` of many views, one after the other, and what followed
    /// each with its weight.
    pub fn fit(all_inputs: &[f64], followed: &[(f64, f64)]) -> Self {
        let mut weights: Vec<f64> = followed.iter().map(|(_, weight)| *weight).collect();
        let mut line = Self::STILL;
        let mut share = LEAST_SHARE;
        for _ in 0..FITS {
            let rows = || {
                let each = all_inputs.chunks_exact(LINE_ROWS).zip(followed).zip(&weights);
                each.map(|((inputs, (followed, _)), &weight)| (inputs, *followed, weight))
            };
            let Some((slopes, intercept)) = weighted_least_squares(LINE_ROWS, rows) else { break };
            line.slopes.copy_from_slice(&slopes);
            line.intercept = intercept;
            let each = || all_inputs.chunks_exact(LINE_ROWS).zip(followed);
            let error = |inputs: &[f64], followed: f64| (followed - line.from(inputs)).abs();
            let sum: f64 = each().map(|(inputs, (followed, _))| error(inputs, *followed)).sum();
            let least = share * sum / followed.len().max(1) as f64;
            if least == 0.0 {
                break;
            }
            for (weight, (inputs, (followed, whole))) in weights.iter_mut().zip(each()) {
                *weight = whole / error(inputs, *followed).max(least);
            }
            share *= LEAST_SHARE_DECAY;
        }
        line
    }

    /// What follows a view.
    pub fn after(&self, view: &View) -> f64 {
        self.from(inputs(view))
    }

    fn from(&self, inputs: &[f64]) -> f64 {
        let products = self.slopes.iter().zip(inputs).map(|(slope, row)| slope * row);
        self.intercept + products.sum::<f64>()
    }

    /// Its mean error over the rows of a view for the row that followed each, in units of the scale.
    fn error_lately(&self, view: &View) -> f64 {
        let rows = view.values().windows(LINE_ROWS + 2);
        let count = rows.len();
        let errors = rows.map(|rows| {
            let last = rows[LINE_ROWS];
            let products = self.slopes.iter().zip(rows).map(|(slope, row)| slope * (row - last));
            (rows[LINE_ROWS + 1] - last - self.intercept - products.sum::<f64>()).abs()
        });
        errors.sum::<f64>() / count as f64
    }
}

/// The lines of one service, or of all that have none of their own, one for each row ahead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// One line for each row ahead.
    pub lines: Vec<Line>,
    /// The mean error of each line where it was fitted, in units of the scale: what the network says
    /// is in units of it.
    pub errors: Vec<f64>,
    /// What the distances of the quantiles are multiplied by, below and above, so that they are right
    /// on the validation part.
    pub widths: Vec<[f64; 2]>,
}

impl Lines {
    /// How the first line did on the rows of the view, beside its mean error, as the network sees it.
    pub fn lately(&self, view: &View) -> f32 {
        let ratio = self.lines[0].error_lately(view) / self.errors[0];
        (2.0 * squashed(ratio) - 1.0) as f32
    }

    /// Whether there is something of everything for each of `horizon` rows, and all of it a number.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, horizon: usize) -> Result<(), String> {
        let sizes = [self.lines.len(), self.errors.len(), self.widths.len()];
        if sizes != [horizon; 3] {
            return Err(format!("{sizes:?} lines, errors and widths for {horizon} rows ahead"));
        }
        let finite = |line: &Line| {
            line.intercept.is_finite() && line.slopes.iter().all(|slope| slope.is_finite())
        };
        let mut above = self.errors.iter().chain(self.widths.as_flattened());
        if !self.lines.iter().all(finite) || !above.all(|&value| value.is_finite() && value > 0.0) {
            return Err("a number of the lines is not finite, or an error or width is not above 0"
                .to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_does_not_move_the_line() {
        let mut rows: Vec<f64> = (0..200).map(|row| f64::from(row * row % 23)).collect();
        for row in 12..200 {
            rows[row] = 0.6 * rows[row - 1] + 0.4 * rows[row - 4] + 1.0;
        }
        let value = |row: usize| rows[row + LINE_ROWS + 1] - rows[row + LINE_ROWS];
        let mut all_inputs = Vec::new();
        let mut followed = Vec::new();
        for row in 12..180 {
            let last = rows[row + LINE_ROWS];
            all_inputs.extend(rows[row..row + LINE_ROWS].iter().map(|users| users - last));
            followed.push((value(row) + if row == 100 { 500.0 } else { 0.0 }, 1.0));
        }
        let line = Line::fit(&all_inputs, &followed);
        for (row, inputs) in (12..180).zip(all_inputs.chunks_exact(LINE_ROWS)) {
            assert!((line.from(inputs) - value(row)).abs() < 1e-3, "{row}");
        }
        assert_eq!(Line::fit(&[0.0; 3 * LINE_ROWS], &[(0.0, 1.0); 3]), Line::STILL);
        assert_eq!(Line::fit(&[], &[]), Line::STILL);
    }

    #[test]
    fn the_late_error_is_that_of_the_lines_forecasts() {
        let rows: Vec<f64> = (0..ROWS as u32).map(|row| f64::from(40 + row * row % 11)).collect();
        let view = View::of(&rows);
        let changes: f64 =
            rows[LINE_ROWS..].windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f64>();
        let mean = changes / (ROWS - 1 - LINE_ROWS) as f64 / view.scale();
        assert!((Line::STILL.error_lately(&view) - mean).abs() < 1e-12);
    }
}
