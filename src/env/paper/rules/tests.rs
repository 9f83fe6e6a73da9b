//! Numbers that the description of the original states.

use super::*;
use crate::scenario::Scenario;

fn rules(corrections: &[&str], rows: usize) -> PaperRules {
    let mut scenario = Scenario::load("paper", &[]).unwrap();
    scenario.corrections = Corrections::from_names("test", corrections).unwrap();
    PaperRules::with_rows(&scenario, rows).unwrap()
}

/// Where the original's formula needs one pod more than the exact one, for users up to 100.
#[test]
fn pods_needed_have_the_known_exceptions() {
    let [original, exact] = [rules(&[], 20), rules(&["exact_pod_formula"], 20)];
    for (option, known) in [
        (0, vec![21, 42, 49, 77, 84, 98]),
        (2, vec![63]),
        (5, vec![42, 84, 98]),
        (9, vec![63]),
        (14, vec![84]),
        (15, vec![]),
    ] {
        let differing: Vec<u32> = (0..=100)
            .filter(|&users| {
                original.need(0, option, users).pods != exact.need(0, option, users).pods
            })
            .collect();
        assert_eq!(differing, known, "option {option}");
    }
    assert_eq!(original.need(0, 15, 63).pods, 2);
    // Looked up and computed.
    assert_eq!(original.need(0, 0, 127).pods, 19);
    assert_eq!(original.need(0, 0, 128).pods, 19);
    assert_eq!(rules(&["min_one_pod"], 20).need(1, 3, 0).pods, 1);
}

#[test]
fn episodes_end_as_the_trace_and_the_corrections_say() {
    let end = |corrections: &[&str], rows: usize| {
        let rules = rules(corrections, rows);
        let mut state = rules.reset([1; 3]);
        for step in 1..=300 {
            let result = rules.step(&mut state, [0; 3], [1; 3]);
            if result.terminated || result.truncated {
                assert_eq!(rules.steps(), step);
                return (step, result.terminated, result.truncated);
            }
        }
        unreachable!("an episode ends");
    };
    assert_eq!(end(&[], 20), (19, true, false));
    assert_eq!(end(&[], 199), (198, true, false));
    assert_eq!(end(&[], 200), (200, false, true));
    assert_eq!(end(&[], 250), (200, false, true));
    let whole = ["truncate_at_trace_end"];
    assert_eq!(end(&whole, 20), (20, false, true));
    assert_eq!(end(&whole, 250), (250, false, true));
}

#[test]
fn observations_at_reset_are_the_originals_or_consistent() {
    let observe = |corrections: &[&str]| {
        let rules = rules(corrections, 20);
        rules.observation(&rules.reset([120, 2, 3]))
    };
    assert_eq!(observe(&[]), [10, 25, 34, 20, 64, 28, 10, 55, 16]);
    assert_eq!(
        observe(&["consistent_initial_state", "first_users_from_trace"]),
        [10, 91, 120, 20, 90, 2, 5, 95, 3]
    );
    assert_eq!(
        observe(&["clamp_observed_users", "first_users_from_trace"]),
        [10, 25, 100, 20, 64, 2, 10, 55, 3]
    );
}

/// At the truncating step pods change and nothing else does; a further step is like it.
#[test]
fn the_last_step_updates_half_of_the_state() {
    let rules = rules(&[], 200);
    let mut state = rules.reset([1; 3]);
    state.step = 199;
    let before = state;
    let result = rules.step(&mut state, [0; 3], [9; 3]);
    assert!(result.truncated && !result.terminated);
    assert_eq!(state, PaperState { step: 200, pods: [5, 4, 3], ..before });
    let again = rules.step(&mut state, [0; 3], [9; 3]);
    assert_eq!(again, result);
}

#[test]
fn the_shrink_test_follows_its_corrections() {
    let shrinks = |corrections: &[&str], quota_m: u64, held: [u64; 3], whole: [u64; 3]| {
        let mut rules = rules(corrections, 20);
        if rules.corrections.quota_everywhere {
            rules.shrink_quota_m = quota_m;
        }
        rules.shrinks([true, false, true], held, whole)
    };
    let (held, whole) = ([30_000, 0, 15_000], [10_000, 10_000, 10_000]);
    // 30 + 10 CPU do not exceed 40; with the third service's 15 they do.
    assert!(!shrinks(&[], 40_000, held, whole));
    assert!(shrinks(&["include_third_service"], 40_000, held, whole));
    assert!(shrinks(&["quota_everywhere"], 39_000, held, whole));
    // Without a decrease nothing shrinks.
    let rules = rules(&["include_third_service"], 20);
    assert!(!rules.shrinks([false; 3], held, [50_000, 0, 0]));
}
