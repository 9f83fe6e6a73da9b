//! Made-up runs for the tests of tables, files and figures.

use std::collections::BTreeMap;

use super::Comparison;
use crate::run::{ALL_SERVICES, DecisionRow, IntervalRow, RevisionRow, Run, Summary, TickRow};

pub const STAGE_S: u32 = 120;
pub const QUOTA_CPU_M: u64 = 40_000;
const POD_CPU_M: u64 = 1500;
const ROLL_OUT_S: u32 = 9;

/// Users of a service in a stage: a fixed pattern that differs between services.
fn users(service: usize, stage: u32) -> u32 {
    let phase = f64::from(stage) * 0.7 + service as f64 * 1.9;
    (34.0 + 30.0 * phase.sin() + 6.0 * (phase * 2.3).cos()).max(1.0) as u32
}

/// A run on the tick simulator: every stage every service rolls out a revision, which overlaps the
/// old one; the second service has an outage in stage 3.
pub fn knative_run(services: &[&str], stages: u32) -> Run {
    let mut run = Run { summary: summary("hybrid", 3, -0.42, services), ..Run::default() };
    run.summary.scenario = "paper-knative".into();
    let share = (QUOTA_CPU_M / POD_CPU_M / services.len() as u64).max(1) as u32;
    let pods = |service: usize, stage: u32| (users(service, stage) / 8).clamp(1, share + 2);
    for stage in 0..stages {
        let from_s = f64::from(stage * STAGE_S);
        for (index, service) in services.iter().enumerate() {
            run.decisions.push(DecisionRow {
                t_s: from_s + 115.0,
                service: (*service).into(),
                users_seen: f64::from(users(index, stage)),
                forecast: f64::from(users(index, stage + 1)) * 0.9 + 2.0,
                option: (stage % 3 != 2).then_some(stage % 8),
                cpu_m: POD_CPU_M,
                concurrency: 10,
                pods: pods(index, stage + 1),
                reason: "least CPU that meets the SLO".into(),
                reward: (stage + 2 < stages).then_some(-0.02 - f64::from(stage) / 300.0),
            });
            let outage = index == 1 && stage == 3;
            run.intervals.push(IntervalRow {
                from_s,
                to_s: from_s + f64::from(STAGE_S),
                service: (*service).into(),
                throughput_rps: Some(f64::from(users(index, stage)) * 1.7),
                p95_ms: (!outage).then_some(400.0 + f64::from(users(index, stage)) * 11.0),
                mean_ms: (!outage).then_some(300.0),
                share_over_slo: Some(if outage { 1.0 } else { 0.01 }),
                user_seconds: Some(f64::from(users(index, stage) * STAGE_S)),
                waiting_user_seconds: Some(0.0),
                ready_pod_seconds: Some(f64::from(pods(index, stage) * STAGE_S)),
                cpu_seconds: f64::from(pods(index, stage) * STAGE_S) * 1.5,
                pods_created: Some(u64::from(pods(index, stage))),
                memory_mib_seconds: Some(1.0e6 / 3.0),
                ..IntervalRow::default()
            });
            run.revisions.push(RevisionRow {
                service: (*service).into(),
                revision: stage + 2,
                created_s: from_s + 115.0,
                ready_s: (!outage).then_some(from_s + 115.0 + f64::from(ROLL_OUT_S)),
                deleted_s: None,
                gone_s: None,
                option: Some(2),
                cpu_m: POD_CPU_M,
                concurrency: 10,
                pods: pods(index, stage + 1),
                outcome: "replaced".into(),
            });
        }
        run.intervals.push(IntervalRow {
            from_s,
            to_s: from_s + f64::from(STAGE_S),
            service: ALL_SERVICES.into(),
            cpu_seconds: 3000.5,
            over_quota_cpu_seconds: Some(12.25),
            denied_pod_seconds: Some(0.0),
            ..IntervalRow::default()
        });
    }
    for second in 0..stages * STAGE_S {
        let stage = second / STAGE_S;
        let within = second % STAGE_S;
        let rolling = within >= STAGE_S - 5 || (stage > 0 && within < ROLL_OUT_S - 5);
        let mut all = TickRow {
            t_s: f64::from(second),
            service: ALL_SERVICES.into(),
            quota_cpu_m: Some(QUOTA_CPU_M),
            ..TickRow::default()
        };
        for (index, service) in services.iter().enumerate() {
            let outage = index == 1 && stage == 3 && (30..70).contains(&within);
            let next = pods(index, stage + u32::from(within >= STAGE_S - 5));
            let old = pods(index, stage - u32::from(stage > 0 && within < ROLL_OUT_S - 5));
            let row = TickRow {
                t_s: f64::from(second),
                service: (*service).into(),
                users: users(index, stage).min(users(index, stage.max(1) - 1) + within * 4),
                ready_pods: if outage { 0 } else { old },
                starting_pods: if rolling { next } else { 0 },
                terminating_pods: if (4..9).contains(&within) { 2 } else { 0 },
                denied_pods: u32::from(outage) * 2,
                p95_ms: (!outage).then(|| {
                    350.0 + f64::from(users(index, stage)) * 12.0 + f64::from(second * 7919 % 97)
                }),
                cpu_m: (u64::from(old) + if rolling { u64::from(next) } else { 0 }) * POD_CPU_M,
                overlap_cpu_m: if rolling { u64::from(next) * POD_CPU_M } else { 0 },
                revision: Some(stage + 1),
                ..TickRow::default()
            };
            all.users += row.users;
            all.cpu_m += row.cpu_m;
            all.overlap_cpu_m += row.overlap_cpu_m;
            run.ticks.push(row);
        }
        run.ticks.push(all);
    }
    run
}

