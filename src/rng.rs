//! Named random streams of one master seed.
//!
//! Every random number of the program comes from a stream `(master seed, name, index)`. Streams do
//! not depend on each other, on the order in which they are opened, or on threads: so the cold
//! starts of one service stay what they are when another policy draws more numbers than before.
//!
//! The key of a stream is SHA-256 over the seed, the name and the index; the generator is ChaCha8,
//! whose output is the same on every platform.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator behind every stream.
pub type Rng = ChaCha8Rng;

/// The streams of one master seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The master seed.
    pub fn seed(self) -> u64 {
        self.seed
    }

    /// Opens the stream `name`.
    pub fn open(self, name: &str) -> Rng {
        self.open_indexed(name, 0)
    }

    /// Opens stream number `index` of those called `name` (for example one per environment).
    pub fn open_indexed(self, name: &str, index: u64) -> Rng {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(index.to_le_bytes());
        hash.update(name.as_bytes());
        Rng::from_seed(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::Rng as _;

    use super::*;

    #[test]
    fn a_stream_repeats_and_differs_from_its_neighbours() {
        let first = |seed: u64, name: &str, index: u64| {
            Streams::new(seed).open_indexed(name, index).next_u64()
        };
        assert_eq!(first(1, "traffic", 0), first(1, "traffic", 0));
        let mut seen = HashSet::new();
        for seed in 0..20 {
            for name in ["traffic", "train-traffic", "cold-start"] {
                for index in 0..5 {
                    assert!(seen.insert(first(seed, name, index)));
                }
            }
        }
    }
}
