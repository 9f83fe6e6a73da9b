//! The numbered rules of the tick simulator (docs/model.md), each with numbers worked out by hand.

use std::sync::Arc;

use quotascale::policy::Fixed;
use quotascale::scenario::pods;
use quotascale::sim::{Model, Simulator, Start, p95_ms, shape};
use quotascale::snapshot::{Decision, ServiceDecision, Snapshot};

use crate::sim_world::{Look, close, replay, run, scenario, steady, traffic};

macro_rules! assert_close {
    ($actual:expr, $expected:expr) => {
        let (actual, expected) = ($actual, $expected);
        assert!(close(actual, expected), "{actual} is not {expected}");
    };
}

fn simulator(sets: &[&str], users: u32) -> Simulator {
    let model = Arc::new(Model::new(&scenario(&["a"], 600, sets)).unwrap());
    Simulator::new(model, &steady(600, &[users]), 0, &Start::Controlled).unwrap()
}

fn snapshot(simulator: &Simulator) -> Snapshot {
    let mut snapshot = Snapshot::default();
    simulator.snapshot(0, &mut snapshot);
    snapshot
}

fn decision(cpu_m: u64, concurrency: u32, pods: u32) -> Decision {
    let service = ServiceDecision { option: None, cpu_m, concurrency, pods };
    Decision { services: vec![Some(service)], reason: String::new() }
}

#[test]
fn rule_01_what_a_decision_at_t_makes_begins_at_t() {
    let run = replay(&scenario(&["a"], 60, &[]), &steady(60, &[10]), &["10,a,2000,10,3"]);
    assert_eq!(run.tick("a", 9).starting_pods, 0);
    assert_eq!(run.tick("a", 10).starting_pods, 3);
    assert_eq!(run.revision("a", 2).created_s, 10.0);
    assert_eq!(run.decisions[0].users_seen, 10.0);
}

#[test]
fn rule_01_a_decision_at_0_finds_the_initial_pods_and_no_users() {
    let mut simulator = simulator(&[], 10);
    let seen = snapshot(&simulator).services[0];
    assert_eq!((seen.users, seen.p95_ms, seen.cpu_m, seen.ready_pods), (0.0, None, 2000, 2));
    simulator.apply(&decision(2000, 10, 1)).unwrap();
    simulator.advance(60);
    let run = simulator.finish();
    let rows: Vec<_> =
        run.revisions.iter().map(|row| (row.created_s, row.ready_s, row.gone_s)).collect();
    assert_eq!(rows, [(0.0, Some(0.0), Some(7.3)), (0.0, Some(3.3), None)]);
    assert_eq!(run.cold_starts, 0, "created at t = 0, not after");
}

#[test]
fn rule_02_a_pod_serves_from_the_nearest_tick_and_integrals_are_exact() {
    let users = steady(60, &[10]);
    let small = ["quota.cpu_m=5000", "quota.memory_mib=300"];
    let run = replay(&scenario(&["a"], 60, &small), &users, &["10,a,2000,10,2"]);
    // Ready at 13.3, deleted 2 s later, gone after 2 s more.
    assert_eq!((run.tick("a", 12).ready_pods, run.tick("a", 13).ready_pods), (2, 4));
    let (old, new) = (run.revision("a", 1), run.revision("a", 2));
    assert_eq!(new.ready_s, Some(13.3));
    assert_close!(old.deleted_s.unwrap(), 15.3);
    assert_close!(old.gone_s.unwrap(), 17.3);
    let service = run.interval("a", 0);
    assert_close!(service.ready_pod_seconds.unwrap(), 2.0 * 15.3 + 2.0 * (60.0 - 13.3));
    assert_close!(service.cpu_seconds, 2.0 * 17.3 + 4.0 * 50.0);
    let all = run.interval("all", 0);
    assert_close!(all.over_quota_cpu_seconds.unwrap(), 7.3);
    assert_close!(all.over_quota_memory_mib_seconds.unwrap(), 100.0 * 7.3);
    assert_close!(all.memory_mib_seconds.unwrap(), 200.0 * (17.3 + 50.0));
    let later = ["service.a.cold_start_mean_s=3.6"];
    let run = replay(&scenario(&["a"], 60, &later), &users, &["10,a,2000,10,2"]);
    assert_eq!((run.tick("a", 13).ready_pods, run.tick("a", 14).ready_pods), (2, 4));
    assert_eq!(run.revision("a", 2).ready_s, Some(13.6));
    // An exact half is the earlier tick; without rounding a pod serves once it is ready.
    let half = ["service.a.cold_start_mean_s=3.5"];
    let run = replay(&scenario(&["a"], 60, &half), &users, &["10,a,2000,10,2"]);
    assert_eq!(run.tick("a", 13).ready_pods, 4);
    let strict = ["sim.ready_rounding_s=0"];
    let run = replay(&scenario(&["a"], 60, &strict), &users, &["10,a,2000,10,2"]);
    assert_eq!((run.tick("a", 13).ready_pods, run.tick("a", 14).ready_pods), (2, 4));
}

