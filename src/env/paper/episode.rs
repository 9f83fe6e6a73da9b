//! One episode of a policy on the `paper` environment, with its tables.

use super::rules::PaperRules;
use super::state::{Action, PaperState, SERVICES};
use super::traffic::PaperTrace;
use crate::error::{Error, Result};
use crate::policy::{Episode, Policy};
use crate::run::{ALL_SERVICES, DecisionRow, IntervalRow, Run, Summary};
use crate::scenario::Scenario;
use crate::snapshot::{Decision, RevisionSnapshot, ServiceSnapshot, Snapshot};
use crate::trace::Trace;

/// What a policy sees of `state`.
pub fn snapshot_of(scenario: &Scenario, state: &PaperState) -> Snapshot {
    let services = (0..SERVICES)
        .map(|service| {
            let option = state.options[service];
            let pods = state.pods[service];
            let profile = &scenario.profiles[service].options[usize::from(option)];
            let revision = RevisionSnapshot {
                option: Some(u32::from(option)),
                cpu_m: profile.cpu.0,
                concurrency: profile.concurrency,
                pods,
            };
            ServiceSnapshot {
                users: f64::from(state.users[service]),
                cpu_m: state.cpu_m[service],
                memory_mib: u64::from(pods) * profile.memory.0,
                newest: revision,
                serving: revision,
                ready_pods: pods,
                ..ServiceSnapshot::default()
            }
        })
        .collect();
    Snapshot {
        t_s: f64::from(state.step) * f64::from(scenario.spec.interval_s),
        step: state.step,
        services,
        quota: None,
    }
}

/// The state that `snapshot` was taken of.
///
/// # Errors
/// [`Error::Failed`] when it was not taken of this environment.
pub fn state_of(snapshot: &Snapshot) -> Result<PaperState> {
    let mut state = PaperState { step: snapshot.step, ..PaperState::default() };
    if snapshot.services.len() != SERVICES {
        return Err(Error::Failed(format!(
            "a snapshot of {} services is not one of environment \"paper\"",
            snapshot.services.len()
        )));
    }
    for (service, seen) in snapshot.services.iter().enumerate() {
        let option = seen.newest.option.and_then(|option| u16::try_from(option).ok());
        state.options[service] = option.ok_or_else(|| {
            Error::Failed(format!("service {service} runs no option of its profile"))
        })?;
        state.pods[service] = seen.ready_pods;
        state.cpu_m[service] = seen.cpu_m;
        // Whole numbers on this environment; elsewhere rounded half up, as traffic is.
        state.users[service] = (seen.users + 0.5).floor() as u32;
    }
    Ok(state)
}

/// The action that `decision` asks for in `state`: a service it does not name keeps its option.
///
/// # Errors
/// [`Error::Failed`] when a service is to run what its profile does not have.
pub fn action_of(scenario: &Scenario, state: &PaperState, decision: &Decision) -> Result<Action> {
    let mut action = state.options;
    for (service, (option, decided)) in action.iter_mut().zip(&decision.services).enumerate() {
        let Some(decided) = decided else { continue };
        let profile = &scenario.profiles[service];
        let index = decided.option.or_else(|| profile.find(decided.cpu_m, decided.concurrency));
        let known = index.filter(|&index| (index as usize) < profile.options.len());
        *option = known.ok_or_else(|| {
            Error::Failed(format!(
                "the profile of {} has no option {} ({}m, concurrency {}): environment \"paper\" runs only what the profile has",
                scenario.spec.service[service].name,
                decided.option.map_or_else(|| "with".to_owned(), |option| option.to_string()),
                decided.cpu_m,
                decided.concurrency,
            ))
        })? as u16;
    }
    Ok(action)
}

/// Runs `policy` through one episode on `traffic`.
///
/// The forecast a policy gets is what the environment shows: the users that the coming step serves.
/// There is no time inside a step, so CPU-seconds are the CPU of the step's decision times the
/// interval, and over-quota CPU-seconds the part of that above the quota; the short overlap of old and
/// new pods is in the reward alone. The share of SLO violations counts services and steps whose
/// option's p95 is above the SLO.
///
/// # Errors
/// When the scenario or the traffic does not fit the environment, or the policy fails.
pub fn run_episode(
    scenario: &Scenario,
    traffic: &Trace,
    policy: &dyn Policy,
    seed: u64,
) -> Result<Run> {
    let trace = PaperTrace::new(traffic)?;
    let rules = PaperRules::with_rows(scenario, trace.rows.len())?;
    let mut memory = policy.start(&Episode { scenario, traffic, seed })?;
    let mut state = rules.reset(trace.rows[0]);
    let mut run = Run {
        summary: Summary {
            scenario: scenario.name().to_owned(),
            policy: policy.name().to_owned(),
            seed,
            ..Summary::default()
        },
        ..Run::default()
    };
    let interval_s = f64::from(scenario.spec.interval_s);
    let mut violations = 0_u64;
    for step in 1..=rules.steps() {
        let snapshot = snapshot_of(scenario, &state);
        let forecast = state.users.map(f64::from);
        let decision = policy.decide(&snapshot, &forecast, &mut memory)?;
        let action = action_of(scenario, &state, &decision)?;
        let result = rules.step(&mut state, action, trace.after(step));
        let reward = rules.scaled(result.reward);
        for service in 0..SERVICES {
            let option = &scenario.profiles[service].options[usize::from(action[service])];
            violations += u64::from(rules.violates_slo(service, action[service]));
            run.decisions.push(DecisionRow {
                t_s: snapshot.t_s,
                service: scenario.spec.service[service].name.clone(),
                users_seen: forecast[service],
                forecast: forecast[service],
                option: Some(u32::from(action[service])),
                cpu_m: option.cpu.0,
                concurrency: option.concurrency,
                pods: state.pods[service],
                reason: decision.reason.clone(),
                reward: Some(reward),
            });
            // The latency of an option is what its profile states, whatever the load.
            run.intervals.push(IntervalRow {
                from_s: snapshot.t_s,
                to_s: snapshot.t_s + interval_s,
                service: scenario.spec.service[service].name.clone(),
                p95_ms: Some(option.p95_ms),
                cpu_seconds: state.cpu_m[service] as f64 / 1000.0 * interval_s,
                ..IntervalRow::default()
            });
        }
        let cores = |cpu_m: u64| cpu_m as f64 / 1000.0;
        let over_m = result.cpu_m.saturating_sub(rules.quota_m());
        run.intervals.push(IntervalRow {
            from_s: snapshot.t_s,
            to_s: snapshot.t_s + interval_s,
            service: ALL_SERVICES.to_owned(),
            cpu_seconds: cores(result.cpu_m) * interval_s,
            over_quota_cpu_seconds: Some(cores(over_m) * interval_s),
            ..IntervalRow::default()
        });
        run.summary.reward += reward;
        run.summary.decisions += 1;
        run.summary.cpu_seconds += cores(result.cpu_m) * interval_s;
        run.summary.over_quota_cpu_seconds += cores(over_m) * interval_s;
    }
    let decided = run.summary.decisions * SERVICES as u64;
    run.summary.slo_violation_share = Some(violations as f64 / decided as f64);
    Ok(run)
}
