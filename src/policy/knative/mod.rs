//! Policies that plan on the `knative` model.

mod clairvoyant;
mod greedy;
mod score;

pub use clairvoyant::Clairvoyant;
pub use greedy::Greedy;
