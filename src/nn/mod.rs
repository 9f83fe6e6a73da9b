//! The learning core: layers, initial weights, Adam, named parameters and checkpoints.
//!
//! Tensors and automatic differentiation are candle's. What decides the speed of recurrent learning
//! is ours: an LSTM over a whole sequence is one operation with its own backward pass
//! ([`Lstm`], [`BiLstm`]), a dense layer with its activation another ([`Dense`]), an update of Adam
//! one pass over each tensor in place ([`Adam`]).
//!
//! # Shapes
//! T steps, B rows (sequences, environments), I inputs, O outputs, H units of an LSTM. Sequences are
//! [T, B, I], steps outermost; LSTM weights [I + H + 1, 4H] with gates i, f, g, o; dense weights
//! [I, O]. Numbers are f32; f64 exists for checking gradients.
//!
//! # Determinism
//! Initial weights are drawn from the crate's own random streams (candle's CPU generator cannot be
//! seeded). Sums have a fixed order whatever the number of threads; parameters go in the order of
//! their names. The same program on the same type of CPU therefore computes the same bits.

mod adam;
mod bilstm;
pub mod checkpoint;
mod dense;
pub mod flat;
mod gates;
pub mod init;
mod kernel;
mod lstm;
mod params;
mod pointwise;
mod pool;
mod real;
mod sequence;
mod storage;

pub use adam::{Adam, AdamConfig, Clip, EpsilonForm, GradientNorms};
pub use bilstm::{BiLstm, Returns};
pub use checkpoint::{Checkpoint, Metadata};
pub use dense::{Dense, Mlp, MlpScratch};
pub use lstm::{Lstm, LstmOutput, LstmScratch, LstmState, SequenceOptions};
pub use params::{DenseInit, ParamStore, TensorFile, TensorValues};
pub use pointwise::Activation;
pub use real::Real;

use crate::error::Error;

impl From<candle_core::Error> for Error {
    /// A failed tensor operation, without the backtrace that candle appends to its messages when
    /// backtraces are on.
    fn from(error: candle_core::Error) -> Self {
        let mut error = error;
        while let candle_core::Error::WithBacktrace { inner, .. } = error {
            error = *inner;
        }
        Self::Failed(format!("a tensor computation failed: {error}"))
    }
}
