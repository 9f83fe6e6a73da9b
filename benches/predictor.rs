//! The original predictor's forecast, with random weights of the size of the shipped network's.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use quotascale::predictor::original::{
    MinMaxScaler, OriginalPredictor, OriginalWeights, RawTensor,
};
use quotascale::rng::Streams;
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

criterion_group!(benches, forecast);
criterion_main!(benches);
