//! Agents: policies that learn.
//!
//! - [`fitted_value`]: the best next step plus a learned value of the state that it leaves behind.

pub mod fitted_value;
