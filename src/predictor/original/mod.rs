//! The original traffic predictor, exactly: seven past values of one service's users give the next.
//!
//! One scaler and one small network serve all services. Files come from Keras (`keras_h5`) or from
//! our own folder ([`checkpoint`]); prediction is plain f32 arithmetic, the same on every machine.
//! No value is clipped, as in the original: forecasts can be negative or beyond all that was seen.

pub(super) mod activation;
pub mod checkpoint;
mod forecaster;
#[cfg(feature = "keras-import")]
mod keras_config;
#[cfg(feature = "keras-import")]
pub mod keras_h5;
pub(super) mod network;
pub(super) mod panels;
mod scaler;
mod weights;

use std::cell::RefCell;

pub use network::{OriginalNetwork, Workspace};
pub use scaler::MinMaxScaler;
pub use weights::{OriginalWeights, RawTensor, TENSORS};

/// Past values that a prediction takes.
pub const WINDOW: usize = 7;

/// Scaler and network.
#[derive(Clone, Debug)]
pub struct OriginalPredictor {
    scaler: MinMaxScaler,
    network: OriginalNetwork,
}

/// What the predictor says of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The network's output.
    pub scaled: f32,
    /// The same in users.
    pub users: f32,
}

thread_local! {
    /// So that a forecast allocates nothing, and a predictor can be shared between threads.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl OriginalPredictor {
    /// Puts scaler and weights together.
    pub fn new(scaler: MinMaxScaler, weights: &OriginalWeights) -> Self {
        Self { scaler, network: OriginalNetwork::new(weights) }
    }

    /// The scaler.
    pub fn scaler(&self) -> &MinMaxScaler {
        &self.scaler
    }

    /// The network.
    pub fn network(&self) -> &OriginalNetwork {
        &self.network
    }

    /// Predicts from a window of users, oldest first.
    pub fn predict(&self, window: &[f64; WINDOW], workspace: &mut Workspace) -> Prediction {
        let scaled = self.network.predict(&self.scaler.scale(window), workspace);
        Prediction { scaled, users: self.scaler.unscale(scaled) }
    }

    /// Users that follow the end of `history` (oldest first); `None` for one that is shorter than a
    /// window.
    pub fn forecast(&self, history: &[f64]) -> Option<f64> {
        history.last_chunk().map(|window| self.after(window))
    }

    /// Users that follow a window.
    fn after(&self, window: &[f64; WINDOW]) -> f64 {
        WORKSPACE.with_borrow_mut(|workspace| f64::from(self.predict(window, workspace).users))
    }
}
