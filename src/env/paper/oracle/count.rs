//! How many states a truncating step leaves: options and CPU stay, pods are new.
//!
//! No later step reads them, so the search has no need to keep them; their number is part of its result.

use std::collections::HashSet;

use rayon::prelude::*;

use super::plan::Plan;
use crate::env::paper::state::{Action, SERVICES};

/// Number of distinct states after the step of `plan`, whose options and CPU are those before it.
pub(super) fn states_after_truncation(plan: &Plan<'_>) -> usize {
    // The distinct pods that each service can need.
    let needs = [0, 1, 2].map(|k| {
        let mut pods: Vec<u32> = plan.fresh[k].iter().map(|fresh| fresh.need.pods).collect();
        pods.sort_unstable();
        pods.dedup();
        pods
    });
    (0..plan.rules.joint_actions())
        .into_par_iter()
        .map_init(HashSet::new, |seen, joint| {
            count_block(plan, &needs, plan.rules.joint_action(joint), seen)
        })
        .sum()
}

/// The same for the states before with `options` in force.
fn count_block(
    plan: &Plan<'_>,
    needs: &[Vec<u32>; SERVICES],
    options: Action,
    seen: &mut HashSet<([u64; SERVICES], [u32; SERVICES])>,
) -> usize {
    let locals = &plan.layer.locals;
    // States with the same CPU but other pods can become the same state.
    let mixed = (0..SERVICES).any(|k| {
        let mut cpus: Vec<u64> =
            locals[k].of(options[k]).map(|local| locals[k].variants[local].cpu_m).collect();
        cpus.sort_unstable();
        cpus.windows(2).any(|pair| pair[0] == pair[1])
    });
    let mut count = 0;
    seen.clear();
    for first in locals[0].of(options[0]) {
        for second in locals[1].of(options[1]) {
            for third in locals[2].of(options[2]) {
                let held = [first, second, third];
                if !plan.layer.source(held).exists() {
                    continue;
                }
                let decreasing = (0..SERVICES).any(|k| plan.held[k][held[k]].decreasing);
                if !mixed && !decreasing {
                    // Every service gets what its option needs: all combinations occur.
                    count += needs.iter().map(Vec::len).product::<usize>();
                    continue;
                }
                if !mixed {
                    seen.clear();
                }
                let cpu_m = [0, 1, 2].map(|k| locals[k].variants[held[k]].cpu_m);
                for joint in 0..plan.rules.joint_actions() {
                    let pods = pods_after(plan, options, held, plan.rules.joint_action(joint));
                    seen.insert((cpu_m, pods));
                }
                if !mixed {
                    count += seen.len();
                }
            }
        }
    }
    if mixed { seen.len() } else { count }
}

/// Pods after `action`, with `options` in force and in the local states `held`.
fn pods_after(
    plan: &Plan<'_>,
    options: Action,
    held: [usize; SERVICES],
    action: Action,
) -> [u32; SERVICES] {
    let same = |k: usize| action[k] == options[k];
    let fresh = |k: usize| &plan.fresh[k][usize::from(action[k])];
    let shrink = plan.rules.shrinks(
        [0, 1, 2].map(|k| same(k) && plan.held[k][held[k]].decreasing),
        [0, 1, 2].map(|k| plan.layer.locals[k].variants[held[k]].cpu_m),
        [0, 1, 2].map(|k| fresh(k).need.whole_m),
    );
    [0, 1, 2].map(|k| {
        if same(k) {
            plan.held[k][held[k]].shares[usize::from(shrink)].pods
        } else {
            fresh(k).need.pods
        }
    })
}
