//! Where the settings of tuned policies come from: stored in the program, kept in the output folder,
//! or searched for now.

use std::path::PathBuf;

use super::Common;
use crate::error::Result;
use crate::files::write_atomically;
use crate::policy::tuning::{self, Tuned};
use crate::scenario::Scenario;

/// Name of the file that a search's result is kept in.
const FILE: &str = "tuned.json";

/// Gives the settings for `scenario`; a search's result is kept in `folder`.
pub(super) fn settings(
    scenario: &Scenario,
    folder: Option<PathBuf>,
    common: Common,
) -> Result<Tuned> {
    if let Some(tuned) = tuning::stored(scenario)? {
        return Ok(tuned);
    }
    let file = folder.map(|folder| folder.join(FILE));
    if let Some(file) = file.as_ref().filter(|file| file.exists()) {
        let text = crate::error::read_input(file)?;
        if let Ok(tuned) = serde_json::from_str(&text) {
            return Ok(tuned);
        }
    }
    if !common.quiet {
        eprintln!("searching fixed options and the price of priced-greedy on training traffic …");
    }
    let tuned = tuning::search(scenario)?;
    if let Some(file) = file {
        write_atomically(&file, |writer| {
            serde_json::to_writer_pretty(&mut *writer, &tuned)?;
            writeln!(writer)
        })?;
    }
    Ok(tuned)
}
