//! Figures.
use crate::{Result, report::Comparison, run::Run, scenario::Scenario};
use std::path::{Path, PathBuf};
/// x
pub fn draw_timeline(_: &Run, _: &Scenario, _: &Path) -> Result<Vec<PathBuf>> {
    Ok(vec![])
}
/// y
pub fn draw_comparison(_: &Comparison, _: &Path) -> Result<Vec<PathBuf>> {
    Ok(vec![])
}
