//! A full disk: exit code 1, a message that names the file, nothing half-written, and going on works.

use std::path::Path;
use std::process::Command;

use predicates::str::contains;

use crate::support::quotascale;

/// A file system of a few hundred kilobytes, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount() -> Option<Self> {
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

/// A training that fills the disk: what was saved before stays whole, and goes on once there is room.
#[test]
fn a_training_survives_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let out = disk.0.path().join("out");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let text = "[network]\nlstm = 8\n[training]\nsteps = 3040\nenvironments = 8\nepochs = 1\n";
    std::fs::write(&config, text).unwrap();
    let train = |more: &[&str]| {
        let mut command = quotascale();
        command.args(["train", "paper", "--config"]).arg(&config).arg("--out").arg(&out);
        command.args(more).assert()
    };
    // Room for the first checkpoint, but not for a second one beside it.
    let room: u64 = 400 << 10;
    let probe = folder.path().join("probe");
    quotascale()
        .args(["train", "paper", "--steps", "152", "--config"])
        .arg(&config)
        .arg("--out")
        .arg(&probe)
        .assert()
        .success();
    let size = |folder: &Path| -> u64 {
        let files = std::fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len().next_multiple_of(4096)).sum()
    };
    let filler = room.saturating_sub(size(&probe.join("last")) * 3 / 2 + (24 << 10));
    std::fs::write(disk.0.path().join("filler"), vec![0; filler as usize]).unwrap();
    train(&[]).code(1).stderr(contains("No space left on device"));
    quotascale::nn::Checkpoint::load(&out.join("last"), &["recurrent-ppo"], None).unwrap();
    disk.grow();
    train(&["--resume"]).success();
}
