//! Scenarios: one TOML file describes services, quota, traffic, reward and model.
//!
//! [`spec`] is the file as written; [`Scenario`] is the same, checked, with every default filled
//! in. Four are built in ([`BUILTIN`]).

mod corrections;
mod duration;
pub mod kpa;
mod load;
mod profile;
mod source;
pub mod spec;
mod validate;

use std::path::PathBuf;

pub use corrections::Corrections;
pub use duration::parse_duration;
pub use kpa::KpaConfig;
pub(crate) use load::did_you_mean;
pub use load::{BUILTIN, builtin_text, json_schema};
pub use profile::{PodRule, Profile, ProfileOption, pods};
use rand::RngExt;
use sha2::{Digest, Sha256};
pub use source::{KeyPath, Segment, Source};
pub use spec::{EnvironmentKind, ScenarioSpec};
pub(crate) use validate::parse_options;

use crate::error::Result;
use crate::rng::Streams;
use crate::trace::{self, ServiceTrace, Stage, Trace};

/// Stream of the traffic that policies are evaluated on.
pub const TRAFFIC_STREAM: &str = "traffic";
/// Stream of the traffic that agents are trained and policies tuned on: no training seed equals an evaluation seed.
pub const TRAIN_TRAFFIC_STREAM: &str = "train-traffic";

/// Utilization that the original plans pods for.
const PAPER_UTILIZATION: f64 = 0.7;

/// A checked scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The scenario as written, with defaults and overrides filled in.
    pub spec: ScenarioSpec,
    /// Folder that the paths of the scenario are relative to.
    pub base_dir: PathBuf,
    /// The services' profiles, in order.
    pub profiles: Vec<Profile>,
    /// Corrections of the `paper` environment.
    pub corrections: Corrections,
    /// Where the text came from, for messages.
    pub source: Source,
}

impl Scenario {
    /// The scenario's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Which environment it runs in.
    pub fn environment(&self) -> EnvironmentKind {
        self.spec.environment
    }

    /// How many pods a policy's decision asks for. (The exact `paper` environment computes its own.)
    pub fn pod_rule(&self) -> PodRule {
        match &self.spec.sim {
            Some(sim) => PodRule { utilization: sim.target_utilization, min_pods: sim.min_pods },
            None => PodRule { utilization: PAPER_UTILIZATION, min_pods: 1 },
        }
    }

    /// Names of the services, in order.
    pub fn service_names(&self) -> Vec<&str> {
        self.spec.service.iter().map(|service| service.name.as_str()).collect()
    }

    /// The traffic of `seed` that policies are evaluated on.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when a trace file cannot be read or does not fit.
    pub fn traffic(&self, seed: u64) -> Result<Trace> {
        self.traffic_of(Streams::new(seed), TRAFFIC_STREAM)
    }

    /// The traffic of `seed` that agents are trained and policies tuned on.
    ///
    /// # Errors
    /// As [`Self::traffic`].
    pub fn training_traffic(&self, seed: u64) -> Result<Trace> {
        self.traffic_of(Streams::new(seed), TRAIN_TRAFFIC_STREAM)
    }

    /// Traffic that a policy's settings are searched on: the training traffic where that is generated;
    /// where the scenario's traffic is fixed, stages of the same lengths with whole users uniform in
    /// the fixed trace's range, so that no setting is fitted to the trace it is judged on.
    ///
    /// # Errors
    /// As [`Self::traffic`].
    pub fn tuning_traffic(&self, seed: u64) -> Result<Trace> {
        let mut traffic = self.training_traffic(seed)?;
        for (service, spec) in traffic.services.iter_mut().zip(&self.spec.service) {
            if spec.trace.generator.is_some() {
                continue;
            }
            let users = service.users_summary();
            let (low, high) = (users.min.ceil() as u32, users.max.ceil() as u32);
            let name = format!("{TRAIN_TRAFFIC_STREAM}/{}", service.service);
            let mut rng = Streams::new(seed).open(&name);
            for stage in &mut service.stages {
                let users = f64::from(rng.random_range(low..=high));
                *stage = Stage::of_interval(stage.duration_s, users);
            }
        }
        Ok(traffic)
    }

    /// As [`Self::training_traffic`], into the traffic of another seed of this scenario: what differs
    /// from seed to seed is drawn anew, what was read from a file stays.
    ///
    /// # Errors
    /// As [`Self::traffic`].
    pub fn renew_training_traffic(&self, seed: u64, traffic: &mut Trace) -> Result<()> {
        for (index, service) in traffic.services.iter_mut().enumerate() {
            if self.spec.service[index].trace.generator.is_some() {
                *service = self.service_traffic(index, Streams::new(seed), TRAIN_TRAFFIC_STREAM)?;
            }
        }
        Ok(())
    }

    fn traffic_of(&self, streams: Streams, stream: &str) -> Result<Trace> {
        let services = (0..self.spec.service.len())
            .map(|index| self.service_traffic(index, streams, stream))
            .collect::<Result<Vec<_>>>()?;
        Ok(Trace { services })
    }

    fn service_traffic(
        &self,
        index: usize,
        streams: Streams,
        stream: &str,
    ) -> Result<ServiceTrace> {
        let service = &self.spec.service[index];
        let place = || {
            let key = KeyPath::parse(&format!("service[{index}].trace"));
            self.source.place_of_key(&key)
        };
        trace::from_spec(
            &service.trace,
            &trace::SpecContext {
                service: &service.name,
                base_dir: &self.base_dir,
                interval_s: self.spec.interval_s,
                streams,
                stream,
                place: &place,
            },
        )
    }

    /// Whether the traffic differs from seed to seed.
    pub fn random_traffic(&self) -> bool {
        self.spec.service.iter().any(|service| service.trace.generator.is_some())
    }

    /// The scenario as TOML, every default written out.
    ///
    /// # Panics
    /// Never: every field of a spec can be written as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.spec).expect("a scenario can be written as TOML")
    }

    /// SHA-256 over the resolved scenario and the contents of its trace files, in hexadecimal.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when a trace file cannot be read.
    pub fn hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut spec = self.spec.clone();
        for service in &mut spec.service {
            if let Some(file) = service.trace.file.take() {
                // The content counts, not where the file lies.
                let text = crate::error::read_input(&self.base_dir.join(file))?;
                hash.update(text.as_bytes());
            }
        }
        hash.update(toml::to_string(&spec).expect("a scenario can be written as TOML"));
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
