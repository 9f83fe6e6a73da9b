//! From the configuration to what decides: scenario, policy, forecaster, controller.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::config::LiveFile;
use super::resource::ActionFormat;
use super::schedule::Schedule;
use super::signals::{Signals, SignalsSetup, Target};
use crate::control::Controller;
use crate::error::{Error, Result};
use crate::policy::{self, Episode, Policy, PolicyState};
use crate::predictor::{ForecasterKind, Foresight};
use crate::scenario::{EnvironmentKind, Scenario};
use crate::snapshot::{RevisionSnapshot, Signal};

/// Name of a checkpoint's weights.
const MODEL_FILE: &str = "model.safetensors";

/// Everything that decides.
pub struct Setup {
    /// The configuration.
    pub file: LiveFile,
    /// Services, options, quota, interval, guard.
    pub scenario: Arc<Scenario>,
    /// Forecaster, policy and guard.
    pub controller: Controller,
    /// Hash of what the saved state belongs to: policy or checkpoint, scenario, forecaster.
    pub identity: String,
    /// The custom resource's fields.
    pub format: ActionFormat,
    /// The ticks.
    pub schedule: Schedule,
    /// The services with their Knative Services.
    pub targets: Vec<Target>,
    /// The signals that the policy needs.
    pub needed: Vec<Signal>,
}

impl Setup {
    /// Checks that `file` fits together. `make_policy` makes the policy of a scenario from its name or
    /// folder.
    ///
    /// # Errors
    /// [`Error::Input`] naming what does not fit.
    pub fn new(
        file: LiveFile,
        make_policy: impl FnOnce(&Scenario, &str) -> Result<Arc<dyn Policy>>,
    ) -> Result<Self> {
        let scenario = Arc::new(load_scenario(&file)?);
        if scenario.environment() != EnvironmentKind::Knative {
            return Err(Error::input(
                file.place("scenario"),
                format!("{} is of environment \"paper\", which has no time", scenario.name()),
                "use paper-knative, or a scenario with environment = \"knative\"",
            ));
        }
        let checkpoint = file.name_or_path(&file.config.checkpoint);
        check_pin(&file, &checkpoint)?;
        let policy = make_policy(&scenario, &checkpoint).map_err(|error| {
            let error = error.at(file.place("checkpoint"));
            let is_path = checkpoint.contains('/') && !Path::new(&checkpoint).exists();
            match error {
                Error::Input { place, problem, .. } if is_path => Error::Input {
                    place,
                    problem,
                    remedy: "a folder is looked for beside this file and in the working folder"
                        .to_owned(),
                },
                error => error,
            }
        })?;
        if policy.schedule() != policy::Schedule::EveryInterval || policy.is_clairvoyant() {
            return Err(Error::input(
                file.place("checkpoint"),
                format!("policy {} does not decide from what can be observed", policy.name()),
                "use a checkpoint, or a policy such as hybrid or greedy",
            ));
        }
        let controller = make_controller(
            &scenario,
            Arc::clone(&policy),
            &file.name_or_path(&file.config.forecaster),
            &file.place("forecaster"),
        )?;
        let identity = identity(&file, &scenario, &checkpoint)?;
        let format = action_format(&file, &scenario)?;
        let spec = &scenario.spec;
        let schedule = Schedule::new(spec.interval_s, spec.offset_s, spec.max_lateness_s);
        let targets = file.targets(&scenario)?;
        let needed = policy.signals().to_vec();
        Ok(Self { file, scenario, controller, identity, format, schedule, targets, needed })
    }

    /// What reads the signals.
    ///
    /// # Errors
    /// [`Error::Input`] when a signal that the policy needs has no source, or a key is wrong.
    pub fn signals(&self) -> Result<Signals> {
        let config = &self.file.config;
        let wanted = self.file.signals(&self.needed)?;
        Signals::new(&SignalsSetup {
            signals: &config.signals,
            prometheus: config.prometheus.as_ref(),
            locust: config.locust.as_ref(),
            targets: &self.targets,
            namespace: &config.kubernetes.namespace,
            needed: &wanted,
            speed: config.clock.speed,
            place: &|key| self.file.place(key),
        })
    }

    /// The policy's state before its first decision.
    ///
    /// # Errors
    /// When the policy cannot run on this scenario.
    pub fn start_policy(&self) -> Result<PolicyState> {
        start_policy(&self.scenario, self.controller.policy())
    }

