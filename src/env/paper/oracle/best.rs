//! The best source state that avoids given options: a small exact summary of many states.

use super::Joint;

/// A source state, with all that decides which of several is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Source {
    /// Total reward so far.
    pub value: f64,
    /// Place in the order of discovery; [`u32::MAX`]: no source.
    pub rank: u32,
    /// Cell in its layer.
    pub cell: u32,
    /// Options in force.
    pub options: Joint,
}

impl Source {
    pub const NONE: Self =
        Self { value: f64::NEG_INFINITY, rank: u32::MAX, cell: u32::MAX, options: [0; 3] };

    /// The same source, to be judged by its rank alone.
    pub fn by_rank(self) -> Self {
        Self { value: if self.exists() { 0.0 } else { f64::NEG_INFINITY }, ..self }
    }

    pub fn exists(&self) -> bool {
        self.rank != u32::MAX
    }

    /// Higher value, then lower rank.
    #[inline]
    pub fn beats(&self, other: &Self) -> bool {
        self.value > other.value || (self.value == other.value && self.rank < other.rank)
    }
}

/// Nodes of the largest summary (three services avoid an option).
pub(super) const MOST_NODES: usize = nodes(3);

/// Nodes of a summary for `services` services.
pub(super) const fn nodes(services: usize) -> usize {
    let mut count = 1;
    let mut level = 1;
    while level <= services {
        count = 1 + level * count;
        level += 1;
    }
    count
}

/// Answers "the best of a set of sources whose option differs from `avoid` in every service of
/// `mask`" for every `avoid`, exactly, from a handful of sources however large the set is.
///
/// A tree laid out flat: the root is the best of the set; its child for service k the same for those
/// of the set whose option of k differs from the root's, over the services that remain. A query
/// follows the child of a service in which the node has the option to be avoided. The sources kept
/// for two sets answer every query over their union, so summaries can be merged.
pub(super) struct Summary<'a> {
    pub nodes: &'a mut [Source],
    pub mask: u8,
}

impl Summary<'_> {
    /// Adds a source.
    #[inline]
    pub fn insert(&mut self, source: &Source) {
        // Most sources are worse than everything kept. An empty node makes this fail, as it has to.
        if self.nodes.iter().all(|kept| kept.beats(source)) {
            return;
        }
        self.insert_better(source);
    }

    /// Adds all that another summary of the same services keeps.
    pub fn merge(&mut self, other: &[Source]) {
        for source in other.iter().filter(|source| source.exists()) {
            self.insert(source);
        }
    }

    fn insert_better(&mut self, source: &Source) {
        if !changes(self.nodes, self.mask, source) {
            return;
        }
        let mut pool = [Source::NONE; MOST_NODES + 1];
        let count = self.nodes.len();
        pool[..count].copy_from_slice(self.nodes);
        pool[count] = *source;
        rebuild(self.nodes, self.mask, &pool[..=count], 0, &mut [0; 3]);
    }
}

/// Whether `source` would stand in some node.
fn changes(nodes: &[Source], mask: u8, source: &Source) -> bool {
    let root = &nodes[0];
    if source.rank == root.rank {
        return false;
    }
    if source.beats(root) {
        return true;
    }
    children(mask).any(|(service, offset, rest)| {
        source.options[service] != root.options[service] && changes(&nodes[offset..], rest, source)
    })
}

/// Fills the tree from `pool`, whose options must differ from `avoid` in the services of `avoiding`.
fn rebuild(nodes: &mut [Source], mask: u8, pool: &[Source], avoiding: u8, avoid: &mut [u16; 3]) {
    let mut best = Source::NONE;
    for source in pool.iter().filter(|source| source.exists()) {
        let allowed = services(avoiding).all(|service| source.options[service] != avoid[service]);
        if allowed && source.beats(&best) {
            best = *source;
        }
    }
    nodes[0] = best;
    for (service, offset, rest) in children(mask) {
        let child = &mut nodes[offset..offset + nodes_of(rest)];
        if best.exists() {
            avoid[service] = best.options[service];
            rebuild(child, rest, pool, avoiding | 1 << service, avoid);
        } else {
            child.fill(Source::NONE);
        }
    }
}

/// The best source whose options differ from `avoid` in all services of `mask`.
#[inline]
pub(super) fn query<'a>(nodes: &'a [Source], mut mask: u8, avoid: &Joint) -> &'a Source {
    let mut nodes = nodes;
    'node: loop {
        let root = &nodes[0];
        for (service, offset, rest) in children(mask) {
            if root.options[service] == avoid[service] {
                nodes = &nodes[offset..];
                mask = rest;
                continue 'node;
            }
        }
        return root;
    }
}

/// Service, offset in the flat tree and remaining services of each child.
fn children(mask: u8) -> impl Iterator<Item = (usize, usize, u8)> {
    let size = nodes(mask.count_ones().saturating_sub(1) as usize);
    services(mask)
        .enumerate()
        .map(move |(position, service)| (service, 1 + position * size, mask & !(1 << service)))
}

fn nodes_of(mask: u8) -> usize {
    nodes(mask.count_ones() as usize)
}

/// The services of a mask.
pub(super) fn services(mask: u8) -> impl Iterator<Item = usize> {
    (0..3).filter(move |service| mask >> service & 1 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_summary_answers_like_the_whole_set(
            set in prop::collection::vec((0..6u32, [0..4u16, 0..3u16, 0..3u16]), 0..40),
            split in 0..40usize,
            mask in 1..8u8,
        ) {
            let sources: Vec<Source> = set
                .iter()
                .enumerate()
                .map(|(rank, &(value, options))| Source {
                    value: f64::from(value),
                    rank: rank as u32,
                    cell: rank as u32,
                    options,
                })
                .collect();
            let build = |sources: &[Source]| {
                let mut nodes = vec![Source::NONE; nodes_of(mask)];
                let mut summary = Summary { nodes: &mut nodes, mask };
                sources.iter().for_each(|source| summary.insert(source));
                nodes
            };
            let whole = build(&sources);
            let (left, right) = sources.split_at(split.min(sources.len()));
            let mut merged = build(right);
            Summary { nodes: &mut merged, mask }.merge(&build(left));
            for a in 0..4 {
                for b in 0..3 {
                    for c in 0..3 {
                        let avoid = [a, b, c];
                        let mut best = Source::NONE;
                        for source in &sources {
                            let apart = services(mask).all(|k| source.options[k] != avoid[k]);
                            if apart && source.beats(&best) {
                                best = *source;
                            }
                        }
                        prop_assert_eq!(query(&whole, mask, &avoid).cell, best.cell);
                        prop_assert_eq!(query(&merged, mask, &avoid).cell, best.cell);
                    }
                }
            }
        }
    }
}
