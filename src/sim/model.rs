//! A scenario compiled for the simulator: everything that does not change during a run.

use rand::RngExt;
use rand_distr::StandardNormal;

use super::curve::Curve;
use super::lognormal::shape;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::scenario::kpa::KpaConfig;
use crate::scenario::spec::{OperatorSpec, QuotaSpec, SimSpec};
use crate::scenario::{EnvironmentKind, Profile, Scenario};

/// The immutable part of a simulation.
#[derive(Clone, Debug)]
pub struct Model {
    /// Length, seconds.
    pub duration_s: u32,
    /// The quota.
    pub quota: QuotaSpec,
    /// The model's own numbers.
    pub sim: SimSpec,
    /// How a decision becomes revisions.
    pub operator: OperatorSpec,
    /// The autoscaler; `None` = off.
    pub kpa: Option<KpaConfig>,
    /// Edges of the reported intervals as the scenario gives them; empty: the traffic stages.
    pub boundaries_s: Vec<u32>,
    /// Shape of every log-normal latency.
    pub shape: f64,
    /// The services, in order.
    pub services: Vec<ServiceModel>,
}

/// The immutable part of one service.
#[derive(Clone, Debug)]
pub struct ServiceModel {
    /// Its name.
    pub name: String,
    /// Bound on the p95 latency, ms.
    pub slo_ms: f64,
    /// Its options.
    pub profile: Profile,
    /// One latency curve for each CPU size.
    pub curves: Vec<Curve>,
    /// Memory of a pod that is no option's, MiB.
    pub memory_mib: u64,
    /// Mean of a cold start, seconds.
    pub cold_start_mean_s: f64,
    /// Mean of the logarithm of a cold start.
    pub cold_start_mu: f64,
    /// Standard deviation of that logarithm; 0 = always the mean.
    pub cold_start_sigma: f64,
    /// Option, pods, readiness and min-scale at t = 0.
    pub initial: crate::scenario::spec::InitialSpec,
}

impl Model {
    /// Compiles a checked `knative` scenario.
    ///
    /// # Errors
    /// [`Error::Input`] for a scenario of another environment.
    pub fn new(scenario: &Scenario) -> Result<Self> {
        let spec = &scenario.spec;
        let (EnvironmentKind::Knative, Some(sim), Some(operator), Some(kpa)) =
            (spec.environment, &spec.sim, &spec.operator, &spec.kpa)
        else {
            return Err(Error::input(
                &scenario.source.name,
                "the tick simulator runs scenarios of environment \"knative\" only",
                "use environment = \"knative\"",
            ));
        };
        let kpa = kpa.enabled.then(|| KpaConfig::from_spec(kpa)).transpose().map_err(|error| {
            Error::input(
                format!("{}: kpa.{}", scenario.source.name, error.key),
                error.problem,
                error.remedy,
            )
        })?;
        let services = spec
            .service
            .iter()
            .zip(&scenario.profiles)
            .map(|(service, profile)| {
                // Rule 16: sigma^2 = ln(1 + cv^2), mu = ln mean - sigma^2 / 2.
                let variance = (1.0 + service.cold_start_cv * service.cold_start_cv).ln();
                ServiceModel {
                    name: service.name.clone(),
                    slo_ms: service.slo_p95_ms,
                    profile: profile.clone(),
                    curves: Curve::of_profile(profile, service.slo_p95_ms, sim.p95_mean_ratio),
                    memory_mib: service.memory_mib.0,
                    cold_start_mean_s: service.cold_start_mean_s,
                    cold_start_mu: service.cold_start_mean_s.ln() - 0.5 * variance,
                    cold_start_sigma: variance.sqrt(),
                    initial: service.initial,
                }
            })
            .collect();
        Ok(Self {
            duration_s: spec.duration_s.unwrap_or(0),
            quota: spec.quota.clone(),
            sim: sim.clone(),
            operator: operator.clone(),
            kpa,
            boundaries_s: spec.report.boundaries_s.clone(),
            shape: shape(sim.p95_mean_ratio),
            services,
        })
    }
}

impl ServiceModel {
    /// Draws a pod's cold start, seconds (rule 16).
    pub fn draw_cold_start(&self, rng: &mut Rng) -> f64 {
        if self.cold_start_sigma == 0.0 {
            return self.cold_start_mean_s;
        }
        let normal: f64 = rng.sample(StandardNormal);
        (self.cold_start_mu + self.cold_start_sigma * normal).exp()
    }

    /// Index of the curve of a CPU size.
    pub fn curve_of(&self, cpu_m: u64) -> Option<usize> {
        self.curves.iter().position(|curve| curve.cpu_m == cpu_m)
    }

    /// Memory of a pod with this cpu and concurrency, MiB.
    pub fn memory_of(&self, option: Option<u32>) -> u64 {
        match option {
            Some(index) => self.profile.options[index as usize].memory.0,
            None => self.memory_mib,
        }
    }
}
