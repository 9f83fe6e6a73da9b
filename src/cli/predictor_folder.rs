//! The folder of a `predictor` command: gone on with by the same command, refused to any other.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, read_input};
use crate::report::export;

/// Says what a folder belongs to.
const MANIFEST: &str = "manifest.json";
const REMEDY: &str = "name another folder with --out, or start anew with --force";

/// What has to agree for a folder to be used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The command with all that its results depend on.
    pub command: String,
    /// SHA-256 over the contents of what it reads.
    pub inputs: String,
    /// The program's version.
    pub version: String,
}

impl Manifest {
    /// Makes the folder, or accepts one of the same command. Its files are replaced.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder cannot be made or belongs to something else.
    pub(super) fn claim(&self, path: &Path, force: bool) -> Result<()> {
        let unusable = |source: std::io::Error| {
            Error::input(
                path.display(),
                format!("the folder cannot be used: {source}"),
                "name another with --out",
            )
        };
        fs::create_dir_all(path).map_err(unusable)?;
        let file = path.join(MANIFEST);
        if file.exists() {
            let found: Self = serde_json::from_str(&read_input(&file)?)
                .map_err(|error| Error::input(file.display(), error, REMEDY))?;
            if &found != self && !force {
                return Err(Error::input(path.display(), self.difference(&found), REMEDY));
            }
        } else if fs::read_dir(path).map_err(unusable)?.next().is_some() {
            return Err(Error::input(
                path.display(),
                "the folder is not empty and holds no results of `predictor`",
                "name another with --out",
            ));
        }
        export::write_json(&file, self)
    }

    fn difference(&self, found: &Self) -> String {
        if found.command != self.command {
            format!("it holds `{}`, this is `{}`", found.command, self.command)
        } else if found.inputs != self.inputs {
            "it holds results of traces with other contents".to_owned()
        } else {
            format!("it was made by version {}, this is {}", found.version, self.version)
        }
    }
}
