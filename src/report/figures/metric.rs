//! What policies are compared by, and the axes that hold their means.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, TextLook};
use super::style::{Colour, Marker, SOFT_INK, TEXT_SIZE};
use crate::report::comparison::{PolicyResult, Statistic};

/// One metric of a policy.
pub struct Metric {
    /// Its name with the unit.
    pub heading: &'static str,
    /// To that unit.
    pub factor: f64,
    /// Whether zero belongs on the axis.
    pub from_zero: bool,
    /// Where it is found.
    pub of: fn(&PolicyResult) -> Option<&Statistic>,
}

pub const SHARE_OF_ORACLE: Metric = Metric {
    heading: "share of oracle, %",
    factor: 100.0,
    from_zero: false,
    of: |policy| policy.oracle_share.as_ref(),
};
pub const REWARD: Metric =
    Metric { heading: "reward", factor: 1.0, from_zero: false, of: |policy| Some(&policy.reward) };
pub const OVER_SLO: Metric = Metric {
    heading: "requests over SLO, %",
    factor: 100.0,
    from_zero: true,
    of: |policy| Some(&policy.slo_violation_share),
};
pub const OVER_QUOTA: Metric = Metric {
    heading: "over quota, CPU-s",
    factor: 1.0,
    from_zero: true,
    of: |policy| Some(&policy.over_quota_cpu_seconds),
};
pub const ALLOCATED: Metric = Metric {
    heading: "allocated, CPU-s",
    factor: 1.0,
    from_zero: false,
    of: |policy| Some(&policy.cpu_seconds),
};

/// A mean so many median deviations from the median lies far from all others.
const FAR: f64 = 10.0;
/// Fewer means have no middle that one could be far from.
const LEAST_FOR_FAR: usize = 5;

impl Metric {
    /// An axis wide enough for all intervals of `statistics`; where `fenced`, for those whose means are
    /// not far from all others, which would press these together.
    pub fn axis(&self, statistics: &[Option<&Statistic>], fenced: bool) -> Axis {
        let means: Vec<f64> = statistics
            .iter()
            .flatten()
            .filter_map(|statistic| statistic.mean)
            .filter(|mean| mean.is_finite())
            .collect();
        let fence = if fenced { fence(&means) } else { None };
        let near = |mean: f64| fence.is_none_or(|[low, high]| (low..=high).contains(&mean));
        let values: Vec<f64> = statistics
            .iter()
            .flatten()
            .filter(|statistic| statistic.mean.is_some_and(near))
            .flat_map(|one| one.mean.into_iter().chain(one.ci95.into_iter().flatten()))
            .map(|value| value * self.factor)
            .filter(|value| value.is_finite())
            .collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let low = if self.from_zero { low.min(0.0) } else { low };
        let pad = (high - low) * 0.06;
        if !self.from_zero {
            return Axis::linear(low - pad, high + pad, 4);
        }
        // Nothing at all, or nothing but zeros, still has an axis to the right.
        let high = if high > 0.0 { high + pad } else { 1.0 };
        Axis::linear(low, high, 4)
    }
}

/// The range of means that are not far from all others; none where all are equal, or too few.
fn fence(means: &[f64]) -> Option<[f64; 2]> {
    if means.len() < LEAST_FOR_FAR {
        return None;
    }
    let middle = median(means.to_vec());
    let spread = median(means.iter().map(|mean| (mean - middle).abs()).collect());
    (spread > 0.0).then_some([middle - FAR * spread, middle + FAR * spread])
}

/// The middle of values, of which there is at least one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        0 => 0.5 * (values[half - 1] + values[half]),
        _ => values[half],
    }
}

/// The numbers below a panel.
pub fn draw_ticks(canvas: &mut Canvas, panel: &Panel) {
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Centre);
    for (value, text) in &panel.x.ticks {
        canvas.text((panel.at_x(*value), panel.bottom + 12.0), text, look);
    }
}

/// The point of a policy.
pub fn draw_marker(canvas: &mut Canvas, (x, y): Point, marker: Marker, colour: Colour) {
    match marker {
        Marker::Circle => canvas.circle((x, y), 5.0, colour),
        Marker::Square => canvas.rectangle((x - 4.5, y - 4.5), (x + 4.5, y + 4.5), colour),
        Marker::Diamond => {
            canvas.polygon(vec![(x, y - 6.5), (x + 6.5, y), (x, y + 6.5), (x - 6.5, y)], colour)
        }
        Marker::Up => {
            canvas.polygon(vec![(x, y - 6.0), (x + 6.0, y + 5.0), (x - 6.0, y + 5.0)], colour);
        }
        Marker::Down => {
            canvas.polygon(vec![(x, y + 6.0), (x + 6.0, y - 5.0), (x - 6.0, y - 5.0)], colour);
        }
        Marker::Bar => canvas.rectangle((x - 2.0, y - 6.0), (x + 2.0, y + 6.0), colour),
    }
}

/// An arrow at the end of an axis: the mean lies beyond it, to the left or to the `right`.
pub fn draw_beyond(canvas: &mut Canvas, (x, y): Point, right: bool, colour: Colour) {
    let out = if right { 6.0 } else { -6.0 };
    canvas.polygon(vec![(x + out, y), (x - out, y - 6.0), (x - out, y + 6.0)], colour);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mean_far_from_all_others_does_not_press_them_together() {
        let means = [-1.10, -1.14, -1.15, -1.39, -1.40, -2.14, -21.9];
        let [low, high] = fence(&means).unwrap();
        assert!(low < -2.14 && low > -21.9 && high > -1.10, "{low} {high}");
        assert_eq!(fence(&means[3..]), None, "too few to say");
        assert_eq!(fence(&[0.0, 0.0, 0.0, 0.0, 7.0]), None, "no spread to measure by");
    }
}
