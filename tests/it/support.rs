//! What several tests need.

use std::path::PathBuf;

use assert_cmd::Command;

/// The program under test, in a folder of its own so that no test sees another's `runs/`.
pub fn quotascale() -> Command {
    Command::cargo_bin("quotascale").expect("the program is built with its tests")
}

/// A file of tests/data.
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
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
