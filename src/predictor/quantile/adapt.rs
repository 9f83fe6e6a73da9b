//! Bands that learn from every row whether they were too narrow.
//!
//! A quantile that 10 % of the rows are to fall beyond is moved out a little by every row that does,
//! and in by a ninth of that by every row that does not, so that in the long run 10 % do, whatever the
//! traffic (I. Gibbs, E. Candès, "Adaptive conformal inference under distribution shift", 2021). For
//! this a service's state keeps, beside the widths, the bands of rows that have not come yet.

use crate::predictor::QUANTILES;
use crate::predictor::forecaster::Band;

/// How much a row beyond a quantile widens it: by this share, less what a row within takes off.
const RATE: f64 = 0.08;
/// Bounds of the widths.
const NARROWEST: f64 = 0.125;
const WIDEST: f64 = 8.0;
/// Sides of a band.
const SIDES: usize = 2;
/// A band that is not there: no number lies in it.
const NONE: [f64; SIDES] = [1.0, -1.0];

/// Widths and bands to come in the numbers that a service carries, for `horizon` rows ahead.
pub fn fresh(horizon: usize) -> Vec<f64> {
    let mut carried = vec![1.0; horizon * SIDES];
    carried.extend(NONE.iter().cycle().take(horizon * horizon * SIDES));
    carried
}

/// What the distances below and above the median are multiplied by, `ahead` rows ahead from 0.
pub fn width(carried: &[f64], ahead: usize) -> [f64; SIDES] {
    [carried[ahead * SIDES], carried[ahead * SIDES + 1]]
}

/// Where the band of a row is kept that was forecast `ahead` rows ahead, from 0.
fn place(horizon: usize, row: i64, ahead: usize) -> usize {
    let slot = row.rem_euclid(horizon as i64) as usize;
    (horizon + slot * horizon + ahead) * SIDES
}

/// Judges the bands that were forecast for `row` by the users that came.
pub fn judge(carried: &mut [f64], horizon: usize, row: i64, users: f64) {
    let beyond = QUANTILES[0];
    for ahead in 0..horizon {
        let at = place(horizon, row, ahead);
        let (low, high) = (carried[at], carried[at + 1]);
        if low > high {
            continue;
        }
        for (side, missed) in [users < low, users > high].into_iter().enumerate() {
            let step = RATE * (f64::from(u8::from(missed)) - beyond);
            let width = &mut carried[ahead * SIDES + side];
            *width = (*width * step.exp()).clamp(NARROWEST, WIDEST);
        }
    }
}

/// Keeps the bands of the rows after `row`, one a row ahead.
pub fn keep(carried: &mut [f64], row: i64, bands: &[Band]) {
    for (ahead, band) in bands.iter().enumerate() {
        let at = place(bands.len(), row + 1 + ahead as i64, ahead);
        carried[at..at + SIDES].copy_from_slice(&[band[0], band[2]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_judged_by_its_own_row_and_comes_to_hold_80_percent() {
        let horizon = 3;
        let mut carried = fresh(horizon);
        let (mut inside, mut widths) = (0, 0.0);
        for row in -50..4000_i64 {
            // Uniform over -1 to 1 in a fixed order; the right band ends at -0.8 and 0.8.
            let users = ((row * 617).rem_euclid(1000) as f64 - 499.5) / 500.0;
            judge(&mut carried, horizon, row, users);
            let bands = [0, 1, 2].map(|ahead| {
                let [below, above] = width(&carried, ahead);
                // The second row ahead is given far too narrow.
                let size = if ahead == 1 { 0.2 } else { 0.5 };
                [-size * below, 0.0, size * above]
            });
            if row >= 1000 {
                let [_, band, _] = bands;
                widths += band[2];
                let next = (((row + 2) * 617).rem_euclid(1000) as f64 - 499.5) / 500.0;
                inside += usize::from((band[0]..=band[2]).contains(&next));
            }
            keep(&mut carried, row, &bands);
        }
        let share = inside as f64 / 3000.0;
        assert!((0.77..0.83).contains(&share), "{share}");
        assert!((widths / 3000.0 - 0.8).abs() < 0.05, "{widths}");
    }
}
