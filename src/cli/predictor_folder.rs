//! The folder of a `predictor` command: gone on with by the same command, refused to any other.

use serde::{Deserialize, Serialize};

use crate::manifest::Manifest;

/// What has to agree for a folder to be used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PredictorManifest {
    /// The command with all that its results depend on.
    pub command: String,
    /// SHA-256 over the contents of what it reads.
    pub inputs: String,
    /// The program's version.
    pub version: String,
}

impl Manifest for PredictorManifest {
    const FILE: &'static str = "manifest.json";
    const HOLDS: &'static str = "results of `predictor`";

    fn difference(&self, wanted: &Self) -> Option<String> {
        if self.command != wanted.command {
            Some(format!("it holds `{}`, this is `{}`", self.command, wanted.command))
        } else if self.inputs != wanted.inputs {
            Some("it holds results of traces with other contents".to_owned())
        } else if self.version != wanted.version {
            Some(format!("it was made by version {}, this is {}", self.version, wanted.version))
        } else {
            None
        }
    }
}
