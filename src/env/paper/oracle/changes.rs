//! The best ways to every decision that changes the option of at least one service.

use rayon::prelude::*;

use super::best::Source;
use super::plan::{Edge, Plan};
use super::sums::{Buckets, Sums};
use crate::env::paper::state::SERVICES;

/// The best edges, for each set of services that keep their option (except all three).
pub(super) struct Changes {
    /// None keeps it: by joint action.
    all: Vec<Edge>,
    /// One keeps it (the index): by its local state and the options of the others.
    two: [Vec<Edge>; SERVICES],
    /// All but one (the index) keep it: by their local states and the option of that one.
    one: [Vec<Edge>; SERVICES],
    widths: [usize; SERVICES],
    counts: [usize; SERVICES],
}

/// The services beside `service`, in order.
fn others(service: usize) -> [usize; 2] {
    match service {
        0 => [1, 2],
        1 => [0, 2],
        _ => [0, 1],
    }
}

impl Changes {
    pub fn new(plan: &Plan<'_>) -> Self {
        let locals = &plan.layer.locals;
        let mut changes = Self {
            all: Vec::new(),
            two: Default::default(),
            one: Default::default(),
            widths: [0, 1, 2].map(|k| locals[k].len()),
            counts: plan.rules.option_counts(),
        };
        for service in 0..SERVICES {
            changes.one[service] = one_changes(plan, service);
        }
        changes.all = vec![Edge::NONE; changes.counts.iter().product()];
        for service in 0..SERVICES {
            let all = (service == 0).then_some(&mut changes.all);
            changes.two[service] = two_change(plan, service, all);
        }
        changes
    }

    /// Edges that a step from these local states keeps.
    pub fn planned(plan: &Plan<'_>) -> usize {
        let widths = [0, 1, 2].map(|k| plan.layer.locals[k].len());
        let counts = plan.rules.option_counts();
        (0..SERVICES)
            .map(|k| {
                let [i, j] = others(k);
                widths[i] * widths[j] * counts[k] + widths[k] * counts[i] * counts[j]
            })
            .sum()
    }

    /// The best edge to `action` when the services of `mask` keep their option from `held`.
    #[inline]
    pub fn edge(&self, action: [u16; SERVICES], mask: u8, held: [usize; SERVICES]) -> &Edge {
        let option = action.map(usize::from);
        match mask.count_ones() {
            0 => &self.all[(option[0] * self.counts[1] + option[1]) * self.counts[2] + option[2]],
            1 => {
                let k = mask.trailing_zeros() as usize;
                let [i, j] = others(k);
                &self.two[k][(held[k] * self.counts[i] + option[i]) * self.counts[j] + option[j]]
            }
            _ => {
                let k = (!mask & 7).trailing_zeros() as usize;
                let [i, j] = others(k);
                &self.one[k][(held[i] * self.widths[j] + held[j]) * self.counts[k] + option[k]]
            }
        }
    }
}

/// Edges on which only `service` changes its option.
fn one_changes(plan: &Plan<'_>, service: usize) -> Vec<Edge> {
    let locals = &plan.layer.locals;
    let [i, j] = others(service);
    let mask = 7 & !(1 << service);
    let count = locals[service].options();
    let mut edges = vec![Edge::NONE; locals[i].len() * locals[j].len() * count];
    if !plan.possible(mask) {
        return edges;
    }
    // The local states of the service by CPU: a bound on CPU is then a prefix.
    let cpu_m = |local: &usize| locals[service].variants[*local].cpu_m;
    let mut order: Vec<usize> = (0..locals[service].len()).collect();
    order.sort_by_key(cpu_m);
    let sorted_m: Vec<u64> = order.iter().map(cpu_m).collect();
    edges.par_chunks_mut(locals[j].len() * count).enumerate().for_each_init(
        || Vec::with_capacity(order.len()),
        |prefixes: &mut Vec<[Source; 2]>, (held_i, edges)| {
            for (held_j, edges) in edges.chunks_exact_mut(count).enumerate() {
                let mut held = [0; SERVICES];
                held[i] = held_i;
                held[j] = held_j;
                prefixes.clear();
                let mut best = [Source::NONE; 2];
                let mut first = [Source::NONE; 2];
                for &local in &order {
                    held[service] = local;
                    let source = plan.layer.source(held);
                    keep_two(&mut best, source, service);
                    keep_two(&mut first, source.by_rank(), service);
                    prefixes.push(best);
                }
                if !best[0].exists() {
                    continue;
                }
                let mut action = [0; SERVICES];
                action[i] = locals[i].option[held_i];
                action[j] = locals[j].option[held_j];
                for (option, edge) in edges.iter_mut().enumerate() {
                    action[service] = option as u16;
                    let pick = |two: Option<&[Source; 2]>| match two {
                        None => Source::NONE,
                        Some([best, other]) if best.options[service] == option as u16 => *other,
                        Some([best, _]) => *best,
                    };
                    *edge = plan.edge(action, mask, held, pick(Some(&first)).rank, |limit_m| {
                        let fitting = limit_m.map_or(0, |limit_m| {
                            sorted_m.partition_point(|&cpu_m| cpu_m <= limit_m)
                        });
                        (pick(prefixes[..fitting].last()), pick(Some(&best)))
                    });
                }
            }
        },
    );
    edges
}

