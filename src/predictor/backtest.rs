//! A forecaster over the test part of a series: rolling origin, every row once.
//!
//! Before each forecast the model has seen every row up to the origin, nothing beyond. Origins are the
//! rows of the test part at which a window of [`WINDOW`] unmasked rows inside it ends, whatever the
//! model looks at: so all models are judged on the same targets, those of the original's windows.
//! Masked rows are no targets, and a model sees none of their values.

use std::ops::Range;
use std::sync::Arc;

use super::baselines::WINDOW;
use super::forecaster::{Band, Forecast, Forecaster, QUANTILES};
use crate::error::{Error, Result};
use crate::trace::series::Series;

/// One forecast of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The row.
    pub row: usize,
    /// How many rows ahead it was forecast, from 1.
    pub ahead: usize,
    /// Users that came.
    pub actual: f64,
    /// Users that were expected.
    pub users: f64,
    /// The band, where the model gave one.
    pub band: Option<Band>,
    /// Whether the latest users stood in for the model.
    pub by_persistence: bool,
}

/// Errors over a set of forecasts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Forecasts judged.
    pub targets: usize,
    /// Mean absolute error, users.
    pub mae: Option<f64>,
    /// Root of the mean squared error, users.
    pub rmse: Option<f64>,
    /// MAE over the mean one-step change before the test part; `None` where nothing changes there.
    pub mase: Option<f64>,
    /// Pinball loss at each of the [`QUANTILES`], users.
    pub pinball: Option<[f64; 3]>,
    /// Share of rows inside the 80 % band, ends included.
    pub coverage80: Option<f64>,
}

impl Scores {
    /// Of `predictions`; `naive` is the mean one-step change that MASE is relative to.
    pub fn of<'a>(predictions: impl Iterator<Item = &'a Prediction>, naive: Option<f64>) -> Self {
        let (mut targets, mut absolute, mut squared) = (0, 0.0, 0.0);
        let (mut banded, mut pinball, mut inside) = (0, [0.0; 3], 0);
        for prediction in predictions {
            let error = prediction.actual - prediction.users;
            targets += 1;
            absolute += error.abs();
            squared += error * error;
            if let Some(band) = prediction.band {
                banded += 1;
                for ((loss, quantile), users) in pinball.iter_mut().zip(QUANTILES).zip(band) {
                    *loss += pinball_loss(prediction.actual, users, quantile);
                }
                inside += usize::from((band[0]..=band[2]).contains(&prediction.actual));
            }
        }
        let mean = |sum: f64| (targets > 0).then(|| sum / targets as f64);
        let mae = mean(absolute);
        Self {
            targets,
            mae,
            rmse: mean(squared).map(f64::sqrt),
            mase: mae.zip(naive).map(|(mae, naive)| mae / naive),
            pinball: (banded > 0).then(|| pinball.map(|sum| sum / banded as f64)),
            coverage80: (banded > 0).then(|| inside as f64 / banded as f64),
        }
    }

    /// Mean of the pinball losses.
    pub fn mean_pinball(&self) -> Option<f64> {
        self.pinball.map(|losses| losses.iter().sum::<f64>() / losses.len() as f64)
    }
}

/// The loss of expecting `users` at `quantile`.
fn pinball_loss(actual: f64, users: f64, quantile: f64) -> f64 {
    let error = actual - users;
    if error >= 0.0 { quantile * error } else { (quantile - 1.0) * error }
}

/// The mean change from row to row, which MASE is relative to; `None` where it is 0 or there is none.
pub fn mean_change(series: &Series, rows: Range<usize>) -> Option<f64> {
    let (mut count, mut sum) = (0, 0.0);
    for row in rows.skip(1) {
        if !series.masked[row] && !series.masked[row - 1] {
            count += 1;
            sum += (series.users[row] - series.users[row - 1]).abs();
        }
    }
    (sum > 0.0).then(|| sum / f64::from(count))
}

/// Forecasts `horizon` rows at every origin inside `rows` and hands over the origin and the forecast.
pub fn roll(
    forecaster: &dyn Forecaster,
    series: &Series,
    rows: Range<usize>,
    horizon: usize,
    mut take: impl FnMut(usize, &Forecast),
) {
    let mut state = forecaster.start(&[&[]]);
    let mut forecast = Forecast::default();
    let mut clean = 0;
    for row in 0..rows.end.saturating_sub(1) {
        let masked = series.masked[row];
        let users = if masked { f64::NAN } else { series.users[row] };
        let now_s = series.time_s(row);
        forecaster.observe(&mut std::iter::once(users), now_s, &mut state);
        if !rows.contains(&row) {
            continue;
        }
        clean = if masked { 0 } else { clean + 1 };
        if clean >= WINDOW {
            forecaster.forecast(&state, horizon, &mut forecast);
            take(row, &forecast);
        }
    }
}

/// Every forecast of the rows in `rows` up to `horizon` rows ahead.
pub fn predictions(
    forecaster: &dyn Forecaster,
    series: &Series,
    rows: Range<usize>,
    horizon: usize,
) -> Vec<Prediction> {
    let mut predictions = Vec::with_capacity(rows.len() * horizon);
    roll(forecaster, series, rows.clone(), horizon, |origin, forecast| {
        for (index, &users) in forecast.users(0).iter().enumerate() {
            let row = origin + index + 1;
            if row < rows.end && !series.masked[row] {
                predictions.push(Prediction {
                    row,
                    ahead: index + 1,
                    actual: series.users[row],
                    users,
                    band: forecast.bands(0).map(|bands| bands[index]),
                    by_persistence: forecast.by_persistence(0),
                });
            }
        }
    });
    predictions
}

