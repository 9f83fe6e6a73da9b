//! A full disk: exit code 1, a message that names the file, nothing half-written, and going on works.

use std::path::Path;
use std::process::Command;

use predicates::str::contains;

use crate::support::quotascale;

/// A file system of a few hundred kilobytes, unmounted at the end.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=400k", "tmpfs"])
            .arg(folder.path())
            .status();
        match status {
            Ok(status) if status.success() => Some(Self(folder)),
            _ => {
                eprintln!("SKIPPED: a full disk needs the right to mount a tmpfs");
                None
            }
        }
    }

    #[cfg(feature = "live")]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room on it.
    #[cfg(feature = "live")]
    pub fn fill(&self) {
        // It ends with the error that the disk is full.
        let _ = std::fs::write(self.0.path().join("filler"), vec![1_u8; 1 << 20]);
    }

    fn grow(&self) {
        let status = Command::new("mount")
            .args(["-o", "remount,size=64m"])
            .arg(self.0.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn evaluate(out: &Path) -> assert_cmd::assert::Assert {
    quotascale()
        .args([
            "evaluate",
            "knative-random",
            "--policies",
            "kpa-resource,hybrid",
            "--seeds",
            "0..10",
        ])
        .arg("--out")
        .arg(out)
        .assert()
}

#[test]
fn a_full_disk_is_said_and_leaves_whole_runs_only() {
    let Some(disk) = SmallDisk::mount() else { return };
    let out = disk.0.path().join("out");
    evaluate(&out).code(1).stderr(contains("No space left on device"));
    let mut whole = 0;
    for policy in ["kpa-resource", "hybrid"] {
        let Ok(cells) = std::fs::read_dir(out.join(policy)) else { continue };
        for cell in cells {
            let cell = cell.unwrap().path();
            assert!(cell.join("summary.json").exists(), "{} is half-written", cell.display());
            whole += 1;
        }
    }
    assert!(whole < 20);
    disk.grow();
    evaluate(&out).success();
    assert!(out.join("comparison.json").exists());
}
