//! The linear autoregression under the network: one line for each row ahead, on scaled rows.

use serde::{Deserialize, Serialize};

use super::view::{ROWS, View};
use crate::predictor::baselines::weighted_least_squares;

/// Rows before the last one that a line looks at.
pub const LINE_ROWS: usize = 11;

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
    /// By least squares on the `inputs` of many views, one after the other, and what followed each with
    /// its weight.
    pub fn fit(all_inputs: &[f64], followed: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let rows = || {
            let each = all_inputs.chunks_exact(LINE_ROWS).zip(followed.clone());
            each.map(|(inputs, (followed, weight))| (inputs, followed, weight))
        };
        let (slopes, intercept) =
            weighted_least_squares(LINE_ROWS, rows).unwrap_or_else(|| (vec![0.0; LINE_ROWS], 0.0));
        let mut line = Self { slopes: [0.0; LINE_ROWS], intercept };
        line.slopes.copy_from_slice(&slopes);
        line
    }

    /// What follows a view.
    pub fn after(&self, view: &View) -> f64 {
        let products = self.slopes.iter().zip(inputs(view)).map(|(slope, row)| slope * row);
        self.intercept + products.sum::<f64>()
    }
}
