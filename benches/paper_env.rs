//! Speed of the `paper` environment and of its exact optimum, on one thread unless rayon is given more.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quotascale::env::paper::{
    Action, JointActions, OBSERVATION, PaperBatch, PaperRules, PaperState, PaperTrace, StepBuffers,
    oracle,
};
use quotascale::rng::Streams;
use quotascale::scenario::Scenario;
use rand::RngExt;

/// Few enough for the second-level cache.
const ENVIRONMENTS: usize = 1024;
/// Distinct steps of actions, so that no branch predictor learns them by heart.
const STEPS: usize = 64;

/// Actions of which each service keeps its own with probability `keep`.
fn actions(rules: &PaperRules, keep: f64) -> Vec<Vec<Action>> {
    let mut rng = Streams::new(0).open("bench");
    let mut current = vec![[0; 3]; ENVIRONMENTS];
    (0..STEPS)
        .map(|_| {
            for action in &mut current {
                for (option, count) in action.iter_mut().zip(rules.option_counts()) {
                    if !rng.random_bool(keep) {
                        *option = rng.random_range(0..count as u16);
                    }
                }
            }
            current.clone()
        })
        .collect()
}

fn steps(c: &mut Criterion) {
    let scenario = Scenario::load("paper-random", &[]).unwrap();
    let rules = PaperRules::new(&scenario).unwrap();
    let pool: Vec<PaperTrace> =
        (0..256).map(|seed| PaperTrace::training(&scenario, seed).unwrap()).collect();
    let mut group = c.benchmark_group("paper_env");
    group.throughput(Throughput::Elements((ENVIRONMENTS * STEPS) as u64));
    for (name, keep) in [("random_actions", 0.0), ("sticky_actions", 0.75)] {
        let actions = actions(&rules, keep);
        let mut batch = PaperBatch::new(rules.clone(), &pool, ENVIRONMENTS).unwrap();
        let mut observations = vec![0.0; ENVIRONMENTS * OBSERVATION];
        let mut rewards = vec![0.0; ENVIRONMENTS];
        let mut terminated = vec![false; ENVIRONMENTS];
        let mut truncated = vec![false; ENVIRONMENTS];
        group.bench_function(name, |b| {
            b.iter(|| {
                for actions in &actions {
                    batch.step(
                        actions,
                        StepBuffers {
                            observations: &mut observations,
                            rewards: &mut rewards,
                            terminated: &mut terminated,
                            truncated: &mut truncated,
                        },
                    );
                }
                black_box((&observations, &rewards));
            });
        });
    }
    group.finish();
    let state = PaperState { step: 1, pods: [1, 3, 3], ..rules.reset([34, 28, 16]) };
    let mut joint = JointActions::new();
    c.bench_function("all_joint_actions", |b| {
        b.iter(|| {
            joint.evaluate(&rules, black_box(&state));
            black_box(joint.rewards());
        });
    });
}

fn optimum(c: &mut Criterion) {
    let scenario = Scenario::load("paper", &[]).unwrap();
    let traffic = scenario.traffic(0).unwrap();
    let mut group = c.benchmark_group("optimum");
    group.sample_size(10);
    group.bench_function("paper", |b| b.iter(|| oracle(&scenario, &traffic).unwrap()));
    group.finish();
}

criterion_group!(benches, steps, optimum);
criterion_main!(benches);
