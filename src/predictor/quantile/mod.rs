//! The quantile model: what a linear autoregression leaves over, learned by a small LSTM.
//!
//! The expected users h rows ahead are AR_h(latest rows) + scale * net_h(window), and 10 % and 90 %
//! quantiles lie around them at distances that are positive whatever the network says, so that they
//! never cross. Everything the model sees and says is relative to the latest users and in units of a
//! robust scale of the recent rows ([`view`]): one model serves series of any size. The network's
//! last layer begins at zero, so that training starts at the autoregression with the quantiles of its
//! errors, and learns only what improves on that.
//!
//! - [`view`]: a window as the model sees it. - [`mod@line`]: the autoregression.
//! - [`network`]: the network outside candle. - [`loss`]: the pinball loss and its gradient.
//! - [`learner`]: the network in training. - [`checkpoint`]: its folder.

pub mod checkpoint;
pub mod learner;
pub mod line;
pub mod loss;
pub mod network;
pub mod view;

use std::cell::RefCell;

use self::checkpoint::QuantileConfig;
use self::line::Line;
use self::loss::softplus;
use self::network::{QuantileNetwork, Workspace};
use self::view::{LEAST_ROWS, ROWS, STEP_INPUTS, STEPS, View, squashed};
use super::forecaster::{Answer, Band, Forecaster, SeriesState};
use crate::nn::TensorFile;

/// Outputs a row ahead: what is added to the median, and what the distances of the quantiles below
/// and above follow from.
pub const OUTPUTS: usize = 3;

/// A trained model.
#[derive(Clone, Debug)]
pub struct QuantileModel {
    lines: Vec<Line>,
    /// What is added to the outputs for the distances below and above, for each row ahead.
    offsets: Vec<[f64; 2]>,
    /// What the distances are multiplied by.
    widths: Vec<[f64; 2]>,
    network: QuantileNetwork,
}

/// What forecasts use again and again.
#[derive(Default)]
struct Memory {
    /// What the network sees once a window.
    once: Vec<f32>,
    workspace: Workspace,
}

thread_local! {
    /// So that a forecast allocates nothing, and a model can be shared between threads.
    static MEMORY: RefCell<Memory> = RefCell::default();
}

impl QuantileModel {
    /// From the contents of a folder, whose tensors have been checked.
    pub fn new(config: &QuantileConfig, weights: &TensorFile) -> Self {
        Self {
            lines: config.lines.clone(),
            offsets: config.offsets.clone(),
            widths: config.widths.clone(),
            network: QuantileNetwork::new(config, weights),
        }
    }

    /// Rows ahead that the model was trained for; farther ones are forecast from its own medians.
    pub fn horizon(&self) -> usize {
        self.lines.len()
    }

    /// Writes the bands of the rows after `rows`, at most as many as the model's horizon.
    fn bands(&self, rows: &[f64], memory: &mut Memory, bands: &mut [Band]) {
        let view = View::of(rows);
        let mut steps = [0.0; STEPS * STEP_INPUTS];
        view.steps(&mut steps);
        let Memory { once, workspace } = memory;
        once.clear();
        once.extend_from_slice(view.summary());
        once.extend(self.lines.iter().map(|line| squashed(line.after(&view)) as f32));
        let outputs = self.network.run(&steps, once, workspace);
        let scale = view.scale();
        for (ahead, band) in bands.iter_mut().enumerate() {
            let [middle, below, above] =
                [0, 1, 2].map(|part| f64::from(outputs[ahead * OUTPUTS + part]));
            let ([below_offset, above_offset], widths) = (self.offsets[ahead], self.widths[ahead]);
            let median = view.last() + scale * (self.lines[ahead].after(&view) + middle);
            *band = [
                median - scale * widths[0] * softplus(below + below_offset),
                median,
                median + scale * widths[1] * softplus(above + above_offset),
            ];
        }
    }
}

