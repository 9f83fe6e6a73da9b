//! The folder that a training writes to.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// Refuses a folder that is in use, before any work is done: only an empty or new one will do, and with
/// `force` one that already holds the same. `what` names what it would hold, `holds` looks for it.
///
/// # Errors
/// [`Error::Input`] saying what the folder holds and what to do.
pub(super) fn check(
    out: &Path,
    what: &str,
    holds: impl FnOnce(&Path) -> bool,
    force: bool,
) -> Result<()> {
    let mut entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let problem = format!("the folder cannot be used: {error}");
            return Err(Error::input(out.display(), problem, "name another with --out"));
        }
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let (problem, remedy) = match (holds(out), force) {
        (true, true) => return Ok(()),
        (true, false) => (
            format!("the folder holds a {what}"),
            "go on with --resume, start anew with --force, or name another with --out",
        ),
        (false, _) => {
            (format!("the folder is not empty and holds no {what}"), "name another with --out")
        }
    };
    Err(Error::input(out.display(), problem, remedy))
}
