//! tanh and the logistic function in loops that the compiler vectorises.
//!
//! The standard library's are a call per value, and the gates need several thousand a window. These
//! are arithmetic without branches, within one or two units of the last place.

use std::f32::consts::LOG2_E;

/// Adding it rounds a small number to a whole one, which then stands in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts: the first has so few digits that its product with a small whole number is exact.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// (exp(r) - 1 - r) / r² for |r| <= ln 2 / 2, from the highest power down.
const POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// `(m, s)` such that exp(x) = (1 + m) s, where s is a power of two and 1 while x is small.
#[inline(always)]
fn exponential(x: f32) -> (f32, f32) {
    let shifted = x * LOG2_E + ROUNDING;
    let power = shifted - ROUNDING;
    let rest = x - power * LN2_HIGH - power * LN2_LOW;
    let mut polynomial = POLYNOMIAL[0];
    for coefficient in &POLYNOMIAL[1..] {
        polynomial = polynomial * rest + coefficient;
    }
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (polynomial * rest * rest + rest, scale)
}

/// tanh(x).
#[inline(always)]
pub(in crate::predictor) fn tanh(x: f32) -> f32 {
    // From 10 on it is 1 to the last digit.
    let (m, s) = exponential(2.0 * x.clamp(-10.0, 10.0));
    // exp(2x) - 1, without the loss of digits near 0.
    let excess = m * s + (s - 1.0);
    excess / (excess + 2.0)
}

/// 1 / (1 + exp(-x)).
#[inline(always)]
pub(in crate::predictor) fn sigmoid(x: f32) -> f32 {
    // Beyond 87 the exponential leaves the range of f32.
    let (m, s) = exponential(-x.clamp(-87.0, 87.0));
    1.0 / (1.0 + (m * s + s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_as_exact_as_f32_allows() {
        let mut worst = [0.0_f64; 2];
        for step in (-400_000..=400_000).filter(|&step| step != 0) {
            let x = step as f32 * 5e-5;
            let exact = f64::from(x);
            let (t, s) = (exact.tanh(), 1.0 / (1.0 + (-exact).exp()));
            worst[0] = worst[0].max(((f64::from(tanh(x)) - t) / t).abs());
            worst[1] = worst[1].max(((f64::from(sigmoid(x)) - s) / s).abs());
        }
        assert!(worst[0] < 3e-7 && worst[1] < 3e-7, "{worst:?}");
        assert_eq!(tanh(0.0), 0.0);
    }

    #[test]
    fn far_out_they_saturate() {
        assert_eq!([tanh(f32::INFINITY), tanh(-1e30), sigmoid(f32::INFINITY)], [1.0, -1.0, 1.0]);
        assert!((0.0..1e-37).contains(&sigmoid(f32::NEG_INFINITY)));
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }
}
