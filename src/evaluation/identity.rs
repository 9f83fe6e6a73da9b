//! Whose runs the cells of a policy's name are.
//!
//! Names do not tell policies apart for good: an agent trained anew, another agent of the same kind or a
//! changed file goes by the name of the one before. What does is kept beside the cells, so that runs of
//! the one are never taken for those of the other.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Folder, safe_name};
use crate::error::{Error, Result, read_input};
use crate::files::write_atomically;
use crate::report::export::SUMMARY_FILE;

/// In the folder of a policy's cells.
const IDENTITY: &str = "policy.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    fingerprint: String,
}

impl Folder {
    /// Makes sure that what is there of the policy called `policy`, or will be, is of the one with this
    /// fingerprint ([`Policy::fingerprint`](crate::policy::Policy::fingerprint)).
    ///
    /// # Errors
    /// [`Error::Input`] when there are runs of another policy of this name.
    pub fn claim_policy(&self, policy: &str, fingerprint: Option<&str>) -> Result<()> {
        let found = self.fingerprint(policy)?;
        if found.as_deref() == fingerprint {
            return Ok(());
        }
        if self.has_cells(policy) {
            return Err(Error::input(
                self.of_policy(policy).display(),
                format!("holds runs of another policy that is called `{policy}` too"),
                "give this one a name of its own (NAME:FOLDER), name another folder with --out, or start \
                 anew with --force",
            ));
        }
        let place = self.of_policy(policy);
        let file = place.join(IDENTITY);
        let Some(fingerprint) = fingerprint else {
            return fs::remove_file(&file).map_err(|source| Error::io("remove", &file, source));
        };
        fs::create_dir_all(&place).map_err(|source| Error::io("make", &place, source))?;
        let identity = Identity { fingerprint: fingerprint.to_owned() };
        write_atomically(&file, |writer| {
            serde_json::to_writer_pretty(&mut *writer, &identity)?;
            writeln!(writer)
        })
    }

    /// The fingerprint of the policy whose cells are there under this name; `None` where the name says
    /// all, or none are there.
    pub(super) fn fingerprint(&self, policy: &str) -> Result<Option<String>> {
        let file = self.of_policy(policy).join(IDENTITY);
        if !file.exists() {
            return Ok(None);
        }
        let identity: Identity = serde_json::from_str(&read_input(&file)?).map_err(|error| {
            Error::input(file.display(), error, "name another folder, or start anew with --force")
        })?;
        Ok(Some(identity.fingerprint))
    }

    /// Whether any cell of a policy is there.
    pub(super) fn has_cells(&self, policy: &str) -> bool {
        fs::read_dir(self.of_policy(policy)).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.path().join(SUMMARY_FILE).exists())
        })
    }

    fn of_policy(&self, policy: &str) -> PathBuf {
        self.path().join(safe_name(policy))
    }
}

/// Removes what [`Folder::claim_policy`] left in the folder of a policy's cells.
pub(super) fn forget(place: &Path) -> Result<()> {
    let file = place.join(IDENTITY);
    let is_ours =
        fs::read(&file).is_ok_and(|text| serde_json::from_slice::<Identity>(&text).is_ok());
    if is_ours {
        fs::remove_file(&file).map_err(|source| Error::io("remove", &file, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn runs_of_another_policy_of_the_same_name_are_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let scenario = Scenario::load("paper", &[]).unwrap();
        let open =
            |force: bool| Folder::open(dir.path(), "evaluate", &scenario, "1", force).unwrap();
        let folder = open(false);
        // Without a run nothing is lost by a change of mind.
        for fingerprint in [Some("one"), Some("two"), None, Some("one")] {
            folder.claim_policy("ppo", fingerprint).unwrap();
            assert_eq!(folder.fingerprint("ppo").unwrap().as_deref(), fingerprint);
        }
        fs::create_dir(folder.cell("ppo", 3)).unwrap();
        fs::write(folder.cell("ppo", 3).join(SUMMARY_FILE), "{}").unwrap();
        let folder = open(false);
        folder.claim_policy("ppo", Some("one")).unwrap();
        folder.claim_policy("greedy", None).unwrap();
        for other in [Some("two"), None] {
            let error = folder.claim_policy("ppo", other).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("another policy that is called `ppo`"), "{error}");
        }
        open(true).claim_policy("ppo", Some("two")).unwrap();
    }
}