#[test]
fn rule_03_autoscalers_decide_every_2_s_from_their_creation() {
    for (at, first) in [(11, 15), (10, 14)] {
        let sets = ["kpa.enabled=true", "service.a.cold_start_mean_s=3"];
        let rows = [format!("{at},a,2000,10,1")];
        let run = replay(&scenario(&["a"], 60, &sets), &steady(60, &[14]), &[rows[0].as_str()]);
        // It serves from `at` + 3 on and is told so at `at` + 4: 14 users at 7 a pod want two.
        let created: Vec<u32> = (at..60)
            .filter(|&t| run.tick("a", t).starting_pods > run.tick("a", t - 1).starting_pods)
            .collect();
        assert_eq!(created, [at, first], "{at}");
    }
}

#[test]
fn rule_04_the_initial_pods_are_ready_at_0_and_their_autoscaler_does_not_panic() {
    let sets = ["kpa.enabled=true", "service.a.initial.pods=8"];
    let run = replay(&scenario(&["a"], 20, &sets), &steady(20, &[0]), &[]);
    // Half of the ready pods go at each decision, down to min-scale; in panic all would stay.
    let ready: Vec<u32> = (0..9).map(|t| run.tick("a", t).ready_pods).collect();
    assert_eq!(ready, [8, 8, 4, 4, 2, 2, 1, 1, 1]);
    let cold = ["service.a.initial.ready=false"];
    let run = replay(&scenario(&["a"], 20, &cold), &steady(20, &[4]), &[]);
    assert_eq!((run.tick("a", 2).ready_pods, run.tick("a", 3).ready_pods), (0, 2));
    assert_eq!(run.revision("a", 1).ready_s, Some(3.3));
    assert_close!(run.interval("a", 0).ready_pod_seconds.unwrap(), 2.0 * (20.0 - 3.3));
}

#[test]
fn rule_06_the_target_concurrency_does_not_limit_a_pod() {
    let run = replay(&scenario(&["a"], 10, &[]), &steady(10, &[100]), &[]);
    let tick = run.tick("a", 5);
    assert_eq!((tick.in_flight, tick.waiting_users), (100, 0));
    assert_close!(tick.throughput_rps, 40.0);
}

#[test]
fn rule_07_integer_loads_give_rates_and_a_weighted_mixture() {
    let sets = [
        "service.a.option.0.concurrency=2",
        "service.a.option.0.p95_ms=100",
        "service.a.option.1.cpu_m=1000",
        "service.a.option.1.concurrency=3",
        "service.a.option.1.p95_ms=300",
    ];
    let scenario = scenario(&["a"], 10, &sets);
    // 5 users on 2 pods: 3 and 2 requests, means 187.5 and 62.5 ms.
    let run = replay(&scenario, &steady(10, &[5]), &[]);
    let row = run.interval("a", 0);
    assert_close!(row.throughput_rps.unwrap(), 16.0 + 32.0);
    assert_close!(row.mean_ms.unwrap(), (16.0 * 187.5 + 32.0 * 62.5) / 48.0);
    let shape = shape(1.6);
    let component = |weight, p95: f64| quotascale::sim::Component {
        weight,
        mu: p95.ln() - 1.644_853_626_951 * shape,
        shift_ms: 0.0,
    };
    let expected = p95_ms(&[component(1.0, 300.0), component(2.0, 100.0)], shape).unwrap();
    assert!((row.p95_ms.unwrap() - expected).abs() < 1e-6);
    // One user works one pod, at the latency of one request.
    let run = replay(&scenario, &steady(10, &[1]), &[]);
    assert_close!(run.interval("a", 0).throughput_rps.unwrap(), 32.0);
}

