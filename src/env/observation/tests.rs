//! Features through a snapshot, and the same features from the state of `paper`.

use rand::RngExt;

use super::hints::HintKind;
use super::*;
use crate::env::actions::{ActionConfig, ActionSpace};
use crate::env::paper::{Action, JointActions, PaperRules, PaperState, PaperTrace, snapshot_of};
use crate::nn::checkpoint::layout_hash;
use crate::rng::Streams;
use crate::scenario::Scenario;
use crate::snapshot::{Decision, ServiceSnapshot, Snapshot};

const NAMES: [&str; 14] = [
    "nine_raw",
    "nine_raw_t",
    "nine",
    "nine_t",
    "opt",
    "opt_t",
    "full",
    "full_t",
    "feat",
    "feat_t",
    "knative",
    "knative_t",
    "knative_no_quota",
    "knative_no_quota_t",
];

fn config(layout: &str, hints: HintKind, joint: bool) -> ObservationConfig {
    ObservationConfig { layout: layout.parse().unwrap(), hints, price: None, joint }
}

fn observer(scenario: &Scenario, config: &ObservationConfig) -> Observer {
    let actions = ActionSpace::new(&ActionConfig::default(), scenario).unwrap();
    Observer::new(config, &actions, scenario).unwrap()
}

/// States that random actions lead through, the last one of each episode included.
fn walk(rules: &PaperRules, trace: &PaperTrace, steps: usize) -> Vec<PaperState> {
    let mut rng = Streams::new(3).open("walk");
    let mut state = rules.reset(trace.rows[0]);
    let mut states = vec![state];
    for step in 1..=steps {
        // Often the same option again, so that growth and shrinking are met.
        let mut action: Action = state.options;
        for (option, count) in action.iter_mut().zip(rules.option_counts()) {
            if rng.random_range(0..3) == 0 {
                *option = rng.random_range(0..count as u16);
            }
        }
        rules.step(&mut state, action, trace.after(step));
        states.push(state);
    }
    states
}

#[test]
fn the_state_of_paper_gives_what_its_snapshot_gives() {
    let all = crate::scenario::Corrections::NAMES.iter().map(|name| format!("\"{name}\""));
    let all = format!("corrections=[{}]", all.collect::<Vec<_>>().join(","));
    for sets in [vec![], vec![all], vec!["service.house.trace.rows=250".to_owned()]] {
        let rows = if sets.iter().any(|set| set.contains("250")) { 250 } else { 20 };
        let sets: Vec<String> = sets
            .into_iter()
            .chain((1..3).map(|service| format!("service[{service}].trace.rows={rows}")))
            .collect();
        let scenario = Scenario::load("paper-random", &sets).unwrap();
        let rules = PaperRules::new(&scenario).unwrap();
        let trace = PaperTrace::training(&scenario, 4).unwrap();
        let states = walk(&rules, &trace, rules.steps());
        let layouts = NAMES.map(|name| config(name, HintKind::None, false));
        let hints = [
            config("nine", HintKind::Greedy, false),
            config("nine", HintKind::Priced, false),
            config("nine", HintKind::Priced, true),
        ];
        for config in layouts.iter().chain(&hints) {
            let observer = observer(&scenario, config);
            let mut scratch = ObserverScratch::default();
            let mut direct = vec![0.0; observer.len()];
            let mut seen = vec![f32::NAN; observer.len()];
            for state in &states {
                observer.write_paper(state, &mut scratch, &mut direct);
                let users = state.users.map(f64::from);
                observer
                    .write(
                        &snapshot_of(&scenario, state),
                        Expected::Users(&users),
                        &ObservationMemory::default(),
                        &mut scratch,
                        &mut seen,
                    )
                    .unwrap();
                assert_eq!(direct, seen, "{}", config.layout);
            }
        }
        let raw = observer(&scenario, &config("nine_raw", HintKind::None, false));
        let mut out = vec![0.0; raw.len()];
        for state in &states {
            raw.write_paper(state, &mut ObserverScratch::default(), &mut out);
            assert_eq!(out, rules.observation(state).map(|entry| entry as f32));
        }
    }
}

#[test]
fn an_untrained_policy_with_hints_is_the_greedy_one() {
    let scenario = Scenario::load("paper-random", &[]).unwrap();
    let rules = PaperRules::new(&scenario).unwrap();
    let trace = PaperTrace::training(&scenario, 1).unwrap();
    let heads = observer(&scenario, &config("nine", HintKind::Greedy, false));
    let joint = observer(&scenario, &config("nine", HintKind::Greedy, true));
    assert_eq!((heads.hints(), joint.hints()), (37, 1232));
    let mut scratch = ObserverScratch::default();
    let mut rewards = JointActions::new();
    let (mut of_heads, mut of_joint) = (vec![0.0; heads.len()], vec![0.0; joint.len()]);
    let first_best = |values: &[f32]| {
        let best = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(best, 0.0);
        values.iter().position(|&value| value == best).unwrap()
    };
    for state in walk(&rules, &trace, 19) {
        rewards.evaluate(&rules, &state);
        let best = rewards.rewards().iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let greedy = rewards.rewards().iter().position(|&reward| reward == best).unwrap();
        heads.write_paper(&state, &mut scratch, &mut of_heads);
        joint.write_paper(&state, &mut scratch, &mut of_joint);
        assert_eq!(first_best(&of_joint[9..]), greedy);
        let hints = &of_heads[9..];
        let chosen =
            [first_best(&hints[..22]), first_best(&hints[22..29]), first_best(&hints[29..])];
        assert_eq!(chosen, rules.joint_action(greedy).map(usize::from));
        // Losses are in thousands, and the worst are cut.
        let loss = (rewards.rewards()[7] - best) / 1000.0;
        assert_eq!(of_joint[9 + 7], loss.max(-6.0) as f32);
    }
}

