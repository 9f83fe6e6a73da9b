//! Knative's autoscaler (KPA), a pure port of Knative v1.8.
//!
//! [`Autoscaler`] turns one value a second into desired pods: averages over a stable and a panic
//! [`Window`], limits on the rate of change, panic mode, and a delay on the way down
//! ([`DelayWindow`]). [`Scaler`] turns desired pods into replicas: bounds and the way to zero.
//! [`replay`] runs both on recorded input, for comparison with the original.
//!
//! Time is whole seconds, given by the caller. Sums are kept in the original's order of operations,
//! so that averages carry its rounding errors too and decisions on a boundary agree.

mod autoscaler;
mod delay;
mod params;
pub mod replay;
mod scaler;
mod settings;
mod weighted;
mod window;

pub use autoscaler::{Autoscaler, Evaluation};
pub use delay::DelayWindow;
pub use params::{Mode, RecordPolicy, ReplayParams};
pub use scaler::{PaState, Scaler, SksMode};
pub use weighted::{smoothing_coefficient, weighted_average};
pub use window::Window;

/// Seconds between two decisions.
pub const TICK_S: i64 = 2;
