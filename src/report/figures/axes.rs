//! Axes with round ticks, and the panels that they frame.

use super::canvas::{Align, Canvas, Point, Stroke, TextLook};
use super::style::{GRID, SOFT_INK, TEXT_SIZE};

/// A scale from values to a length.
#[derive(Clone, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Values and what is written there.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear scale over `low..=high` with about `count` ticks; widened where it has no length.
    pub fn linear(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = with_length(low, high);
        let step = round_step((high - low) / count.max(1) as f64);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last)
            .map(|index| index as f64 * step)
            .map(|value| (value, tick_text(value, step)))
            .collect();
        Self { low, high, logarithmic: false, ticks }
    }

    /// As [`Self::linear`], but ending at ticks.
    pub fn rounded(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = with_length(low, high);
        let step = round_step((high - low) / count.max(1) as f64);
        Self::linear((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step, count)
    }

    /// Logarithmic, for positive values, with ticks at 1, 2 and 5 (or fewer over many decades).
    pub fn logarithmic(low: f64, high: f64) -> Self {
        let high = high.clamp(1e-6, MOST);
        let low = low.clamp(high * 1e-6, high / 10.0);
        let (from, to) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let mantissas: &[f64] = match to - from {
            ..=2 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let ticks = (from..=to)
            .flat_map(|power| mantissas.iter().map(move |mantissa| mantissa * 10f64.powi(power)))
            .filter(|value| (low..=high).contains(value))
            .map(|value| (value, tick_text(value, value)))
            .collect();
        Self { low, high, logarithmic: true, ticks }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end, never outside.
    pub fn share(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Whether a value lies beyond the axis: `true` past its high end, `false` past its low end.
    pub fn beyond(&self, value: f64) -> Option<bool> {
        match value {
            _ if value > self.high => Some(true),
            _ if value < self.low => Some(false),
            _ => None,
        }
    }
}

/// Values beyond this are drawn at the end of the axis; lengths of axes stay finite.
const MOST: f64 = 1e300;

/// A range that has a length, is finite and in order.
fn with_length(low: f64, high: f64) -> (f64, f64) {
    let low = if low.is_finite() { low.clamp(-MOST, MOST) } else { 0.0 };
    let high = if high.is_finite() { high.clamp(-MOST, MOST) } else { low };
    let (low, high) = (low.min(high), low.max(high));
    // Below this the ticks would all read the same.
    let least = (low.abs().max(high.abs()) * 1e-6).max(1e-9);
    if high - low >= least {
        return (low, high);
    }
    let pad = if low == 0.0 { 0.5 } else { low.abs() * 0.05 };
    (low - pad, high + pad)
}

/// 1, 2 or 5 times a power of ten, at least `step` (but for rounding).
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let mantissa = step / power;
    power
        * match mantissa {
            ..=1.0001 => 1.0,
            ..=2.0001 => 2.0,
            ..=5.0001 => 5.0,
            _ => 10.0,
        }
}

/// A tick's value with the decimals of the step; thousands as k, millions as M.
fn tick_text(value: f64, step: f64) -> String {
    let (value, step, unit) = match value.abs().max(step) {
        size if size >= 1e6 && step >= 1e5 => (value / 1e6, step / 1e6, "M"),
        size if size >= 1e4 && step >= 1e2 => (value / 1e3, step / 1e3, "k"),
        _ => (value, step, ""),
    };
    let digits = (-(step * 1.0001).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = crate::report::table::plain(value, digits);
    if value == 0.0 { text } else { text.replace('-', "−") + unit }
}

/// Distance between a panel and the numbers at its axis.
const TICK_GAP: f64 = 5.0;

/// A rectangle with two axes.
pub struct Panel {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
    pub x: Axis,
    pub y: Axis,
}

impl Panel {
    /// Where a value of the horizontal axis lies.
    pub fn at_x(&self, value: f64) -> f64 {
        self.left + self.x.share(value) * (self.right - self.left)
    }

    /// Where a value of the vertical axis lies.
    pub fn at_y(&self, value: f64) -> f64 {
        self.bottom - self.y.share(value) * (self.bottom - self.top)
    }

    /// Where a pair of values lies.
    pub fn at(&self, x: f64, y: f64) -> Point {
        (self.at_x(x), self.at_y(y))
    }

    /// Grid lines of both axes.
    pub fn draw_grid(&self, canvas: &mut Canvas) {
        for (value, _) in &self.y.ticks {
            let y = self.at_y(*value);
            canvas.line(&[(self.left, y), (self.right, y)], Stroke::solid(GRID, 0.75));
        }
        self.draw_grid_x(canvas);
    }

    /// Grid lines of the horizontal axis.
    pub fn draw_grid_x(&self, canvas: &mut Canvas) {
        for (value, _) in &self.x.ticks {
            let x = self.at_x(*value);
            canvas.line(&[(x, self.top), (x, self.bottom)], Stroke::solid(GRID, 0.75));
        }
    }

    /// The two axis lines, over the data.
    pub fn draw_frame(&self, canvas: &mut Canvas) {
        canvas.line(
            &[(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)],
            Stroke::solid(SOFT_INK, 1.0),
        );
    }

    /// The numbers of the vertical axis and its label, `label_gap` left of the panel.
    pub fn draw_y_labels(&self, canvas: &mut Canvas, label: &str, label_gap: f64) {
        let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Right);
        for (value, text) in &self.y.ticks {
            canvas.text((self.left - TICK_GAP, self.at_y(*value)), text, look);
        }
        let look = TextLook { upwards: true, ..TextLook::new(TEXT_SIZE, SOFT_INK, Align::Centre) };
        let middle = (self.top + self.bottom) / 2.0;
        canvas.text((self.left - label_gap, middle), label, look);
    }

    /// The numbers of the horizontal axis and its label below them.
    pub fn draw_x_labels(&self, canvas: &mut Canvas, label: &str) {
        let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Centre);
        for (value, text) in &self.x.ticks {
            canvas.text((self.at_x(*value), self.bottom + TICK_GAP + 7.0), text, look);
        }
        let middle = (self.left + self.right) / 2.0;
        canvas.text((middle, self.bottom + TICK_GAP + 23.0), label, look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts(&Axis::linear(0.0, 40.0, 5)), ["0", "10", "20", "30", "40"]);
        assert_eq!(texts(&Axis::linear(-1.43, -1.09, 4)), ["−1.4", "−1.3", "−1.2", "−1.1"]);
        assert_eq!(texts(&Axis::linear(45_000.0, 60_100.0, 3)), ["50k", "60k"]);
        assert_eq!(texts(&Axis::linear(0.0, 0.3, 3)), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(texts(&Axis::logarithmic(20.0, 900.0)), ["20", "50", "100", "200", "500"]);
        assert_eq!(texts(&Axis::rounded(1.0, 37.0, 4)), ["0", "10", "20", "30", "40"]);
    }

    #[test]
    fn degenerate_ranges_still_make_an_axis() {
        for (low, high) in
            [(0.0, 0.0), (5.0, 5.0), (f64::NAN, f64::INFINITY), (1e300, -1e300), (1.0, 1.0 + 1e-15)]
        {
            for axis in [Axis::linear(low, high, 4), Axis::rounded(low, high, 4)] {
                assert!((1..=20).contains(&axis.ticks.len()), "{axis:?}");
                assert!((0.0..=1.0).contains(&axis.share(low)), "{axis:?}");
                assert!((0.0..=1.0).contains(&axis.share(f64::INFINITY)));
            }
        }
        assert!(!Axis::logarithmic(0.0, 0.0).ticks.is_empty());
    }
}
