//! The number types of the networks, and the functions of one number that their inner loops need.
//!
//! `f32` is what networks compute in. Its exponential and hyperbolic tangent are polynomials of
//! branch-free arithmetic, so that the compiler turns a loop over them into vector instructions (the
//! standard library's are calls, one number at a time). No fused multiply-add occurs in them: with
//! plain products and sums every vector width gives the same bits. `f64` exists for checking
//! gradients by finite differences; it uses the standard library.

use std::fmt::Debug;
use std::ops::Neg;

use candle_core::WithDType;

/// A number type that networks compute in.
pub trait Real: WithDType + Default + Debug + Neg<Output = Self> {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// e to the power of `self`; relative error below 2e-7 between -87 and 88, clamped outside.
    #[must_use]
    fn exponential(self) -> Self;

    /// Hyperbolic tangent; absolute and relative error below 5e-7.
    #[must_use]
    fn hyperbolic_tangent(self) -> Self;

    /// 1 / (1 + e^-x).
    #[must_use]
    #[inline(always)]
    fn logistic(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exponential())
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn exponential(self) -> Self {
        // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
        const MAGIC: f32 = 12_582_912.0;
        const MAGIC_BITS: u32 = 0x4B40_0000;
        // ln 2 in two parts, the first exact in products with small integers.
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        // Comparisons that are false for NaN, so that a NaN goes on instead of turning into a bound.
        let x = if self < -87.0 { -87.0 } else { self };
        let x = if x > 88.0 { 88.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + MAGIC;
        let whole = shifted - MAGIC;
        let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
        // Cephes' expf: minimax on |rest| <= ln 2 / 2.
        let mut sum = 1.987_569_1e-4;
        sum = sum * rest + 1.398_199_9e-3;
        sum = sum * rest + 8.333_452e-3;
        sum = sum * rest + 4.166_579_6e-2;
        sum = sum * rest + 1.666_666_5e-1;
        sum = sum * rest + 5e-1;
        // Bit arithmetic that cannot overflow: overflow checks would keep the loop scalar.
        let power =
            f32::from_bits(shifted.to_bits().wrapping_sub(MAGIC_BITS).wrapping_add(127) << 23);
        (sum * rest * rest + rest + 1.0) * power
    }

    #[inline(always)]
    fn hyperbolic_tangent(self) -> Self {
        // A rational minimax approximation (the one that Eigen and XLA use): exact to a few units in
        // the last place near 0 too, where (e - 1) / (e + 1) cancels.
        let x = if self < -7.905_311 { -7.905_311 } else { self };
        let x = if x > 7.905_311 { 7.905_311 } else { x };
        let square = x * x;
        let mut above = -2.760_768_4e-16;
        above = above * square + 2.000_188e-13;
        above = above * square + -8.604_672e-11;
        above = above * square + 5.122_297e-8;
        above = above * square + 1.485_722_4e-5;
        above = above * square + 6.372_619_3e-4;
        above = above * square + 4.893_524_6e-3;
        let mut below = 1.198_258_4e-6;
        below = below * square + 1.185_347_1e-4;
        below = below * square + 2.268_434_6e-3;
        below = below * square + 4.893_525e-3;
        x * above / below
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn exponential(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn hyperbolic_tangent(self) -> Self {
        self.tanh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_approximations_are_as_exact_as_stated() {
        let (mut exponential, mut tangent, mut logistic) = (0.0_f64, 0.0_f64, 0.0_f64);
        for step in -870_000..=870_000 {
            let x = step as f32 * 1e-4;
            let exact = f64::from(x);
            let relative = |value: f32, exact: f64| ((f64::from(value) - exact) / exact).abs();
            exponential = exponential.max(relative(x.exponential(), exact.exp()));
            logistic = logistic.max(relative(x.logistic(), 1.0 / (1.0 + (-exact).exp())));
            if step != 0 {
                tangent = tangent.max(relative(x.hyperbolic_tangent(), exact.tanh()));
            }
        }
        assert!(exponential < 2e-7, "{exponential:e}");
        assert!(logistic < 4e-7, "{logistic:e}");
        assert!(tangent < 5e-7, "{tangent:e}");
        assert_eq!(0.0_f32.hyperbolic_tangent(), 0.0);
        assert_eq!(0.0_f32.logistic(), 0.5);
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_extremes_saturate() {
        assert!(f32::NAN.logistic().is_nan());
        assert!(f32::NAN.hyperbolic_tangent().is_nan());
        assert_eq!(f32::INFINITY.logistic(), 1.0);
        assert!(f32::NEG_INFINITY.logistic() < 1e-37);
        assert!((f32::INFINITY.hyperbolic_tangent() - 1.0).abs() < 3e-7);
        assert!((f32::NEG_INFINITY.hyperbolic_tangent() + 1.0).abs() < 3e-7);
    }
}
