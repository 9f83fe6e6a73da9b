//! The folder of an evaluation: what it belongs to, what is in it, and how cells get there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::shard::Part;
use crate::error::{Error, Result, read_input};
use crate::files::{write_atomically, write_json};
use crate::manifest::{Found, Manifest as _};
use crate::report::html::sections::Origin;
use crate::report::{export, write_run};
use crate::run::{Run, Summary};
use crate::scenario::Scenario;

/// The resolved scenario.
pub(super) const SCENARIO: &str = "scenario.toml";
/// Wall times.
pub(super) const TIMING: &str = "timing.json";
/// Settings of policies that were searched for.
pub(super) const TUNED: &str = "tuned.json";
/// Of a cell: the machine that computed it.
pub(super) const MACHINE: &str = "machine.json";
/// In a shard: that the exact optimum of one of its seeds is out of reach.
pub(super) const UNREACHED: &str = "optimum-out-of-reach.txt";
/// Beginning of the names of cells that are not complete.
const UNFINISHED: &str = ".unfinished-";

/// What has to agree for a folder to be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) command: String,
    pub(super) scenario: String,
    pub(super) scenario_hash: String,
    pub(super) version: String,
    /// The part of the evaluation that a shard is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<Part>,
}

impl crate::manifest::Manifest for Manifest {
    const FILE: &'static str = "manifest.json";
    const HOLDS: &'static str = "evaluation";

    fn difference(&self, wanted: &Self) -> Option<String> {
        let shard = |manifest: &Self| match &manifest.part {
            Some(part) => format!("shard {}", part.shard),
            None => "a whole evaluation".to_owned(),
        };
        if self.command != wanted.command {
            Some(format!("it holds `{}`, this is `{}`", self.command, wanted.command))
        } else if self.scenario_hash != wanted.scenario_hash {
            let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
            Some(format!(
                "it holds scenario {} ({}), this is {} ({})",
                self.scenario,
                short(&self.scenario_hash),
                wanted.scenario,
                short(&wanted.scenario_hash)
            ))
        } else if self.version != wanted.version {
            Some(format!("it was made by version {}, this is {}", self.version, wanted.version))
        } else if shard(self) != shard(wanted) {
            Some(format!("it holds {}, this is {}", shard(self), shard(wanted)))
        } else if self != wanted {
            Some("it holds a shard of other policies, seeds or reference".to_owned())
        } else {
            None
        }
    }
}

/// The manifest of the evaluation in `path`.
pub(super) fn of_evaluation(path: &Path) -> Result<Manifest> {
    if !Manifest::is_in(path) {
        return Err(Error::input(
            path.display(),
            "no evaluation: there is no manifest.json",
            "name a folder that `evaluate` wrote",
        ));
    }
    Manifest::read(path)
}

/// The machine that a cell was computed on: bits are promised on one CPU type only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's own name.
    pub cpu: String,
    /// Operating system and architecture.
    pub platform: String,
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo")
            .ok()
            .and_then(|text| {
                let line = text.lines().find(|line| line.starts_with("model name"))?;
                Some(line.split_once(':')?.1.trim().to_owned())
            })
            .unwrap_or_else(|| "unknown".to_owned());
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        Self { cpu, platform }
    }
}

