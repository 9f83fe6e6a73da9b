//! The folder of an evaluation: what it belongs to, what is in it, and how cells get there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, read_input};
use crate::files::write_atomically;
use crate::report::{export, write_run};
use crate::run::{Run, Summary};
use crate::scenario::Scenario;

/// Says what a folder belongs to.
const MANIFEST: &str = "manifest.json";
/// Beginning of the names of cells that are not complete.
const UNFINISHED: &str = ".unfinished-";

/// What has to agree for a folder to be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    command: String,
    scenario: String,
    scenario_hash: String,
    version: String,
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
        let manifest = Manifest {
            command: command.to_owned(),
            scenario: scenario.name().to_owned(),
            scenario_hash: scenario.hash()?,
            version: version.to_owned(),
        };
        let folder = Self { path: path.to_owned() };
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
            let found: Result<Manifest> =
                serde_json::from_str(&read_input(&file)?).map_err(|error| {
                    Error::input(
                        file.display(),
                        error,
                        "name another folder with --out, or start anew with --force",
                    )
                });
            match found {
                Ok(found) if found == manifest && !force => {
                    folder.remove_unfinished()?;
                    return Ok(folder);
                }
                Ok(found) if !force => return Err(differs(path, &found, &manifest)),
                Err(error) if !force => return Err(error),
                _ => folder.remove_results()?,
            }
        } else if fs::read_dir(path).map_err(unusable)?.next().is_some() {
            return Err(Error::input(
                path.display(),
                "the folder is not empty and holds no evaluation",
                "name another with --out",
            ));
        }
        write_json(&file, &manifest)?;
        write_atomically(&path.join("scenario.toml"), |writer| {
            writer.write_all(scenario.to_toml().as_bytes())
        })?;
        Ok(folder)
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a cell.
    pub fn cell(&self, policy: &str, seed: u64) -> PathBuf {
        self.path.join(safe_name(policy)).join(seed.to_string())
    }

    /// The summary of a cell that is there.
    ///
    /// # Errors
    /// [`Error::Input`] when its files are damaged.
    pub fn summary(&self, policy: &str, seed: u64) -> Result<Option<Summary>> {
        let cell = self.cell(policy, seed);
        if !cell.join(export::SUMMARY_FILE).exists() {
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
        let cell = self.cell(&run.summary.policy, run.summary.seed);
        let parent = cell.parent().unwrap_or(&self.path).to_owned();
        fs::create_dir_all(&parent).map_err(|source| Error::io("make", &parent, source))?;
        let unfinished =
            parent.join(format!("{UNFINISHED}{}-{}", run.summary.seed, std::process::id()));
        let written = fs::create_dir_all(&unfinished)
            .map_err(|source| Error::io("make", &unfinished, source))
            .and_then(|()| write_run(run, &unfinished))
            .and_then(|()| write_json(&unfinished.join("machine.json"), machine))
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
                // Not empty: somebody else's files are in it, and stay.
                let _ = fs::remove_dir(&policy);
            }
        }
        for name in
            ["comparison.csv", "comparison.parquet", "comparison.json", "timing.json", "tuned.json"]
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
        let file = self.path.join("timing.json");
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

fn differs(path: &Path, found: &Manifest, wanted: &Manifest) -> Error {
    let difference = if found.command != wanted.command {
        format!("it holds `{}`, this is `{}`", found.command, wanted.command)
    } else if found.scenario_hash != wanted.scenario_hash {
        format!(
            "it holds scenario {} ({}), this is {} ({})",
            found.scenario,
            found.scenario_hash.get(..12).unwrap_or(&found.scenario_hash),
            wanted.scenario,
            &wanted.scenario_hash[..12]
        )
    } else {
        format!("it was made by version {}, this is {}", found.version, wanted.version)
    };
    Error::input(
        path.display(),
        difference,
        "name another folder with --out, or start anew with --force",
    )
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

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, value)?;
        writeln!(writer)
    })
}
