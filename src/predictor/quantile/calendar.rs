//! The time of day as the network sees it.
//!
//! Two waves of the day, and whether the time is known at all: a simulator has no clock, a live
//! controller has one. Times are those of the trace; a model that was trained on local times expects
//! local times.

use std::f64::consts::TAU;

/// Numbers the network sees of the time.
pub const CALENDAR: usize = 5;

const DAY_S: f64 = 86_400.0;

/// What the network sees of the time `now_s`, seconds since 1970-01-01: nothing but zeros where it is
/// not known.
pub fn inputs(now_s: Option<f64>) -> [f32; CALENDAR] {
    let Some(now_s) = now_s.filter(|now_s| now_s.is_finite()) else { return [0.0; CALENDAR] };
    let angle = TAU * now_s.rem_euclid(DAY_S) / DAY_S;
    let [(sin, cos), (sin2, cos2)] = [angle.sin_cos(), (2.0 * angle).sin_cos()];
    [1.0, sin as f32, cos as f32, sin2 as f32, cos2 as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_time_of_two_days_is_the_same_and_an_unknown_one_is_none() {
        // 06:00: a quarter of a turn, and half a turn of the wave of half a day.
        let expected = [1.0, 1.0, 0.0, 0.0, -1.0];
        for now_s in [6.0 * 3600.0, 897_436_800.0 + 6.0 * 3600.0] {
            for (got, want) in inputs(Some(now_s)).into_iter().zip(expected) {
                assert!((got - want).abs() < 1e-6, "{got} {want}");
            }
        }
        assert_eq!(inputs(None), [0.0; CALENDAR]);
        assert_eq!(inputs(Some(f64::NAN)), [0.0; CALENDAR]);
    }
}