#[test]
fn rule_08_waiting_users_are_answered_first_and_oldest_first() {
    let sets = [
        "service.a.initial.ready=false",
        "service.a.cold_start_mean_s=3",
        "report.boundaries_s=[0, 3, 4, 10]",
    ];
    // 2, 4, 6 users in the first ticks: they wait 3, 2 and 1 s.
    let run = replay(&scenario(&["a"], 10, &sets), &traffic(&[&[(10, 6.0, 2.0)]]), &[]);
    let (outage, first, rest) = (run.interval("a", 0), run.interval("a", 3), run.interval("a", 4));
    assert_eq!((outage.waiting_user_seconds, first.waiting_user_seconds), (Some(12.0), Some(0.0)));
    // 40 requests a second at 3 on a pod: mean 150 ms, p95 240 ms; 6 of the first 40 have waited.
    assert_close!(first.throughput_rps.unwrap(), 40.0);
    assert_close!(first.mean_ms.unwrap(), 150.0 + 12_000.0 / 40.0);
    assert!((first.share_over_slo.unwrap() - 6.0 / 40.0).abs() < 1e-4);
    // The slowest two of the 40 are those that waited 3 s: the p95 is where their distribution begins.
    let p95 = first.p95_ms.unwrap();
    assert!((3000.0..3100.0).contains(&p95), "{p95}");
    assert_close!(rest.p95_ms.unwrap(), 240.0);
    assert_close!(rest.mean_ms.unwrap(), 150.0);
}

#[test]
fn rule_08_users_who_leave_the_queue_are_its_youngest() {
    let sets = [
        "service.a.initial.ready=false",
        "service.a.cold_start_mean_s=5",
        "report.boundaries_s=[0, 5, 6]",
    ];
    // 4 users at 0, 6 more at 2; 7 leave at 4: three of the first four are left, and wait 5 s.
    let trace = traffic(&[&[(2, 4.0, 10.0), (2, 10.0, 10.0), (6, 3.0, 10.0)]]);
    let run = replay(&scenario(&["a"], 10, &sets), &trace, &[]);
    let first = run.interval("a", 5);
    // 3 users on 2 pods: loads 2 and 1, 20 a second each, mean 75 ms.
    assert_close!(first.mean_ms.unwrap(), 75.0 + 3.0 * 5000.0 / 40.0);
}

#[test]
fn rule_09_without_a_completion_there_is_no_p95_and_no_share() {
    let sets = ["service.a.initial.ready=false", "service.a.cold_start_mean_s=500"];
    let run = replay(&scenario(&["a"], 60, &sets), &steady(60, &[5]), &[]);
    for service in ["a", "all"] {
        let row = run.interval(service, 0);
        assert_eq!((row.p95_ms, row.share_over_slo, row.mean_ms), (None, None, None));
        assert_eq!((row.throughput_rps, row.waiting_user_seconds), (Some(0.0), Some(300.0)));
    }
    assert_eq!(run.tick("a", 30).p95_ms, None);
    assert_eq!(run.summary.p95_ms.unwrap()["a"], None);
    assert_eq!(run.summary.slo_violation_share, Some(1.0));
}

#[test]
fn rule_10_all_users_move_at_the_switch_and_forced_pods_put_requests_at_risk() {
    let trace = steady(60, &[12]);
    let at_once = ["operator.delay_s=0"];
    let run = replay(&scenario(&["a"], 60, &at_once), &trace, &["10,a,2000,10,3"]);
    assert_close!(run.tick("a", 12).throughput_rps, 40.0);
    assert_close!(run.tick("a", 13).throughput_rps, 120.0);
    assert_eq!(run.tick("a", 13).revision, Some(2));
    assert_eq!(run.revision("a", 1).deleted_s, Some(13.3));
    // Whatever was in flight is cut off.
    assert_close!(run.summary.requests_at_risk.unwrap(), 12.0);
    let graceful = ["operator.delay_s=0", "operator.kind=graceful"];
    let run = replay(&scenario(&["a"], 60, &graceful), &trace, &["10,a,2000,10,3"]);
    assert_eq!(run.summary.requests_at_risk, Some(0.0));
    // A second later hardly one of these: p95 of 6 on a pod is 480 ms.
    let late = ["operator.delay_s=1"];
    let run = replay(&scenario(&["a"], 60, &late), &trace, &["10,a,2000,10,3"]);
    let at_risk = run.summary.requests_at_risk.unwrap();
    assert!(at_risk > 0.0 && at_risk < 0.01, "{at_risk}");
}

