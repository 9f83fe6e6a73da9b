//! The search against a plain one that tries every action in every state.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::env::paper::state::PaperState;
use crate::scenario::{Corrections, builtin_text};

/// The best way into a state: value, value before, and the actions.
type Way = (f64, f64, Vec<usize>);

/// Total, actions and largest number of states.
fn brute_force(rules: &PaperRules, trace: &PaperTrace) -> (f64, Vec<usize>, usize) {
    let mut layer: Vec<(PaperState, Way)> =
        vec![(rules.reset(trace.rows[0]), (0.0, 0.0, Vec::new()))];
    let mut max_states = 0;
    for step in 1..=rules.steps() {
        let mut next: Vec<(PaperState, Way)> = Vec::new();
        let mut places: HashMap<PaperState, usize> = HashMap::new();
        let mut distinct = HashSet::new();
        for (state, (value, _, path)) in &layer {
            for joint in 0..rules.joint_actions() {
                let mut after = *state;
                let action = rules.joint_action(joint);
                let result = rules.step(&mut after, action, trace.after(step));
                distinct.insert(after);
                if result.truncated && rules.last_step_differs() {
                    // Nothing comes after it: only the best of all counts.
                    after = PaperState::default();
                }
                let total = value + rules.scaled(result.reward);
                let way = || (total, *value, [path.as_slice(), &[joint]].concat());
                match places.get(&after) {
                    Some(&place) => {
                        let (best, before, _) = &next[place].1;
                        if total > *best || (total == *best && value > before) {
                            next[place].1 = way();
                        }
                    }
                    None => {
                        places.insert(after, next.len());
                        next.push((after, way()));
                    }
                }
            }
        }
        max_states = max_states.max(distinct.len());
        layer = next;
    }
    let ways = layer.into_iter().map(|(_, way)| way);
    let best = ways.reduce(|best, way| if way.0 > best.0 { way } else { best }).unwrap();
    (best.0, best.2, max_states)
}

/// The built-in scenario with a few of its options, and other numbers.
fn scenario(picks: &[Vec<usize>; 3], quota_m: u64, corrections: &[&str], scale: f64) -> Scenario {
    let mut table: toml::Table = toml::from_str(builtin_text("paper").unwrap()).unwrap();
    let services = table["service"].as_array_mut().unwrap();
    for (service, picks) in services.iter_mut().zip(picks) {
        let all = service["option"].as_array().unwrap().clone();
        let some = picks.iter().map(|&pick| all[pick % all.len()].clone());
        service["option"] = some.collect::<Vec<_>>().into();
        service["initial"]["option"] = 0.into();
    }
    table["quota"]["cpu_m"] = (quota_m as i64).into();
    table["reward"]["scale"] = scale.into();
    table["corrections"] =
        corrections.iter().map(|&name| name.into()).collect::<Vec<toml::Value>>().into();
    let text = toml::to_string(&table).unwrap();
    Scenario::from_text("test.toml", &text, std::path::Path::new(""), &[]).unwrap()
}

fn distinct(most: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::btree_set(0..most, 1..4).prop_map(|set| set.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn it_equals_a_plain_search(
        picks in (distinct(22), distinct(7), distinct(8)),
        rows in prop::collection::vec([0..101u32, 0..101u32, 0..101u32], 2..6),
        quota_m in prop::sample::select(vec![15_000_u64, 40_000, 40_250, 70_000]),
        on in prop::collection::vec(any::<bool>(), Corrections::NAMES.len()),
        scale in prop::sample::select(vec![1.0, 0.001, 0.0]),
        quiet in any::<bool>(),
    ) {
        let names: Vec<&str> =
            Corrections::NAMES.iter().zip(&on).filter(|(_, on)| **on).map(|(name, _)| *name).collect();
        let scenario = scenario(&[picks.0, picks.1, picks.2], quota_m, &names, scale);
        let divisor = if quiet { 50 } else { 1 };
        let rows: Vec<_> = rows.into_iter().map(|row| row.map(|users| users / divisor)).collect();
        let trace = PaperTrace { rows };
        let rules = PaperRules::with_rows(&scenario, trace.rows.len()).unwrap();
        let found = search(&rules, &trace, &Watch::default()).unwrap();
        let (total, joints, max_states) = brute_force(&rules, &trace);
        prop_assert_eq!(found.total.to_bits(), total.to_bits());
        let actions: Vec<_> = joints.iter().map(|&joint| rules.joint_action(joint)).collect();
        prop_assert_eq!(found.actions, actions);
        prop_assert_eq!(found.max_states, max_states);
    }
}

#[test]
fn a_search_can_be_stopped_and_bounded() {
    let scenario = Scenario::load("paper", &[]).unwrap();
    let trace = PaperTrace::evaluation(&scenario, 0).unwrap();
    let rules = PaperRules::new(&scenario).unwrap();
    let stop = Watch { stop: &|| true, ..Watch::default() };
    assert_eq!(search(&rules, &trace, &stop).unwrap_err().exit_code(), 130);
    let small = Watch { memory_limit: 100_000, ..Watch::default() };
    let error = search(&rules, &trace, &small).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("GiB at step"), "{error}");
}
