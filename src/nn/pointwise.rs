//! Elementwise bodies outside the LSTM: a dense layer's activation and Adam's update.
//!
//! Bodies only: `kernel` compiles each for several instruction sets.

use serde::{Deserialize, Serialize};

use super::real::Real;

/// What a dense layer applies to its weighted inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Nothing.
    #[default]
    Linear,
    /// Hyperbolic tangent.
    Tanh,
    /// The positive part.
    Relu,
}

/// `values = activation(values + bias)`, the bias repeating row by row.
#[inline(always)]
pub(super) fn activate<T: Real>(values: &mut [T], bias: &[T], activation: Activation) {
    for row in values.chunks_exact_mut(bias.len()) {
        match activation {
            Activation::Linear => {
                for (value, &bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
            Activation::Tanh => {
                for (value, &bias) in row.iter_mut().zip(bias) {
                    *value = (*value + bias).hyperbolic_tangent();
                }
            }
            Activation::Relu => {
                for (value, &bias) in row.iter_mut().zip(bias) {
                    let sum = *value + bias;
                    // False for NaN, which goes on.
                    *value = if sum < T::ZERO { T::ZERO } else { sum };
                }
            }
        }
    }
}

/// Turns the gradient of the outputs into that of the weighted inputs and adds its rows up into
/// `dbias`.
#[inline(always)]
pub(super) fn activation_gradient<T: Real>(
    gradient: &mut [T],
    outputs: &[T],
    dbias: &mut [T],
    activation: Activation,
) {
    let columns = dbias.len();
    for (row, outputs) in gradient.chunks_exact_mut(columns).zip(outputs.chunks_exact(columns)) {
        match activation {
            Activation::Linear => {}
            Activation::Tanh => {
                for (value, &output) in row.iter_mut().zip(outputs) {
                    *value *= T::ONE - output * output;
                }
            }
            Activation::Relu => {
                for (value, &output) in row.iter_mut().zip(outputs) {
                    *value = if output > T::ZERO { *value } else { T::ZERO };
                }
            }
        }
        for (sum, &value) in dbias.iter_mut().zip(&*row) {
            *sum += value;
        }
    }
}

/// The scalars of one Adam update, all of them folded into as few as the loop needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdamScalars {
    /// The gradient is multiplied by this first (clipping).
    pub scale: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// 1 - beta1, rounded once.
    pub one_minus_beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// 1 - beta2, rounded once.
    pub one_minus_beta2: f32,
    /// The root of the second moment is multiplied by this.
    pub root_scale: f32,
    /// Added to the scaled root.
    pub epsilon: f32,
    /// Step size, bias correction included.
    pub step: f32,
}

/// One Adam update of one tensor, its moments included.
#[inline(always)]
pub(super) fn adam(
    weights: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    s: AdamScalars,
) {
    let n = weights.len();
    let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
    for k in 0..n {
        let g = gradient[k] * s.scale;
        let m = s.beta1 * first[k] + s.one_minus_beta1 * g;
        let v = s.beta2 * second[k] + s.one_minus_beta2 * g * g;
        first[k] = m;
        second[k] = v;
        weights[k] -= s.step * m / (v.sqrt() * s.root_scale + s.epsilon);
    }
}

/// sums[j] = sum over units u of weights[u] * max(0, shifts[u] + inputs[u][j]), the units one after
/// another.
#[inline(always)]
pub(super) fn relu_sums(sums: &mut [f32], inputs: &[f32], shifts: &[f32], weights: &[f32]) {
    sums.fill(0.0);
    let units = inputs.chunks_exact(sums.len()).zip(shifts).zip(weights);
    for ((inputs, &shift), &weight) in units {
        for (sum, &input) in sums.iter_mut().zip(inputs) {
            let output = shift + input;
            *sum += weight * if output > 0.0 { output } else { 0.0 };
        }
    }
}

/// Sum of squares in f64, in sixteen interleaved sums of a fixed order.
#[inline(always)]
pub(super) fn sum_of_squares(values: &[f32], total: &mut f64) {
    const LANES: usize = 16;
    let mut sums = [0.0_f64; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let value = f64::from(chunk[lane]);
            sums[lane] += value * value;
        }
    }
    *total = sums.iter().sum::<f64>()
        + rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
}
