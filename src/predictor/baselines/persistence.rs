//! The coming rows will be as the present one.

use crate::predictor::forecaster::{Answer, Band, Forecaster, SeriesState};

/// Expects the present users.
#[derive(Clone, Copy, Debug, Default)]
pub struct Persistence;

impl Forecaster for Persistence {
    fn name(&self) -> &'static str {
        "persistence"
    }

    fn memory(&self) -> usize {
        1
    }

    fn predict(
        &self,
        _service: usize,
        series: &SeriesState,
        users: &mut [f64],
        _bands: &mut [Band],
    ) -> Answer {
        let Some(last) = series.last() else { return Answer::TooShort };
        users.fill(last);
        Answer::Point
    }
}