/// Keeps the best source, and the best whose option of `service` is another.
#[inline]
fn keep_two(two: &mut [Source; 2], source: Source, service: usize) {
    let [best, other] = two;
    let differs = source.options[service] != best.options[service];
    if source.beats(best) {
        if differs {
            *other = *best;
        }
        *best = source;
    } else if differs && source.beats(other) {
        *other = source;
    }
}

/// Edges on which only `service` keeps its option, and, where `all` is given, those on which none does.
fn two_change(plan: &Plan<'_>, service: usize, all: Option<&mut Vec<Edge>>) -> Vec<Edge> {
    let locals = &plan.layer.locals;
    let [i, j] = others(service);
    let mask = 1 << service;
    let counts = [locals[i].options(), locals[j].options()];
    let mut edges = vec![Edge::NONE; locals[service].len() * counts[0] * counts[1]];
    if !plan.possible(mask) {
        return edges;
    }
    let quota_m = plan.rules.quota_m();
    let sums = Sums::new(&[cpus(plan, i), cpus(plan, j)], quota_m);
    let all_sums = Sums::new(&[0, 1, 2].map(|k| cpus(plan, k)), quota_m);
    let merged = edges
        .par_chunks_mut(counts[0] * counts[1])
        .enumerate()
        .fold(
            || {
                let of_all = all.is_some().then(|| Buckets::new(&all_sums, 7));
                (Buckets::new(&sums, 7 & !mask), of_all)
            },
            |(mut buckets, mut of_all), (held_service, edges)| {
                let mut held = [0; SERVICES];
                held[service] = held_service;
                collect(plan, [i, j], held, &mut buckets);
                if let Some(of_all) = &mut of_all {
                    of_all.merge(&buckets, locals[service].variants[held_service].cpu_m);
                }
                buckets.accumulate();
                let mut action = [0; SERVICES];
                action[service] = locals[service].option[held_service];
                for (number, edge) in edges.iter_mut().enumerate() {
                    action[i] = (number / counts[1]) as u16;
                    action[j] = (number % counts[1]) as u16;
                    let first = buckets.first(&action);
                    *edge = plan
                        .edge(action, mask, held, first, |limit_m| buckets.best(&action, limit_m));
                }
                (buckets, of_all)
            },
        )
        .map(|(_, of_all)| of_all)
        .reduce(
            || None,
            |left, right| match (left, right) {
                (Some(mut left), Some(right)) => {
                    left.merge(&right, 0);
                    Some(left)
                }
                (left, right) => left.or(right),
            },
        );
    if let (Some(all), Some(mut buckets), true) = (all, merged, plan.possible(0)) {
        buckets.accumulate();
        all.par_iter_mut().enumerate().for_each(|(joint, edge)| {
            let action = plan.rules.joint_action(joint);
            let first = buckets.first(&action);
            *edge = plan
                .edge(action, 0, [0; SERVICES], first, |limit_m| buckets.best(&action, limit_m));
        });
    }
    edges
}

/// Fills `buckets` with all sources that have `held` in the one service beside `changing`.
fn collect(
    plan: &Plan<'_>,
    changing: [usize; 2],
    mut held: [usize; SERVICES],
    buckets: &mut Buckets<'_>,
) {
    let [i, j] = changing;
    let locals = &plan.layer.locals;
    buckets.clear();
    for (local_i, from_i) in locals[i].variants.iter().enumerate() {
        held[i] = local_i;
        for (local_j, from_j) in locals[j].variants.iter().enumerate() {
            held[j] = local_j;
            let source = plan.layer.source(held);
            if source.exists() {
                buckets.insert(from_i.cpu_m + from_j.cpu_m, &source);
            }
        }
    }
}

/// The distinct CPUs that a service can hold, millicores.
fn cpus(plan: &Plan<'_>, service: usize) -> Vec<u64> {
    let mut cpus: Vec<u64> =
        plan.layer.locals[service].variants.iter().map(|variant| variant.cpu_m).collect();
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}
