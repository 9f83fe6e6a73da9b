//! How many states a truncating step leaves: options and CPU stay, pods are new.
//!
//! No later step reads them, so the search has no need to keep them; their number is part of its result.

use std::collections::HashSet;

use rayon::prelude::*;

use super::plan::Plan;
use crate::env::paper::state::{Action, SERVICES};

/// Number of distinct states after the step of `plan`, whose options and CPU are those before it.
pub(super) fn states_after_truncation(plan: &Plan<'_>) -> usize {
    let needs = [0, 1, 2].map(|k| Needs::new(plan, k));
    (0..plan.rules.joint_actions())
        .into_par_iter()
        .map_init(Vec::new, |seen, joint| {
            count_block(plan, &needs, plan.rules.joint_action(joint), seen)
        })
        .sum()
}

/// The distinct pods that a service can need.
struct Needs {
    pods: Vec<u32>,
    /// Where those of each option are among them.
    place: Vec<usize>,
}

impl Needs {
    fn new(plan: &Plan<'_>, service: usize) -> Self {
        let of = &plan.fresh[service];
        let mut pods: Vec<u32> = of.iter().map(|fresh| fresh.need.pods).collect();
        pods.sort_unstable();
        pods.dedup();
        let place = of.iter().map(|fresh| pods.partition_point(|&pods| pods < fresh.need.pods));
        Self { place: place.collect(), pods }
    }

    /// Where `pods` are among them, or behind them all: of one state before there is only one such
    /// amount, the pods that it keeps.
    fn place_of(&self, pods: u32) -> usize {
        self.pods.binary_search(&pods).unwrap_or(self.pods.len())
    }
}

/// The same for the states before with `options` in force.
fn count_block(
    plan: &Plan<'_>,
    needs: &[Needs; SERVICES],
    options: Action,
    seen: &mut Vec<bool>,
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
    let mut together = HashSet::new();
    for first in locals[0].of(options[0]) {
        for second in locals[1].of(options[1]) {
            for third in locals[2].of(options[2]) {
                let held = [first, second, third];
                if !plan.layer.source(held).exists() {
                    continue;
                }
                if mixed {
                    let cpu_m = [0, 1, 2].map(|k| locals[k].variants[held[k]].cpu_m);
                    for_each_action(plan, options, held, |action, shrink| {
                        let pods = [0, 1, 2].map(|k| {
                            if action[k] == options[k] {
                                plan.held[k][held[k]].shares[usize::from(shrink)].pods
                            } else {
                                plan.fresh[k][usize::from(action[k])].need.pods
                            }
                        });
                        together.insert((cpu_m, pods));
                    });
                } else if (0..SERVICES).any(|k| plan.held[k][held[k]].decreasing) {
                    count += count_places(plan, needs, options, held, seen);
                } else {
                    // Every service gets what its option needs: all combinations occur.
                    count += needs.iter().map(|needs| needs.pods.len()).product::<usize>();
                }
            }
        }
    }
    count + together.len()
}

/// Distinct combinations of pods after one state before.
fn count_places(
    plan: &Plan<'_>,
    needs: &[Needs; SERVICES],
    options: Action,
    held: [usize; SERVICES],
    seen: &mut Vec<bool>,
) -> usize {
    let widths = [0, 1, 2].map(|k| needs[k].pods.len() + 1);
    let kept =
        [0, 1, 2].map(|k| plan.held[k][held[k]].shares.map(|share| needs[k].place_of(share.pods)));
    seen.clear();
    seen.resize(widths.iter().product(), false);
    for_each_action(plan, options, held, |action, shrink| {
        let mut cell = 0;
        for k in 0..SERVICES {
            let place = if action[k] == options[k] {
                kept[k][usize::from(shrink)]
            } else {
                needs[k].place[usize::from(action[k])]
            };
            cell = cell * widths[k] + place;
        }
        seen[cell] = true;
    });
    seen.iter().filter(|&&seen| seen).count()
}

/// Calls `visit` with every action and its shrink decision, in the local states `held` of `options`.
fn for_each_action(
    plan: &Plan<'_>,
    options: Action,
    held: [usize; SERVICES],
    mut visit: impl FnMut(Action, bool),
) {
    let held_m = [0, 1, 2].map(|k| plan.layer.locals[k].variants[held[k]].cpu_m);
    let decreasing = [0, 1, 2].map(|k| plan.held[k][held[k]].decreasing);
    let [first, second, third] = plan.rules.option_counts().map(|count| count as u16);
    for a in 0..first {
        for b in 0..second {
            for c in 0..third {
                let action = [a, b, c];
                let shrink = plan.rules.shrinks(
                    [0, 1, 2].map(|k| decreasing[k] && action[k] == options[k]),
                    held_m,
                    [0, 1, 2].map(|k| plan.fresh[k][usize::from(action[k])].need.whole_m),
                );
                visit(action, shrink);
            }
        }
    }
}
