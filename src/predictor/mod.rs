//! Forecasters: from the users seen so far to the users of the coming rows.
//!
//! - [`forecaster`]: the seam: state, forecast, and what holds whatever the model.
//! - [`baselines`]: forecasters without a network.
//! - [`choice`]: from `--forecaster` to what an episode uses.
//! - [`dataset`]: splits, scaling and windows for training.
//! - [`bands`]: quantiles for models that have none, from their residuals.
//! - [`backtest`]: a forecaster over the test part of a series, and its scores.
//! - [`original`], [`quantile`]: the networks; [`train`]: how they are trained; [`trained`]: a folder
//!   of either as a forecaster.

pub mod backtest;
pub mod bands;
pub mod baselines;
pub mod choice;
pub mod dataset;
mod folder;
pub mod forecaster;
pub mod original;
pub mod quantile;
pub mod train;
pub mod trained;

pub use baselines::{
    Ar, Baseline, HoltWinters, MovingAverage, Persistence, Seasonal, Stretch, Training, WINDOW,
};
pub use choice::{ForecasterKind, Foresight};
pub use forecaster::{Answer, Band, Forecast, Forecaster, ForecasterState, QUANTILES, SeriesState};
