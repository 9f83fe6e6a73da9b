//! A predictor's folder: its head, its JSON files, and putting it in its place whole.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result, read_input};

/// Says what kind of predictor a folder holds.
pub(super) const METADATA_FILE: &str = "metadata.json";
/// The network's tensors.
pub(super) const MODEL_FILE: &str = "model.safetensors";
/// The network's sizes.
pub(super) const CONFIG_FILE: &str = "config.json";
/// What every kind of predictor is called with.
const KIND_PREFIX: &str = "predictor-";

/// Where the contents of a predictor come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the file, without its folder; names of the series, for one that was trained here.
    pub file: String,
    /// SHA-256 of the file or of the series' contents, hexadecimal.
    pub sha256: String,
    /// The version of Keras that wrote it, where the file says it.
    pub keras_version: Option<String>,
}

/// Only what tells kinds of folders apart.
#[derive(Deserialize)]
pub(super) struct Head {
    pub kind: String,
    #[serde(default)]
    pub format: u32,
}

impl Head {
    /// Whether it is a predictor's, of whatever kind.
    pub fn is_predictor(&self) -> bool {
        self.kind.starts_with(KIND_PREFIX)
    }
}

/// The head of a folder's metadata; `None` for a folder without.
pub(super) fn head(path: &Path) -> Result<Option<Head>> {
    if !path.is_dir() {
        return Err(Error::input(path.display(), "there is no such folder", "check the path"));
    }
    let file = path.join(METADATA_FILE);
    if file.exists() { read_json(&file).map(Some) } else { Ok(None) }
}

/// As [`head`], for a folder that has to be a predictor's.
pub(super) fn predictor_head(path: &Path) -> Result<Head> {
    head(path)?.ok_or_else(|| {
        Error::input(
            path.display(),
            format!("not a predictor's folder: it has no {METADATA_FILE}"),
            "name a folder that `quotascale predictor train` or `import` wrote",
        )
    })
}

/// Writes the folder `path` by way of one beside it, which takes its place when complete.
///
/// # Errors
/// [`Error::Input`] when the folder cannot be made, [`Error::Io`] when writing fails; what was at
/// `path` then stays.
pub(super) fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = beside(path, "unfinished");
    let written = fs::create_dir_all(&unfinished)
        .map_err(|source| unusable(path, &source))
        .and_then(|()| write(&unfinished))
        .and_then(|()| put_in_place(&unfinished, path));
    if written.is_err() {
        // Whatever is left of it is worthless; that it cannot be removed changes nothing.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

/// A name beside `path` that nothing else uses.
fn beside(path: &Path, purpose: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{purpose}-{}", std::process::id()))
}

/// Renames a complete folder to its place; one that is there goes first.
fn put_in_place(unfinished: &Path, path: &Path) -> Result<()> {
    let old = beside(path, "old");
    let replace = path.exists();
    if replace {
        fs::rename(path, &old).map_err(|source| Error::io("move away", path, source))?;
    }
    if let Err(source) = fs::rename(unfinished, path) {
        if replace {
            // The error below is the one to tell.
            let _ = fs::rename(&old, path);
        }
        return Err(Error::io("rename to", path, source));
    }
    if replace {
        fs::remove_dir_all(&old).map_err(|source| Error::io("remove", &old, source))?;
    }
    Ok(())
}

/// A folder that cannot be made or read.
pub(super) fn unusable(path: &Path, source: &std::io::Error) -> Error {
    Error::input(
        path.display(),
        format!("the folder cannot be made or used: {source}"),
        "name another with --out",
    )
}

/// Reads a JSON file of a folder.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_input(path)?).map_err(|error| {
        Error::input(
            format!("{}:{}", path.display(), error.line()),
            error,
            "the file is damaged: train or import the predictor again",
        )
    })
}
