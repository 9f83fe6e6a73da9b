//! What several tests need.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// The program under test, in a folder of its own so that no test sees another's `runs/`.
pub fn quotascale() -> Command {
    Command::cargo_bin("quotascale").expect("the program is built with its tests")
}

/// A file of tests/data.
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Every file below `folder` but the timings, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().unwrap() != "timing.json" {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Fails unless both folders hold the same files, byte for byte, but for the timings.
pub fn assert_same_files(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in one {
        assert!(other[&name] == bytes, "{} differs", name.display());
    }
}

/// A file of other people's data (`../shared`), or `None` with one counted line where it is not there.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: needs {name} of the shared data folder, which is not here");
    None
}

/// What scripts/e2e exports as `QUOTASCALE_E2E_<name>`, or `None` with one counted line
/// where it did not start the servers.
#[cfg(feature = "live")]
pub fn e2e(name: &str) -> Option<String> {
    let variable = format!("QUOTASCALE_E2E_{name}");
    let address = std::env::var(&variable).ok();
    if address.is_none() {
        eprintln!("SKIPPED: needs {variable}, which scripts/e2e sets");
    }
    address
}
