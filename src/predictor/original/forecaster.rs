//! The original predictor as a forecaster: rows farther ahead from its own forecasts.

use super::{OriginalPredictor, WINDOW};
use crate::predictor::forecaster::{Answer, Band, Forecaster, SeriesState};

impl Forecaster for OriginalPredictor {
    fn name(&self) -> &'static str {
        "original"
    }

    fn memory(&self) -> usize {
        WINDOW
    }

    fn predict(
        &self,
        _service: usize,
        series: &SeriesState,
        users: &mut [f64],
        _bands: &mut [Band],
    ) -> Answer {
        let Some(latest) = series.latest(WINDOW) else { return Answer::TooShort };
        let mut window = [0.0; WINDOW];
        window.copy_from_slice(latest);
        for users in users {
            *users = self.after(&window);
            window.rotate_left(1);
            window[WINDOW - 1] = *users;
        }
        Answer::Point
    }
}
