//! One policy through one scenario on the tick simulator.

use std::sync::Arc;

use rand_distr::{Distribution, StandardNormal};

use crate::control::Controller;
use crate::env::StageReward;
use crate::error::Result;
use crate::policy::{Episode, Policy, Schedule};
use crate::predictor::{Foresight, Persistence};
use crate::rng::{Rng, Streams};
use crate::run::{DecisionRow, Run, Summary};
use crate::scenario::Scenario;
use crate::sim::{Model, Simulator, Start};
use crate::snapshot::{Decision, Snapshot};
use crate::trace::Trace;

/// How an episode is run.
#[derive(Clone, Debug, Default)]
pub struct EpisodeOptions {
    /// What the controller expects of the coming stage.
    pub foresight: Foresight,
    /// Whether to record the `ticks` table.
    pub ticks: bool,
}

/// Runs `policy` through `traffic`. `seed` gives cold starts and the policy's own random numbers.
///
/// # Errors
/// When the policy cannot run on this scenario, or a decision cannot be applied.
pub fn run_episode(
    scenario: &Scenario,
    model: &Arc<Model>,
    traffic: &Trace,
    policy: &Arc<dyn Policy>,
    seed: u64,
    options: EpisodeOptions,
) -> Result<Run> {
    let schedule = policy.schedule();
    let start = match &schedule {
        Schedule::Never { options } => Start::Fixed(options.clone()),
        Schedule::EveryInterval | Schedule::At(_) => Start::Controlled,
    };
    let mut simulator = Simulator::new(Arc::clone(model), traffic, seed, &start)?;
    if options.ticks {
        simulator.record_ticks();
    }
    let instants = instants(scenario, model.duration_s);
    let decides_at = match schedule {
        Schedule::EveryInterval => instants.clone(),
        Schedule::Never { .. } => Vec::new(),
        Schedule::At(times) => times.into_iter().filter(|&time| time < model.duration_s).collect(),
    };
    let forecaster = match &options.foresight {
        Foresight::Forecaster(forecaster) => Arc::clone(forecaster),
        // Never asked: the future is given instead.
        Foresight::Perfect | Foresight::NoisyPerfect(_) => Arc::new(Persistence),
    };
    let controller = Controller::new(scenario, Arc::clone(policy), forecaster);
    let episode = Episode { scenario, traffic, seed };
    let mut state = controller.start(policy.start(&episode)?);
    let mut noise = Streams::new(seed).open("forecast-noise");
    let mut rows = Vec::new();
    let mut stood_in = 0;
    let mut snapshot = Snapshot::default();
    for (step, &time) in decides_at.iter().enumerate() {
        simulator.advance(time);
        simulator.snapshot(step as u32, &mut snapshot);
        let known = match options.foresight {
            Foresight::Forecaster(_) => None,
            Foresight::Perfect => Some(future(&simulator)),
            Foresight::NoisyPerfect(cv) => Some(noisy(future(&simulator), cv, &mut noise)),
        };
        let decision = controller.decide(&snapshot, known.as_deref(), &mut state)?;
        simulator.apply(&decision)?;
        let services = 0..scenario.spec.service.len();
        stood_in += services.filter(|&service| state.forecast.by_persistence(service)).count();
        push_rows(scenario, &snapshot, state.forecast.next(), &decision, &mut rows);
    }
    simulator.advance(model.duration_s);
    let forecasts = rows.len();
    let mut run = finish(scenario, policy.name(), seed, simulator, &instants, rows);
    if let (1.., Foresight::Forecaster(forecaster)) = (stood_in, &options.foresight) {
        run.summary.warnings.push(format!(
            "{stood_in} of {forecasts} forecasts are by persistence: too few rows for {}",
            forecaster.name()
        ));
    }
    Ok(run)
}

/// Users of each service at the end of the next stage's ramp.
pub(crate) fn future(simulator: &Simulator) -> Vec<f64> {
    (0..simulator.model().services.len())
        .map(|service| f64::from(simulator.users_at_end_of_next_stage(service)))
        .collect()
}

