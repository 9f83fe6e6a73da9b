//! What runs turn into: statistics over seeds, terminal tables, files and figures.
//!
//! - [`stats`]: means with bootstrap intervals, paired tests.
//! - [`comparison`]: policies against each other over seeds.
//! - [`table`]: the same in a terminal.
//! - [`export`]: CSV, Parquet and JSON, and reading them back.
//! - [`figures`]: SVG, PNG and PDF.
//! - [`html`]: one self-contained page.
//! - [`forecast`], [`forecast_table`]: forecasters against each other over traces.

pub mod comparison;
pub mod export;
pub mod figures;
#[cfg(test)]
mod fixtures;
pub mod forecast;
pub mod forecast_table;
pub mod html;
pub mod rows;
pub mod stats;
pub mod table;

pub use comparison::{Comparison, Difference, PolicyResult, RunResult, Statistic, VsReference};
pub use export::{load_comparison, load_run, write_comparison, write_run};
pub use figures::{
    Picture, draw_comparison, draw_forecast, draw_losses, draw_profile, draw_timeline,
    draw_training,
};
pub use forecast::{ForecastReport, Forecasts, ModelScores, TraceScores, write_forecasts};
