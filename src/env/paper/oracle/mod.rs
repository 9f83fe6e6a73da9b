//! The exact optimum of an episode whose traffic is known.
//!
//! Forward dynamic programming over everything that the rules read: options in force, pods and CPU
//! held. Nothing is rounded, bucketed or pruned; the total is that of the environment's own floating
//! point sums in step order.
//!
//! A plain search takes every state times every joint action. Here the services are taken apart: what
//! happens to a service that keeps its option depends on its own pods and CPU (and on the one shrink
//! decision), what happens to one that changes only on its new option, and the reward on the state
//! before only through the question whether old and new CPU fit the quota. So for each set of services
//! that keep their option (`changes`) it is enough to know the best state before among those that
//! agree in these services and differ from the new option in the others, once among all and once among
//! those that hold little enough CPU. That makes the work about proportional to the number of states.
//!
//! On ties the state before wins that a plain search finds first, which takes states in the order of
//! their discovery and joint actions in theirs. So the result does not depend on threads.

mod best;
mod changes;
mod count;
mod layer;
mod plan;
mod sums;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use self::changes::Changes;
use self::layer::Layer;
use self::plan::{Edge, Plan};
use super::rules::PaperRules;
use super::state::{Action, SERVICES};
use super::traffic::PaperTrace;
use crate::error::{Error, Result};
use crate::scenario::Scenario;
use crate::trace::Trace;

type Joint = Action;

/// The best that can be done with known traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// Total reward, summed in step order, `reward.scale` applied.
    pub total: f64,
    /// The actions that earn it.
    pub actions: Vec<Action>,
    /// The reward of each step.
    pub rewards: Vec<f64>,
    /// Largest number of distinct states after a step, a truncating one included.
    pub max_states: usize,
    /// Largest amount of memory that the search's own tables took.
    pub peak_bytes: usize,
}

/// How a search is watched and bounded.
pub struct Watch<'a> {
    /// Asked before each step; `true` ends the search.
    pub stop: &'a dyn Fn() -> bool,
    /// Told the number of steps done, and of all steps.
    pub progress: &'a dyn Fn(usize, usize),
    /// Most memory that the search may take, bytes.
    pub memory_limit: usize,
}

/// Memory that a search may take unless told otherwise.
pub const MEMORY_LIMIT_BYTES: usize = 4 << 30;

impl Default for Watch<'_> {
    fn default() -> Self {
        Self { stop: &|| false, progress: &|_, _| {}, memory_limit: MEMORY_LIMIT_BYTES }
    }
}

/// The exact optimum of `scenario` on `traffic`.
///
/// # Errors
/// [`Error::Input`] when the scenario is not one of environment `paper`, the traffic does not fit it,
/// or the states do not fit into memory.
pub fn oracle(scenario: &Scenario, traffic: &Trace) -> Result<Optimum> {
    let trace = PaperTrace::new(traffic)?;
    let rules = PaperRules::with_rows(scenario, trace.rows.len())?;
    search(&rules, &trace, &Watch::default())
}

/// The exact optimum of an episode on `trace`.
///
/// # Errors
/// As [`oracle`], and [`Error::Interrupted`] when `watch` stops the search.
pub fn search(rules: &PaperRules, trace: &PaperTrace, watch: &Watch<'_>) -> Result<Optimum> {
    let steps = rules.steps();
    let mut users = rules.reset(trace.rows[0]);
    let mut layer = Layer::of(rules, &users);
    let mut history = History::default();
    let mut max_states = 0;
    let mut best = None;
    for step in 1..=steps {
        if (watch.stop)() {
            return Err(Error::Interrupted {
                saved: "nothing of an unfinished search can be used; start it again".to_owned(),
            });
        }
        let last_rule = rules.is_last(&users) && rules.last_step_differs();
        let plan = Plan::new(rules, &layer, users.users, last_rule);
        let bytes = planned_bytes(&plan, &history);
        if bytes > watch.memory_limit {
            return Err(too_large(step, bytes, watch.memory_limit));
        }
        history.peak_bytes = history.peak_bytes.max(bytes);
        let changes = Changes::new(&plan);
        if last_rule {
            best = Some(best_edge(&plan, &changes));
            max_states = max_states.max(count::states_after_truncation(&plan));
        } else {
            let next = advance(&plan, &changes, &mut history);
            max_states = max_states.max(next.states);
            layer = next;
        }
        users.step += 1;
        users.users = trace.after(step);
        (watch.progress)(step, steps);
    }
    let actions = match best {
        Some((edge, joint)) => history.path(edge.parent, Some(joint)),
        None => history.path(best_cell(&layer), None),
    };
    replay(rules, trace, &actions, max_states, history.peak_bytes)
}

