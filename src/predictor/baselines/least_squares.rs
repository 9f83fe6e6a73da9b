//! Ordinary least squares with an intercept, for a handful of inputs.
//!
//! Inputs and targets are centred, which takes the intercept out and most of the ill-conditioning with
//! it, and the normal equations are solved by Cholesky. Where the inputs are linearly dependent (a
//! constant or strictly periodic series), a ridge as small as will do makes the solution unique; a
//! constant series then gets no slope at all and its mean as intercept.

/// Ridges that are tried in turn, as shares of the mean diagonal.
const RIDGES: [f64; 5] = [0.0, 1e-10, 1e-8, 1e-6, 1e-3];
/// A pivot below this share of its diagonal counts as zero.
const LEAST_PIVOT: f64 = 1e-11;

/// Coefficients and intercept that fit `target` from `inputs` values best over all rows that `rows`
/// yields, twice the same. `None` without rows.
pub fn least_squares<'a, I>(inputs: usize, rows: impl Fn() -> I) -> Option<(Vec<f64>, f64)>
where
    I: Iterator<Item = (&'a [f64], f64)>,
{
    weighted_least_squares(inputs, || rows().map(|(values, target)| (values, target, 1.0)))
}

/// As [`least_squares`], for rows with weights; `None` where these add up to nothing.
pub fn weighted_least_squares<'a, I>(inputs: usize, rows: impl Fn() -> I) -> Option<(Vec<f64>, f64)>
where
    I: Iterator<Item = (&'a [f64], f64, f64)>,
{
    let mut means = vec![0.0; inputs + 1];
    let mut count = 0.0;
    for (values, target, weight) in rows() {
        for (mean, value) in means.iter_mut().zip(values.iter().chain([&target])) {
            *mean += weight * value;
        }
        count += weight;
    }
    if count == 0.0 {
        return None;
    }
    means.iter_mut().for_each(|mean| *mean /= count);

    // The upper triangle of the normal equations, and the right-hand side in the last column.
    let width = inputs + 1;
    let mut normal = vec![0.0; inputs * width];
    let mut centred = vec![0.0; width];
    for (values, target, weight) in rows() {
        for (index, value) in values.iter().chain([&target]).enumerate() {
            centred[index] = value - means[index];
        }
        for row in 0..inputs {
            for column in row..width {
                normal[row * width + column] += weight * centred[row] * centred[column];
            }
        }
    }
    let mean_diagonal =
        (0..inputs).map(|row| normal[row * width + row]).sum::<f64>() / inputs.max(1) as f64;
    let slopes = if mean_diagonal > 0.0 {
        RIDGES.iter().find_map(|ridge| solve(&normal, inputs, ridge * mean_diagonal))
    } else {
        None
    };
    let slopes = slopes.unwrap_or_else(|| vec![0.0; inputs]);
    let predicted: f64 = slopes.iter().zip(&means).map(|(slope, mean)| slope * mean).sum();
    let intercept = means[inputs] - predicted;
    Some((slopes, intercept))
}

/// Solves the normal equations with `ridge` added to the diagonal; `None` where they are singular.
fn solve(normal: &[f64], inputs: usize, ridge: f64) -> Option<Vec<f64>> {
    let width = inputs + 1;
    let mut factor = vec![0.0; inputs * inputs];
    for row in 0..inputs {
        for column in 0..=row {
            let mut sum = normal[column * width + row];
            let whole = sum + ridge;
            if row == column {
                sum = whole;
            }
            for k in 0..column {
                sum -= factor[row * inputs + k] * factor[column * inputs + k];
            }
            if row == column {
                if sum.is_nan() || sum <= whole * LEAST_PIVOT {
                    return None;
                }
                factor[row * inputs + row] = sum.sqrt();
            } else {
                factor[row * inputs + column] = sum / factor[column * inputs + column];
            }
        }
    }
    let mut solution = vec![0.0; inputs];
    for row in 0..inputs {
        let known: f64 = (0..row).map(|k| factor[row * inputs + k] * solution[k]).sum();
        solution[row] = (normal[row * width + inputs] - known) / factor[row * inputs + row];
    }
    for row in (0..inputs).rev() {
        let known: f64 = (row + 1..inputs).map(|k| factor[k * inputs + row] * solution[k]).sum();
        solution[row] = (solution[row] - known) / factor[row * inputs + row];
    }
    solution.iter().all(|value| value.is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(rows: &[([f64; 2], f64)]) -> Option<(Vec<f64>, f64)> {
        least_squares(2, || rows.iter().map(|(values, target)| (values.as_slice(), *target)))
    }

    // The exact solution of the normal equations, by fractions.
    #[test]
    fn the_fit_is_the_exact_one() {
        let rows = [
            ([1.0, 2.0], 3.0),
            ([2.0, 1.0], 4.0),
            ([3.0, 5.0], 9.0),
            ([4.0, 3.0], 8.0),
            ([6.0, 8.0], 15.0),
        ];
        let (slopes, intercept) = fit(&rows).unwrap();
        for (got, want) in slopes.iter().chain([&intercept]).zip(EXACT) {
            assert!((got - want).abs() < 1e-9, "{got} {want}");
        }
    }
    const EXACT: [f64; 3] = [114.0 / 89.0, 556.0 / 623.0, 193.0 / 623.0];

    #[test]
    fn dependent_inputs_get_a_unique_fit_that_holds() {
        // Both inputs are the same: any split of the slope fits, the ridge takes the even one.
        let rows: Vec<([f64; 2], f64)> =
            (0..9).map(|i| ([f64::from(i), f64::from(i)], 2.0 * f64::from(i) + 1.0)).collect();
        let (slopes, intercept) = fit(&rows).unwrap();
        assert!((slopes[0] - 1.0).abs() < 1e-4 && (slopes[1] - 1.0).abs() < 1e-4, "{slopes:?}");
        assert!((intercept - 1.0).abs() < 1e-3, "{intercept}");
        // One row, and rows that are all the same: the mean.
        assert_eq!(fit(&[([4.0, 4.0], 7.0)]), Some((vec![0.0, 0.0], 7.0)));
        assert_eq!(fit(&[([0.0, 5.0], 5.0); 4]), Some((vec![0.0, 0.0], 5.0)));
        assert_eq!(fit(&[]), None);
    }
}