/// A model to be judged: one forecaster for each seed it was trained with.
#[derive(Clone)]
pub struct Candidate {
    /// The name that tables use.
    pub name: String,
    /// At least one; a model without randomness has one.
    pub forecasters: Vec<Arc<dyn Forecaster>>,
}

/// A model's forecasts and scores for one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Every forecast.
    pub predictions: Vec<Prediction>,
    /// Over all of them.
    pub overall: Scores,
    /// 1, 2, … rows ahead.
    pub by_ahead: Vec<Scores>,
}

/// Judges a forecaster on the rows `test` of `series`; `naive` as for [`Scores::of`].
///
/// # Errors
/// [`Error::Input`] when there is nothing to judge on.
pub fn judge(
    forecaster: &dyn Forecaster,
    series: &Series,
    test: Range<usize>,
    horizon: usize,
    naive: Option<f64>,
) -> Result<Judged> {
    let predictions = predictions(forecaster, series, test.clone(), horizon);
    if predictions.is_empty() {
        return Err(Error::input(
            &series.name,
            format!(
                "no forecast to judge: rows in the test part: {}; a window takes {WINDOW} unmasked \
                 ones and one more",
                test.len()
            ),
            "give a longer trace, a larger test part (--split 50/0/50) or mask less",
        ));
    }
    let by_ahead = (1..=horizon)
        .map(|ahead| {
            Scores::of(predictions.iter().filter(|prediction| prediction.ahead == ahead), naive)
        })
        .collect();
    let overall = Scores::of(predictions.iter(), naive);
    Ok(Judged { predictions, overall, by_ahead })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::{Baseline, Persistence, Training};

    fn series(users: &[f64], masked: &[usize]) -> Series {
        Series {
            name: "s".to_owned(),
            row_s: 120.0,
            users: users.to_vec(),
            masked: (0..users.len()).map(|row| masked.contains(&row)).collect(),
            ..Series::default()
        }
    }

    #[test]
    fn scores_by_hand() {
        let prediction = |actual, users, band| Prediction {
            row: 0,
            ahead: 1,
            actual,
            users,
            band,
            by_persistence: false,
        };
        let two = [
            prediction(10.0, 7.0, Some([5.0, 7.0, 9.0])),
            prediction(6.0, 7.0, Some([5.0, 8.0, 9.0])),
        ];
        let scores = Scores::of(two.iter(), Some(2.0));
        assert_eq!((scores.targets, scores.mae, scores.rmse), (2, Some(2.0), Some(5f64.sqrt())));
        assert_eq!((scores.mase, scores.coverage80), (Some(1.0), Some(0.5)));
        // 0.1: 0.1*5, 0.1*1; 0.5: 0.5*3, 0.5*2; 0.9: 0.9*1, 0.1*3.
        let expected = [0.3, 1.25, 0.6];
        for (got, want) in scores.pinball.unwrap().iter().zip(expected) {
            assert!((got - want).abs() < 1e-12, "{got} {want}");
        }
        let point = [prediction(1.0, 1.0, None)];
        let scores = Scores::of(point.iter(), None);
        assert_eq!((scores.mase, scores.pinball, scores.coverage80), (None, None, None));
    }

    #[test]
    fn every_model_is_judged_on_the_same_targets() {
        let users: Vec<f64> = (0..60).map(|row| f64::from(row * row % 17)).collect();
        let series = series(&users, &[50]);
        let training = Training::of(&users[..40], 5);
        for baseline in Baseline::ALL {
            let model = baseline.fit(std::slice::from_ref(&training));
            let rows: Vec<(usize, usize)> = predictions(model.as_ref(), &series, 40..60, 2)
                .iter()
                .map(|prediction| (prediction.row, prediction.ahead))
                .collect();
            // Windows end at rows 46 to 49 and, after the masked row 50, at 57 and 58.
            let expected =
                [(47, 1), (48, 2), (48, 1), (49, 2), (49, 1), (51, 2), (58, 1), (59, 2), (59, 1)];
            assert_eq!(rows, expected, "{baseline}");
        }
        let judged = judge(&Persistence, &series, 40..60, 2, None).unwrap();
        assert_eq!(judged.by_ahead.iter().map(|scores| scores.targets).sum::<usize>(), 9);
        let first = judged.predictions[0];
        assert_eq!((first.actual, first.users), (users[47], users[46]));
        let error = judge(&Persistence, &series, 53..60, 1, None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_model_never_sees_what_it_forecasts_or_what_is_masked() {
        let users: Vec<f64> = (0..60).map(|row| f64::from(row * row % 17)).collect();
        let before = series(&users, &[50]);
        let mut changed = users.clone();
        changed[50] = 1e6;
        changed[59] = 1e6;
        let after = series(&changed, &[50]);
        for baseline in Baseline::ALL {
            let model = baseline.fit(&[Training::of(&users[..40], 5)]);
            let expected = |series: &Series| -> Vec<f64> {
                predictions(model.as_ref(), series, 40..60, 1).iter().map(|p| p.users).collect()
            };
            assert_eq!(expected(&before), expected(&after), "{baseline}");
        }
    }

    #[test]
    fn the_mean_change_of_a_constant_is_no_scale() {
        assert_eq!(mean_change(&series(&[4.0; 9], &[]), 0..9), None);
        assert_eq!(mean_change(&series(&[1.0, 3.0, 9.0, 9.0], &[2]), 0..4), Some(2.0));
        assert_eq!(mean_change(&series(&[1.0], &[]), 0..1), None);
    }
}