/// The rewards of `actions`, from the environment itself.
fn replay(
    rules: &PaperRules,
    trace: &PaperTrace,
    joints: &[usize],
    max_states: usize,
    peak_bytes: usize,
) -> Result<Optimum> {
    let mut state = rules.reset(trace.rows[0]);
    let mut optimum =
        Optimum { total: 0.0, actions: Vec::new(), rewards: Vec::new(), max_states, peak_bytes };
    for (index, &joint) in joints.iter().enumerate() {
        let action = rules.joint_action(joint);
        let result = rules.step(&mut state, action, trace.after(index + 1));
        let reward = rules.scaled(result.reward);
        optimum.total += reward;
        optimum.actions.push(action);
        optimum.rewards.push(reward);
    }
    Ok(optimum)
}

/// Parents of all states, layer by layer, by cell.
#[derive(Default)]
struct History {
    parents: Vec<Vec<u32>>,
    blocks: Vec<Vec<usize>>,
    bytes: usize,
    peak_bytes: usize,
}

impl History {
    fn keep(&mut self, parents: Vec<u32>, blocks: &[usize]) {
        self.bytes += size_of_val(parents.as_slice()) + size_of_val(blocks);
        self.parents.push(parents);
        self.blocks.push(blocks.to_vec());
    }

    /// The joint actions that lead to the state in `cell` of the last layer, and `last`.
    fn path(&self, mut cell: u32, last: Option<usize>) -> Vec<usize> {
        let mut joints: Vec<usize> = last.into_iter().collect();
        for (parents, blocks) in self.parents.iter().zip(&self.blocks).rev() {
            // The option in force after a step is its action, and each action has its block.
            joints.push(blocks.partition_point(|&start| start <= cell as usize) - 1);
            cell = parents[cell as usize];
        }
        joints.reverse();
        joints
    }
}

/// Memory during a step: what is kept of the steps before, this layer and the next, and the edges.
fn planned_bytes(plan: &Plan<'_>, history: &History) -> usize {
    let cells: usize = plan.next.iter().map(layer::Locals::len).product();
    let next = cells.saturating_mul(size_of::<f64>() + 2 * size_of::<u32>());
    let edges = Changes::planned(plan).saturating_mul(size_of::<Edge>());
    let mut bytes = history.bytes.saturating_add(plan.layer.bytes());
    bytes = bytes.saturating_add(next);
    bytes.saturating_add(edges)
}

fn too_large(step: usize, bytes: usize, limit: usize) -> Error {
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    Error::input(
        "traffic",
        format!(
            "the exact optimum needs {:.1} GiB at step {step}, more than the {:.1} GiB it may take",
            gib(bytes),
            gib(limit)
        ),
        "use a shorter trace, fewer users or fewer options",
    )
}

/// Calls `take` with the cell of the next layer's block of `joint` and the edge into it, for the
/// best edge from every combination of local states that keep their option.
fn for_each_edge(
    plan: &Plan<'_>,
    changes: &Changes,
    joint: usize,
    mut take: impl FnMut(usize, &Edge),
) {
    let action = plan.rules.joint_action(joint);
    for mask in (0..8).filter(|&mask| plan.possible(mask)) {
        let range = |k: usize| {
            if mask >> k & 1 == 1 { plan.layer.locals[k].of(action[k]) } else { 0..1 }
        };
        let cell = |held: [usize; SERVICES], shrink: bool| {
            let mut cell = 0;
            for k in 0..SERVICES {
                let position = if mask >> k & 1 == 1 {
                    plan.held[k][held[k]].next[usize::from(shrink)]
                } else {
                    plan.fresh[k][usize::from(action[k])].next
                };
                cell = cell * plan.next[k].of(action[k]).len() + position;
            }
            cell
        };
        for first in range(0) {
            for second in range(1) {
                for third in range(2) {
                    let held = [first, second, third];
                    if mask == 7 {
                        let source = plan.layer.source(held);
                        let edge = plan.edge(action, mask, held, source.rank, |limit| {
                            let fits = if limit.is_some() { source } else { best::Source::NONE };
                            (fits, source)
                        });
                        if edge.exists() {
                            take(cell(held, edge.shrink), &edge);
                        }
                    } else {
                        let edge = changes.edge(action, mask, held);
                        if edge.exists() {
                            take(cell(held, edge.shrink), edge);
                        }
                    }
                }
            }
        }
    }
}

