//! The coming rows will be as those one season before (the seasonal naive forecast).

use crate::predictor::forecaster::{Answer, Band, Forecaster, SeriesState};

/// Expects the users of one season before; beyond one season ahead, of as many as it takes.
#[derive(Clone, Copy, Debug)]
pub struct Seasonal {
    period: usize,
}

impl Seasonal {
    /// Seasons of `period` rows, at least one.
    pub fn new(period: usize) -> Self {
        Self { period: period.max(1) }
    }
}

impl Forecaster for Seasonal {
    fn name(&self) -> &'static str {
        "seasonal"
    }

    fn memory(&self) -> usize {
        self.period
    }

    fn predict(
        &self,
        _service: usize,
        series: &SeriesState,
        users: &mut [f64],
        _bands: &mut [Band],
    ) -> Answer {
        let Some(season) = series.latest(self.period) else { return Answer::TooShort };
        for (users, past) in users.iter_mut().zip(season.iter().cycle()) {
            *users = *past;
        }
        Answer::Point
    }
}
