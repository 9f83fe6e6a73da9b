//! The coming rows will be as the mean of the last few.

use crate::predictor::forecaster::{Answer, Band, Forecaster, SeriesState};

/// Expects the mean of the last rows.
#[derive(Clone, Copy, Debug)]
pub struct MovingAverage {
    rows: usize,
}

impl MovingAverage {
    /// The mean of the last `rows` rows, at least one.
    pub fn new(rows: usize) -> Self {
        Self { rows: rows.max(1) }
    }
}

impl Forecaster for MovingAverage {
    fn name(&self) -> &'static str {
        "moving-average"
    }

    fn memory(&self) -> usize {
        self.rows
    }

    fn predict(
        &self,
        _service: usize,
        series: &SeriesState,
        users: &mut [f64],
        _bands: &mut [Band],
    ) -> Answer {
        let Some(latest) = series.latest(self.rows) else { return Answer::TooShort };
        users.fill(latest.iter().sum::<f64>() / self.rows as f64);
        Answer::Point
    }
}
