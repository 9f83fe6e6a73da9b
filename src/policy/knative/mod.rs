//! Policies that plan on the `knative` model.

mod clairvoyant;
mod greedy;

pub use clairvoyant::Clairvoyant;
pub use greedy::Greedy;