#[test]
fn rule_15_a_starting_pod_that_is_deleted_terminates_and_holds_quota() {
    let run = replay(
        &scenario(&["a"], 60, &[]),
        &steady(60, &[4]),
        &["10,a,2000,10,2", "11,a,2000,20,1"],
    );
    let tick = run.tick("a", 11);
    assert_eq!((tick.ready_pods, tick.starting_pods, tick.terminating_pods), (2, 1, 2));
    assert_eq!(tick.cpu_m, 2000 + 4000 + 2000);
    let row = run.revision("a", 2);
    assert_eq!((row.ready_s, row.deleted_s, row.gone_s), (None, Some(11.0), Some(41.0)));
    assert_eq!(row.outcome, "superseded");
    assert_eq!(run.summary.cold_starts, Some(3));
}

#[test]
fn rule_16_each_pod_has_its_own_cold_start_and_the_slowest_initial_one_counts() {
    let sets = [
        "service.a.initial.pods=400",
        "service.a.initial.ready=false",
        "service.a.cold_start_mean_s=10",
        "service.a.cold_start_cv=0.5",
        "quota.node_cpu_m=0",
    ];
    let run = replay(&scenario(&["a"], 100, &sets), &steady(100, &[4]), &[]);
    let mean = 100.0 - run.interval("a", 0).ready_pod_seconds.unwrap() / 400.0;
    assert!((mean - 10.0).abs() < 4.0 * 5.0 / 20.0, "{mean}");
    // exp(mu + 0.4724 * 3) with mu = ln 10 - 0.2231 / 2: the largest of 400 lies near three sigma.
    let slowest = run.revision("a", 1).ready_s.unwrap();
    assert!((20.0..90.0).contains(&slowest), "{slowest}");
    let ready: Vec<u32> = (0..100).map(|t| run.tick("a", t).ready_pods).collect();
    assert!(
        ready[5] > 0 && ready[5] < ready[10] && ready[10] < 400,
        "each serves when it is ready"
    );
    assert_eq!(ready[99], 400);
}

/// Pods by state in a tick: denied, pending, starting, ready, terminating.
fn states(run: &quotascale::run::Run, t_s: u32) -> [u32; 5] {
    let tick = run.tick("a", t_s);
    [
        tick.denied_pods,
        tick.pending_pods,
        tick.starting_pods,
        tick.ready_pods,
        tick.terminating_pods,
    ]
}

#[test]
fn rule_17_denied_go_first_then_pending_then_starting_then_ready() {
    let rows = ["10,a,1000,10,5", "11,a,1000,10,3", "12,a,1000,10,2", "13,a,1000,10,1"];
    let common = ["operator.rule=option-change", "service.a.cold_start_mean_s=40"];
    let denied = [&common[..], &["quota.cpu_m=3000", "quota.mode=enforced"]].concat();
    let run = replay(&scenario(&["a"], 60, &denied), &steady(60, &[4]), &rows);
    assert_eq!(states(&run, 10), [2, 0, 1, 2, 0]);
    assert_eq!(states(&run, 11), [0, 0, 1, 2, 0]);
    assert_eq!(states(&run, 12), [0, 0, 0, 2, 1]);
    assert_eq!(states(&run, 13), [0, 0, 0, 1, 2]);
    assert_eq!(run.summary.denied_pod_seconds, Some(2.0));
    let pending = [&common[..], &["quota.node_cpu_m=3000"]].concat();
    let run = replay(&scenario(&["a"], 60, &pending), &steady(60, &[4]), &rows);
    assert_eq!(states(&run, 10), [0, 2, 1, 2, 0]);
    assert_eq!(states(&run, 11), [0, 0, 1, 2, 0]);
    assert_eq!(states(&run, 12), [0, 0, 0, 2, 1]);
}

