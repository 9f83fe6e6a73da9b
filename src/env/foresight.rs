//! What an agent expects while it is trained: a forecaster's own forecasts, or true ones with the
//! errors that a forecaster makes.

use std::sync::Arc;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::traffic::TrainingTraffic;
use crate::error::{Error, Result};
use crate::predictor::{Band, Forecast, Forecaster, QUANTILES};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::sim::UserRuns;

/// Steps of the stored distribution function.
const STEPS: usize = 32;
/// Episodes that errors are collected over.
const EPISODES: u64 = 100;

/// The errors of a forecaster, without the forecaster: drawn, they turn the users to come into a
/// forecast as good or bad as its own. Errors of successive rows are independent of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseModel {
    /// The forecaster that it was fitted to.
    pub forecaster: String,
    /// Quantiles of (forecast - users) / max(users, 1), from the least to the greatest, equally far
    /// apart in probability.
    pub errors: Vec<f64>,
    /// Quantiles of (users - forecast) / max(forecast, 1) at [`QUANTILES`]: the band that a forecast
    /// is given.
    pub band: Band,
}

impl NoiseModel {
    /// Fits the errors of `forecaster` over training episodes.
    ///
    /// # Errors
    /// When traffic cannot be drawn or no decision falls into an episode.
    pub fn fit(
        forecaster: &Arc<dyn Forecaster>,
        scenario: &Scenario,
        traffic: &TrainingTraffic,
    ) -> Result<Self> {
        let spec = &scenario.spec;
        let past: Vec<&[f64]> =
            spec.service.iter().map(|service| service.history_users.as_slice()).collect();
        let (mut errors, mut misses) = (Vec::new(), Vec::new());
        let mut trace = traffic.blank();
        let mut forecast = Forecast::default();
        for episode in 0..EPISODES {
            traffic.renew(traffic.episode_seed(episode), &mut trace)?;
            let runs: Vec<UserRuns> = trace.services.iter().map(UserRuns::new).collect();
            let shortest = trace.services.iter().map(|service| service.duration_s()).min();
            let instants =
                (spec.offset_s..shortest.unwrap_or(0)).step_by(spec.interval_s.max(1) as usize);
            let mut state = forecaster.start(&past);
            for instant in instants {
                let mut users = runs.iter().map(|runs| f64::from(runs.at(instant)));
                forecaster.observe(&mut users, None, &mut state);
                forecaster.forecast(&state, 1, &mut forecast);
                for (runs, &expected) in runs.iter().zip(forecast.next()) {
                    let users = f64::from(runs.at_end_of_next_stage(instant));
                    errors.push((expected - users) / users.max(1.0));
                    misses.push((users - expected) / expected.max(1.0));
                }
            }
        }
        if errors.is_empty() || errors.iter().any(|error| !error.is_finite()) {
            return Err(Error::Failed(format!(
                "{}: no errors to fit a noise model to: no decision falls into an episode, or nothing is known of the users before it",
                forecaster.name()
            )));
        }
        errors.sort_by(f64::total_cmp);
        misses.sort_by(f64::total_cmp);
        Ok(Self {
            forecaster: forecaster.name().to_owned(),
            errors: (0..=STEPS).map(|step| quantile(&errors, step as f64 / STEPS as f64)).collect(),
            band: QUANTILES.map(|share| quantile(&misses, share)),
        })
    }

    /// Whether it can be drawn from.
    ///
    /// # Errors
    /// [`Error::Input`] when its quantiles do not rise.
    pub fn check(&self) -> Result<()> {
        let rises = |values: &[f64]| {
            values.iter().all(|value| value.is_finite())
                && values.windows(2).all(|pair| pair[0] <= pair[1])
        };
        if self.errors.len() >= 2 && rises(&self.errors) && rises(&self.band) {
            return Ok(());
        }
        Err(Error::input(
            "forecast.model",
            "the quantiles are not at least two rising numbers",
            "leave the model out: it is fitted anew",
        ))
    }

    /// A forecast of `users` to come and its band.
    pub fn draw(&self, users: f64, rng: &mut Rng) -> (f64, Band) {
        let error = quantile(&self.errors, rng.random());
        let expected = (users + error * users.max(1.0)).max(0.0);
        let band = self.band.map(|miss| (expected + miss * expected.max(1.0)).max(0.0));
        (expected, band)
    }
}

/// The value at `share` of rising values, between neighbours linear.
fn quantile(rising: &[f64], share: f64) -> f64 {
    let place = share * (rising.len() - 1) as f64;
    let below = (place as usize).min(rising.len() - 1);
    let above = (below + 1).min(rising.len() - 1);
    rising[below] + (rising[above] - rising[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::{MovingAverage, Persistence};
    use crate::rng::Streams;

    #[test]
    fn drawn_errors_are_those_of_the_forecaster() {
        let sets: Vec<String> = ["house", "senti", "numbr"]
            .map(|service| format!("service.{service}.trace.low=20"))
            .to_vec();
        let scenario = Scenario::load("knative-random", &sets).unwrap();
        let traffic = TrainingTraffic::new(&scenario, &[], 5).unwrap();
        let average: Arc<dyn Forecaster> = Arc::new(MovingAverage::new(3));
        let model = NoiseModel::fit(&average, &scenario, &traffic).unwrap();
        model.check().unwrap();
        assert_eq!((model.forecaster.as_str(), model.errors.len()), ("moving-average", 33));
        // Users are uniform on 20..=100, so their mean is expected whatever comes: 60 / users - 1.
        let mut rng = Streams::new(1).open("noise");
        let draws: Vec<f64> = (0..20_000).map(|_| model.draw(50.0, &mut rng).0).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let expected = 50.0 * (60.0 * (100.0_f64 / 20.0).ln() / 80.0);
        assert!((mean - expected).abs() < 0.05 * expected, "{mean} against {expected}");
        let (middle, band) = model.draw(50.0, &mut rng);
        assert!(band[0] < middle && middle < band[2] && band[0] <= band[1] && band[1] <= band[2]);
        // Persistence knows a constant.
        let mut constant = scenario.clone();
        for service in &mut constant.spec.service {
            (service.trace.low, service.trace.high) = (Some(33.0), Some(33.0));
        }
        let traffic = TrainingTraffic::new(&constant, &[], 5).unwrap();
        let persistence: Arc<dyn Forecaster> = Arc::new(Persistence);
        let exact = NoiseModel::fit(&persistence, &constant, &traffic).unwrap();
        assert_eq!(exact.draw(40.0, &mut rng), (40.0, [40.0; 3]));
        let broken = NoiseModel { errors: vec![1.0, 0.0], ..exact };
        assert_eq!(broken.check().unwrap_err().exit_code(), 2);
    }
}