/// The same as the `paper` environment would tell it: no ticks, no revisions, little measured.
pub fn paper_run(services: &[&str], stages: u32) -> Run {
    let mut run = knative_run(services, stages);
    run.summary.scenario = "paper".into();
    run.ticks.clear();
    run.revisions.clear();
    for row in &mut run.decisions {
        row.t_s -= 115.0;
    }
    for row in &mut run.intervals {
        row.throughput_rps = None;
        row.user_seconds = None;
        row.waiting_user_seconds = None;
        row.ready_pod_seconds = None;
        row.pods_created = None;
    }
    run
}

/// A summary whose other figures follow the reward.
pub fn summary(policy: &str, seed: u64, reward: f64, services: &[&str]) -> Summary {
    Summary {
        scenario: "paper-knative".into(),
        policy: policy.into(),
        seed,
        reward,
        decisions: 19,
        slo_violation_share: Some((-reward / 9.0).clamp(0.0, 1.0)),
        over_quota_cpu_seconds: (-reward * 900.0).max(0.0).floor(),
        cpu_seconds: 60_000.0 + reward * 10_000.0 + seed as f64 * 17.25,
        over_quota_memory_mib_seconds: Some(0.0),
        memory_mib_seconds: Some(1.5e9),
        cold_starts: Some(200 + seed),
        denied_pod_seconds: Some(0.0),
        requests_at_risk: Some(31.0),
        p95_ms: Some(
            services
                .iter()
                .enumerate()
                .map(|(index, name)| {
                    ((*name).to_owned(), (index != 1).then_some(800.0 + reward * 100.0))
                })
                .collect::<BTreeMap<_, _>>(),
        ),
        warnings: Vec::new(),
    }
}

/// Policies that differ by little and by much, over `seeds` seeds.
pub fn comparison(names: &[&str], seeds: u64) -> Comparison {
    let mut runs = Vec::new();
    for (index, name) in names.iter().enumerate() {
        for seed in 0..seeds {
            let luck = (seed as f64 * 2.7).sin() * 0.21;
            let own = ((seed as f64 + 1.0) * (index as f64 + 0.3) * 1.3).cos() * 0.05;
            let reward = -1.4 + index as f64 * 0.16 + luck + own;
            runs.push(summary(name, seed, reward, &["house", "senti", "numbr"]));
        }
    }
    Comparison::new(&runs, None, None).unwrap()
}
