//! From a policy as it is typed to a policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shipped::Shipped;
use super::tuning::Tuned;
use super::{External, Fixed, Hybrid, Neural, Policy, Random, Replay, knative, paper};
use crate::agent::fitted_value::FittedValue;
use crate::agent::{Agent, checkpoint};
use crate::error::{Error, Result};
use crate::nn::Checkpoint;
use crate::scenario::{EnvironmentKind, Scenario, did_you_mean, parse_options};
use crate::sim::Model;

/// Every policy that needs no checkpoint, in the order of the tables.
pub const DEFAULT_POLICIES: [&str; 7] =
    ["kpa-latency", "kpa-resource", "hybrid", "greedy", "priced-greedy", "oracle", "random"];
/// Learned policies: they need a checkpoint.
const LEARNED: [&str; 4] = ["recurrent-ppo", "ppo", "trpo", "fitted-value"];

/// The learned policy that is no actor and critic.
const FITTED: &str = LEARNED[3];

/// Name, if given, and folder where `text` is a checkpoint: FOLDER or NAME:FOLDER. A folder is what
/// has a slash in it or is there.
fn checkpoint_of(text: &str) -> Option<(Option<&str>, PathBuf)> {
    let is_folder = |text: &str| text.contains('/') || Path::new(text).is_dir();
    match text.split_once(':') {
        Some((name, folder)) if !name.is_empty() && !name.contains('/') => {
            (!folder.is_empty()).then(|| (Some(name), PathBuf::from(folder)))
        }
        _ if is_folder(text) => Some((None, PathBuf::from(text))),
        _ => None,
    }
}

/// Makes policies for one scenario.
pub struct Registry<'a> {
    scenario: &'a Scenario,
    model: Option<Arc<Model>>,
    tuned: &'a dyn Fn() -> Result<Tuned>,
}

impl<'a> Registry<'a> {
    /// For `scenario`. `tuned` gives the result of the search over fixed options and prices; it is
    /// asked only when a policy needs it.
    ///
    /// # Errors
    /// When the scenario cannot be compiled.
    pub fn new(scenario: &'a Scenario, tuned: &'a dyn Fn() -> Result<Tuned>) -> Result<Self> {
        let model = match scenario.environment() {
            EnvironmentKind::Knative => Some(Arc::new(Model::new(scenario)?)),
            EnvironmentKind::Paper => None,
        };
        Ok(Self { scenario, model, tuned })
    }

    fn fixed(&self, name: &str, options: Vec<u32>) -> Arc<dyn Policy> {
        Arc::new(Fixed::new(name, options, &self.scenario.profiles, self.scenario.pod_rule()))
    }

    /// The agent in `folder`, called `name` or by its kind.
    fn agent(&self, name: Option<&str>, folder: &Path) -> Result<Arc<dyn Policy>> {
        let place = checkpoint::resolve(folder);
        let kinds: Vec<&str> = checkpoint::AGENT_KINDS.iter().copied().chain([FITTED]).collect();
        let loaded = Checkpoint::load(&place, &kinds, None)?;
        let name = name.unwrap_or(&loaded.metadata.kind);
        if loaded.metadata.kind == FITTED {
            return Ok(Arc::new(FittedValue::load(&place, name, self.scenario)?));
        }
        let agent = Agent::from_checkpoint(&loaded, &place)?;
        Ok(Arc::new(Neural::new(name, agent, self.scenario, &folder.display().to_string())?))
    }

    /// The agent of the kind `kind` that comes with the program for this scenario.
    fn shipped(&self, kind: &str) -> Result<Arc<dyn Policy>> {
        let name = self.scenario.name();
        let Some(shipped) = Shipped::find(kind, name) else {
            return Err(Error::input(
                format!("policy {kind}"),
                format!("no checkpoint for scenario {name} is shipped"),
                format!(
                    "train one (`quotascale train {name} --agent {kind}`) and give its folder, also as NAME:FOLDER"
                ),
            ));
        };
        let place = shipped.place().display().to_string();
        Ok(Arc::new(Neural::new(kind, shipped.agent()?, self.scenario, &place)?))
    }