#[test]
fn rule_18_a_request_that_does_not_fit_blocks_no_other_and_the_deadlock_is_reported() {
    let sets = [
        "quota.cpu_m=5500",
        "quota.mode=enforced",
        "service.b.initial.pods=1",
        "service.a.cold_start_mean_s=3",
        "service.b.cold_start_mean_s=3",
    ];
    // 3000 in use. Of the two new pods of a one fits; the other would make 7000.
    let run = replay(
        &scenario(&["a", "b"], 60, &sets),
        &steady(60, &[4, 4]),
        &["10,a,2000,10,2", "11,b,1000,20,1"],
    );
    assert_eq!((run.tick("a", 10).denied_pods, run.tick("a", 10).starting_pods), (1, 1));
    // b's pod of 1000 does not fit either.
    assert_eq!(run.tick("b", 11).denied_pods, 1);
    assert_eq!(run.revision("a", 2).outcome, "waiting-for-quota");
    assert_eq!(run.summary.denied_pod_seconds, Some(50.0 + 49.0));
    assert_eq!(run.summary.over_quota_cpu_seconds, 0.0);
    assert_eq!(run.summary.warnings.len(), 2);
    let warning = &run.summary.warnings[0];
    for part in ["a: revision 2", "1 of 2 pods denied", "a revision 1 2 x 1000m", "b revision 1 1"]
    {
        assert!(warning.contains(part), "{warning}");
    }
    // With 6000 it fits, though a's older request still waits.
    let more = [&sets[1..], &["quota.cpu_m=6000"]].concat();
    let run = replay(
        &scenario(&["a", "b"], 60, &more),
        &steady(60, &[4, 4]),
        &["10,a,2000,10,2", "11,b,1000,20,1"],
    );
    assert_eq!((run.tick("b", 11).denied_pods, run.tick("b", 11).starting_pods), (0, 1));
    assert_eq!(run.revision("b", 2).ready_s, Some(14.0));
    assert_eq!(run.revision("a", 2).ready_s, None);
}

#[test]
fn rule_19_a_pod_without_a_node_is_created_and_its_cold_start_waits_for_room() {
    let sets = [
        "quota.node_cpu_m=4000",
        "service.b.initial.pods=1",
        "service.a.cold_start_mean_s=3",
        "service.b.cold_start_mean_s=3",
    ];
    let run = replay(
        &scenario(&["a", "b"], 60, &sets),
        &steady(60, &[4, 4]),
        &["10,b,1000,20,1", "11,a,1000,20,1"],
    );
    // b's old pod is gone at 17: that is the room for a's new one.
    assert_eq!(run.revision("b", 1).gone_s, Some(17.0));
    assert_eq!((run.tick("a", 11).pending_pods, run.tick("a", 16).pending_pods), (1, 1));
    assert_eq!((run.tick("a", 17).pending_pods, run.tick("a", 17).starting_pods), (0, 1));
    assert_eq!(run.tick("a", 11).cpu_m, 3000);
    assert_eq!(run.revision("a", 2).ready_s, Some(20.0));
    assert_close!(run.interval("a", 0).cpu_seconds, 2.0 * 24.0 + 49.0);
}

#[test]
fn rule_19_initial_pods_without_a_node_start_cold_when_there_is_room() {
    let sets = ["quota.node_cpu_m=2000", "service.a.initial.pods=1", "service.b.initial.pods=2"];
    let run = replay(
        &scenario(&["a", "b"], 60, &sets),
        &steady(60, &[4, 4]),
        &["10,a,1000,10,0", "20,b,1000,10,2"],
    );
    assert_eq!((run.tick("b", 0).ready_pods, run.tick("b", 0).pending_pods), (1, 1));
    // a's only pod is deleted at 12 and gone at 14.
    assert_eq!((run.tick("b", 14).starting_pods, run.tick("b", 14).ready_pods), (1, 1));
    assert_eq!(run.tick("b", 17).ready_pods, 2);
}

#[test]
fn rule_20_a_decision_is_compared_with_the_newest_revision() {
    let run = replay(
        &scenario(&["a"], 60, &[]),
        &steady(60, &[4]),
        &["10,a,2000,10,1", "11,a,2000,10,1", "12,a,1000,10,2", "40,a,1000,10,3", "50,a,1000,10,3"],
    );
    let created: Vec<f64> = run.revisions.iter().map(|row| row.created_s).collect();
    // The repetition makes none, the return to the serving option a third, a change of pods a fourth.
    assert_eq!(created, [0.0, 10.0, 12.0, 40.0]);
    assert_eq!(run.revision("a", 2).outcome, "superseded");
    assert_eq!(run.revision("a", 3).ready_s, Some(15.3));
}

