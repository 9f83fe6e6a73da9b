//! The quantile model: what a linear autoregression leaves over, learned by a small LSTM.
//!
//! The expected users h rows ahead are AR_h(latest rows) + scale * error_h * net_h(window), and 10 % and
//! 90 % quantiles lie around them at distances that are positive whatever the network says, so that they
//! never cross. Everything the model sees and says is relative to the latest users and in units of a
//! robust scale of the recent rows ([`view`]): one model serves series of any size. Where it was trained
//! on several services, each has an autoregression of its own ([`mod@line`]), and the network speaks in
//! units of its errors: it is then as good as that line on a series that repeats itself exactly. Other
//! services get the line of all. The network's last layer begins at zero, so that training starts at the
//! autoregression with the quantiles of its errors, and learns only what improves on that; of a window in
//! which nothing moved it says no more than the autoregression. In use the
//! bands go on learning how wide they have to be ([`adapt`]).
//!
//! - [`view`]: a window as the model sees it. - [`mod@line`]: the autoregression.
//! - [`calendar`]: the time of day. - [`windows`]: what it is trained on.
//! - [`network`]: the network outside candle. - [`loss`]: the pinball loss and its gradient.
//! - [`learner`]: the network in training. - [`checkpoint`]: its folder.
//! - [`adapt`]: bands that learn from every row.

pub mod adapt;
pub mod calendar;
pub mod checkpoint;
pub mod learner;
pub mod line;
pub mod loss;
pub mod network;
pub mod view;
pub mod windows;

use std::cell::RefCell;
use std::sync::Arc;

use self::checkpoint::QuantileConfig;
use self::line::Lines;
use self::loss::softplus;
use self::network::{QuantileNetwork, Workspace};
use self::view::{LEAST_ROWS, ROWS, STEP_INPUTS, STEPS, View};
use super::forecaster::{Answer, Band, Forecaster, SeriesState};
use crate::nn::TensorFile;

/// Outputs a row ahead: what is added to the median, and what the distances of the quantiles below
/// and above follow from.
pub const OUTPUTS: usize = 3;

/// A trained model. Copies share all but the services they are for.
#[derive(Clone, Debug)]
pub struct QuantileModel {
    parts: Arc<Parts>,
    /// Whose lines each service has: an index, or none for the line of all.
    services: Vec<Option<usize>>,
}

#[derive(Debug)]
struct Parts {
    shared: Lines,
    /// In the order of their names.
    own: Vec<(String, Lines)>,
    /// What is added to the outputs for the distances below and above, for each row ahead.
    offsets: Vec<[f64; 2]>,
    calendar: bool,
    network: QuantileNetwork,
}

/// What forecasts use again and again.
#[derive(Default)]
struct Memory {
    /// What the network sees once a window.
    once: Vec<f32>,
    workspace: Workspace,
    /// Of the rows to come, while a row is taken in.
    bands: Vec<Band>,
}

thread_local! {
    /// So that a forecast allocates nothing, and a model can be shared between threads.
    static MEMORY: RefCell<Memory> = RefCell::default();
}

impl QuantileModel {
    /// From the contents of a folder, whose tensors have been checked. No service has lines of its own.
    pub fn new(config: &QuantileConfig, weights: &TensorFile) -> Self {
        let parts = Parts {
            shared: config.shared.clone(),
            own: config.services.clone().into_iter().collect(),
            offsets: config.offsets.clone(),
            calendar: config.calendar,
            network: QuantileNetwork::new(config, weights),
        };
        Self { parts: Arc::new(parts), services: Vec::new() }
    }

    /// The same for services of these names, each with its own lines where it was learned from. A name
    /// may have its file before a slash.
    pub fn for_services<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let own = &self.parts.own;
        let find = |name: &str| own.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok();
        let without_file = |name: &'a str| name.rsplit('/').next().unwrap_or(name);
        let services =
            names.into_iter().map(|name| find(name).or_else(|| find(without_file(name)))).collect();
        Self { parts: Arc::clone(&self.parts), services }
    }

    /// Names of the services with lines of their own.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.parts.own.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there are lines for a service of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.known().any(|known| known == name)
    }

    /// Rows ahead that the model was trained for; farther ones are forecast from its own medians.
    pub fn horizon(&self) -> usize {
        self.parts.offsets.len()
    }

    fn lines(&self, service: usize) -> &Lines {
        let own = self.services.get(service).copied().flatten();
        own.map_or(&self.parts.shared, |index| &self.parts.own[index].1)
    }

    /// Writes the bands of the rows after `rows`, at most as many as the model's horizon; `carried` has
    /// their widths.
    fn bands(
        &self,
        service: usize,
        rows: &[f64],
        (now_s, carried): (Option<f64>, &[f64]),
        memory: &mut Memory,
        bands: &mut [Band],
    ) {
        let (parts, lines) = (&self.parts, self.lines(service));
        let view = View::of(rows);
        let mut steps = [0.0; STEPS * STEP_INPUTS];
        view.steps(&mut steps);
        let Memory { once, workspace, .. } = memory;
        once.clear();
        windows::once(&view, lines, now_s, parts.calendar, once);
        let outputs = parts.network.run(&steps, once, workspace);
        for (ahead, band) in bands.iter_mut().enumerate() {
            let [middle, below, above] =
                [0, 1, 2].map(|part| f64::from(outputs[ahead * OUTPUTS + part]));
            let expected = view.last() + view.scale() * lines.lines[ahead].after(&view);
            let error = lines.errors[ahead];
            // Where nothing moved, the line is right, and the network no judge of it.
            let correction = if view.moved() { view.scale() * error * middle } else { 0.0 };
            let median = expected + correction;
            let (offsets, widths) = (parts.offsets[ahead], lines.widths[ahead]);
            let [distance_below, distance_above] = [
                softplus(below + offsets[0]) * widths[0],
                softplus(above + offsets[1]) * widths[1],
            ]
            .map(|distance| view.scale() * error * distance);
            let [adapted_below, adapted_above] = adapt::width(carried, ahead);
            *band = [
                median - distance_below * adapted_below,
                median,
                median + distance_above * adapted_above,
            ];
        }
    }
}

