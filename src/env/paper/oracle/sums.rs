//! Sources sorted by the CPU that they hold, so that the best within a bound can be asked for.

use super::best::{Source, Summary, nodes, query};
use crate::env::paper::state::Action;

/// Buckets for sums of CPU: one for each distinct sum up to the quota, and one for all above.
pub(super) struct Sums {
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
    pub fn new(cpus: &[Vec<u64>], quota_m: u64) -> Self {
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
}

/// For each sum of CPU a summary of the sources that hold it; besides, one of all by their ranks alone.
pub(super) struct Buckets<'a> {
    sums: &'a Sums,
    /// Services whose options can be avoided.
    mask: u8,
    size: usize,
    by_cpu: Vec<Source>,
    by_rank: Vec<Source>,
}

impl<'a> Buckets<'a> {
    pub fn new(sums: &'a Sums, mask: u8) -> Self {
        let size = nodes(mask.count_ones() as usize);
        let by_cpu = vec![Source::NONE; sums.buckets() * size];
        Self { sums, mask, size, by_cpu, by_rank: vec![Source::NONE; size] }
    }

    pub fn clear(&mut self) {
        self.by_cpu.fill(Source::NONE);
        self.by_rank.fill(Source::NONE);
    }

    /// Adds a source that holds `sum_m` in the services of the sums.
    #[inline]
    pub fn insert(&mut self, sum_m: u64, source: &Source) {
        let start = self.sums.bucket(sum_m) * self.size;
        let nodes = &mut self.by_cpu[start..start + self.size];
        Summary { nodes, mask: self.mask }.insert(source);
        Summary { nodes: &mut self.by_rank, mask: self.mask }.insert(&source.by_rank());
    }

    /// Adds what `other` keeps, whose sums leave out `more_m`.
    pub fn merge(&mut self, other: &Buckets<'_>, more_m: u64) {
        for (number, bucket) in other.by_cpu.chunks_exact(other.size).enumerate() {
            let sum_m = other.sums.sums_m.get(number).map_or(u64::MAX, |sum_m| sum_m + more_m);
            let start = self.sums.bucket(sum_m) * self.size;
            let nodes = &mut self.by_cpu[start..start + self.size];
            Summary { nodes, mask: self.mask }.merge(bucket);
        }
        Summary { nodes: &mut self.by_rank, mask: self.mask }.merge(&other.by_rank);
    }

    /// Makes every bucket stand for all sources of the buckets up to it, too.
    pub fn accumulate(&mut self) {
        for start in (self.size..self.by_cpu.len()).step_by(self.size) {
            let (before, rest) = self.by_cpu.split_at_mut(start);
            let nodes = &mut rest[..self.size];
            Summary { nodes, mask: self.mask }.merge(&before[start - self.size..]);
        }
    }

    /// Of accumulated buckets: the best source that holds at most `limit_m` and the best of all, with
    /// options other than `avoid`.
    #[inline]
    pub fn best(&self, avoid: &Action, limit_m: Option<u64>) -> (Source, Source) {
        let fitting = match limit_m.and_then(|limit_m| self.sums.up_to(limit_m).checked_sub(1)) {
            Some(bucket) => {
                let start = bucket * self.size;
                *query(&self.by_cpu[start..start + self.size], self.mask, avoid)
            }
            None => Source::NONE,
        };
        let last = self.by_cpu.len() - self.size;
        (fitting, *query(&self.by_cpu[last..], self.mask, avoid))
    }

    /// The lowest rank of all sources with options other than `avoid`.
    #[inline]
    pub fn first(&self, avoid: &Action) -> u32 {
        query(&self.by_rank, self.mask, avoid).rank
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
