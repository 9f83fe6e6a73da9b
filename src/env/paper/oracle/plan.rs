//! What one step does to each service by itself, and what follows for all together.

use super::best::Source;
use super::layer::{Layer, Locals, Variant};
use crate::env::paper::rules::{Need, PaperRules, Share};
use crate::env::paper::state::{Action, SERVICES};

/// The best way found into a state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// Total reward with it.
    pub value: f64,
    /// Total reward before.
    pub before: f64,
    /// Cell of the state before.
    pub parent: u32,
    /// Rank of the state before; [`u32::MAX`]: no way.
    pub rank: u32,
    /// Lowest rank of all states before that lead there: what the order of discovery follows from.
    pub first: u32,
    /// The shrink decision on it.
    pub shrink: bool,
}

impl Edge {
    pub const NONE: Self = Self {
        value: f64::NEG_INFINITY,
        before: f64::NEG_INFINITY,
        parent: u32::MAX,
        rank: u32::MAX,
        first: u32::MAX,
        shrink: false,
    };

    pub fn exists(&self) -> bool {
        self.rank != u32::MAX
    }

    /// Higher total; on ties the higher total before, then the lower rank. (Different totals before
    /// can become equal by rounding; the summaries of sources do not keep the lower ones.)
    #[inline]
    pub fn beats(&self, other: &Self) -> bool {
        if self.value != other.value {
            return self.value > other.value;
        }
        if self.before != other.before {
            return self.before > other.before;
        }
        self.rank < other.rank
    }
}

/// A service that keeps its option, from one local state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Without and with the shrink decision.
    pub shares: [Share; 2],
    /// Where that leads among the next local states of the option.
    pub next: [usize; 2],
    pub decreasing: bool,
}

/// A service that takes a new option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub need: Need,
    pub share: Share,
    /// Where that leads among the next local states of the option.
    pub next: usize,
}

/// One step from one layer.
pub(super) struct Plan<'a> {
    pub rules: &'a PaperRules,
    pub layer: &'a Layer,
    /// By local state.
    pub held: [Vec<Held>; SERVICES],
    /// By option.
    pub fresh: [Vec<Fresh>; SERVICES],
    pub next: [Locals; SERVICES],
    /// Whether the reward is the truncating step's own.
    pub last_rule: bool,
}

impl<'a> Plan<'a> {
    pub fn new(
        rules: &'a PaperRules,
        layer: &'a Layer,
        users: [u32; SERVICES],
        last_rule: bool,
    ) -> Self {
        let mut plan = Self {
            rules,
            layer,
            held: Default::default(),
            fresh: Default::default(),
            next: [0; SERVICES].map(|_| Locals::new(Vec::new())),
            last_rule,
        };
        for (service, users) in users.into_iter().enumerate() {
            plan.add_service(service, users);
        }
        plan
    }

    fn add_service(&mut self, service: usize, users: u32) {
        let locals = &self.layer.locals[service];
        let options = locals.options();
        let variant = |share: Share| Variant { pods: share.pods, cpu_m: share.cpu_m };
        let mut by_option = vec![Vec::new(); options];
        let needs: Vec<Need> =
            (0..options as u16).map(|option| self.rules.need(service, option, users)).collect();
        let mut held = Vec::with_capacity(locals.len());
        for (from, &option) in locals.variants.iter().zip(&locals.option) {
            let need = needs[usize::from(option)];
            let shares = [false, true].map(|shrink| {
                self.rules.hold(service, option, need, from.pods, from.cpu_m, shrink)
            });
            by_option[usize::from(option)].extend(shares.map(variant));
            held.push((option, shares, need.pods < from.pods));
        }
        for (option, &need) in needs.iter().enumerate() {
            by_option[option].push(variant(PaperRules::renew(need)));
        }
        let next = Locals::new(by_option);
        self.held[service] = held
            .into_iter()
            .map(|(option, shares, decreasing)| Held {
                shares,
                next: shares.map(|share| next.position(option, variant(share))),
                decreasing,
            })
            .collect();
        self.fresh[service] = needs
            .into_iter()
            .enumerate()
            .map(|(option, need)| {
                let share = PaperRules::renew(need);
                Fresh { need, share, next: next.position(option as u16, variant(share)) }
            })
            .collect();
        self.next[service] = next;
    }

    /// Whether every service outside `mask` has an option to change to.
    pub fn possible(&self, mask: u8) -> bool {
        (0..SERVICES).all(|k| mask >> k & 1 == 1 || self.layer.locals[k].options() > 1)
    }

    /// The best way to take `action` when exactly the services of `mask` keep their option, from the
    /// local states `held` (entries of other services are not read). `sources` is asked for the best
    /// state before, once among those whose other services hold at most so much CPU (`None`: no
    /// amount is little enough), once among all; `first` is the lowest rank among all.
    ///
    /// The reward depends on the state before only through that bound, and adding a reward keeps the
    /// order of totals even when it rounds: so the best total follows from these two.
    #[inline]
    pub fn edge(
        &self,
        action: Action,
        mask: u8,
        held: [usize; SERVICES],
        first: u32,
        sources: impl FnOnce(Option<u64>) -> (Source, Source),
    ) -> Edge {
        let mut decreasing = [false; SERVICES];
        let mut held_m = [0; SERVICES];
        let mut whole_m = [0; SERVICES];
        for k in 0..SERVICES {
            whole_m[k] = self.fresh[k][usize::from(action[k])].need.whole_m;
            if mask >> k & 1 == 1 {
                held_m[k] = self.layer.locals[k].variants[held[k]].cpu_m;
                decreasing[k] = self.held[k][held[k]].decreasing;
            }
        }
        let shrink = self.rules.shrinks(decreasing, held_m, whole_m);
        let mut cpu_m = 0;
        let mut overlap_m = 0;
        let mut single = true;
        for k in 0..SERVICES {
            let share = if mask >> k & 1 == 1 {
                self.held[k][held[k]].shares[usize::from(shrink)]
            } else {
                self.fresh[k][usize::from(action[k])].share
            };
            cpu_m += share.cpu_m;
            overlap_m += held_m[k] + share.added_m;
            single &= share.single;
        }
        let limit = if self.last_rule { None } else { self.rules.quota_m().checked_sub(overlap_m) };
        let (fitting, any) = sources(limit);
        let ratios = self.rules.slo_ratios(action);
        let edge = |source: Source, fits: bool| {
            if !source.exists() {
                return Edge::NONE;
            }
            let reward = self.rules.scaled(self.rules.reward(ratios, cpu_m, fits, single));
            Edge {
                value: source.value + reward,
                before: source.value,
                parent: source.cell,
                rank: source.rank,
                first,
                shrink,
            }
        };
        let (fitting, any) = (edge(fitting, true), edge(any, false));
        if any.beats(&fitting) { any } else { fitting }
    }
}
