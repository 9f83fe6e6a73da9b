//! The arguments by which commands name a scenario and change it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::scenario::{Corrections, Scenario};

/// A scenario, and what of it is replaced.
#[derive(clap::Args, Clone, Debug)]
pub struct ScenarioArgs {
    /// A built-in scenario or a file.
    #[arg(default_value = "paper")]
    pub scenario: String,
    /// Traffic in place of the scenario's: a CSV file with one column a service, or stages.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Corrections of the `paper` environment in place of the scenario's; `none` for none.
    #[arg(long, value_name = "A,B")]
    pub corrections: Option<String>,
    /// Change any key: quota.mode=enforced, service.house.slo_p95_ms=1000.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ScenarioArgs {
    /// The scenario as changed.
    ///
    /// # Errors
    /// [`Error::Input`] naming the argument, or the file and line.
    pub fn load(&self) -> Result<Scenario> {
        let mut sets = Vec::new();
        if let Some(text) = &self.corrections {
            let names = Corrections::parse("--corrections", text)?.names();
            let names: Vec<toml::Value> = names.into_iter().map(toml::Value::from).collect();
            sets.push(format!("corrections={}", toml::Value::Array(names)));
        }
        if let Some(file) = &self.trace {
            sets.extend(self.trace_sets(file)?);
        }
        sets.extend(self.set.iter().cloned());
        Scenario::load(&self.scenario, &sets)
    }

    /// The overrides that make every service read its column of `file`.
    fn trace_sets(&self, file: &Path) -> Result<Vec<String>> {
        // A scenario's own paths are relative to it, one on the command line to the working folder.
        let path = std::path::absolute(file)
            .map_err(|source| Error::io("find the absolute path of", file, source))?;
        let text = path.to_str().ok_or_else(|| {
            Error::input(
                format!("--trace {}", file.display()),
                "the path is not UTF-8",
                "rename the file",
            )
        })?;
        let services = Scenario::load(&self.scenario, &self.set)?.spec.service;
        let sets = services.iter().enumerate().map(|(index, service)| {
            let mut trace = toml::Table::new();
            trace.insert("file".to_owned(), text.into());
            trace.insert("column".to_owned(), service.name.as_str().into());
            format!("service.{index}.trace={}", toml::Value::Table(trace))
        });
        Ok(sets.collect())
    }
}
