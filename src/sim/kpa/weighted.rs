//! The other way to make one value of a window: weights that fall exponentially with age.
//!
//! Neither rounded nor normalised: with little history it reads low, and seconds without data at
//! the end let the value decay.

use super::Window;

/// What a second as old as the window still counts.
const OLDEST_WEIGHT: f64 = 0.0001;

/// The weight of the newest second in a window of so many seconds.
pub fn smoothing_coefficient(window_s: u32) -> f64 {
    let root = match window_s {
        0 | 1 => OLDEST_WEIGHT,
        // Not `powf`: in this form the original takes a root, and the last digit decides on boundaries.
        _ => (OLDEST_WEIGHT.ln() * (1.0 / f64::from(window_s))).exp(),
    };
    (1.0 - root).max(0.2)
}

/// Sum over the window of value x `coefficient` x (1 - `coefficient`)^age.
pub fn weighted_average(window: &Window, now_s: i64, coefficient: f64) -> f64 {
    if window.is_empty(now_s) {
        return 0.0;
    }
    let gap = (now_s - window.last_s()).max(0);
    let mut weight = coefficient * power(1.0 - coefficient, gap);
    let mut sum = 0.0;
    for back in 0..window.seconds() - gap {
        sum += window.value_back(back) * weight;
        weight *= 1.0 - coefficient;
    }
    sum
}

/// `base` to the power of a whole number, by squaring: the same bits everywhere.
fn power(mut base: f64, mut exponent: i64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_of_the_usual_windows() {
        for (window_s, expected) in
            [(60, 0.2), (40, 0.2057), (30, 0.2643), (6, 0.7846), (1, 0.9999)]
        {
            let coefficient = smoothing_coefficient(window_s);
            assert!((coefficient - expected).abs() < 1e-4, "{window_s}: {coefficient}");
        }
    }

    #[test]
    fn little_history_reads_low_and_missing_seconds_decay() {
        let mut window = Window::new(60);
        assert_eq!(weighted_average(&window, 0, 0.2), 0.0);
        window.record(0, 10.0);
        assert_eq!(weighted_average(&window, 0, 0.2), 2.0);
        assert!((weighted_average(&window, 2, 0.2) - 2.0 * 0.64).abs() < 1e-12);
        assert_eq!(weighted_average(&window, 60, 0.2), 0.0);
        window.record(1, 10.0);
        assert!((weighted_average(&window, 1, 0.2) - 3.6).abs() < 1e-12);
    }
}
