//! Laws that hold on any scenario: conservation, limits, closed forms, repeatability.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use quotascale::Result;
use quotascale::env::knative::{EpisodeOptions, run_episode};
use quotascale::policy::{Episode, Policy, PolicyState, Schedule};
use quotascale::rng::{Rng, Streams};
use quotascale::run::{IntervalRow, Run};
use quotascale::scenario::Scenario;
use quotascale::scenario::spec::QuotaMode;
use quotascale::sim::{Census, Model, Simulator, Start};
use quotascale::snapshot::{Decision, ServiceDecision, Snapshot};
use quotascale::trace::{ServiceTrace, Stage, Trace};
use rand::RngExt;
use statrs::distribution::{ContinuousCDF, Normal};

/// Decisions at given instants.
struct Script(Vec<(u32, Decision)>);

impl Policy for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn schedule(&self) -> Schedule {
        Schedule::At(self.0.iter().map(|(time, _)| *time).collect())
    }

    fn start(&self, _episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::None)
    }

    fn decide(&self, seen: &Snapshot, _: &[f64], _: &mut PolicyState) -> Result<Decision> {
        Ok(self.0[seen.step as usize].1.clone())
    }
}

struct World {
    scenario: Scenario,
    traffic: Trace,
    decisions: Vec<(u32, Decision)>,
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

/// Everything at random, many values from the edge of what is allowed.
fn world(seed: u64, services: usize, decisions: usize) -> World {
    let rng = &mut Streams::new(seed).open("world");
    let duration_s = rng.random_range(100..500_u32);
    let mut text = format!(
        "name = \"random\"\nenvironment = \"knative\"\nduration_s = {duration_s}\ninterval_s = 60\noffset_s = 55\n\
         [quota]\ncpu_m = {}\nmemory_mib = {}\nmode = \"{}\"\nnode_cpu_m = {}\n\
         [sim]\npod_drain_s = {}\n\
         [operator]\nkind = \"{}\"\nrule = \"{}\"\ndelay_s = {}\ntermination_s = {}\n\
         [kpa]\nenabled = {}\nstable-window = \"{}s\"\nscale-down-delay = \"{}s\"\n\
         target-burst-capacity = {}\nmetric-aggregation-algorithm = \"{}\"\n",
        rng.random_range(4_000..60_000_u32),
        rng.random_range(2_000..40_000_u32),
        pick(rng, &["accounted", "enforced"]),
        pick(rng, &[0, 5_000, 20_000, 60_000]),
        pick(rng, &["0.0", "7.3", "30.0"]),
        pick(rng, &["ideal", "graceful", "published"]),
        pick(rng, &["any-change", "option-change"]),
        pick(rng, &["0.0", "2.0", "11.7"]),
        pick(rng, &["0.0", "2.0"]),
        pick(rng, &[true, true, false]),
        pick(rng, &[6, 20, 60]),
        pick(rng, &[0, 0, 5]),
        pick(rng, &[-1, 0, 211]),
        pick(rng, &["linear", "linear", "weighted-exponential"]),
    );
    let mut traces = Vec::new();
    let mut profiles = Vec::new();
    for service in 0..services {
        let mut options: Vec<(u64, u32)> = (0..rng.random_range(1..6))
            .map(|_| (pick(rng, &[500, 1000, 2000, 4000]), pick(rng, &[1_u32, 5, 10, 15, 20, 60])))
            .collect();
        options.sort_unstable();
        options.dedup();
        let _ = write!(
            text,
            "[[service]]\nname = \"s{service}\"\nslo_p95_ms = {}\ncold_start_mean_s = {}\n\
             cold_start_cv = {}\nmemory_mib = {}\n\
             initial = {{ option = {}, pods = {}, ready = {}, min_scale = {} }}\n\
             trace = {{ generator = \"random\", rows = 2, stage_s = 60 }}\noption = [\n",
            rng.random_range(100..3000_u32),
            pick(rng, &[0.1, 3.0, 25.0]),
            pick(rng, &["0", "0.3", "1.5"]),
            rng.random_range(0..2000_u32),
            rng.random_range(0..options.len()),
            rng.random_range(0..6_u32),
            pick(rng, &[true, false]),
            rng.random_range(0..3_u32),
        );
        for (cpu_m, concurrency) in &options {
            let p95_ms = rng.random_range(20..3000_u32);
            let _ = writeln!(
                text,
                "{{ cpu_m = {cpu_m}, concurrency = {concurrency}, p95_ms = {p95_ms} }},"
            );
        }
        text.push_str("]\n");
        profiles.push(options);
        let stages = (0..rng.random_range(1..6))
            .map(|_| {
                let users = f64::from(pick(rng, &[0, 1, 0, 30, 100]).max(rng.random_range(0..40)));
                let users = if rng.random_range(0..4) == 0 { 0.0 } else { users };
                let spawn_rate = pick(rng, &[0.3, 1.0, 7.0, 100.0]);
                Stage { duration_s: pick(rng, &[30, 60, 90, 120]), users, spawn_rate }
            })
            .collect();
        traces.push(ServiceTrace { service: format!("s{service}"), stages });
    }
    let mut times: Vec<u32> = (0..decisions).map(|_| rng.random_range(0..duration_s)).collect();
    // Close together as well, so that roll-outs are overtaken.
    for index in 1..times.len() {
        if rng.random_range(0..3) == 0 {
            times[index] = (times[index - 1] + rng.random_range(1..4)).min(duration_s - 1);
        }
    }
    times.sort_unstable();
    times.dedup();
    let decisions = times
        .into_iter()
        .map(|time| {
            let services = profiles
                .iter()
                .map(|options| {
                    let (cpu_m, concurrency) = options[rng.random_range(0..options.len())];
                    let concurrency = pick(rng, &[concurrency, concurrency, 7]);
                    let pods = rng.random_range(0..9);
                    (rng.random_range(0..3) > 0).then_some(ServiceDecision {
                        option: None,
                        cpu_m,
                        concurrency,
                        pods,
                    })
                })
                .collect();
            (time, Decision { services, reason: String::new() })
        })
        .collect();
    let scenario = Scenario::from_text("random.toml", &text, Path::new(""), &[]).unwrap();
    World { scenario, traffic: Trace { services: traces }, decisions }
}

fn play(world: &World, seed: u64, ticks: bool) -> Run {
    let model = Arc::new(Model::new(&world.scenario).unwrap());
    let policy: Arc<dyn Policy> = Arc::new(Script(world.decisions.clone()));
    let options = EpisodeOptions { ticks, ..EpisodeOptions::default() };
    run_episode(&world.scenario, &model, &world.traffic, &policy, seed, options).unwrap()
}

/// Plays tick by tick and checks the books after each.
fn check_every_tick(world: &World, seed: u64) {
    let model = Arc::new(Model::new(&world.scenario).unwrap());
    let mut simulator =
        Simulator::new(Arc::clone(&model), &world.traffic, seed, &Start::Controlled).unwrap();
    let mut decisions = world.decisions.iter().peekable();
    let mut snapshot = Snapshot::default();
    for now in 0..model.duration_s {
        if let Some((_, decision)) = decisions.next_if(|(time, _)| *time == now) {
            simulator.apply(decision).unwrap();
        }
        simulator.advance(now + 1);
        simulator.snapshot(0, &mut snapshot);
        let mut sum = Census::default();
        for (index, seen) in snapshot.services.iter().enumerate() {
            let census = simulator.census(index);
            let place = format!("service {index} after tick {now}: {census:?}");
            let held = [
                census.pending_pods,
                census.starting_pods,
                census.ready_pods,
                census.terminating_pods,
            ];
            let held: u64 = held.iter().map(|&pods| u64::from(pods)).sum();
            assert_eq!(census.created_pods, held + census.gone_pods, "{place}");
            let users = f64::from(census.in_flight) + census.waiting_users;
            assert!((users - f64::from(census.users)).abs() < 1e-9, "{place}");
            assert_eq!((seen.cpu_m, seen.memory_mib), (census.cpu_m, census.memory_mib), "{place}");
            assert_eq!(
                [seen.pending_pods, seen.starting_pods, seen.ready_pods, seen.terminating_pods],
                [
                    census.pending_pods,
                    census.starting_pods,
                    census.ready_pods,
                    census.terminating_pods
                ],
                "{place}"
            );
            sum.cpu_m += census.cpu_m;
            sum.memory_mib += census.memory_mib;
            sum.placed_cpu_m += census.placed_cpu_m;
        }
        assert_eq!(simulator.used(), (sum.cpu_m, sum.memory_mib), "after tick {now}");
        let quota = &model.quota;
        if quota.mode == QuotaMode::Enforced {
            let within = sum.cpu_m <= quota.cpu_m.0 && sum.memory_mib <= quota.memory_mib.0;
            assert!(within, "over the quota after tick {now}: {sum:?}");
        }
        let node_cpu_m = quota.node_cpu_m.0;
        assert!(node_cpu_m == 0 || sum.placed_cpu_m <= node_cpu_m, "after tick {now}: {sum:?}");
    }
}

/// N = X * R, as long as no request has had to wait for a pod: it is counted when it is answered, with
/// all its wait.
fn check_interactive_law(run: &Run, service: &str) {
    let rows: Vec<&IntervalRow> =
        run.intervals.iter().filter(|row| row.service == service).collect();
    let waiting = |row: &IntervalRow| row.waiting_user_seconds.unwrap() > 0.0;
    for (index, row) in rows.iter().enumerate() {
        let Some(mean_ms) = row.mean_ms else { continue };
        if rows[..=index].iter().any(|row| waiting(row)) {
            break;
        }
        let seconds = row.to_s - row.from_s;
        let users = row.throughput_rps.unwrap() * mean_ms / 1000.0;
        let expected = row.user_seconds.unwrap() / seconds;
        assert!((users - expected).abs() <= 0.01 * expected, "{users} {row:?}");
    }
}

/// Rewards of the stages, from the intervals table alone (rule 30).
fn check_rewards(world: &World, run: &Run) {
    let quota = world.scenario.spec.quota.cpu_m.cores();
    let reward = &world.scenario.spec.reward;
    for decision in &run.decisions {
        let Some(given) = decision.reward else { continue };
        let row = run
            .intervals
            .iter()
            .find(|row| row.service == "all" && row.from_s >= decision.t_s)
            .expect("a rewarded decision is followed by an interval");
        let whole = quota * (row.to_s - row.from_s);
        let outage = f64::from(u8::from(row.user_seconds.unwrap() > 0.0));
        let expected = -(reward.w_slo * row.share_over_slo.unwrap_or(outage)
            + reward.w_over * row.over_quota_cpu_seconds.unwrap() / whole
            + reward.w_use * row.cpu_seconds / whole);
        assert!((given - expected).abs() < 1e-9, "{given} {expected} {decision:?}");
    }
    let sum = |service: &str| -> f64 {
        run.intervals.iter().filter(|row| row.service == service).map(|row| row.cpu_seconds).sum()
    };
    let services: f64 = world.scenario.service_names().into_iter().map(sum).sum();
    assert!((services - sum("all")).abs() < 1e-6 * services.max(1.0));
    assert!((run.summary.cpu_seconds - sum("all")).abs() < 1e-6 * services.max(1.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_books_balance_on_any_scenario(
        seed in any::<u64>(),
        services in 1_usize..=12,
        decisions in 0_usize..14,
    ) {
        let world = world(seed, services, decisions);
        check_every_tick(&world, seed);
        let run = play(&world, seed, false);
        let mut recorded = play(&world, seed, true);
        // Recording switches the skipping of idle ticks off.
        prop_assert_eq!(recorded.ticks.len(), (services + 1) * world.scenario.spec.duration_s.unwrap() as usize);
        recorded.ticks.clear();
        prop_assert_eq!(&run, &recorded);
        prop_assert_eq!(&run, &play(&world, seed, false));
        for service in world.scenario.service_names() {
            check_interactive_law(&run, service);
        }
        check_rewards(&world, &run);
    }

    #[test]
    fn a_constant_load_meets_the_closed_form(
        points in prop::collection::btree_map(1_u32..60, 20.0_f64..3000.0, 1..4),
        users in 1_u32..200,
        pods in 1_u32..12,
        ratio in 1.05_f64..3.8,
    ) {
        let mut text = format!(
            "name = \"constant\"\nenvironment = \"knative\"\nduration_s = 300\n[quota]\ncpu_m = 100000\n\
             [sim]\np95_mean_ratio = {ratio}\n[kpa]\nenabled = false\n[[service]]\nname = \"s\"\nslo_p95_ms = 500\n\
             initial = {{ option = 0, pods = {pods} }}\n\
             trace = {{ generator = \"random\", rows = 2, stage_s = 60 }}\noption = [\n"
        );
        for (concurrency, p95_ms) in &points {
            let _ = writeln!(text, "{{ cpu_m = 1000, concurrency = {concurrency}, p95_ms = {p95_ms} }},");
        }
        text.push_str("]\n");
        let scenario = Scenario::from_text("constant.toml", &text, Path::new(""), &[]).unwrap();
        let stage = Stage { duration_s: 300, users: f64::from(users), spawn_rate: f64::from(users) };
        let traffic = Trace { services: vec![ServiceTrace { service: "s".to_owned(), stages: vec![stage] }] };
        let run = play(&World { scenario, traffic, decisions: Vec::new() }, 0, false);
        let row = &run.intervals[0];

        let points: Vec<(f64, f64)> = points.iter().map(|(&k, &p95)| (f64::from(k), p95)).collect();
        let shape = {
            let z = 1.644_853_626_951;
            z - (z * z - 2.0 * f64::ln(ratio)).sqrt()
        };
        let mut parts = Vec::new();
        for pod in 0..pods {
            let load = users / pods + u32::from(pod < users % pods);
            if load > 0 {
                let p95_ms = p95_of(&points, f64::from(load));
                parts.push((f64::from(load) * 1000.0 * ratio / p95_ms, p95_ms));
            }
        }
        let rate: f64 = parts.iter().map(|part| part.0).sum();
        prop_assert!((row.throughput_rps.unwrap() - rate).abs() < 1e-9 * rate);
        let normal = Normal::standard();
        let over = |bound_ms: f64| -> f64 {
            let tail = |p95: f64| normal.sf((bound_ms / p95).ln() / shape + 1.644_853_626_951);
            parts.iter().map(|&(weight, p95)| weight * tail(p95)).sum::<f64>() / rate
        };
        prop_assert!((over(row.p95_ms.unwrap()) - 0.05).abs() < 1e-8);
        prop_assert!((row.share_over_slo.unwrap() - over(500.0)).abs() < 1e-8);
    }
}

/// Rule 12.
fn p95_of(points: &[(f64, f64)], load: f64) -> f64 {
    let (first, last) = (points[0], points[points.len() - 1]);
    if load <= first.0 {
        return first.1 * load / first.0;
    }
    if load >= last.0 {
        let slope = match points {
            [.., before, _] => (last.1 - before.1) / (last.0 - before.0),
            _ => 0.0,
        };
        return (last.1 + slope * (load - last.0)).max(last.1 * load / last.0);
    }
    let pair = points.windows(2).find(|pair| load <= pair[1].0).unwrap();
    pair[0].1 + (pair[1].1 - pair[0].1) * (load - pair[0].0) / (pair[1].0 - pair[0].0)
}
