//! Policies of the `paper` environment that know its rules: nothing is learned here.

mod greedy;
mod oracle;
mod price;

pub use greedy::Greedy;
pub(crate) use greedy::decision;
pub use oracle::Oracle;
pub use price::{PRICE_GRID, PriceSearch, search_price};
