//! The only unsafe code of the networks: calls of the matrix product and of bodies compiled for a
//! wider instruction set than the program's, each behind a check.
//!
//! Matrix products run on one thread, so that bits do not depend on the number of threads; whoever
//! wants two cores gives them work that is independent. The products' kernels depend on the type
//! of CPU, so bits are promised on one type only.

#![allow(unsafe_code)]

use super::gates;
use super::pointwise::{self, Activation, AdamScalars};
use super::real::Real;

/// An instruction set that this CPU has. A value is the proof that it was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The widest one.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self(Set::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self(Set::Avx2);
            }
        }
        Self(Set::Baseline)
    }

    /// All of them, for comparing their results.
    #[cfg(test)]
    pub fn all() -> Vec<Self> {
        let mut levels = vec![Self(Set::Baseline)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Self(Set::Avx2));
            }
            if is_x86_feature_detected!("avx512f") {
                levels.push(Self(Set::Avx512));
            }
        }
        levels
    }
}

/// Defines a function that runs a body in the version of the given level.
macro_rules! compiled_for_levels {
    ($(#[$doc:meta])* $name:ident $(<$real:ident>)? ($($argument:ident: $type:ty),*) = $body:path) => {
        $(#[$doc])*
        pub(super) fn $name $(<$real: Real>)? (level: Level, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512 $(<$real: Real>)? ($($argument: $type),*) {
                $body($($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$real: Real>)? ($($argument: $type),*) {
                $body($($argument),*);
            }
            match level.0 {
                Set::Baseline => $body($($argument),*),
                // SAFETY: a level is made only where the CPU was found to have its instructions.
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    };
}

compiled_for_levels! {
    /// One LSTM step forward.
    lstm_forward<T>(step: gates::Forward<'_, T>) = gates::forward
}
compiled_for_levels! {
    /// One LSTM step backward.
    lstm_backward<T>(step: gates::Backward<'_, T>) = gates::backward
}
compiled_for_levels! {
    /// Bias and activation of a dense layer.
    activate<T>(values: &mut [T], bias: &[T], activation: Activation) = pointwise::activate
}
compiled_for_levels! {
    /// Gradient through the activation of a dense layer.
    activation_gradient<T>(
        gradient: &mut [T], outputs: &[T], dbias: &mut [T], activation: Activation
    ) = pointwise::activation_gradient
}
compiled_for_levels! {
    /// One Adam update of one tensor.
    adam(
        weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32],
        scalars: AdamScalars
    ) = pointwise::adam
}
compiled_for_levels! {
    /// Weighted sums of positive parts.
    relu_sums(sums: &mut [f32], inputs: &[f32], shifts: &[f32], weights: &[f32])
        = pointwise::relu_sums
}
compiled_for_levels! {
    /// Sum of squares.
    sum_of_squares(values: &[f32], total: &mut f64) = pointwise::sum_of_squares
}

/// A matrix to be read: element (row, column) lies at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows one after another.
    pub fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a {rows} x {columns} matrix");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same values, rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = left * right`, or with `accumulate` `out += left * right`; `out` row by row.
pub(super) fn multiply<T: Real>(
    out: &mut [T],
    accumulate: bool,
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
) {
    assert_eq!(left.columns, right.rows, "inner sizes of a matrix product");
    assert_eq!(out.len(), left.rows * right.columns, "size of a matrix product");
    // SAFETY: a `Matrix` spans exactly its slice, `out` has room for every element of the product
    // and, being borrowed for writing, overlaps neither; T is f32 or f64, which gemm knows.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            right.columns as isize,
            accumulate,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::nn::gates::Row;
    use crate::rng::Streams;

    fn numbers(name: &str, count: usize, width: f32) -> Vec<f32> {
        let mut rng = Streams::new(1).open(name);
        (0..count).map(|_| rng.random_range(-width..width)).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for (batch, units) in [(1, 3), (3, 16), (5, 100)] {
            let cells = batch * units;
            let rows: Vec<Row> =
                (0..batch).map(|row| [Row::Run, Row::Reset, Row::Carry][row % 3]).collect();
            let bias = numbers("bias", 4 * units, 1.0);
            let zeros = vec![0.0; units];
            let c_before = numbers("c", cells, 2.0);
            let dh = numbers("dh", cells, 1.0);
            let mut seen: Option<Vec<Vec<f32>>> = None;
            for level in Level::all() {
                let mut gates = numbers("gates", 4 * cells, 9.0);
                let (mut c, mut h) = (vec![0.0; cells], vec![0.0; cells]);
                lstm_forward(
                    level,
                    gates::Forward {
                        units,
                        rows: Some(&rows),
                        bias: &bias,
                        zeros: &zeros,
                        c_before: &c_before,
                        gates: &mut gates,
                        c: &mut c,
                        h: &mut h,
                    },
                );
                let activations = gates.clone();
                let mut dc = numbers("dc", cells, 1.0);
                let mut dbias = vec![0.0; 4 * units];
                lstm_backward(
                    level,
                    gates::Backward {
                        units,
                        rows: Some(&rows),
                        zeros: &zeros,
                        c_before: &c_before,
                        c: &c,
                        dh: &dh,
                        dc: &mut dc,
                        gates: &mut gates,
                        dbias: &mut dbias,
                    },
                );
                let mut dense = numbers("dense", cells, 3.0);
                activate(level, &mut dense, &bias[..units], Activation::Tanh);
                let mut first = numbers("m", cells, 0.1);
                let mut second = vec![0.01; cells];
                let mut weights = numbers("w", cells, 1.0);
                let scalars = AdamScalars {
                    scale: 0.9,
                    beta1: 0.9,
                    one_minus_beta1: 0.1,
                    beta2: 0.999,
                    one_minus_beta2: 0.001,
                    root_scale: 1.01,
                    epsilon: 1e-7,
                    step: 1e-3,
                };
                adam(level, &mut weights, &dh, &mut first, &mut second, scalars);
                let mut sums = vec![0.0; batch];
                relu_sums(level, &mut sums, &dc, &bias[..units], &dh[..units]);
                let results =
                    vec![activations, gates, c, h, dc, dbias, dense, weights, first, second, sums];
                match &seen {
                    None => seen = Some(results),
                    Some(seen) => assert_eq!(seen, &results, "{level:?}, {batch} x {units}"),
                }
            }
        }
    }

    #[test]
    fn products_of_transposed_matrices_accumulate() {
        let (a, b) = (numbers("a", 6, 1.0), numbers("b", 15, 1.0));
        // a is 3 x 2, used as 2 x 3; b is 5 x 3, used as 3 x 5.
        let mut out = vec![1.0_f32; 10];
        let (left, right) = (Matrix::new(&a, 3, 2), Matrix::new(&b, 5, 3));
        multiply(&mut out, true, left.transposed(), right.transposed());
        for row in 0..2 {
            for column in 0..5 {
                let exact: f32 = (0..3).map(|k| a[k * 2 + row] * b[column * 3 + k]).sum();
                assert!((out[row * 5 + column] - 1.0 - exact).abs() < 1e-6);
            }
        }
    }
}
