//! Synthetic traffic: rows of whole users within `low` and `high`, from a random stream and a few
//! numbers.
//!
//! With `span = high - low`, `i` the row from 0, `U` uniform in [0, 1), `N` standard normal (a new
//! draw at each use), and every row rounded half up and held within `low` and `high`:
//!
//! | kind | users of row `i` |
//! |---|---|
//! | `random` | a whole number, each of `low` to `high` equally likely |
//! | `steps` | as `random`, drawn once for every `period_rows` rows |
//! | `ramp` | `low + span * i / (rows - 1)` (a single row: `low`) |
//! | `diurnal` | `low + span * ((1 - cos(2 pi i / period_rows)) / 2 + noise * N)` |
//! | `bursts` | `low + span * b`, where `b` is `size` if `U < rate`, else half of the row before (0 at first) |
//! | `walk` | `w`, where `w` is `low + span * U` at first, then the row before plus `step * N`, reflected at `low` and `high` |
//!
//! A walk goes on from its unrounded value.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_distr::StandardNormal;

use super::round_half_up;
use crate::rng::Rng;
use crate::scenario::spec::GeneratorKind;

/// What is left of a burst in the next row.
const BURST_DECAY: f64 = 0.5;

/// The kinds of generated traffic, by name.
pub const KINDS: [(&str, GeneratorKind); 6] = [
    ("random", GeneratorKind::Random),
    ("steps", GeneratorKind::Steps),
    ("ramp", GeneratorKind::Ramp),
    ("diurnal", GeneratorKind::Diurnal),
    ("bursts", GeneratorKind::Bursts),
    ("walk", GeneratorKind::Walk),
];

/// The name of a kind.
pub fn kind_name(kind: GeneratorKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).expect("every kind is listed").0
}

/// The shape of generated traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Independent rows.
    Random,
    /// Levels that are held.
    Steps {
        /// Rows of one level, at least 1.
        period_rows: u32,
    },
    /// A straight line.
    Ramp,
    /// A daily wave.
    Diurnal {
        /// Rows of one day, at least 1.
        period_rows: u32,
        /// Standard deviation of the noise, as a share of `high - low`.
        noise: f64,
    },
    /// Sudden bursts that decay.
    Bursts {
        /// Probability that a burst begins in a row.
        rate: f64,
        /// Height of a burst, as a share of `high - low`.
        size: f64,
    },
    /// A reflected random walk.
    Walk {
        /// Standard deviation of one row's change, users.
        step: f64,
    },
}

/// Everything but the stream that determines generated rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Generator {
    /// The shape.
    pub shape: Shape,
    /// Rows to generate.
    pub rows: u32,
    /// Fewest users.
    pub low: u32,
    /// Most users, at least `low`.
    pub high: u32,
}

impl Generator {
    /// The rows that `rng` yields.
    pub fn generate(&self, rng: &mut Rng) -> Vec<f64> {
        let low = f64::from(self.low);
        let high = f64::from(self.high);
        let span = high - low;
        let mut state = 0.0;
        (0..self.rows)
            .map(|row| {
                let users = match self.shape {
                    Shape::Random => f64::from(rng.random_range(self.low..=self.high)),
                    Shape::Steps { period_rows } => {
                        if row % period_rows == 0 {
                            state = f64::from(rng.random_range(self.low..=self.high));
                        }
                        state
                    }
                    Shape::Ramp => {
                        low + span * f64::from(row) / f64::from(self.rows.saturating_sub(1).max(1))
                    }
                    Shape::Diurnal { period_rows, noise } => {
                        let angle = TAU * f64::from(row % period_rows) / f64::from(period_rows);
                        let draw: f64 = rng.sample(StandardNormal);
                        low + span * ((1.0 - angle.cos()) / 2.0 + noise * draw)
                    }
                    Shape::Bursts { rate, size } => {
                        state = if rng.random::<f64>() < rate { size } else { state * BURST_DECAY };
                        low + span * state
                    }
                    Shape::Walk { step } => {
                        state = if row == 0 {
                            low + span * rng.random::<f64>()
                        } else {
                            reflect(state + step * rng.sample::<f64, _>(StandardNormal), low, high)
                        };
                        state
                    }
                };
                round_half_up(users).clamp(low, high)
            })
            .collect()
    }
}