#[test]
fn rule_21_option_change_sets_min_scale_in_place_for_the_next_decision_of_the_autoscaler() {
    let sets = ["operator.rule=option-change", "kpa.enabled=true"];
    let run = replay(&scenario(&["a"], 60, &sets), &steady(60, &[4]), &["11,a,1000,10,6"]);
    assert_eq!((run.tick("a", 11).starting_pods, run.tick("a", 12).starting_pods), (0, 5));
    assert_eq!((run.revisions_of("a"), run.tick("a", 30).ready_pods), (1, 6));
    let off = ["operator.rule=option-change"];
    let run = replay(
        &scenario(&["a"], 60, &off),
        &steady(60, &[4]),
        &["11,a,1000,10,6", "12,a,2000,10,3", "13,a,2000,10,1"],
    );
    // Without the autoscaler at once; a roll-out in progress goes on with the pods that are left.
    assert_eq!((run.tick("a", 11).starting_pods, run.tick("a", 12).starting_pods), (4, 7));
    assert_eq!((run.revisions_of("a"), run.revision("a", 2).ready_s), (2, Some(15.3)));
    assert_eq!(run.tick("a", 59).ready_pods, 1);
    // The pod that is taken away was the last one to wait for: what is left is ready then.
    let node = [&off[..], &["quota.node_cpu_m=4000"]].concat();
    let run = replay(
        &scenario(&["a"], 60, &node),
        &steady(60, &[0]),
        &["10,a,2000,10,2", "20,a,2000,10,1"],
    );
    assert_eq!((run.tick("a", 19).pending_pods, run.revision("a", 2).ready_s), (1, Some(20.0)));
}

#[test]
fn rule_22_superseding_is_immediate_and_an_older_deletion_keeps_its_date() {
    let sets = ["service.a.cold_start_mean_s=3", "quota.mode=enforced", "quota.cpu_m=8000"];
    let run = replay(
        &scenario(&["a"], 60, &sets),
        &steady(60, &[4]),
        &["10,a,2000,10,1", "14,a,2000,20,4", "15,a,1000,20,1"],
    );
    assert_eq!(run.revision("a", 1).deleted_s, Some(15.0));
    assert_eq!(run.revision("a", 1).gone_s, Some(17.0));
    // 4000 in use at 14: two of the four fit. A second later those terminate and the others vanish.
    assert_eq!(states(&run, 14), [2, 0, 2, 3, 0]);
    assert_eq!(states(&run, 15), [1, 0, 0, 1, 4]);
    assert_eq!(run.revision("a", 3).deleted_s, Some(15.0));
    assert_eq!(run.revision("a", 3).gone_s, Some(45.0));
    // The first revision's pods are gone at 17, which makes room for the fourth's.
    assert_eq!(states(&run, 17), [0, 0, 1, 1, 2]);
    assert_eq!(run.revision("a", 4).ready_s, Some(20.0));
}

#[test]
fn rule_23_graceful_pods_drain() {
    let sets = ["operator.kind=graceful"];
    let run = replay(&scenario(&["a"], 60, &sets), &steady(60, &[4]), &["10,a,2000,10,1"]);
    assert_close!(run.revision("a", 1).deleted_s.unwrap(), 15.3);
    assert_close!(run.revision("a", 1).gone_s.unwrap(), 45.3);
}

#[test]
fn rule_23_published_handles_services_in_turn_and_lets_decisions_wait() {
    let sets = ["operator.kind=published", "service.c.cold_start_mean_s=9"];
    let run = replay(
        &scenario(&["a", "b", "c"], 120, &sets),
        &steady(120, &[4, 4, 4]),
        &[
            "10,a,2000,10,1",
            "10,b,2000,10,1",
            "10,c,2000,10,1",
            "12,a,2000,20,1",
            "13,b,2000,20,1",
            "15,a,1000,20,1",
        ],
    );
    // a and b are ready at 13.3, seen at 14, handled at 17 and 20; c is ready at 19, seen at 21, handled at 24.
    let deleted = |service: &str| run.revision(service, 1).deleted_s.unwrap();
    assert_eq!([deleted("a"), deleted("b"), deleted("c")], [17.0, 20.0, 24.0]);
    assert_eq!(run.revision("a", 1).gone_s, Some(19.0));
    // Only the latest waiting decision of a service counts, taken up at 24.
    let second =
        |service: &str| (run.revision(service, 3).created_s, run.revision(service, 3).cpu_m);
    assert_eq!([second("a"), second("b")], [(24.0, 1000), (24.0, 2000)]);
    assert_eq!(run.revisions_of("a"), 3);
    // Traffic had moved at readiness.
    assert_eq!((run.tick("a", 12).revision, run.tick("a", 13).revision), (Some(1), Some(2)));
    assert_eq!(run.revision("a", 3).deleted_s, None);
}

