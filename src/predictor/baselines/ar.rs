//! A line through the last rows: the linear autoregression of order 7.
//!
//! Coefficients and intercept are fitted by least squares on every window of 7 rows and the row after
//! it. Further rows ahead are forecast one by one, each from the forecasts before it. Fewer windows
//! than twice the coefficients would be fitted to the last bit and forecast nothing: then there is no
//! line, and the latest users stand in.

use super::least_squares::least_squares;
use super::{Training, WINDOW};
use crate::predictor::forecaster::{Answer, Band, Forecaster, SeriesState};

/// Windows that a line needs: twice its coefficients.
const LEAST_WINDOWS: usize = 2 * (WINDOW + 1);

/// A line through the last 7 rows, for each service.
#[derive(Clone, Debug, PartialEq)]
pub struct Ar {
    /// One a service, or one for all; `None` where there were too few windows to fit on.
    lines: Vec<Option<Line>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    /// For the rows of a window, oldest first.
    slopes: [f64; WINDOW],
    intercept: f64,
}

impl Ar {
    /// Fits a line for each of `trainings`; a single one serves all services.
    pub fn fit(trainings: &[Training]) -> Self {
        Self { lines: trainings.iter().map(Line::fit).collect() }
    }

    /// Slopes, oldest row first, and intercept of a service; `None` where it could not be fitted.
    pub fn line(&self, service: usize) -> Option<(&[f64], f64)> {
        let line = self.lines.get(service).or(self.lines.first())?.as_ref()?;
        Some((&line.slopes, line.intercept))
    }
}

impl Line {
    fn fit(training: &Training) -> Option<Self> {
        let rows = || {
            training.stretches.iter().flat_map(|stretch| {
                stretch.users.windows(WINDOW + 1).map(|rows| (&rows[..WINDOW], rows[WINDOW]))
            })
        };
        if rows().count() < LEAST_WINDOWS {
            return None;
        }
        let (slopes, intercept) = least_squares(WINDOW, rows)?;
        Some(Self { slopes: slopes.try_into().ok()?, intercept })
    }
}

impl Forecaster for Ar {
    fn name(&self) -> &'static str {
        "ar"
    }

    fn memory(&self) -> usize {
        WINDOW
    }

    fn predict(
        &self,
        service: usize,
        series: &SeriesState,
        users: &mut [f64],
        _bands: &mut [Band],
    ) -> Answer {
        let (Some((slopes, intercept)), Some(latest)) = (self.line(service), series.latest(WINDOW))
        else {
            return Answer::TooShort;
        };
        let mut window = [0.0; WINDOW];
        window.copy_from_slice(latest);
        for users in users {
            *users =
                intercept + slopes.iter().zip(&window).map(|(slope, row)| slope * row).sum::<f64>();
            window.rotate_left(1);
            window[WINDOW - 1] = *users;
        }
        Answer::Point
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::Forecast;

    fn forecast(rows: &[f64], past: &[f64], horizon: usize) -> Forecast {
        let model = Ar::fit(&[Training::of(rows, 720)]);
        let mut forecast = Forecast::default();
        model.forecast(&model.start(&[past]), horizon, &mut forecast);
        forecast
    }

    #[test]
    fn a_linear_recurrence_is_found_and_continued() {
        let mut exact = vec![90.0, 12.0, 40.0, 7.0, 66.0, 3.0, 51.0];
        for step in 7..40 {
            exact
                .push(0.5 * exact[step - 1] + 0.2 * exact[step - 3] - 0.3 * exact[step - 7] + 20.0);
        }
        let model = Ar::fit(&[Training::of(&exact[..30], 720)]);
        let (slopes, intercept) = model.line(0).unwrap();
        for (got, want) in slopes.iter().zip([-0.3, 0.0, 0.0, 0.0, 0.2, 0.0, 0.5]) {
            assert!((got - want).abs() < 1e-6, "{slopes:?}");
        }
        assert!((intercept - 20.0).abs() < 1e-4, "{intercept}");
        let got = forecast(&exact[..30], &exact[..30], 3);
        for (got, want) in got.users(0).iter().zip(&exact[30..]) {
            assert!((got - want).abs() < 1e-3, "{got} {want}");
        }
    }

    #[test]
    fn constant_periodic_and_short_series() {
        let constant = forecast(&[5.0; 40], &[5.0; 9], 2);
        assert_eq!(constant.users(0), [5.0, 5.0]);
        let two: Vec<f64> = (0..40).map(|i| f64::from(i % 2)).collect();
        let periodic = forecast(&two, &two, 4);
        for (got, want) in periodic.users(0).iter().zip([0.0, 1.0, 0.0, 1.0]) {
            assert!((got - want).abs() < 1e-3, "{got}");
        }
        for (rows, past) in
            [(&[3.0; 22][..], &[8.0; 9][..]), (&[3.0; 40], &[8.0; 6]), (&[], &[8.0])]
        {
            let short = forecast(rows, past, 1);
            assert_eq!(short.next(), [8.0]);
            assert!(short.by_persistence(0));
        }
    }
}
