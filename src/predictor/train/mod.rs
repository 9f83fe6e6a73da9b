//! Training predictors: mini-batches in shuffled order, epochs, early stopping, going on bit for bit.
//!
//! - [`trainer`]: the loop, whatever the network.
//! - [`plan`]: how long and how fast, and by which recipe.
//! - [`state`]: where a training stands.
//! - [`saved`]: a training in a folder.
//! - [`original`]: the original's network and data.
//!
//! A [`Learner`] is a network with its data: it gives gradients and the loss of the validation part.
//! The order of an epoch's windows comes from a random stream of that epoch, so a training that goes
//! on from a folder takes the very steps that it would have taken.

pub mod original;
pub mod plan;
pub mod saved;
pub mod state;
pub mod trainer;

use candle_core::backprop::GradStore;
pub use plan::TrainingPlan;
pub use saved::{Identity, SavedTraining};
pub use state::{EpochLoss, Stopped, TrainingRecord, TrainingState};
pub use trainer::{Trainer, Watch};

use crate::error::Result;
use crate::nn::{ParamStore, TensorFile};

/// A network and what it learns from.
pub trait Learner {
    /// What is trained.
    fn params(&self) -> &ParamStore;

    /// Windows to fit on.
    fn windows(&self) -> usize;

    /// The mean loss of some windows, and its gradients.
    ///
    /// # Errors
    /// When a tensor operation fails.
    fn gradients(&self, windows: &[u32]) -> Result<(f64, GradStore)>;

    /// The loss over the validation part.
    ///
    /// # Errors
    /// When a tensor operation fails.
    fn validation_loss(&self) -> Result<f64>;

    /// Writes the predictor's files with these weights into a folder that is there.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn write(
        &self,
        weights: &TensorFile,
        record: &TrainingRecord,
        folder: &std::path::Path,
    ) -> Result<()>;
}