/// `value` folded back into [`low`, `high`] as between two mirrors.
fn reflect(value: f64, low: f64, high: f64) -> f64 {
    let span = high - low;
    if span == 0.0 {
        return low;
    }
    let folded = (value - low).rem_euclid(2.0 * span);
    low + if folded > span { 2.0 * span - folded } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;

    fn rows(shape: Shape, rows: u32, low: u32, high: u32, seed: u64) -> Vec<f64> {
        Generator { shape, rows, low, high }.generate(&mut Streams::new(seed).open("traffic/house"))
    }

    #[test]
    fn every_kind_repeats_by_seed_and_stays_within_its_bounds() {
        let shapes = [
            Shape::Random,
            Shape::Steps { period_rows: 5 },
            Shape::Ramp,
            Shape::Diurnal { period_rows: 20, noise: 0.3 },
            Shape::Bursts { rate: 0.2, size: 1.5 },
            Shape::Walk { step: 300.0 },
        ];
        for shape in shapes {
            for (low, high) in [(0, 0), (7, 7), (0, 1), (1, 100), (40, 4_000_000)] {
                let drawn = rows(shape, 300, low, high, 3);
                assert_eq!(drawn, rows(shape, 300, low, high, 3));
                let within = |users: &f64| {
                    users.fract() == 0.0 && (f64::from(low)..=f64::from(high)).contains(users)
                };
                assert!(drawn.iter().all(within), "{shape:?} {low}..{high}: {drawn:?}");
                if high == 100 && shape != Shape::Ramp {
                    assert_ne!(drawn, rows(shape, 300, low, high, 4), "{shape:?}");
                }
            }
        }
    }

    #[test]
    fn random_rows_reach_both_ends_equally_often() {
        let drawn = rows(Shape::Random, 60_000, 1, 6, 0);
        for users in 1..=6 {
            let count = drawn.iter().filter(|&&drawn| drawn == f64::from(users)).count();
            assert!((9_600..10_400).contains(&count), "{users}: {count}");
        }
    }

    #[test]
    fn shapes_follow_their_formulas() {
        assert_eq!(rows(Shape::Ramp, 5, 0, 10, 0), [0.0, 3.0, 5.0, 8.0, 10.0]);
        assert_eq!(rows(Shape::Ramp, 1, 4, 10, 0), [4.0]);
        let wave = rows(Shape::Diurnal { period_rows: 4, noise: 0.0 }, 6, 10, 110, 0);
        assert_eq!(wave, [10.0, 60.0, 110.0, 60.0, 10.0, 60.0]);
        let levels = rows(Shape::Steps { period_rows: 3 }, 7, 1, 1_000_000, 0);
        assert!(levels[0] == levels[2] && levels[3] == levels[5]);
        assert!(levels[2] != levels[3] && levels[5] != levels[6]);
        assert_eq!(rows(Shape::Bursts { rate: 0.0, size: 1.0 }, 3, 5, 9, 0), [5.0; 3]);
        assert_eq!(rows(Shape::Bursts { rate: 1.0, size: 0.5 }, 3, 0, 100, 0), [50.0; 3]);
        let bursts = rows(Shape::Bursts { rate: 0.2, size: 0.8 }, 100, 0, 100, 0);
        let start = bursts.windows(4).find(|w| w[..3] == [80.0, 40.0, 20.0] && w[3] == 10.0);
        assert!(start.is_some(), "{bursts:?}");
        assert_eq!(reflect(12.0, 0.0, 10.0), 8.0);
        assert_eq!(reflect(-3.0, 0.0, 10.0), 3.0);
        assert_eq!(reflect(27.0, 0.0, 10.0), 7.0);
    }
}
