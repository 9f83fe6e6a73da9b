//! The configuration of `live`: one TOML file, unknown keys refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kubernetes::{KubernetesConfig, LeaseConfig, StateConfig};
use super::log::LogFormat;
use super::signal_config::{LocustConfig, PrometheusConfig, SignalSource, SignalsConfig};
use super::signals::Target;
use crate::error::{Error, Result, read_input};
use crate::scenario::spec::ServiceSpec;
use crate::scenario::{KeyPath, Scenario, Source, did_you_mean};
use crate::snapshot::Signal;

/// Deadline of a round of questions that Locust alone is asked.
const WITHOUT_PROMETHEUS: Duration = Duration::from_secs(2);
/// Version of the format.
const VERSION: u32 = 1;

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {
    /// Version of this format: 1.
    pub version: u32,
    /// Built-in scenario or file: services, options, quota, SLO, interval, offset, guard.
    pub scenario: String,
    /// Folder of a checkpoint, or the name of a policy (`greedy`, `hybrid`, …).
    pub checkpoint: String,
    /// What is expected of the coming stage: a forecaster's name or a predictor's folder.
    #[serde(default = "default_forecaster")]
    pub forecaster: String,
    /// SHA-256 that the checkpoint's model.safetensors has to have; empty: any.
    #[serde(default)]
    pub sha256: String,
    /// Knative Service of each service; default: the scenario's.
    #[serde(default)]
    pub targets: BTreeMap<String, String>,
    /// The Prometheus server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusConfig>,
    /// Where each signal comes from.
    #[serde(default)]
    pub signals: SignalsConfig,
    /// Locust's web pages, read where a signal's source is `locust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locust: Option<LocustConfig>,
    /// The custom resource.
    #[serde(default)]
    pub kubernetes: KubernetesConfig,
    /// Who may write.
    #[serde(default)]
    pub lease: LeaseConfig,
    /// The saved state.
    #[serde(default)]
    pub state: StateConfig,
    /// Endpoints and log.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// The clock of a rehearsal.
    #[serde(default)]
    pub clock: ClockConfig,
}

impl LiveConfig {
    /// How long one round of questions for the signals may take.
    pub fn patience(&self) -> Duration {
        self.prometheus.as_ref().map_or(WITHOUT_PROMETHEUS, |prometheus| prometheus.timeout.0)
    }
}

fn default_forecaster() -> String {
    "persistence".to_owned()
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Where /metrics, /healthz and /readyz are served; empty: nowhere.
    pub listen: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".to_owned(), log_format: LogFormat::default() }
    }
}

/// `[clock]`: rehearsal only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// How many times as fast as the wall's.
    pub speed: f64,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self { speed: 1.0 }
    }
}

/// A configuration with where it was written.
#[derive(Clone, Debug)]
pub struct LiveFile {
    /// What it says, with defaults and paths resolved.
    pub config: LiveConfig,
    /// Its text.
    pub source: Source,
    folder: PathBuf,
}

impl LiveFile {
    /// Reads `path`.
    ///
    /// # Errors
    /// [`Error::Input`] naming file, line and remedy.
    pub fn load(path: &Path) -> Result<Self> {
        let text = read_input(path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::from_text(&path.display().to_string(), &text, folder)
    }

    /// From TOML text; `name` is for messages, paths are relative to `folder`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_text(name: &str, text: &str, folder: PathBuf) -> Result<Self> {
        let source = Source { name: name.to_owned(), text: text.to_owned(), overrides: Vec::new() };
        let mut config: LiveConfig = toml::from_str(text).map_err(|error| {
            let place = match error.span() {
                Some(span) => source.place_of_offset(span.start),
                None => name.to_owned(),
            };
            toml_error(place, error.message())
        })?;
        if let Some(prometheus) = &mut config.prometheus {
            prometheus.resolve(&folder);
        }
        let file = Self { config, source, folder };
        file.check()?;
        Ok(file)
    }

    /// `file:line: key`.
    pub fn place(&self, key: &str) -> String {
        self.source.place_of_key(&KeyPath::parse(key))
    }

    /// A name, or a path: one that exists beside this file is meant relative to it.
    pub fn name_or_path(&self, text: &str) -> String {
        let beside = self.folder.join(text);
        match beside.to_str() {
            Some(path) if beside.exists() => path.to_owned(),
            _ => text.to_owned(),
        }
    }

    fn error(&self, key: &str, problem: impl Into<String>, remedy: &str) -> Error {
        Error::input(self.place(key), problem.into(), remedy)
    }

    fn check(&self) -> Result<()> {
        let config = &self.config;
        if config.version != VERSION {
            let problem = format!("version {} is not known", config.version);
            return Err(self.error("version", problem, "write version = 1"));
        }
        let lease = &config.lease;
        if lease.renew_deadline >= lease.duration {
            return Err(self.error(
                "lease.renew_deadline",
                "not shorter than lease.duration: two processes could write at once",
                "make it shorter, as 10s of 15s",
            ));
        }
        if lease.retry >= lease.renew_deadline {
            return Err(self.error(
                "lease.retry",
                "not shorter than lease.renew_deadline: the lease would be lost between renewals",
                "make it a fraction, as 2s of 10s",
            ));
        }
        if config.kubernetes.timeout >= lease.renew_deadline {
            return Err(self.error(
                "kubernetes.timeout",
                "not shorter than lease.renew_deadline: there would never be time to write",
                "make it a fraction, as 2s of 10s",
            ));
        }
        if !(config.clock.speed.is_finite() && config.clock.speed > 0.0) {
            return Err(self.error("clock.speed", "not a number above 0", "write speed = 1.0"));
        }
        let manager = &config.kubernetes.field_manager;
        if manager.is_empty() || manager.len() > 128 {
            return Err(self.error(
                "kubernetes.field_manager",
                "not of 1 to 128 characters",
                "write field_manager = \"quotascale\"",
            ));
        }
        for (key, value) in [
            ("kubernetes.namespace", &config.kubernetes.namespace),
            ("kubernetes.name", &config.kubernetes.name),
            ("lease.name", &config.lease.name),
        ] {
            let plain =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            if value.is_empty() || value.len() > 240 || !value.chars().all(plain) {
                return Err(self.error(
                    key,
                    format!("`{value}` is no name of a Kubernetes object"),
                    "use lower-case letters, digits, `-` and `.`",
                ));
            }
        }
        Ok(())
    }