#[test]
fn rule_23_published_waits_without_limit() {
    let sets = ["operator.kind=published", "quota.mode=enforced", "quota.cpu_m=3500"];
    let run = replay(
        &scenario(&["a"], 900, &sets),
        &steady(900, &[4]),
        &["10,a,2000,10,1", "200,a,1000,20,1"],
    );
    assert_eq!(run.revisions_of("a"), 2);
    assert_eq!(run.revision("a", 2).outcome, "waiting-for-quota");
    // A revision without pods has nothing that could be seen ready, until its autoscaler makes one.
    for (kpa, revisions) in [("kpa.enabled=false", 2), ("kpa.enabled=true", 3)] {
        let sets = ["operator.kind=published", kpa];
        let run = replay(
            &scenario(&["a"], 90, &sets),
            &steady(90, &[4]),
            &["10,a,2000,10,0", "40,a,1000,20,1"],
        );
        assert_eq!(run.revisions_of("a"), revisions, "{kpa}");
    }
}

#[test]
fn rule_23_after_the_switch_the_old_autoscaler_stops_and_scaled_down_pods_drain() {
    let sets = ["kpa.enabled=true", "service.a.initial.pods=8", "operator.delay_s=20"];
    let run = replay(&scenario(&["a"], 60, &sets), &steady(60, &[0]), &["1,a,2000,10,1"]);
    // 8 pods until 2, 4 until 4; the switch in tick 4 keeps what the decision at 4 left.
    assert_eq!(states(&run, 2), [0, 0, 1, 4, 4]);
    assert_eq!(states(&run, 10), [0, 0, 0, 3, 6]);
    // The last two were forced at 24.3; the others drain until 32 and 34.
    assert_eq!(states(&run, 31), [0, 0, 0, 1, 6]);
    assert_eq!(run.revision("a", 1).gone_s, Some(34.0));
}

#[test]
fn rule_24_without_a_controller_min_scale_is_1_and_with_one_it_is_the_decision() {
    let scenario = scenario(&["a"], 120, &["kpa.enabled=true", "service.a.initial.pods=6"]);
    let fixed = Fixed::new("fixed", vec![1], &scenario.profiles, scenario.pod_rule());
    let alone = run(&scenario, &steady(120, &[0]), Arc::new(fixed), true);
    assert_eq!((alone.tick("a", 60).ready_pods, alone.tick("a", 60).cpu_m), (1, 2000));
    let run =
        replay(&scenario, &traffic(&[&[(60, 0.0, 1.0), (60, 70.0, 70.0)]]), &["10,a,1000,10,6"]);
    assert_eq!(run.tick("a", 59).ready_pods, 6);
    // 70 users at 7 a pod: the autoscaler adds four.
    assert_eq!(run.tick("a", 119).ready_pods, 10);
}

#[test]
fn rule_25_a_request_at_zero_pods_wakes_the_autoscaler_in_the_same_second() {
    let sets = ["kpa.enabled=true", "service.a.initial.min_scale=0", "service.a.initial.pods=1"];
    let run = replay(
        &scenario(&["a"], 240, &sets),
        &traffic(&[&[(120, 0.0, 1.0), (120, 5.0, 5.0)]]),
        &[],
    );
    assert_eq!(run.tick("a", 119).ready_pods, 0);
    assert_eq!(run.tick("a", 120).waiting_users, 5);
    // Told of at 121, which is no tick of this autoscaler.
    assert_eq!((run.tick("a", 120).starting_pods, run.tick("a", 121).starting_pods), (0, 1));
    assert_eq!(run.tick("a", 124).in_flight, 5);
}

#[test]
fn rule_25_a_revision_without_pods_scales_on_the_users_who_wait() {
    let sets = ["kpa.enabled=true"];
    let run = replay(&scenario(&["a"], 60, &sets), &steady(60, &[14]), &["10,a,1000,10,0"]);
    // Nothing has to be ready: traffic moves at once, waits, and the first decision wants two pods.
    assert_eq!(run.revision("a", 2).ready_s, Some(10.0));
    assert_eq!((run.tick("a", 10).waiting_users, run.tick("a", 12).starting_pods), (14, 2));
    assert_eq!(run.tick("a", 15).in_flight, 14);
}

#[test]
fn rule_26_pods_are_counted_in_the_original_order() {
    assert_eq!([pods(49.0, 10, 0.7, 1), pods(0.0, 10, 0.7, 1), pods(0.0, 10, 0.7, 0)], [8, 1, 0]);
    assert_eq!(pods(34.5, 60, 0.7, 1), 1);
}

