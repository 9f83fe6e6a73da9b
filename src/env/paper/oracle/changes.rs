//! The best ways to every decision that changes the option of at least one service.

use rayon::prelude::*;

use super::best::{MOST_NODES, Source, Summary, nodes, query};
use super::plan::{Edge, Plan};
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
        |prefix: &mut Vec<[Source; 2]>, (held_i, edges)| {
            for (held_j, edges) in edges.chunks_exact_mut(count).enumerate() {
                let mut held = [0; SERVICES];
                held[i] = held_i;
                held[j] = held_j;
                // The best of each prefix, and the best whose option is another.
                prefix.clear();
                let [mut best, mut other] = [Source::NONE; 2];
                for &local in &order {
                    held[service] = local;
                    let source = plan.layer.source(held);
                    if source.beats(&best) {
                        if source.options[service] != best.options[service] {
                            other = best;
                        }
                        best = source;
                    } else if source.options[service] != best.options[service]
                        && source.beats(&other)
                    {
                        other = source;
                    }
                    prefix.push([best, other]);
                }
                if !best.exists() {
                    continue;
                }
                let mut action = [0; SERVICES];
                action[i] = locals[i].option[held_i];
                action[j] = locals[j].option[held_j];
                for (option, edge) in edges.iter_mut().enumerate() {
                    action[service] = option as u16;
                    let pick = |end: usize| match end.checked_sub(1).map(|last| &prefix[last]) {
                        None => Source::NONE,
                        Some([best, other]) if best.options[service] == action[service] => *other,
                        Some([best, _]) => *best,
                    };
                    *edge = plan.edge(action, mask, held, |limit| {
                        let end =
                            limit.map_or(0, |limit| sorted_m.partition_point(|&m| m <= limit));
                        (pick(end), pick(prefix.len()))
                    });
                }
            }
        },
    );
    edges
}

/// Edges on which only `service` keeps its option, and, where `all` is given, those on which none does.
fn two_change(plan: &Plan<'_>, service: usize, all: Option<&mut Vec<Edge>>) -> Vec<Edge> {
    let locals = &plan.layer.locals;
    let [i, j] = others(service);
    let mask = 1 << service;
    let avoided = 7 & !mask;
    let counts = [locals[i].options(), locals[j].options()];
    let mut edges = vec![Edge::NONE; locals[service].len() * counts[0] * counts[1]];
    if !plan.possible(mask) {
        return edges;
    }
    let sums = Sums::new(&[cpus(plan, i), cpus(plan, j)], plan.rules.quota_m());
    let all_sums = all.is_some().then(|| {
        let cpus = [0, 1, 2].map(|k| cpus(plan, k));
        Sums::new(&cpus, plan.rules.quota_m())
    });
    let merged = edges
        .par_chunks_mut(counts[0] * counts[1])
        .enumerate()
        .fold(
            || {
                let of_all = all_sums.as_ref().map_or(0, Sums::buckets) * MOST_NODES;
                (vec![Source::NONE; sums.buckets() * nodes(2)], vec![Source::NONE; of_all])
            },
            |(mut buckets, mut of_all), (held_service, edges)| {
                buckets.fill(Source::NONE);
                let mut held = [0; SERVICES];
                held[service] = held_service;
                collect(plan, [i, j], held, &sums, &mut buckets);
                if let Some(all_sums) = &all_sums {
                    let own_m = locals[service].variants[held_service].cpu_m;
                    for (number, bucket) in buckets.chunks_exact(nodes(2)).enumerate() {
                        let into = sums
                            .sum(number)
                            .map_or(all_sums.buckets() - 1, |sum_m| all_sums.bucket(sum_m + own_m))
                            * MOST_NODES;
                        let nodes = &mut of_all[into..into + MOST_NODES];
                        Summary { nodes, mask: 7 }.merge(bucket);
                    }
                }
                accumulate(&mut buckets, nodes(2), avoided);
                let mut action = [0; SERVICES];
                action[service] = locals[service].option[held_service];
                for (number, edge) in edges.iter_mut().enumerate() {
                    action[i] = (number / counts[1]) as u16;
                    action[j] = (number % counts[1]) as u16;
                    *edge = plan.edge(action, mask, held, |limit| {
                        sums.pick(&buckets, nodes(2), avoided, &action, limit)
                    });
                }
                (buckets, of_all)
            },
        )
        .map(|(_, of_all)| of_all)
        .reduce(Vec::new, |mut left, right| {
            if left.is_empty() {
                return right;
            }
            let pairs = left.chunks_exact_mut(MOST_NODES).zip(right.chunks_exact(MOST_NODES));
            pairs.for_each(|(nodes, other)| Summary { nodes, mask: 7 }.merge(other));
            left
        });
    if let (Some(all), Some(sums), true) = (all, &all_sums, plan.possible(0)) {
        let mut buckets = merged;
        accumulate(&mut buckets, MOST_NODES, 7);
        all.par_iter_mut().enumerate().for_each(|(joint, edge)| {
            let action = plan.rules.joint_action(joint);
            *edge = plan.edge(action, 0, [0; SERVICES], |limit| {
                sums.pick(&buckets, MOST_NODES, 7, &action, limit)
            });
        });
    }
    edges
}