    /// The signals to read: those that the policy needs, and the others that have a source.
    ///
    /// # Errors
    /// [`Error::Input`] at the table of a signal that is needed and has no source.
    pub fn signals(&self, needed: &[Signal]) -> Result<Vec<Signal>> {
        let mut signals = Vec::new();
        for signal in Signal::ALL {
            let from_prometheus = self.config.signals.of(signal).source == SignalSource::Prometheus;
            if !from_prometheus || self.config.prometheus.is_some() {
                signals.push(signal);
            } else if needed.contains(&signal) {
                return Err(self.error(
                    &format!("signals.{}", signal.name()),
                    format!("the policy needs {}, which has no source", signal.name()),
                    "add [prometheus] with its url, or read it from Locust: source = \"locust\"",
                ));
            }
        }
        Ok(signals)
    }

    /// The services of `scenario` with their Knative Services.
    ///
    /// # Errors
    /// [`Error::Input`] when a target is of no service.
    pub fn targets(&self, scenario: &Scenario) -> Result<Vec<Target>> {
        let services = scenario.service_names();
        if let Some(name) =
            self.config.targets.keys().find(|name| !services.contains(&name.as_str()))
        {
            let hint = did_you_mean(name, &services);
            return Err(Error::input(
                self.place(&format!("targets.{name}")),
                format!("the scenario has no service `{name}`"),
                format!("{hint}services: {}", services.join(", ")),
            ));
        }
        let target = |service: &ServiceSpec| {
            let written = self.config.targets.get(&service.name).or(service.target.as_ref());
            let target = written.unwrap_or(&service.name).clone();
            Target { service: service.name.clone(), target }
        };
        Ok(scenario.spec.service.iter().map(target).collect())
    }
}

/// A message of the TOML reader, with the nearest known key where a key is unknown.
fn toml_error(place: String, message: &str) -> Error {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let remedy = match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown") && !known.is_empty() => {
            format!("{}known: {}", did_you_mean(unknown, known), known.join(", "))
        }
        _ => "deploy/examples/live.toml shows every key".to_owned(),
    };
    let problem = match message.split_once(", expected") {
        Some((head, _)) if head.starts_with("unknown") => head.replace("field", "key"),
        _ => message.to_owned(),
    };
    Error::input(place, problem, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "\
version = 1
scenario = \"paper-knative\"
checkpoint = \"hybrid\"
[prometheus]
url = \"http://127.0.0.1:9090\"
";

    fn load(text: &str) -> Result<LiveFile> {
        LiveFile::from_text("live.toml", text, PathBuf::new())
    }

    fn message(text: &str) -> String {
        let error = load(text).and_then(|file| {
            let scenario = Scenario::load("paper-knative", &[]).unwrap();
            file.targets(&scenario)?;
            file.signals(&[Signal::Users])
        });
        let error = error.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = load(LEAST).unwrap().config;
        assert_eq!(config.kubernetes.name, "drl-action");
        assert_eq!(config.kubernetes.fields.pods, "service${service}_podcount");
        assert!(!config.kubernetes.force);
        assert_eq!(config.lease.duration.0.as_secs(), 15);
        assert_eq!(config.lease.renew_deadline.0.as_secs(), 10);
        assert_eq!(config.telemetry.listen, "127.0.0.1:8080");
        assert_eq!(config.state.dir, Path::new("state"));
        let written = toml::to_string(&config).unwrap();
        assert_eq!(load(&written).unwrap().config, config);
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_a_remedy() {
        for (text, expected) in [
            (
                format!("{LEAST}tiemout = \"2s\"\n"),
                "live.toml:6: unknown key `tiemout`\n  did you mean `timeout`?",
            ),
            (
                LEAST.replace("version = 1", "version = 2"),
                "live.toml:1: version: version 2 is not known",
            ),
            (
                format!("{LEAST}timeout = \"2 seconds\"\n"),
                "live.toml:6: `2 seconds` is no duration",
            ),
            (
                format!("{LEAST}[lease]\nrenew_deadline = \"15s\"\n"),
                "live.toml:7: lease.renew_deadline: not shorter",
            ),
            (
                format!("{LEAST}[targets]\nhaus = \"x\"\n"),
                "live.toml:7: targets.haus: the scenario has no service `haus`\n  did you mean `house`?",
            ),
            (
                LEAST.split("[prom").next().unwrap().to_owned(),
                "live.toml: signals.users: the policy needs users, which has no source",
            ),
            (
                format!("{LEAST}[kubernetes]\nname = \"DRL action\"\n"),
                "live.toml:7: kubernetes.name: `DRL action` is no name",
            ),
        ] {
            let said = message(&text);
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
