//! The conjugate gradient method.

use crate::error::Result;

/// A squared residual below this ends the search.
const RESIDUAL: f64 = 1e-10;

/// Solves A x = b for a symmetric positive definite A, of which only products are needed:
/// `product(v, out)` writes A v. Starts from 0 and takes at most `most_steps` steps.
///
/// # Errors
/// As `product`.
pub fn solve(
    b: &[f64],
    most_steps: usize,
    mut product: impl FnMut(&[f64], &mut [f64]) -> Result<()>,
) -> Result<Vec<f64>> {
    let mut x = vec![0.0; b.len()];
    let mut residual = b.to_vec();
    let mut direction = b.to_vec();
    let mut along = vec![0.0; b.len()];
    let mut squared = dot(&residual, &residual);
    for _ in 0..most_steps {
        if squared < RESIDUAL {
            break;
        }
        product(&direction, &mut along)?;
        let alpha = squared / dot(&direction, &along);
        for (x, &d) in x.iter_mut().zip(&direction) {
            *x += alpha * d;
        }
        for (r, &a) in residual.iter_mut().zip(&along) {
            *r -= alpha * a;
        }
        let before = std::mem::replace(&mut squared, dot(&residual, &residual));
        let beta = squared / before;
        for (d, &r) in direction.iter_mut().zip(&residual) {
            *d = r + beta * *d;
        }
    }
    Ok(x)
}

/// The sum of products, in order.
pub fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::rng::Streams;

    /// Gauss elimination with pivoting: the direct solve.
    fn eliminate(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for column in 0..n {
            let pivot = (column..n)
                .max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))
                .unwrap();
            a.swap(column, pivot);
            b.swap(column, pivot);
            let first = a[column].clone();
            for row in column + 1..n {
                let factor = a[row][column] / first[column];
                for (value, first) in a[row].iter_mut().zip(&first) {
                    *value -= factor * first;
                }
                b[row] -= factor * b[column];
            }
        }
        let mut x = vec![0.0; n];
        for row in (0..n).rev() {
            let known: f64 = (row + 1..n).map(|k| a[row][k] * x[k]).sum();
            x[row] = (b[row] - known) / a[row][row];
        }
        x
    }

    #[test]
    fn equals_a_direct_solve() {
        let mut rng = Streams::new(1).open("cg");
        let n = 12;
        let factor: Vec<Vec<f64>> =
            (0..n).map(|_| (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
        // M M' + 0.5 I is symmetric and positive definite.
        let a: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                (0..n)
                    .map(|j| dot(&factor[i], &factor[j]) + if i == j { 0.5 } else { 0.0 })
                    .collect()
            })
            .collect();
        let b: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut products = 0;
        let found = solve(&b, 50, |v, out| {
            products += 1;
            for (out, row) in out.iter_mut().zip(&a) {
                *out = dot(row, v);
            }
            Ok(())
        })
        .unwrap();
        for (found, exact) in found.iter().zip(eliminate(a, b)) {
            assert!((found - exact).abs() < 1e-4 * (1.0 + exact.abs()), "{found} {exact}");
        }
        assert!(products <= 2 * n, "{products}");
        assert_eq!(solve(&[0.0; 3], 5, |_, _| unreachable!()).unwrap(), [0.0; 3]);
    }
}
