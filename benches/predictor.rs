//! Forecasts of three services: of the original predictor, with random weights of the size of the
//! shipped network's, and of the quantile model.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use quotascale::predictor::dataset::Fractions;
use quotascale::predictor::original::checkpoint::Source;
use quotascale::predictor::original::{
    MinMaxScaler, OriginalPredictor, OriginalWeights, RawTensor,
};
use quotascale::predictor::quantile::QuantileModel;
use quotascale::predictor::quantile::learner::QuantileLearner;
use quotascale::predictor::quantile::windows::TimeOfDay;
use quotascale::predictor::train::Learner;
use quotascale::predictor::{Forecast, Forecaster};
use quotascale::rng::Streams;
use quotascale::trace::series::Series;
use rand::RngExt;

/// Units of the shipped network.
const UNITS: usize = 50;

fn predictor() -> OriginalPredictor {
    let mut rng = Streams::new(0).open("bench");
    let weights = OriginalWeights::build("bench", UNITS, |_, shape| {
        let count = shape.iter().product();
        let values = (0..count).map(|_| rng.random_range(-0.3..0.3)).collect();
        Ok(RawTensor { place: String::new(), shape: shape.to_vec(), values })
    });
    let scaler = MinMaxScaler::new("bench", 8.0, 100.0).unwrap();
    OriginalPredictor::new(scaler, &weights.unwrap())
}

fn forecast(criterion: &mut Criterion) {
    let predictor = predictor();
    let histories = [
        [28.0, 70.0, 30.0, 27.0, 78.0, 55.0, 47.0, 44.0],
        [9.0, 13.0, 8.0, 11.0, 8.0, 14.0, 11.0, 11.0],
        [11.0, 13.0, 11.0, 21.0, 15.0, 16.0, 12.0, 18.0],
    ];
    criterion.bench_function("three forecasts of the original predictor", |bencher| {
        bencher.iter(|| {
            for history in &histories {
                black_box(predictor.forecast(black_box(history)));
            }
        });
    });
}

fn quantiles(criterion: &mut Criterion) {
    let users: Vec<f64> = (0..300).map(|row| f64::from(40 + row * row % 23)).collect();
    let series = Series {
        name: "bench".to_owned(),
        unit: "users".to_owned(),
        row_s: 120.0,
        masked: vec![false; users.len()],
        users: users.clone(),
        times: Vec::new(),
        start_s: None,
    };
    let source = Source { file: "bench".to_owned(), sha256: String::new(), keras_version: None };
    let (fractions, time_of_day) = (Fractions::default(), TimeOfDay::Auto);
    let learner = QuantileLearner::new(&[series], fractions, 5, time_of_day, 0, source, "");
    let learner = learner.unwrap();
    let model = QuantileModel::new(learner.config(), &learner.params().values().unwrap());
    let state = model.start(&[&users, &users[..200], &users[..100]]);
    let mut forecast = Forecast::default();
    criterion.bench_function("three forecasts of the quantile model", |bencher| {
        bencher.iter(|| model.forecast(black_box(&state), 5, &mut forecast));
    });
}

criterion_group!(benches, forecast, quantiles);
criterion_main!(benches);