    /// The policy `text`: a name, `fixed:21/6/7`, `replay:FILE`, `external:COMMAND`, the folder of an
    /// agent, or NAME:FOLDER.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no such policy or it does not fit the scenario.
    pub fn policy(&self, text: &str) -> Result<Arc<dyn Policy>> {
        let scenario = self.scenario;
        let profiles = &scenario.profiles;
        if let Some(list) = text.strip_prefix("fixed:") {
            let counts: Vec<usize> = profiles.iter().map(|profile| profile.options.len()).collect();
            let options = parse_options(&format!("policy {text}"), list, &counts)?;
            return Ok(self.fixed(text, options));
        }
        if let Some(file) = text.strip_prefix("replay:") {
            return Ok(Arc::new(Replay::read(Path::new(file), scenario)?));
        }
        if let Some(command) = text.strip_prefix("external:") {
            return Ok(Arc::new(External::new(command, scenario)));
        }
        if let Some((name, folder)) = checkpoint_of(text) {
            return self.agent(name, &folder);
        }
        match (text, &self.model) {
            ("kpa-latency", _) => Ok(self.fixed(text, (self.tuned)()?.kpa_latency)),
            ("kpa-resource", _) => Ok(self.fixed(text, (self.tuned)()?.kpa_resource)),
            ("random", _) => Ok(Arc::new(Random::new(profiles, scenario.pod_rule()))),
            ("hybrid", _) => {
                let slo: Vec<f64> =
                    scenario.spec.service.iter().map(|service| service.slo_p95_ms).collect();
                Ok(Arc::new(Hybrid::new(profiles, &slo, scenario.pod_rule().utilization)))
            }
            ("greedy", Some(model)) => {
                Ok(Arc::new(knative::Greedy::new(scenario, Arc::clone(model))))
            }
            ("greedy", None) => Ok(Arc::new(paper::Greedy::new(scenario)?)),
            ("priced-greedy", Some(model)) => {
                let price = (self.tuned)()?.price;
                Ok(Arc::new(knative::Greedy::priced(scenario, Arc::clone(model), price)))
            }
            ("priced-greedy", None) => {
                Ok(Arc::new(paper::Greedy::priced(scenario, (self.tuned)()?.price)?))
            }
            ("oracle" | "clairvoyant-beam", Some(model)) => {
                Ok(Arc::new(knative::Clairvoyant::new(scenario, Arc::clone(model))))
            }
            ("oracle", None) => Ok(Arc::new(paper::Oracle)),
            _ if LEARNED.contains(&text) => self.shipped(text),
            _ => {
                let names: Vec<&str> = DEFAULT_POLICIES.into_iter().chain(LEARNED).collect();
                let known = names.join(", ");
                Err(Error::input(
                    format!("policy {text}"),
                    "unknown policy",
                    format!(
                        "{}known: {known}, fixed:OPTIONS, replay:FILE, external:COMMAND, the folder of a trained agent, NAME:FOLDER",
                        did_you_mean(text, &names)
                    ),
                ))
            }
        }
    }

    /// The policies of lists such as `hybrid,greedy,fixed:21/6/7`, in their order. A list that begins
    /// with `external:` is one command, commas and all.
    ///
    /// # Errors
    /// As [`Self::policy`]; also when two of them have the same name.
    pub fn policies(&self, lists: &[String]) -> Result<Vec<Arc<dyn Policy>>> {
        let names = lists.iter().flat_map(|list| {
            let separator = if list.starts_with("external:") { '\n' } else { ',' };
            list.split(separator).map(str::trim).filter(|text| !text.is_empty())
        });
        let mut policies: Vec<Arc<dyn Policy>> = Vec::new();
        for text in names {
            let policy = self.policy(text)?;
            if policies.iter().any(|other| other.name() == policy.name()) {
                return Err(Error::input(
                    "--policies",
                    format!("two policies are named `{}`", policy.name()),
                    "name each once; replayed files and programs need different file names",
                ));
            }
            policies.push(policy);
        }
        if policies.is_empty() {
            return Err(Error::input(
                "--policies",
                "no policy",
                format!("known: {}", DEFAULT_POLICIES.join(", ")),
            ));
        }
        Ok(policies)
    }
}
