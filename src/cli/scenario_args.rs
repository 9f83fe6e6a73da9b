//! The arguments by which commands name a scenario and change it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, read_input};
use crate::scenario::{Corrections, EnvironmentKind, Scenario};
use crate::trace::{ServiceTrace, csv};

/// A scenario, and what of it is replaced.
#[derive(clap::Args, Clone, Debug)]
pub struct ScenarioArgs {
    /// A built-in scenario or a file.
    #[arg(default_value = "paper")]
    pub scenario: String,
    /// Traffic in place of the scenario's, for as long as it lasts: a CSV file with one column a service, or stages.
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

    /// The overrides that make every service read its column of `file`, and the run last as long as it.
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
        let scenario = Scenario::load(&self.scenario, &self.set)?;
        let names = scenario.service_names();
        let sets = names.iter().enumerate().map(|(index, &name)| {
            let mut trace = toml::Table::new();
            trace.insert("file".to_owned(), text.into());
            trace.insert("column".to_owned(), name.into());
            format!("service.{index}.trace={}", toml::Value::Table(trace))
        });
        let mut sets: Vec<String> = sets.collect();
        if scenario.environment() == EnvironmentKind::Knative {
            let name = file.display().to_string();
            let traffic = csv::read(&name, &read_input(file)?, scenario.spec.interval_s, &names)?;
            let longest = traffic.services.iter().map(ServiceTrace::duration_s).max();
            sets.extend(longest.map(|duration_s| format!("duration_s={duration_s}")));
        }
        Ok(sets)
    }
}
