//! Writing to stdout without panicking when the reader has gone.

use std::io::Write;

use serde::Serialize;

/// Prints one line.
///
/// # Errors
/// When stdout cannot be written; [`super::run`] takes a closed pipe for success.
pub fn print_line(line: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// Prints `value` as one JSON object.
///
/// # Errors
/// As [`print_line`].
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(serde_json::to_string(value)?)
}
