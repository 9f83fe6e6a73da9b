//! What an agent sees: numbers from a [`Snapshot`], a forecast and what the controller remembers.
//!
//! This is the only place that makes features. Training, evaluation and live mode all come through
//! it, so that a checkpoint sees the same numbers everywhere. A [`Layout`] says which numbers, in
//! which order and on which scale; its JSON form is hashed into checkpoints. An [`Observer`] adds
//! the hints of [`hints`] behind them.
//!
//! # Layouts
//! S services; A = the options of all services. Every name may end in `_t`: the share of the
//! episode that is over is added.
//!
//! | name | numbers | content |
//! |---|---|---|
//! | `nine_raw` | 3 S | for each service the CPU it holds in % of the quota, the p95 of its option in % of the SLO, the users to be served: whole numbers, as the original environment shows them |
//! | `nine` | 3 S | the same / 100 |
//! | `opt` | 3 S + A | `nine` and the option in force, one of A |
//! | `full` | 5 S + A | `opt`, pods / 10, and the exact CPU as a share of the quota |
//! | `feat` | 6 S + 2 A + 1 | `full`, the CPU that each option needs for the users to be served as a share of the quota, the CPU of all, and how many pods the option in force lacks / 5 |
//! | `knative` | 13 S + A + 2 | users, what is expected of them and the band of that, p95 over SLO, CPU, pods and roll-outs, the option in force; the CPU of all and the time in the interval |
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

pub mod hints;
mod kind;
mod layout;
mod observer;
mod seen;
#[cfg(test)]
mod tests;

pub use hints::HintKind;
pub use kind::{Features, LayoutKind};
pub use layout::Layout;
pub use observer::{ObservationConfig, Observer, ObserverScratch};
pub use seen::{Expected, ObservationMemory};
