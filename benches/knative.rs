//! The tick simulator: service-ticks a second under random traffic, and the paper's trace in one go.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quotascale::scenario::{Scenario, pods};
use quotascale::sim::{Model, Simulator, Start};
use quotascale::snapshot::Decision;

struct Case {
    model: Arc<Model>,
    simulator: Simulator,
    /// Decisions at each interval; none where the autoscaler is alone.
    decisions: Vec<(u32, Decision)>,
}

/// A scenario with the options of `fixed` throughout, or with pods for each stage decided before it.
fn case(name: &str, options: &[u32], decide: bool) -> Case {
    let scenario = Scenario::load(name, &[]).expect("a built-in scenario");
    let model = Arc::new(Model::new(&scenario).expect("a knative scenario"));
    let traffic = scenario.traffic(1).expect("built-in traffic");
    let start = if decide { Start::Controlled } else { Start::Fixed(options.to_vec()) };
    let simulator = Simulator::new(Arc::clone(&model), &traffic, 1, &start).expect("a simulator");
    let decisions = (0..model.duration_s / 120)
        .filter(|_| decide)
        .map(|stage| {
            let services = options
                .iter()
                .enumerate()
                .map(|(service, &option)| {
                    let profile = &model.services[service].profile;
                    let next = (stage as usize + 1).min(traffic.services[service].stages.len() - 1);
                    let users = traffic.services[service].stages[next].users;
                    let concurrency = profile.options[option as usize].concurrency;
                    Some(profile.decision(option, pods(users, concurrency, 0.7, 1)))
                })
                .collect();
            (stage * 120 + 115, Decision { services, reason: String::new() })
        })
        .collect();
    Case { model, simulator, decisions }
}

fn play(mut simulator: Simulator, case: &Case) -> Simulator {
    for (time, decision) in &case.decisions {
        simulator.advance(*time);
        simulator.apply(decision).expect("an option of the profile");
    }
    simulator.advance(case.model.duration_s);
    simulator
}

fn service_ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("knative service-ticks");
    for (name, options, decide) in [
        ("decisions", [21, 6, 7], true),
        ("fixed kpa-resource", [21, 6, 7], false),
        ("fixed kpa-latency", [16, 4, 4], false),
    ] {
        let case = case("knative-random", &options, decide);
        let ticks = u64::from(case.model.duration_s) * case.model.services.len() as u64;
        group.throughput(Throughput::Elements(ticks));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || case.simulator.clone(),
                |simulator| play(simulator, &case),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn paper_trace(criterion: &mut Criterion) {
    let scenario = Scenario::load("paper-knative", &[]).expect("a built-in scenario");
    let traffic = scenario.traffic(0).expect("built-in traffic");
    let case = case("paper-knative", &[21, 6, 7], true);
    criterion.bench_function("knative paper trace of 40 minutes, with its tables", |bencher| {
        bencher.iter(|| {
            let model = Arc::clone(&case.model);
            let simulator = Simulator::new(model, &traffic, black_box(0), &Start::Controlled);
            play(simulator.expect("a simulator"), &case).finish()
        });
    });
}

criterion_group!(benches, service_ticks, paper_trace);
criterion_main!(benches);