/// Values times log-normal factors of mean 1 and coefficient of variation `cv`.
pub(crate) fn noisy(mut values: Vec<f64>, cv: f64, rng: &mut Rng) -> Vec<f64> {
    let sigma = (1.0 + cv * cv).ln().sqrt();
    for value in &mut values {
        let z: f64 = StandardNormal.sample(rng);
        *value *= (sigma * z - sigma * sigma / 2.0).exp();
    }
    values
}

/// The decision instants of a scenario: offset, offset + interval, … before its end.
pub(crate) fn instants(scenario: &Scenario, duration_s: u32) -> Vec<u32> {
    (scenario.spec.offset_s..duration_s).step_by(scenario.spec.interval_s as usize).collect()
}

/// The stage that follows `time` (rule 29); `None` when no whole one is left.
pub(crate) fn stage_after(stages: &[(u32, u32)], time: u32) -> Option<(u32, u32)> {
    stages.get(stages.partition_point(|stage| stage.0 < time)).copied()
}

/// Adds the rows of one decision, a service each, to the `decisions` table.
pub(crate) fn push_rows(
    scenario: &Scenario,
    snapshot: &Snapshot,
    forecast: &[f64],
    decision: &Decision,
    rows: &mut Vec<DecisionRow>,
) {
    for (index, service) in decision.services.iter().enumerate() {
        let seen = &snapshot.services[index];
        // A service that is left alone goes on with what its newest revision was made with.
        let chosen = service.unwrap_or(seen.newest.as_decision());
        rows.push(DecisionRow {
            t_s: snapshot.t_s,
            service: scenario.spec.service[index].name.clone(),
            users_seen: seen.users,
            forecast: forecast[index],
            option: chosen
                .option
                .or_else(|| scenario.profiles[index].find(chosen.cpu_m, chosen.concurrency)),
            cpu_m: chosen.cpu_m,
            concurrency: chosen.concurrency,
            pods: chosen.pods,
            reason: decision.reason.clone(),
            reward: None,
        });
    }
}

/// The run that `simulator` leaves, as far as it was played.
pub(crate) fn finish(
    scenario: &Scenario,
    policy: &str,
    seed: u64,
    simulator: Simulator,
    instants: &[u32],
    mut decisions: Vec<DecisionRow>,
) -> Run {
    let reward = StageReward::new(scenario);
    let mut stages = simulator.stages();
    stages.retain(|&(_, to)| to <= simulator.now());
    let reward_after = |time: u32| {
        stage_after(&stages, time).map(|(from, to)| reward.measure(&simulator, from, to))
    };
    // The run's reward is taken at the scenario's instants, so that policies compare that decide at
    // other times or never.
    let rewards: Vec<f64> = instants.iter().filter_map(|&time| reward_after(time)).collect();
    let mut last: Option<(f64, Option<f64>)> = None;
    for row in &mut decisions {
        row.reward = match last {
            Some((time, reward)) if time == row.t_s => reward,
            _ => reward_after(row.t_s as u32),
        };
        last = Some((row.t_s, row.reward));
    }
    let results = simulator.finish();
    Run {
        summary: Summary {
            scenario: scenario.name().to_owned(),
            policy: policy.to_owned(),
            seed,
            // An empty `sum` is -0.
            reward: rewards.iter().fold(0.0, |sum, reward| sum + reward),
            decisions: rewards.len() as u64,
            slo_violation_share: results.slo_violation_share,
            over_quota_cpu_seconds: results.over_quota_cpu_seconds,
            cpu_seconds: results.cpu_seconds,
            over_quota_memory_mib_seconds: Some(results.over_quota_memory_mib_seconds),
            memory_mib_seconds: Some(results.memory_mib_seconds),
            cold_starts: Some(results.cold_starts),
            denied_pod_seconds: Some(results.denied_pod_seconds),
            requests_at_risk: Some(results.requests_at_risk),
            p95_ms: Some(results.p95_ms),
            warnings: results.warnings,
        },
        decisions,
        intervals: results.intervals,
        revisions: results.revisions,
        ticks: results.ticks,
    }
}