/// An evaluation's folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, or goes on with one of the same command, scenario and version. With `force`
    /// an older evaluation in it is removed first.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder cannot be made or belongs to something else.
    pub fn open(
        path: &Path,
        command: &str,
        scenario: &Scenario,
        version: &str,
        force: bool,
    ) -> Result<Self> {
        Self::open_part(path, command, scenario, version, force, None)
    }

    /// As [`Self::open`], for one part of an evaluation.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_part(
        path: &Path,
        command: &str,
        scenario: &Scenario,
        version: &str,
        force: bool,
        part: Option<Part>,
    ) -> Result<Self> {
        let manifest = Manifest {
            command: command.to_owned(),
            scenario: scenario.name().to_owned(),
            scenario_hash: scenario.hash()?,
            version: version.to_owned(),
            part,
        };
        Self::claim(path, &manifest, &scenario.to_toml(), force)
    }

    /// Makes the folder of `manifest`, or goes on with it.
    pub(super) fn claim(
        path: &Path,
        manifest: &Manifest,
        scenario: &str,
        force: bool,
    ) -> Result<Self> {
        let folder = Self::at(path);
        match manifest.claim(path, force)? {
            Found::Same => {
                folder.remove_unfinished()?;
                return Ok(folder);
            }
            Found::Replaced => folder.remove_results()?,
            Found::Nothing => {}
        }
        manifest.write(path)?;
        write_atomically(&path.join(SCENARIO), |writer| writer.write_all(scenario.as_bytes()))?;
        Ok(folder)
    }

    /// The folder at `path`, whatever is in it.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a cell.
    pub fn cell(&self, policy: &str, seed: u64) -> PathBuf {
        self.path.join(safe_name(policy)).join(seed.to_string())
    }

    /// Whether a cell is there.
    pub fn has_cell(&self, policy: &str, seed: u64) -> bool {
        self.cell(policy, seed).join(export::SUMMARY_FILE).exists()
    }

    /// The summary of a cell that is there.
    ///
    /// # Errors
    /// [`Error::Input`] when its files are damaged.
    pub fn summary(&self, policy: &str, seed: u64) -> Result<Option<Summary>> {
        let cell = self.cell(policy, seed);
        if !self.has_cell(policy, seed) {
            return Ok(None);
        }
        let summary = export::load_summary(&cell)?;
        if summary.policy != policy || summary.seed != seed {
            return Err(Error::input(
                cell.display(),
                format!("holds policy {} and seed {}", summary.policy, summary.seed),
                "remove the folder, or start anew with --force",
            ));
        }
        Ok(Some(summary))
    }

    /// Writes a cell: complete or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_cell(&self, run: &Run, machine: &Machine) -> Result<PathBuf> {
        self.place_cell(&run.summary.policy, run.summary.seed, |unfinished| {
            write_run(run, unfinished)?;
            write_json(&unfinished.join(MACHINE), machine)
        })
    }

    /// Copies a cell of another folder, unless it is there.
    pub(super) fn copy_cell(&self, from: &Self, policy: &str, seed: u64) -> Result<()> {
        if self.has_cell(policy, seed) {
            return Ok(());
        }
        let source = from.cell(policy, seed);
        self.place_cell(policy, seed, |unfinished| {
            let entries =
                fs::read_dir(&source).map_err(|error| Error::io("read", &source, error))?;
            for entry in entries.flatten() {
                let to = unfinished.join(entry.file_name());
                fs::copy(entry.path(), &to).map_err(|error| Error::io("write", &to, error))?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Fills a folder of a temporary name and renames it to the cell's.
    fn place_cell(
        &self,
        policy: &str,
        seed: u64,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let cell = self.cell(policy, seed);
        let parent = cell.parent().unwrap_or(&self.path).to_owned();
        fs::create_dir_all(&parent).map_err(|source| Error::io("make", &parent, source))?;
        let unfinished = parent.join(format!("{UNFINISHED}{seed}-{}", std::process::id()));
        let written = fs::create_dir_all(&unfinished)
            .map_err(|source| Error::io("make", &unfinished, source))
            .and_then(|()| fill(&unfinished))
            .and_then(|()| {
                fs::rename(&unfinished, &cell)
                    .map_err(|source| Error::io("rename to", &cell, source))
            });
        if let Err(error) = written {
            // Whatever is left of it is worthless; that it cannot be removed changes nothing.
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        Ok(cell)
    }

    /// Records in a shard that an exact optimum is out of reach, and why.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_unreached(&self, problem: &str) -> Result<()> {
        write_atomically(&self.path.join(UNREACHED), |writer| writeln!(writer, "{problem}"))
    }

    /// Cells that an earlier process left incomplete.
    fn remove_unfinished(&self) -> Result<()> {
        for policy in subfolders(&self.path)? {
            for cell in subfolders(&policy)? {
                if file_name(&cell).starts_with(UNFINISHED) {
                    remove(&cell)?;
                }
            }
        }
        Ok(())
    }

    /// Removes what an evaluation writes, and nothing else.
    fn remove_results(&self) -> Result<()> {
        for policy in subfolders(&self.path)? {
            let name = file_name(&policy);
            for cell in subfolders(&policy)? {
                let cell_name = file_name(&cell);
                let ours = cell_name.starts_with(UNFINISHED)
                    || (cell_name.parse::<u64>().is_ok()
                        && cell.join(export::SUMMARY_FILE).exists());
                if ours {
                    remove(&cell)?;
                }
            }
            if name == "figures" {
                remove(&policy)?;
            } else {
                super::identity::forget(&policy)?;
                // Not empty: somebody else's files are in it, and stay.
                let _ = fs::remove_dir(&policy);
            }
        }
        for name in
            ["comparison.csv", "comparison.parquet", "comparison.json", TIMING, TUNED, UNREACHED]
        {
            let file = self.path.join(name);
            if file.exists() {
                fs::remove_file(&file).map_err(|source| Error::io("remove", &file, source))?;
            }
        }
        Ok(())
    }

    /// Records how long cells took, beside what earlier processes recorded. Wall times stay out of
    /// the tables, which are the same on every run.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_timing(&self, seconds: &BTreeMap<String, f64>, threads: usize) -> Result<()> {
        let file = self.path.join(TIMING);
        let mut cells: BTreeMap<String, f64> = fs::read_to_string(&file)
            .ok()
            .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
            .and_then(|value| serde_json::from_value(value.get("cell_seconds")?.clone()).ok())
            .unwrap_or_default();
        cells.extend(seconds.iter().map(|(cell, seconds)| (cell.clone(), *seconds)));
        write_json(
            &file,
            &serde_json::json!({
                "machine": Machine::this(), "threads": threads, "cell_seconds": cells,
            }),
        )
    }
}

/// Where the results of the evaluation in `path` come from.
///
/// # Errors
/// [`Error::Input`] when there is none.
pub fn origin(path: &Path) -> Result<Origin> {
    let manifest = of_evaluation(path)?;
    Ok(Origin {
        command: manifest.command,
        version: manifest.version,
        scenario: read_input(&path.join(SCENARIO))?,
        scenario_hash: manifest.scenario_hash,
    })
}

/// A policy's name with nothing in it that a folder's name cannot have.
pub fn safe_name(policy: &str) -> String {
    let safe = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    policy.chars().map(|letter| if safe(letter) { letter } else { '-' }).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn subfolders(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(|source| Error::io("read", path, source))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(|source| Error::io("remove", path, source))
}
