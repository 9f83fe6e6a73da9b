//! Folders of results say what they belong to: a command goes on with its own and leaves others alone.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, read_input};
use crate::files::write_json;

const REMEDY: &str = "name another folder with --out, or start anew with --force";

/// What a folder belongs to: what has to agree for its results to be used again.
pub trait Manifest: Serialize + DeserializeOwned {
    /// Name of its file.
    const FILE: &'static str;
    /// What a folder with such a file holds, in a word or two.
    const HOLDS: &'static str;

    /// What keeps the results of this from being those of `wanted`; `None` where they are.
    fn difference(&self, wanted: &Self) -> Option<String>;

    /// Whether `folder` has one.
    fn is_in(folder: &Path) -> bool {
        folder.join(Self::FILE).exists()
    }

    /// The one of `folder`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none or it does not fit.
    fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(Self::FILE);
        serde_json::from_str(&read_input(&file)?)
            .map_err(|error| Error::input(file.display(), error, REMEDY))
    }

    /// Writes it into `folder`.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn write(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join(Self::FILE), self)
    }

    /// Makes `folder`, or accepts one whose manifest agrees with this, or with `force` any that has one.
    /// Writes nothing.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder cannot be made or belongs to something else.
    fn claim(&self, folder: &Path, force: bool) -> Result<Found> {
        let unusable = |source: io::Error| {
            Error::input(
                folder.display(),
                format!("the folder cannot be used: {source}"),
                "name another with --out",
            )
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        if Self::is_in(folder) {
            if force {
                return Ok(Found::Replaced);
            }
            return match Self::read(folder)?.difference(self) {
                Some(difference) => Err(Error::input(folder.display(), difference, REMEDY)),
                None => Ok(Found::Same),
            };
        }
        if fs::read_dir(folder).map_err(unusable)?.next().is_some() {
            return Err(Error::input(
                folder.display(),
                format!("the folder is not empty and holds no {}", Self::HOLDS),
                "name another with --out",
            ));
        }
        Ok(Found::Nothing)
    }
}

/// What was in a folder that was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is empty.
    Nothing,
    /// Results that agree.
    Same,
    /// Results that are to be replaced.
    Replaced,
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Kind(u8);

    impl Manifest for Kind {
        const FILE: &'static str = "kind.json";
        const HOLDS: &'static str = "kinds";

        fn difference(&self, wanted: &Self) -> Option<String> {
            (self.0 != wanted.0).then(|| format!("it holds {}, this is {}", self.0, wanted.0))
        }
    }

    #[test]
    fn a_folder_is_gone_on_with_by_its_own_alone() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("new/folder");
        let claim = |kind: u8, force| Kind(kind).claim(&folder, force).map_err(|e| e.to_string());
        assert_eq!(claim(1, false), Ok(Found::Nothing));
        fs::write(folder.join("mine.txt"), "").unwrap();
        assert!(claim(1, true).unwrap_err().contains("holds no kinds"), "not even with force");
        Kind(1).write(&folder).unwrap();
        assert_eq!(claim(1, false), Ok(Found::Same));
        assert!(claim(2, false).unwrap_err().contains("it holds 1, this is 2"));
        assert_eq!(claim(2, true), Ok(Found::Replaced));
        fs::write(folder.join("kind.json"), "{").unwrap();
        assert!(claim(1, false).unwrap_err().contains("--force"));
        assert_eq!(claim(1, true), Ok(Found::Replaced));
    }
}
