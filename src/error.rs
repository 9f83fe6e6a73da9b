//! The library's error type: what went wrong, where, and what mends it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. [`Error::exit_code`] gives the program's exit code for it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bad input or usage. `place` names the file and the line or key.
    #[error("{place}: {problem}\n  {remedy}")]
    Input {
        /// The file and the line, key or argument.
        place: String,
        /// What is wrong there.
        problem: String,
        /// What the user can do about it.
        remedy: String,
    },
    /// Reading or writing failed for a reason that is not the input's (a full disk, say).
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done: `write`, `rename`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The user asked to stop. Everything finished so far is saved.
    #[error("interrupted: {saved}")]
    Interrupted {
        /// What is saved, and how to go on.
        saved: String,
    },
    /// Anything else that keeps the work from being done.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Bad input at `place`, with the remedy.
    pub fn input(place: impl Display, problem: impl Display, remedy: impl Display) -> Self {
        Self::Input {
            place: place.to_string(),
            problem: problem.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// The same at `place`, where what is wrong was asked for; other errors than bad input stay.
    pub fn at(self, place: impl Display) -> Self {
        match self {
            Self::Input { place: within, problem, remedy } => {
                Self::input(place, format!("{within}: {problem}"), remedy)
            }
            other => other,
        }
    }

    /// A failed read or write of `path`.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// 1 failed, 2 bad input or usage, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } => 2,
            Self::Io { .. } | Self::Failed(_) => 1,
            Self::Interrupted { .. } => 130,
        }
    }
}

/// Reads a file that the user named; a missing or unreadable one is bad input.
///
/// # Errors
/// [`Error::Input`] naming the file.
pub fn read_input(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| {
        let remedy = match source.kind() {
            std::io::ErrorKind::NotFound => "check the path",
            std::io::ErrorKind::InvalidData => "the file has to be UTF-8 text",
            _ => "check that the file can be read",
        };
        Error::input(path.display(), format!("cannot read the file: {source}"), remedy)
    })
}