/// The latest rows, at most as many as the model looks at.
fn window(series: &SeriesState) -> &[f64] {
    &series.recent[series.recent.len().saturating_sub(ROWS)..]
}

impl Forecaster for QuantileModel {
    fn name(&self) -> &'static str {
        "quantile"
    }

    fn memory(&self) -> usize {
        ROWS
    }

    fn carried(&self, _service: usize) -> Vec<f64> {
        adapt::fresh(self.horizon())
    }

    fn update(&self, service: usize, row: i64, series: &mut SeriesState) {
        if series.recent.len() < LEAST_ROWS {
            return;
        }
        if let (false, Some(users)) = (series.missing, series.last()) {
            adapt::judge(&mut series.carried, self.horizon(), row, users);
        }
        MEMORY.with_borrow_mut(|memory| {
            let mut bands = std::mem::take(&mut memory.bands);
            bands.resize(self.horizon(), Band::default());
            let known = (series.now_s, series.carried.as_slice());
            self.bands(service, window(series), known, memory, &mut bands);
            adapt::keep(&mut series.carried, row, &bands);
            memory.bands = bands;
        });
    }

    fn predict(
        &self,
        service: usize,
        series: &SeriesState,
        users: &mut [f64],
        bands: &mut [Band],
    ) -> Answer {
        if series.recent.len() < LEAST_ROWS {
            return Answer::TooShort;
        }
        let seen = window(series);
        let mut from = ROWS - seen.len();
        let mut window = [0.0; ROWS];
        window[from..].copy_from_slice(seen);
        let mut widths = [0.0; 2];
        // Of the blocks after the first, whose time would have to be guessed, none is known.
        let mut now_s = series.now_s;
        MEMORY.with_borrow_mut(|memory| {
            for bands in bands.chunks_mut(self.horizon()) {
                let known = (now_s.take(), series.carried.as_slice());
                self.bands(service, &window[from..], known, memory, bands);
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

    use super::line::{LINE_ROWS, Line};
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
        let lines = Lines {
            lines: (0..horizon).map(line).collect(),
            errors: vec![0.5; horizon],
            widths: vec![[1.0; 2]; horizon],
        };
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
            // The distances in units of the line's error, as wide as the rows so far make them.
            let state = model.start(&[&rows]);
            let [below, above] = adapt::width(&state.services[0].carried, ahead);
            assert!((median - low - below * softplus(0.4) * 0.5 * view.scale()).abs() < 1e-9);
            assert!((high - median - above * softplus(-0.7) * 0.5 * view.scale()).abs() < 1e-9);
            assert!(below != 1.0 && above != 1.0);
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

    #[test]
    fn of_a_window_without_change_the_network_says_nothing() {
        let model = model(2, |index| (index as f32).sin());
        let expected = 50.0 + 0.05 * View::of(&[50.0; 40]).scale();
        assert_eq!(forecast(&model, &[50.0; 40], 1).next(), [expected]);
    }

    #[test]
    fn a_saved_state_goes_on_alike_and_a_missing_row_judges_no_band() {
        let model = model(3, |index| (index as f32).cos());
        let mut state = model.start(&[&[4.0, 9.0, 7.0, 8.0, 3.0, 6.0, 5.0, 8.0, 2.0, 7.0]]);
        let text = serde_json::to_string(&state).unwrap();
        let mut restored: crate::predictor::ForecasterState = serde_json::from_str(&text).unwrap();
        assert!(model.accepts(&restored, 1));
        let widths =
            |state: &crate::predictor::ForecasterState| state.services[0].carried[..6].to_vec();
        let before = widths(&state);
        model.observe(&mut [f64::NAN].into_iter(), None, &mut state);
        assert_eq!(widths(&state), before);
        model.observe(&mut [6.0].into_iter(), None, &mut state);
        assert!(widths(&state) != before);
        for users in [f64::NAN, 6.0] {
            model.observe(&mut [users].into_iter(), None, &mut restored);
        }
        assert_eq!(restored, state);
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
