//! The value of a state that a step leaves behind.

use crate::env::paper::SERVICES;
use crate::nn::flat::relu_unit_sums;

/// Units of the hidden layer.
pub const UNITS: usize = 32;

/// Values are fitted in thousands of reward points.
pub(super) const UNIT: f64 = 1000.0;

/// V = offset + sum over units of weight * max(0, bias + the embeddings of the services), in reward
/// points.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueFunction {
    /// One row for every state of a service, R.
    pub(super) embeddings: Vec<[f32; UNITS]>,
    pub(super) bias: [f32; UNITS],
    pub(super) weights: [f32; UNITS],
    pub(super) offset: f32,
}

/// Values of many states at once, as joint actions leave them; buffers are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct JointValues {
    /// Hidden inputs of the last service alone, [UNITS, options].
    last: Vec<f32>,
    /// Of the two last services, [UNITS, options of both].
    pairs: Vec<f32>,
    sums: Vec<f32>,
}

impl ValueFunction {
    /// The value of a state, given the row of each service.
    #[inline]
    pub fn value(&self, rows: [usize; SERVICES]) -> f64 {
        let [first, second, third] = rows.map(|row| &self.embeddings[row]);
        let mut sum = 0.0_f32;
        for unit in 0..UNITS {
            // In the order of `values`, so that both give the same bits.
            let input = (self.bias[unit] + first[unit]) + (second[unit] + third[unit]);
            sum += self.weights[unit] * if input > 0.0 { input } else { 0.0 };
        }
        self.in_points(sum)
    }

    /// The values of the states of every combination of rows, one row of each service, the last service
    /// varying fastest: `take` is given each one's index and value.
    pub(super) fn values(
        &self,
        rows: [&[usize]; SERVICES],
        space: &mut JointValues,
        mut take: impl FnMut(usize, f64),
    ) {
        let [first, second, third] = rows;
        let pairs = second.len() * third.len();
        space.last.resize(UNITS * third.len(), 0.0);
        space.pairs.resize(UNITS * pairs, 0.0);
        space.sums.resize(pairs, 0.0);
        for (column, &row) in third.iter().enumerate() {
            for (unit, &number) in self.embeddings[row].iter().enumerate() {
                space.last[unit * third.len() + column] = number;
            }
        }
        let last = space.last.chunks_exact(third.len());
        for (unit, (pairs, last)) in space.pairs.chunks_exact_mut(pairs).zip(last).enumerate() {
            for (pairs, &row) in pairs.chunks_exact_mut(third.len()).zip(second) {
                let own = self.embeddings[row][unit];
                for (pair, &last) in pairs.iter_mut().zip(last) {
                    *pair = own + last;
                }
            }
        }
        for (index, &row) in first.iter().enumerate() {
            let own = &self.embeddings[row];
            let shifts: [f32; UNITS] = std::array::from_fn(|unit| self.bias[unit] + own[unit]);
            relu_unit_sums(&mut space.sums, &space.pairs, &shifts, &self.weights);
            for (pair, &sum) in space.sums.iter().enumerate() {
                take(index * pairs + pair, self.in_points(sum));
            }
        }
    }

    #[inline]
    fn in_points(&self, sum: f32) -> f64 {
        UNIT * f64::from(self.offset + sum)
    }
}
