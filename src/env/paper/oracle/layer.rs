//! All states that can be reached after a number of steps, stored densely.

use super::best::Source;
use crate::env::paper::rules::PaperRules;
use crate::env::paper::state::{Action, PaperState, SERVICES};

/// Pods and CPU that a service can have under one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variant {
    pub pods: u32,
    pub cpu_m: u64,
}

/// The states that one service can be in by itself (*local states*), grouped by option.
#[derive(Clone, Debug)]
pub(super) struct Locals {
    pub variants: Vec<Variant>,
    /// Option of each local state.
    pub option: Vec<u16>,
    /// First local state of each option, and the end.
    pub first: Vec<usize>,
}

impl Locals {
    /// From the variants of each option, in any order and with repetitions.
    pub fn new(by_option: Vec<Vec<Variant>>) -> Self {
        let mut locals = Self { variants: Vec::new(), option: Vec::new(), first: vec![0] };
        for (option, mut variants) in by_option.into_iter().enumerate() {
            variants.sort_unstable();
            variants.dedup();
            locals.option.extend(variants.iter().map(|_| option as u16));
            locals.variants.append(&mut variants);
            locals.first.push(locals.variants.len());
        }
        locals
    }

    pub fn len(&self) -> usize {
        self.variants.len()
    }

    pub fn options(&self) -> usize {
        self.first.len() - 1
    }

    /// The local states of `option`.
    pub fn of(&self, option: u16) -> std::ops::Range<usize> {
        self.first[usize::from(option)]..self.first[usize::from(option) + 1]
    }

    /// Position of `variant` among those of `option`.
    pub fn position(&self, option: u16, variant: Variant) -> usize {
        self.variants[self.of(option)].binary_search(&variant).expect("every variant is listed")
    }
}

/// One step's states: the product of the local states, a block for each joint action. Not every
/// cell need be reachable.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub locals: [Locals; SERVICES],
    /// First cell of each block, and the end.
    pub blocks: Vec<usize>,
    /// Best total reward so far.
    pub values: Vec<f64>,
    /// Place in the order in which a plain search discovers the states; [`u32::MAX`]: not reachable.
    pub ranks: Vec<u32>,
    /// Reachable states.
    pub states: usize,
}

impl Layer {
    /// The layer of a single state.
    pub fn of(rules: &PaperRules, state: &PaperState) -> Self {
        let mut service = 0;
        let locals = rules.option_counts().map(|count| {
            let mut by_option = vec![Vec::new(); count];
            by_option[usize::from(state.options[service])]
                .push(Variant { pods: state.pods[service], cpu_m: state.cpu_m[service] });
            service += 1;
            Locals::new(by_option)
        });
        let blocks = blocks(&locals);
        Self { locals, blocks, values: vec![0.0], ranks: vec![0], states: 1 }
    }

    /// Number of the block of `options`.
    pub fn joint(&self, options: Action) -> usize {
        let [a, b, c] = options.map(usize::from);
        (a * self.locals[1].options() + b) * self.locals[2].options() + c
    }

    /// The state made of three local states.
    #[inline]
    pub fn source(&self, local: [usize; SERVICES]) -> Source {
        let mut options = [0; SERVICES];
        for service in 0..SERVICES {
            options[service] = self.locals[service].option[local[service]];
        }
        let mut cell = 0;
        for service in 0..SERVICES {
            let range = self.locals[service].of(options[service]);
            cell = cell * range.len() + local[service] - range.start;
        }
        let cell = self.blocks[self.joint(options)] + cell;
        Source { value: self.values[cell], rank: self.ranks[cell], cell: cell as u32, options }
    }

    /// Bytes of the cells.
    pub fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice()) + size_of_val(self.ranks.as_slice())
    }
}

/// First cell of each block, and the end.
pub(super) fn blocks(locals: &[Locals; SERVICES]) -> Vec<usize> {
    let [first, second, third] = locals;
    let mut blocks = vec![0];
    let mut end = 0;
    for a in 0..first.options() as u16 {
        for b in 0..second.options() as u16 {
            for c in 0..third.options() as u16 {
                end += first.of(a).len() * second.of(b).len() * third.of(c).len();
                blocks.push(end);
            }
        }
    }
    blocks
}
