//! The value of a state that a step leaves behind.

use crate::env::paper::SERVICES;

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

impl ValueFunction {
    /// The hidden layer before its activation, without the last service.
    #[inline]
    pub(super) fn partial(&self, first: usize, second: usize) -> [f32; UNITS] {
        let (first, second) = (&self.embeddings[first], &self.embeddings[second]);
        std::array::from_fn(|unit| self.bias[unit] + first[unit] + second[unit])
    }

    /// The value of a [partial](Self::partial) hidden layer with the last service's row.
    #[inline]
    pub(super) fn complete(&self, partial: &[f32; UNITS], third: usize) -> f64 {
        // Eight sums side by side, which become vector instructions.
        const LANES: usize = 8;
        let third = &self.embeddings[third];
        let mut sums = [0.0_f32; LANES];
        for from in (0..UNITS).step_by(LANES) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let unit = from + lane;
                let input = partial[unit] + third[unit];
                let output = if input > 0.0 { input } else { 0.0 };
                *sum += self.weights[unit] * output;
            }
        }
        let [a, b, c, d, e, f, g, h] = sums;
        UNIT * f64::from(self.offset + (((a + b) + (c + d)) + ((e + f) + (g + h))))
    }

    /// The value of a state, given the row of each service.
    #[inline]
    pub fn value(&self, rows: [usize; SERVICES]) -> f64 {
        self.complete(&self.partial(rows[0], rows[1]), rows[2])
    }
}