/// Sorts all sources with `held` in the one service that `changing` leaves out into `buckets`.
fn collect(
    plan: &Plan<'_>,
    changing: [usize; 2],
    mut held: [usize; SERVICES],
    sums: &Sums,
    buckets: &mut [Source],
) {
    let [i, j] = changing;
    let locals = &plan.layer.locals;
    let mask = 1 << i | 1 << j;
    for (local_i, from_i) in locals[i].variants.iter().enumerate() {
        held[i] = local_i;
        for (local_j, from_j) in locals[j].variants.iter().enumerate() {
            held[j] = local_j;
            let source = plan.layer.source(held);
            if source.exists() {
                let start = sums.bucket(from_i.cpu_m + from_j.cpu_m) * nodes(2);
                let nodes = &mut buckets[start..start + nodes(2)];
                Summary { nodes, mask }.insert(&source);
            }
        }
    }
}

/// Makes every bucket stand for all sources of the buckets up to it.
fn accumulate(buckets: &mut [Source], size: usize, mask: u8) {
    for start in (size..buckets.len()).step_by(size) {
        let (before, rest) = buckets.split_at_mut(start);
        Summary { nodes: &mut rest[..size], mask }.merge(&before[start - size..]);
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

/// Buckets for sums of CPU: one for each distinct sum up to the quota, and one for all above.
struct Sums {
    /// Millicores, ascending.
    sums_m: Vec<u64>,
    /// Greatest common divisor of the sums, millicores.
    grain_m: f64,
    /// Number of sums up to each multiple of the grain.
    up_to: Vec<u32>,
}

/// Above so many multiples of the grain a sum is looked for rather than looked up.
const MOST_MULTIPLES: u64 = 1 << 16;

impl Sums {
    fn new(cpus: &[Vec<u64>], quota_m: u64) -> Self {
        let mut sums_m = vec![0];
        for cpus in cpus {
            let mut next: Vec<u64> =
                sums_m.iter().flat_map(|sum| cpus.iter().map(move |cpu| sum + cpu)).collect();
            next.retain(|&sum| sum <= quota_m);
            next.sort_unstable();
            next.dedup();
            sums_m = next;
        }
        let grain_m = sums_m.iter().copied().fold(0, gcd).max(1);
        let mut up_to = Vec::new();
        if quota_m / grain_m <= MOST_MULTIPLES {
            up_to.resize((quota_m / grain_m + 1) as usize, 0);
            for sum in &sums_m {
                up_to[(sum / grain_m) as usize] = 1;
            }
            let mut count = 0;
            for entry in &mut up_to {
                count += *entry;
                *entry = count;
            }
        }
        Self { sums_m, grain_m: grain_m as f64, up_to }
    }

    fn buckets(&self) -> usize {
        self.sums_m.len() + 1
    }

    /// The sum of a bucket; `None` for the one above the quota.
    fn sum(&self, bucket: usize) -> Option<u64> {
        self.sums_m.get(bucket).copied()
    }

    /// Number of sums up to `limit_m`.
    #[inline]
    fn up_to(&self, limit_m: u64) -> usize {
        // Exact: below 2^53, half a millicore keeps the quotient of multiples off the edge.
        let multiple = ((limit_m as f64 + 0.5) / self.grain_m) as usize;
        match self.up_to.get(multiple) {
            Some(&count) => count as usize,
            None => self.sums_m.partition_point(|&sum| sum <= limit_m),
        }
    }

    /// The bucket of a sum.
    #[inline]
    fn bucket(&self, sum_m: u64) -> usize {
        match self.up_to(sum_m).checked_sub(1) {
            Some(bucket) if self.sums_m[bucket] == sum_m => bucket,
            _ => self.sums_m.len(),
        }
    }

    /// The best source within `limit` and the best of all, from accumulated buckets.
    #[inline]
    fn pick(
        &self,
        buckets: &[Source],
        size: usize,
        mask: u8,
        avoid: &[u16; SERVICES],
        limit: Option<u64>,
    ) -> (Source, Source) {
        let fitting = match limit.and_then(|limit_m| self.up_to(limit_m).checked_sub(1)) {
            Some(bucket) => *query(&buckets[bucket * size..(bucket + 1) * size], mask, avoid),
            None => Source::NONE,
        };
        let last = buckets.len() - size;
        (fitting, *query(&buckets[last..], mask, avoid))
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
