//! Training and acting of agents: `cargo bench --bench agent`.
//!
//! `training` is one iteration of recurrent PPO on environment `paper`: 16 environments x 128 steps, 4
//! epochs, LSTM 128, separate critic; whole rollouts, and one environment a minibatch. `products` are its matrix
//! products alone, the limit of what it can reach.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quotascale::agent::speed::{ENVIRONMENTS, Products, ROLLOUT, agent, training};
use quotascale::control::Controller;
use quotascale::env::paper::{PaperRules, snapshot_of};
use quotascale::policy::{Episode, Neural, Policy};
use quotascale::predictor::Persistence;
use quotascale::scenario::Scenario;

fn benches(criterion: &mut Criterion) {
    let scenario = Scenario::load("paper-random", &[]).unwrap();
    let mut group = criterion.benchmark_group("agent");
    group.sample_size(20).throughput(Throughput::Elements((ENVIRONMENTS * ROLLOUT) as u64));
    for minibatches in [1, ENVIRONMENTS] {
        let mut ppo = training(&scenario, minibatches).unwrap();
        group.bench_function(format!("training, {minibatches} minibatches"), |bencher| {
            bencher.iter(|| black_box(ppo.iterate().unwrap()));
        });
        let mut products = Products::new(9, 37, minibatches);
        group.bench_function(format!("products, {minibatches} minibatches"), |bencher| {
            bencher.iter(|| products.run());
        });
    }
    group.throughput(Throughput::Elements(1));
    let policy = Neural::new("agent", agent(&scenario).unwrap(), &scenario, "initial").unwrap();
    let policy = Arc::new(policy);
    let traffic = scenario.traffic(0).unwrap();
    let start = policy.start(&Episode { scenario: &scenario, traffic: &traffic, seed: 0 }).unwrap();
    let controller = Controller::new(&scenario, policy, Arc::new(Persistence));
    let mut state = controller.start(start);
    let snapshot = snapshot_of(&scenario, &PaperRules::new(&scenario).unwrap().reset([34, 28, 16]));
    group.bench_function("decision", |bencher| {
        bencher.iter(|| black_box(controller.decide(&snapshot, None, &mut state).unwrap()));
    });
    group.finish();
}

criterion_group!(agents, benches);
criterion_main!(agents);