#[test]
fn layouts_have_names_sizes_and_hashes_of_their_own() {
    let paper = Scenario::load("paper", &[]).unwrap();
    let knative = Scenario::load("knative-random", &[]).unwrap();
    let sizes = [9, 10, 9, 10, 46, 47, 52, 53, 93, 94, 78, 79, 74, 75];
    let mut hashes = std::collections::HashSet::new();
    for (name, size) in NAMES.iter().zip(sizes) {
        let kind: LayoutKind = name.parse().unwrap();
        assert_eq!(kind.to_string(), *name);
        for scenario in [&paper, &knative] {
            let layout = Layout::new(kind, scenario).unwrap();
            assert_eq!((layout.len(), layout.names().count()), (size, size), "{name}");
        }
        assert!(hashes.insert(layout_hash(&Layout::new(kind, &paper).unwrap().to_json())));
    }
    for hints in [HintKind::Greedy, HintKind::Priced] {
        for joint in [false, true] {
            let json = observer(&paper, &config("nine", hints, joint)).to_json();
            assert!(hashes.insert(layout_hash(&json)));
        }
    }
    let error = "ful".parse::<LayoutKind>().unwrap_err();
    assert!(error.to_string().contains("did you mean `full`?"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn on_a_cluster_the_nine_are_of_what_was_asked_for_last() {
    let scenario = Scenario::load("paper-knative", &[]).unwrap();
    let observer = observer(&scenario, &config("nine_raw", HintKind::None, false));
    let asked = |service: usize, option: u32, pods: u32| ServiceSnapshot {
        // Old pods that are not gone yet, and a latency of theirs.
        cpu_m: 39_000,
        p95_ms: Some(5000.0),
        ready_pods: 9,
        newest: scenario.profiles[service].decision(option, pods).as_revision(),
        ..ServiceSnapshot::default()
    };
    let services = vec![asked(0, 21, 2), asked(1, 6, 3), asked(2, 0, 3)];
    let snapshot = Snapshot { services, step: 4, ..Snapshot::default() };
    let mut out = vec![0.0; 9];
    let users = Expected::Users(&[30.9, 8.2, 17.999]);
    let (memory, mut scratch) = (ObservationMemory::default(), ObserverScratch::default());
    observer.write(&snapshot, users, &memory, &mut scratch, &mut out).unwrap();
    let percent = |service: usize, option: usize| {
        let slo_ms = scenario.spec.service[service].slo_p95_ms;
        (scenario.profiles[service].options[option].p95_ms / slo_ms * 100.0).trunc() as f32
    };
    // 8000, 12000 and 1500 of 40000 millicores; users are cut to whole ones.
    let expected = [20.0, percent(0, 21), 30.0, 30.0, percent(1, 6), 8.0, 3.0, percent(2, 0), 17.0];
    assert_eq!(out, expected);
}

#[test]
fn what_a_cluster_hides_or_garbles_is_shown_as_nothing() {
    let scenario = Scenario::load("knative-random", &[]).unwrap();
    let observer = observer(&scenario, &config("knative", HintKind::None, false));
    let names: Vec<String> = Layout::new("knative".parse().unwrap(), &scenario)
        .unwrap()
        .names()
        .map(String::from)
        .collect();
    let place = |name: &str| names.iter().position(|known| known == name).unwrap();
    let mut service = ServiceSnapshot { users: f64::NAN, ..ServiceSnapshot::default() };
    service.newest.option = None;
    service.p95_ms = Some(1.0e6);
    let snapshot = Snapshot { t_s: 235.0, services: vec![service; 3], ..Snapshot::default() };
    let mut memory = ObservationMemory::default();
    let mut out = vec![0.0; observer.len()];
    let write = |memory: &ObservationMemory, out: &mut [f32]| {
        let scratch = &mut ObserverScratch::default();
        observer.write(&snapshot, Expected::Users(&[30.0; 3]), memory, scratch, out).unwrap();
    };
    write(&memory, &mut out);
    assert!(out.iter().all(|value| value.is_finite()));
    assert_eq!(out[place("senti.users_now")], 0.0);
    assert_eq!(out[place("senti.users_high")], 0.3);
    assert_eq!(out[place("senti.p95_of_slo")], 5.0);
    assert_eq!(out[place("interval_share")], 115.0 / 120.0);
    assert_eq!(out[place("house.option_4")], 0.0);
    let mut decision = Decision::default();
    decision.services = vec![Some(scenario.profiles[0].decision(4, 2)), None, None];
    memory.remember(&decision);
    write(&memory, &mut out);
    assert_eq!(out[place("house.option_4")], 1.0);
    memory.clear();
    write(&memory, &mut out);
    assert_eq!(out[place("house.option_4")], 0.0);
}