    /// What each service is taken to run where nobody has said it yet: the scenario's initial options.
    pub fn initial(&self) -> Vec<RevisionSnapshot> {
        self.scenario
            .spec
            .service
            .iter()
            .zip(&self.scenario.profiles)
            .map(|(service, profile)| {
                let initial = &service.initial;
                profile.decision(initial.option, initial.min_scale).as_revision()
            })
            .collect()
    }
}

fn load_scenario(file: &LiveFile) -> Result<Scenario> {
    Scenario::load(&file.name_or_path(&file.config.scenario), &[])
}

fn action_format(file: &LiveFile, scenario: &Scenario) -> Result<ActionFormat> {
    let place = file.place("kubernetes.fields");
    ActionFormat::new(scenario, &file.config.kubernetes.fields, &place)
}

/// The custom resource's fields by `file`, whose checkpoint need not be there.
///
/// # Errors
/// [`Error::Input`] when the scenario cannot be read or the templates do not fit it.
pub fn load_action_format(file: &LiveFile) -> Result<ActionFormat> {
    action_format(file, &load_scenario(file)?)
}

/// The state of `policy` before its first decision. Live has no traffic to give; who would look at it is
/// refused before.
///
/// # Errors
/// When the policy cannot run on this scenario.
pub fn start_policy(scenario: &Scenario, policy: &dyn Policy) -> Result<PolicyState> {
    let traffic = scenario.traffic(0)?;
    policy.start(&Episode { scenario, traffic: &traffic, seed: 0 })
}

/// The controller of `scenario` with a forecaster by name or folder.
///
/// # Errors
/// [`Error::Input`] when there is no such forecaster or it knows the future.
pub fn make_controller(
    scenario: &Scenario,
    policy: Arc<dyn Policy>,
    forecaster: &str,
    place: &str,
) -> Result<Controller> {
    let here = |error: Error| error.at(place);
    let kind: ForecasterKind = forecaster.parse().map_err(here)?;
    match kind.for_scenario(scenario).map_err(here)? {
        Foresight::Forecaster(forecaster) => Ok(Controller::new(scenario, policy, forecaster)),
        Foresight::Perfect | Foresight::NoisyPerfect(_) => Err(Error::input(
            place,
            format!("`{kind}` knows the traffic to come, which nobody does"),
            "use persistence, moving-average, seasonal, ar, holt-winters or a predictor's folder",
        )),
    }
}

/// Refuses a checkpoint whose weights are not the pinned ones.
fn check_pin(file: &LiveFile, checkpoint: &str) -> Result<()> {
    let pin = &file.config.sha256;
    if pin.is_empty() {
        return Ok(());
    }
    let model = Path::new(checkpoint).join(MODEL_FILE);
    let found = match std::fs::read(&model) {
        Ok(bytes) => hex(Sha256::digest(bytes)),
        Err(error) => {
            return Err(Error::input(
                file.place("sha256"),
                format!("{} cannot be read: {error}", model.display()),
                "pin only a checkpoint's folder",
            ));
        }
    };
    if !found.eq_ignore_ascii_case(pin) {
        return Err(Error::input(
            file.place("sha256"),
            format!("{} has SHA-256 {found}", model.display()),
            "deploy the checkpoint that was meant, or pin this one",
        ));
    }
    Ok(())
}

/// Hash of everything that a saved state depends on.
fn identity(file: &LiveFile, scenario: &Scenario, checkpoint: &str) -> Result<String> {
    let mut hash = Sha256::new();
    for name in [checkpoint, &file.name_or_path(&file.config.forecaster)] {
        hash_of(name, &mut hash)?;
    }
    hash.update(scenario.hash()?);
    Ok(hex(hash.finalize()))
}

/// Takes in a name, or the weights and the layout of a folder, wherever it lies.
fn hash_of(name: &str, hash: &mut Sha256) -> Result<()> {
    let folder = Path::new(name.rsplit_once(':').map_or(name, |(_, folder)| folder));
    if !folder.is_dir() {
        hash.update(name.as_bytes());
        return Ok(());
    }
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(|source| Error::io("read", folder, source))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name == MODEL_FILE || name == "config.json" || name.starts_with("normaliser")
        })
        .collect();
    files.sort();
    for path in files {
        hash.update(std::fs::read(&path).map_err(|source| Error::io("read", &path, source))?);
    }
    Ok(())
}

fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}
