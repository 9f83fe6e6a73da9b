//! Quantiles for models that have none: the model's forecast plus the quantiles of its own errors.
//!
//! The errors are those of the model over the rows it was fitted on, taken apart by how far ahead the
//! row was and by how many users were expected: traffic errs by more when there is more of it. There
//! are at most `MOST_LEVELS` levels of users, each of at least `LEAST_ERRORS` errors.

use std::ops::Range;
use std::sync::Arc;

use super::backtest::roll;
use super::forecaster::{Answer, Band, Forecaster, QUANTILES, SeriesState};
use crate::trace::series::Series;

/// Most levels of users that errors are taken apart by.
const MOST_LEVELS: usize = 8;
/// Fewest errors of a level: the outer quantiles stand on a tenth of them.
const LEAST_ERRORS: usize = 100;

/// A model with bands from its errors.
#[derive(Clone)]
pub struct WithBands {
    model: Arc<dyn Forecaster>,
    /// What the quantiles add, 1, 2, … rows ahead; empty where there were no errors to learn from.
    added: Vec<Levels>,
}

/// What the quantiles add to a forecast, by level of the users expected.
#[derive(Clone)]
struct Levels {
    /// The most users of each level but the last, rising.
    edges: Vec<f64>,
    added: Vec<Band>,
}

impl Levels {
    /// From pairs of users expected and error, in any order; `None` without any.
    fn fit(pairs: &mut [(f64, f64)]) -> Option<Self> {
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let least = LEAST_ERRORS.max(pairs.len().div_ceil(MOST_LEVELS));
        let mut starts = vec![0];
        for index in 1..pairs.len() {
            let long = index - starts[starts.len() - 1] >= least && pairs.len() - index >= least;
            // Equal forecasts are never told apart.
            if long && pairs[index].0 > pairs[index - 1].0 {
                starts.push(index);
            }
        }
        let edges = starts[1..].iter().map(|&start| pairs[start - 1].0).collect();
        let ends = starts[1..].iter().copied().chain([pairs.len()]);
        let added = starts.iter().zip(ends).map(|(&start, end)| {
            let mut errors: Vec<f64> = pairs[start..end].iter().map(|pair| pair.1).collect();
            errors.sort_unstable_by(f64::total_cmp);
            QUANTILES.map(|share| quantile(&errors, share))
        });
        (!pairs.is_empty()).then(|| Self { edges, added: added.collect() })
    }

    fn at(&self, users: f64) -> Band {
        self.added[self.edges.partition_point(|edge| *edge < users)]
    }
}

impl WithBands {
    /// Learns from the errors of `model` over `rows` of `series`, up to `horizon` rows ahead.
    pub fn fit(
        model: Arc<dyn Forecaster>,
        series: &Series,
        rows: Range<usize>,
        horizon: usize,
    ) -> Self {
        let mut errors: Vec<Vec<(f64, f64)>> = vec![Vec::new(); horizon];
        roll(model.as_ref(), series, rows.clone(), horizon, |origin, forecast| {
            if forecast.by_persistence(0) {
                return;
            }
            for (ahead, (errors, users)) in errors.iter_mut().zip(forecast.users(0)).enumerate() {
                let row = origin + ahead + 1;
                if row < rows.end && !series.masked[row] {
                    errors.push((*users, series.users[row] - users));
                }
            }
        });
        let added = errors.iter_mut().map_while(|errors| Levels::fit(errors));
        Self { model, added: added.collect() }
    }
}

/// Quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

impl Forecaster for WithBands {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn memory(&self) -> usize {
        self.model.memory()
    }

    fn carried(&self, service: usize) -> Vec<f64> {
        self.model.carried(service)
    }

    fn update(&self, service: usize, row: i64, series: &mut SeriesState) {
        self.model.update(service, row, series);
    }

    fn predict(
        &self,
        service: usize,
        series: &SeriesState,
        users: &mut [f64],
        bands: &mut [Band],
    ) -> Answer {
        let answer = self.model.predict(service, series, users, bands);
        let Some(farthest) = self.added.last() else { return answer };
        if answer != Answer::Point {
            return answer;
        }
        for (index, (band, users)) in bands.iter_mut().zip(users).enumerate() {
            let levels = self.added.get(index).unwrap_or(farthest);
            *band = levels.at(*users).map(|added| *users + added);
        }
        Answer::Banded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::{Forecast, Persistence, Seasonal};

    fn series(users: Vec<f64>) -> Series {
        Series {
            name: "s".to_owned(),
            row_s: 120.0,
            masked: vec![false; users.len()],
            users,
            ..Series::default()
        }
    }

    #[test]
    fn bands_are_the_quantiles_of_the_models_errors() {
        // Persistence errs by +1, +1, -2 in turn, and over two rows by +2, -1, -1.
        let users: Vec<f64> = (0..97).map(|row| 50.0 + f64::from(row % 3)).collect();
        let series = series(users);
        let model = WithBands::fit(Arc::new(Persistence), &series, 0..97, 2);
        let mut forecast = Forecast::default();
        model.forecast(&model.start(&[&[1.0]]), 3, &mut forecast);
        let bands = forecast.bands(0).unwrap();
        // 1 - 2 is less than no users.
        assert_eq!(bands[0], [0.0, 2.0, 2.0]);
        assert_eq!(bands[1], [0.0, 0.0, 3.0]);
        assert_eq!(bands[2], bands[1], "beyond what was learned, the farthest");
        assert_eq!(forecast.users(0), [1.0; 3]);
    }

    #[test]
    fn busy_hours_have_their_own_errors() {
        // 250 rows that change by one, then as many that change by ten.
        let users = (0..500).map(|row| {
            let (level, step) = if row < 250 { (10.0, 1.0) } else { (100.0, 10.0) };
            level + step * f64::from(row % 2)
        });
        let model = WithBands::fit(Arc::new(Persistence), &series(users.collect()), 0..500, 1);
        let mut forecast = Forecast::default();
        let mut width = |last: f64| {
            model.forecast(&model.start(&[&[last]]), 1, &mut forecast);
            let band = forecast.bands(0).unwrap()[0];
            band[2] - band[0]
        };
        assert_eq!(width(10.0), 0.0, "the row after ten is always eleven");
        assert!(width(1e6) <= 20.0 && width(1e6) == width(110.0));
        assert_eq!((model.added[0].edges[0], model.added[0].at(11.0)[1]), (10.0, -1.0));
        assert_eq!(model.added[0].at(110.0)[1], -10.0);
    }

    #[test]
    fn without_errors_there_is_no_band() {
        let series = series(vec![3.0; 50]);
        let model = WithBands::fit(Arc::new(Seasonal::new(720)), &series, 0..50, 1);
        let mut forecast = Forecast::default();
        model.forecast(&model.start(&[&[3.0; 800]]), 1, &mut forecast);
        assert_eq!((forecast.next(), forecast.bands(0)), (&[3.0][..], None));
    }
}
