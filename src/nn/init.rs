//! Initial weights, drawn from the crate's random streams.
//!
//! Keras's conventions: kernels Glorot uniform (an LSTM's [I, 4H] as one draw for all four gates),
//! recurrent kernels one orthogonal [H, 4H], biases 0 but 1 for the forget gate. Those usual with
//! PPO: orthogonal with a gain that depends on what follows (sqrt 2 in hidden layers, 0.01 for a
//! policy's head, 1 for a value's), biases 0.

use rand::RngExt;
use rand_distr::StandardNormal;

use crate::rng::Rng;

/// How an LSTM's kernel begins. The recurrent kernel is orthogonal in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Glorot uniform over [I, 4H], as in Keras.
    Glorot,
    /// Orthogonal with gain 1, one [I, 4H] matrix.
    Orthogonal,
}

/// [rows, columns] row by row, uniform within +-sqrt(6 / (rows + columns)).
pub fn glorot_uniform(rows: usize, columns: usize, rng: &mut Rng) -> Vec<f32> {
    let limit = (6.0 / (rows + columns) as f64).sqrt();
    (0..rows * columns).map(|_| rng.random_range(-limit..limit) as f32).collect()
}

/// [rows, columns] row by row with orthonormal rows or columns (whichever are fewer), times `gain`.
///
/// Q of the QR decomposition of a matrix of normal draws [max, min] with the signs that make R's
/// diagonal positive (that makes Q uniformly distributed), transposed if rows are fewer.
pub fn orthogonal(rows: usize, columns: usize, gain: f64, rng: &mut Rng) -> Vec<f32> {
    let (long, short) = (rows.max(columns), rows.min(columns));
    // Drawn row by row [long, short], kept column by column.
    let mut q = vec![0.0_f64; long * short];
    for row in 0..long {
        for column in 0..short {
            q[column * long + row] = rng.sample(StandardNormal);
        }
    }
    // Gram-Schmidt, whose R has a positive diagonal; each column twice, which is as exact as
    // reflections are.
    for column in 0..short {
        let (done, rest) = q.split_at_mut(column * long);
        let current = &mut rest[..long];
        for _ in 0..2 {
            for earlier in done.chunks_exact(long) {
                let along = dot(earlier, current);
                for (value, &direction) in current.iter_mut().zip(earlier) {
                    *value -= along * direction;
                }
            }
        }
        let norm = dot(current, current).sqrt();
        for value in current {
            *value /= norm;
        }
    }
    let entry = |row: usize, column: usize| {
        if rows >= columns { q[column * long + row] } else { q[row * long + column] }
    };
    (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(row, column)| (gain * entry(row, column)) as f32)
        .collect()
}

/// Packed LSTM weights [I + H + 1, 4H]: kernel, orthogonal recurrent kernel, bias 0 but 1 for the
/// forget gate.
pub fn lstm(inputs: usize, units: usize, kernel: Kernel, rng: &mut Rng) -> Vec<f32> {
    let mut packed = match kernel {
        Kernel::Glorot => glorot_uniform(inputs, 4 * units, rng),
        Kernel::Orthogonal => orthogonal(inputs, 4 * units, 1.0, rng),
    };
    packed.extend(orthogonal(units, 4 * units, 1.0, rng));
    packed.extend((0..4 * units).map(|k| if k / units == 1 { 1.0 } else { 0.0 }));
    packed
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;

    #[test]
    fn orthogonal_matrices_have_orthonormal_rows_or_columns() {
        for (rows, columns, gain) in
            [(5, 3, 1.0), (3, 5, 2.0_f64.sqrt()), (64, 256, 1.0), (1, 4, 0.01)]
        {
            let matrix = orthogonal(rows, columns, gain, &mut Streams::new(3).open("init"));
            let (short, long) = (rows.min(columns), rows.max(columns));
            let at = |vector: usize, k: usize| {
                let (row, column) = if rows <= columns { (vector, k) } else { (k, vector) };
                f64::from(matrix[row * columns + column])
            };
            for one in 0..short {
                for other in 0..short {
                    let product: f64 = (0..long).map(|k| at(one, k) * at(other, k)).sum();
                    let wanted = if one == other { gain * gain } else { 0.0 };
                    assert!((product - wanted).abs() < 1e-6 * gain, "{rows} x {columns}");
                }
            }
        }
    }

    #[test]
    fn the_sign_convention_makes_the_mean_zero() {
        // Without it the first entries would all have the sign that the reflections choose.
        let mut rng = Streams::new(4).open("init");
        let positive = (0..400).filter(|_| orthogonal(2, 2, 1.0, &mut rng)[0] > 0.0).count();
        assert!((160..240).contains(&positive), "{positive} of 400");
    }

    #[test]
    fn packed_weights_follow_keras() {
        let (inputs, units) = (7, 5);
        let packed = lstm(inputs, units, Kernel::Glorot, &mut Streams::new(5).open("init"));
        assert_eq!(packed.len(), (inputs + units + 1) * 4 * units);
        let limit = (6.0_f32 / (inputs + 4 * units) as f32).sqrt();
        let kernel = &packed[..inputs * 4 * units];
        assert!(kernel.iter().all(|value| value.abs() <= limit));
        assert!(kernel.iter().any(|value| value.abs() > 0.9 * limit));
        let bias = &packed[(inputs + units) * 4 * units..];
        assert!(bias.iter().enumerate().all(|(k, &b)| b == f32::from((5..10).contains(&k))));
        let again = lstm(inputs, units, Kernel::Glorot, &mut Streams::new(5).open("init"));
        assert_eq!(packed, again);
    }
}