#[test]
fn rule_28_a_controller_sees_the_last_ten_seconds_and_both_revisions() {
    let mut simulator = simulator(&[], 10);
    simulator.advance(30);
    // 5 requests on each pod.
    assert_close!(snapshot(&simulator).services[0].p95_ms.unwrap(), 400.0);
    simulator.apply(&decision(2000, 20, 2)).unwrap();
    let seen = snapshot(&simulator).services[0];
    assert!(seen.rolling_out);
    assert_eq!((seen.newest.concurrency, seen.newest.pods, seen.serving.concurrency), (20, 2, 10));
    assert_eq!((seen.newest.option, seen.serving.option), (Some(2), Some(0)));
    simulator.advance(33);
    let seen = snapshot(&simulator).services[0];
    assert_eq!((seen.ready_pods, seen.starting_pods, seen.cpu_m), (2, 2, 6000));
    // Nine seconds at 200 ms and the first, with half as many requests, at 400.
    simulator.advance(42);
    let mixed = snapshot(&simulator).services[0].p95_ms.unwrap();
    assert!(mixed > 200.0 && mixed < 400.0);
    simulator.advance(43);
    assert_close!(snapshot(&simulator).services[0].p95_ms.unwrap(), 200.0);
}

#[test]
fn rule_29_a_decision_earns_the_reward_of_the_stage_after_it() {
    let trace = traffic(&[&[(120, 4.0, 4.0), (120, 8.0, 8.0), (120, 12.0, 12.0)]]);
    let run = replay(
        &scenario(&["a"], 300, &["report.boundaries_s=[0, 300]"]),
        &trace,
        &["0,a,1000,10,4", "60,a,1000,10,8", "120,a,1000,10,2", "121,a,1000,10,3"],
    );
    let rewards: Vec<Option<f64>> = run.decisions.iter().map(|row| row.reward).collect();
    // Usage alone: 40 CPU over 120 s; roll-outs of 3.3 s, old pods gone at 7.3 s.
    let usage = |cpu_seconds: f64| Some(-0.1 * cpu_seconds / (40.0 * 120.0));
    let stage_0 = 2.0 * 7.3 + 4.0 * 67.3 + 8.0 * 60.0;
    let stage_1 = 8.0 * 7.3 + 2.0 * 120.0 + 3.0 * 119.0 - 2.0 * (120.0 - 31.0);
    for (reward, expected) in rewards.iter().zip([usage(stage_0), usage(stage_1), usage(stage_1)]) {
        // The shares over the SLO are tiny but not nothing.
        assert!((reward.unwrap() - expected.unwrap()).abs() < 1e-3, "{reward:?} {expected:?}");
    }
    assert_eq!(rewards[3], None);
    assert_eq!(run.intervals.len(), 2);
}

#[test]
fn rule_30_an_outage_costs_and_waiting_users_count_as_over() {
    let sets = ["service.a.initial.ready=false", "service.a.cold_start_mean_s=100"];
    let trace = traffic(&[&[(120, 5.0, 5.0), (120, 5.0, 5.0), (60, 0.0, 5.0)]]);
    let run = replay(
        &scenario(&["a", "b"], 300, &sets),
        &traffic(&[&[(60, 5.0, 5.0), (30, 0.0, 5.0), (120, 0.0, 1.0)], &[(210, 0.0, 1.0)]]),
        &["0,b,1000,10,2"],
    );
    // b's decision is followed by a stage of which nothing is answered: share 1.
    let usage = 0.1 * run.interval("all", 0).cpu_seconds / (40.0 * 60.0);
    assert_close!(run.decisions[0].reward.unwrap(), -(1.0 + usage));
    // Whoever came has left again, unserved.
    assert_eq!(run.summary.slo_violation_share, Some(1.0));
    let run = replay(&scenario(&["a"], 300, &sets), &trace, &["60,a,1000,10,1"]);
    assert_eq!(run.summary.decisions, 2, "at 115 and 235, for the stages of 120 and 240");
}

#[test]
fn what_would_fill_the_memory_is_refused() {
    let model = Arc::new(Model::new(&scenario(&["a"], 600, &[])).unwrap());
    let start = |model: &Arc<Model>, users| {
        Simulator::new(model.clone(), &steady(600, &[users]), 0, &Start::Controlled)
    };
    assert!(start(&model, 10_000_000).is_ok());
    let error = start(&model, 10_000_001).unwrap_err();
    assert!(error.to_string().contains("10000001 users"), "{error}");
    for (cpu_m, concurrency) in [(2000, 10), (1000, 10)] {
        let mut simulator = simulator(&[], 10);
        let error = simulator.apply(&decision(cpu_m, concurrency, 2_000_001)).unwrap_err();
        assert!(error.to_string().contains("2000000"), "{error}");
    }
}