/// The layer after the step; its parents and actions go to the history.
fn advance(plan: &Plan<'_>, changes: &Changes, history: &mut History) -> Layer {
    let blocks = layer::blocks(&plan.next);
    let cells = *blocks.last().expect("there is an end");
    let mut values = vec![f64::NEG_INFINITY; cells];
    let mut parents = vec![u32::MAX; cells];
    let mut firsts = vec![u32::MAX; cells];
    let sizes = blocks.windows(2).map(|block| block[1] - block[0]);
    let work: Vec<_> = split(&mut values, sizes.clone())
        .zip(split(&mut parents, sizes.clone()))
        .zip(split(&mut firsts, sizes))
        .enumerate()
        .collect();
    work.into_par_iter().for_each_init(Vec::new, |best, (joint, ((values, parents), firsts))| {
        best.clear();
        best.resize(values.len(), Edge::NONE);
        for_each_edge(plan, changes, joint, |cell, edge| {
            let best = &mut best[cell];
            let first = best.first.min(edge.first);
            if edge.beats(best) {
                *best = *edge;
            }
            best.first = first;
        });
        for (cell, edge) in best.iter().enumerate() {
            values[cell] = edge.value;
            parents[cell] = edge.parent;
            firsts[cell] = edge.first;
        }
    });
    history.keep(parents, &blocks);
    let (ranks, states) = rank(firsts, plan.layer.states);
    Layer { locals: plan.next.clone(), blocks, values, ranks, states }
}

/// Splits `cells` into parts of these sizes.
fn split<T>(
    mut cells: &mut [T],
    sizes: impl Iterator<Item = usize>,
) -> impl Iterator<Item = &mut [T]> {
    sizes.map(move |size| {
        let (own, rest) = std::mem::take(&mut cells).split_at_mut(size);
        cells = rest;
        own
    })
}

/// Ranks the states by the first state that leads to each, then by action: in the order of discovery.
/// The cells are ordered by action and a state leads to at most one of each action, so counting is all
/// the sorting needed.
fn rank(mut firsts: Vec<u32>, states_before: usize) -> (Vec<u32>, usize) {
    let mut next_rank = vec![0_u32; states_before + 1];
    for &first in firsts.iter().filter(|&&first| first != u32::MAX) {
        next_rank[first as usize + 1] += 1;
    }
    for index in 0..states_before {
        next_rank[index + 1] += next_rank[index];
    }
    let states = next_rank[states_before] as usize;
    for first in firsts.iter_mut().filter(|first| **first != u32::MAX) {
        let next = &mut next_rank[*first as usize];
        *first = *next;
        *next += 1;
    }
    (firsts, states)
}

/// The best edge of a step after which no state is kept, and its joint action.
fn best_edge(plan: &Plan<'_>, changes: &Changes) -> (Edge, usize) {
    (0..plan.rules.joint_actions())
        .into_par_iter()
        .map(|joint| {
            let mut best = Edge::NONE;
            for_each_edge(plan, changes, joint, |_, edge| {
                if edge.beats(&best) {
                    best = *edge;
                }
            });
            (best, joint)
        })
        .reduce(
            || (Edge::NONE, usize::MAX),
            |left, right| {
                // On a full tie the joint action that comes first.
                let right_wins =
                    right.0.beats(&left.0) || (!left.0.beats(&right.0) && right.1 < left.1);
                if right_wins { right } else { left }
            },
        )
}

/// Cell of the best state, the first discovered on ties.
fn best_cell(layer: &Layer) -> u32 {
    let mut best = best::Source::NONE;
    for (cell, (&value, &rank)) in layer.values.iter().zip(&layer.ranks).enumerate() {
        let source = best::Source { value, rank, cell: cell as u32, options: [0; SERVICES] };
        if source.exists() && source.beats(&best) {
            best = source;
        }
    }
    best.cell
}
