//! The quantile model: what a linear autoregression leaves over, learned by a small LSTM.
//!
//! The expected users h rows ahead are AR_h(latest rows) + scale * net_h(window), and 10 % and 90 %
//! quantiles lie around them at distances that are positive whatever the network says, so that they
//! never cross. Everything the model sees and says is relative to the latest users and in units of a
//! robust scale of the recent rows ([`view`]): one model serves series of any size. The network's
//! last layer begins at zero, so that training starts at the autoregression with the quantiles of its
//! errors, and learns only what improves on that.
//!
//! - [`view`]: a window as the model sees it. - [`line`]: the autoregression.
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
use self::view::{LEAST_ROWS, ROWS, View};
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
    network: QuantileNetwork,
}

thread_local! {
    /// So that a forecast allocates nothing, and a model can be shared between threads.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl QuantileModel {
    /// From the contents of a folder, whose tensors have been checked.
    pub fn new(config: &QuantileConfig, weights: &TensorFile) -> Self {
        Self {
            lines: config.lines.clone(),
            offsets: config.offsets.clone(),
            network: QuantileNetwork::new(config, weights),
        }
    }

    /// Rows ahead that the model was trained for; farther ones are forecast from its own medians.
    pub fn horizon(&self) -> usize {
        self.lines.len()
    }

    /// Writes the bands of the rows after `rows`, at most as many as the model's horizon.
    fn bands(&self, rows: &[f64], workspace: &mut Workspace, bands: &mut [Band]) {
        let view = View::of(rows);
        let outputs = self.network.run(&view, &self.lines, workspace);
        let scale = view.scale();
        for (ahead, band) in bands.iter_mut().enumerate() {
            let [middle, below, above] =
                [0, 1, 2].map(|part| f64::from(outputs[ahead * OUTPUTS + part]));
            let [below_offset, above_offset] = self.offsets[ahead];
            let median = view.last() + scale * (self.lines[ahead].after(&view) + middle);
            *band = [
                median - scale * softplus(below + below_offset),
                median,
                median + scale * softplus(above + above_offset),
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
        WORKSPACE.with_borrow_mut(|workspace| {
            for bands in bands.chunks_mut(self.horizon()) {
                self.bands(&window[from..], workspace, bands);
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