impl Forecaster for QuantileModel {
    fn name(&self) -> &'static str {
        "quantile"
    }

    fn memory(&self) -> usize {
        ROWS
    }

    fn predict(
        &self,
        _service: usize,
        series: &SeriesState,
        users: &mut [f64],
        bands: &mut [Band],
    ) -> Answer {
        if series.recent.len() < LEAST_ROWS {
            return Answer::TooShort;
        }
        let seen = series.recent.len().min(ROWS);
        let mut window = [0.0; ROWS];
        window[ROWS - seen..].copy_from_slice(&series.recent[series.recent.len() - seen..]);
        let (mut from, mut widths) = (ROWS - seen, [0.0; 2]);
        MEMORY.with_borrow_mut(|memory| {
            for bands in bands.chunks_mut(self.horizon()) {
                self.bands(&window[from..], memory, bands);
                // A later block starts from medians that are uncertain themselves.
                for band in bands.iter_mut() {
                    let [below, above] = [band[1] - band[0], band[2] - band[1]];
                    *band = [
                        band[1] - below.hypot(widths[0]),
                        band[1],
                        band[1] + above.hypot(widths[1]),
                    ];
                }
                if let Some(band) = bands.last() {
                    widths = [band[1] - band[0], band[2] - band[1]];
                }
                let medians = bands.len().min(ROWS);
                window.rotate_left(medians);
                for (row, band) in
                    window[ROWS - medians..].iter_mut().zip(&bands[bands.len() - medians..])
                {
                    *row = band[1];
                }
                from = from.saturating_sub(medians);
            }
        });
        for (users, band) in users.iter_mut().zip(bands.iter()) {
            *users = band[1];
        }
        Answer::Banded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::line::LINE_ROWS;
    use super::*;
    use crate::nn::TensorValues;
    use crate::predictor::Forecast;

    /// A model whose weights are `weight(index)`.
    fn model(horizon: usize, weight: impl Fn(usize) -> f32) -> QuantileModel {
        let line = |ahead: usize| {
            let mut slopes = [0.0; LINE_ROWS];
            slopes[LINE_ROWS - 1] = -0.3 - 0.1 * ahead as f64;
            Line { slopes, intercept: 0.05 }
        };
        let lines = (0..horizon).map(line).collect();
        let config = QuantileConfig::new(3, 5, lines, vec![[0.4, -0.7]; horizon]);
        let mut weights = TensorFile::default();
        let mut count = 0;
        for (name, shape) in config.shapes() {
            let values = (0..shape.iter().product())
                .map(|_| {
                    count += 1;
                    weight(count)
                })
                .collect();
            weights.tensors.insert(name.to_owned(), TensorValues { shape, values });
        }
        QuantileModel::new(&config, &weights)
    }

    fn forecast(model: &QuantileModel, rows: &[f64], horizon: usize) -> Forecast {
        let mut forecast = Forecast::default();
        model.forecast(&model.start(&[rows]), horizon, &mut forecast);
        forecast
    }

    #[test]
    fn with_a_network_of_zeros_it_is_the_autoregression() {
        let model = model(3, |_| 0.0);
        let rows: Vec<f64> = (0..50).map(|row| 40.0 + f64::from(row * row % 19)).collect();
        let forecast = forecast(&model, &rows, 3);
        let view = View::of(&rows);
        for ahead in 0..3 {
            let before = rows[48] - rows[49];
            let slope = -0.3 - 0.1 * ahead as f64;
            let expected = rows[49] + slope * before + 0.05 * view.scale();
            let [low, median, high] = forecast.bands(0).unwrap()[ahead];
            assert!((median - expected).abs() < 1e-9, "{median} {expected}");
            assert!((median - low - softplus(0.4) * view.scale()).abs() < 1e-9);
            assert!((high - median - softplus(-0.7) * view.scale()).abs() < 1e-9);
        }
        assert_eq!(forecast.users(0)[2], forecast.bands(0).unwrap()[2][1]);
    }

    #[test]
    fn a_short_history_is_answered_by_persistence_and_a_constant_one_stays() {
        let model = model(2, |_| 0.0);
        assert!(forecast(&model, &[4.0; LEAST_ROWS - 1], 1).by_persistence(0));
        let constant = forecast(&model, &[50.0; 40], 2);
        assert!((constant.next()[0] - 50.0).abs() < 0.05, "{:?}", constant.next());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn quantiles_never_cross(
            rows in prop::collection::vec(prop_oneof![0.0..100.0, Just(0.0), 0.0..1e9_f64], 7..60),
            size in 0.0..30.0_f32,
            horizon in 1..12_usize,
        ) {
            let model = model(5, |index| size * ((index as f32 * 0.73).sin()));
            let forecast = forecast(&model, &rows, horizon);
            for band in forecast.bands(0).unwrap() {
                prop_assert!(band.iter().all(|users| users.is_finite()), "{:?}", band);
                prop_assert!(0.0 <= band[0] && band[0] <= band[1] && band[1] <= band[2]);
            }
        }
    }
}
