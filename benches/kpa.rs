//! The autoscaler's hot path: one record a second, one decision every two.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quotascale::scenario::KpaConfig;
use quotascale::sim::kpa::Autoscaler;

fn autoscaler() -> Autoscaler {
    let config = KpaConfig::default().for_revision(10.0, 1, 1);
    let mut autoscaler = Autoscaler::new(&config, 0, 1, false);
    autoscaler.record_run(0, 120, 20.0);
    autoscaler
}

fn hot_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kpa");
    group.throughput(Throughput::Elements(1));
    group.bench_function("record", |bencher| {
        let (mut autoscaler, mut t_s) = (autoscaler(), 120);
        bencher.iter(|| {
            autoscaler.record(black_box(t_s), black_box(21.0));
            t_s += 1;
        });
    });
    group.bench_function("decide", |bencher| {
        let mut autoscaler = autoscaler();
        bencher.iter(|| autoscaler.decide(black_box(119), black_box(3)));
    });
    group.bench_function("second", |bencher| {
        let (mut autoscaler, mut t_s) = (autoscaler(), 120);
        bencher.iter(|| {
            autoscaler.record(black_box(t_s), black_box(21.0));
            if t_s % 2 == 0 {
                black_box(autoscaler.decide(t_s, black_box(3)));
            }
            t_s += 1;
        });
    });
    group.bench_function("record_run of 120 s", |bencher| {
        let (mut autoscaler, mut t_s) = (autoscaler(), 120);
        bencher.iter(|| {
            autoscaler.record_run(black_box(t_s), 120, black_box(21.0));
            t_s += 120;
        });
    });
    group.finish();
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
