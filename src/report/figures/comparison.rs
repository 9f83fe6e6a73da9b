//! Policies against each other: for each metric a dot plot of means with their intervals, the best
//! policy on top.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, Stroke, TextLook, fit, text_width};
use super::style::{
    Colour, GREY, INK, Marker, SOFT_INK, TEXT_SIZE, TITLE_SIZE, WHITE, WIDTH, policy_style,
};
use crate::report::comparison::{Comparison, PolicyResult, Statistic};
use crate::report::table::mean_text;

const MARGIN: f64 = 16.0;
const NAME_GAP: f64 = 12.0;
const WIDEST_NAME: f64 = 210.0;
const PANEL_GAP: f64 = 26.0;
const PANELS_TOP: f64 = 84.0;
const ROW_HEIGHT: f64 = 36.0;
/// Below the middle of a row, so that the number has room above.
const POINT_DROP: f64 = 6.0;
const AXIS_HEIGHT: f64 = 28.0;

/// One metric: its heading with the unit, the factor to that unit, whether zero belongs on the
/// axis, and where it is found.
struct Metric {
    heading: &'static str,
    factor: f64,
    from_zero: bool,
    of: fn(&PolicyResult) -> Option<&Statistic>,
}

const SHARE_OF_ORACLE: Metric = Metric {
    heading: "share of oracle, %",
    factor: 100.0,
    from_zero: false,
    of: |policy| policy.oracle_share.as_ref(),
};
const REWARD: Metric =
    Metric { heading: "reward", factor: 1.0, from_zero: false, of: |policy| Some(&policy.reward) };
const OTHERS: [Metric; 3] = [
    Metric {
        heading: "requests over SLO, %",
        factor: 100.0,
        from_zero: true,
        of: |policy| Some(&policy.slo_violation_share),
    },
    Metric {
        heading: "over quota, CPU-s",
        factor: 1.0,
        from_zero: true,
        of: |policy| Some(&policy.over_quota_cpu_seconds),
    },
    Metric {
        heading: "allocated, CPU-s",
        factor: 1.0,
        from_zero: false,
        of: |policy| Some(&policy.cpu_seconds),
    },
];

/// Draws the comparison.
pub fn draw(comparison: &Comparison) -> Canvas {
    let policies = comparison.by_reward();
    let with_oracle = policies.iter().any(|policy| policy.oracle_share.is_some());
    let first = if with_oracle { &SHARE_OF_ORACLE } else { &REWARD };
    let metrics: Vec<&Metric> = std::iter::once(first).chain(&OTHERS).collect();

    let bottom = PANELS_TOP + policies.len().max(1) as f64 * ROW_HEIGHT;
    let mut canvas = Canvas::new(WIDTH, bottom + AXIS_HEIGHT);
    draw_titles(&mut canvas, comparison);

    let widest = policies
        .iter()
        .map(|policy| text_width(&policy.name, TEXT_SIZE, true))
        .fold(60.0, f64::max)
        .min(WIDEST_NAME);
    for (row, policy) in policies.iter().enumerate() {
        let bold = policy.name == comparison.reference;
        let look = TextLook { bold, ..TextLook::new(TEXT_SIZE, INK, Align::Right) };
        let name = fit(&policy.name, TEXT_SIZE, bold, widest);
        canvas.text((MARGIN + widest, row_y(row)), name, look);
    }

    let left = MARGIN + widest + NAME_GAP;
    let count = metrics.len() as f64;
    let width = (WIDTH - MARGIN - left - (count - 1.0) * PANEL_GAP) / count;
    for (index, metric) in metrics.into_iter().enumerate() {
        let left = left + index as f64 * (width + PANEL_GAP);
        draw_metric(&mut canvas, comparison, &policies, metric, (left, left + width), bottom);
    }
    canvas
}

fn draw_titles(canvas: &mut Canvas, comparison: &Comparison) {
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    let title = format!("Policies on {}", comparison.scenario);
    canvas.text((MARGIN, 22.0), fit(&title, TITLE_SIZE, true, WIDTH - 2.0 * MARGIN), look);
    let seeds = match comparison.seeds.as_slice() {
        [seed] => format!("seed {seed}"),
        seeds => format!("mean over {} seeds with its 95 % bootstrap interval", seeds.len()),
    };
    let note = match comparison.policies.len() {
        1 => seeds,
        _ => format!("{seeds}; dashed: the reference, {}", comparison.reference),
    };
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left);
    canvas.text((MARGIN, 43.0), fit(&note, TEXT_SIZE, false, WIDTH - 2.0 * MARGIN), look);
}

fn row_y(row: usize) -> f64 {
    PANELS_TOP + (row as f64 + 0.5) * ROW_HEIGHT + POINT_DROP
}

fn draw_metric(
    canvas: &mut Canvas,
    comparison: &Comparison,
    policies: &[&PolicyResult],
    metric: &Metric,
    (left, right): (f64, f64),
    bottom: f64,
) {
    let statistics: Vec<Option<&Statistic>> =
        policies.iter().map(|policy| (metric.of)(policy)).collect();
    let x = axis(&statistics, metric);
    let panel = Panel { left, top: PANELS_TOP, right, bottom, x, y: Axis::linear(0.0, 1.0, 1) };
    let look = TextLook::new(TEXT_SIZE, INK, Align::Left).bold();
    canvas.text((left, PANELS_TOP - 14.0), metric.heading, look);
    panel.draw_grid_x(canvas);
    let ends = [(left, bottom), (right, bottom)];
    canvas.line(&ends, Stroke::solid(SOFT_INK, 1.0));
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Centre);
    for (value, text) in &panel.x.ticks {
        canvas.text((panel.at_x(*value), bottom + 12.0), text, look);
    }

    let reference = policies
        .iter()
        .position(|policy| policies.len() > 1 && policy.name == comparison.reference)
        .and_then(|row| statistics[row]?.mean)
        .filter(|mean| mean.is_finite());
    if let Some(mean) = reference {
        let x = panel.at_x(mean * metric.factor);
        let stroke = Stroke { colour: SOFT_INK, width: 1.0, dashes: &[3.0, 3.0] };
        canvas.line(&[(x, PANELS_TOP), (x, bottom)], stroke);
    }
    for (row, (policy, statistic)) in policies.iter().zip(&statistics).enumerate() {
        draw_point(canvas, &panel, policy, *statistic, metric.factor, row_y(row));
    }
}

/// Wide enough for all intervals; the ends are ticks, and away from the data.
fn axis(statistics: &[Option<&Statistic>], metric: &Metric) -> Axis {
    let values: Vec<f64> = statistics
        .iter()
        .flatten()
        .flat_map(|statistic| {
            statistic.mean.into_iter().chain(statistic.ci95.into_iter().flatten())
        })
        .map(|value| value * metric.factor)
        .filter(|value| value.is_finite())
        .collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = if metric.from_zero { low.min(0.0) } else { low };
    let pad = (high - low) * 0.06;
    if !metric.from_zero {
        return Axis::linear(low - pad, high + pad, 4);
    }
    // Nothing at all, or nothing but zeros, still has an axis to the right.
    let high = if high > 0.0 { high + pad } else { 1.0 };
    Axis::linear(low, high, 4)
}

fn draw_point(
    canvas: &mut Canvas,
    panel: &Panel,
    policy: &PolicyResult,
    statistic: Option<&Statistic>,
    factor: f64,
    y: f64,
) {
    let (colour, marker) = policy_style(&policy.name);
    let Some((statistic, mean)) = statistic.and_then(|value| Some((value, value.mean?))) else {
        let look = TextLook::new(TEXT_SIZE, GREY, Align::Left);
        canvas.text((panel.left + 4.0, y), "none", look);
        return;
    };
    if let Some([low, high]) = statistic.ci95 {
        let ends = [low, high].map(|value| (panel.at_x(value * factor), y));
        canvas.line(&ends, Stroke::solid(colour, 2.5));
    }
    // An infinite mean lies at the end of the axis, pointing outwards.
    let x = panel.at_x(mean * factor);
    if mean.is_infinite() {
        let out = if mean > 0.0 { 6.0 } else { -6.0 };
        canvas.polygon(vec![(x + out, y), (x - out, y - 6.0), (x - out, y + 6.0)], colour);
    } else {
        draw_marker(canvas, (x, y), marker, colour);
    }
    let text = mean_text(mean, statistic.ci95, factor);
    let half = text_width(&text, TEXT_SIZE, false) / 2.0;
    let middle = x.clamp(panel.left + half, (panel.right - half).max(panel.left + half));
    // Grid and reference do not run through the number.
    canvas.rectangle((middle - half - 1.0, y - 21.0), (middle + half + 1.0, y - 9.0), WHITE);
    canvas.text((middle, y - 15.0), text, TextLook::new(TEXT_SIZE, INK, Align::Centre));
}

pub(super) fn draw_marker(canvas: &mut Canvas, (x, y): Point, marker: Marker, colour: Colour) {
    match marker {
        Marker::Circle => canvas.circle((x, y), 5.0, colour),
        Marker::Square => canvas.rectangle((x - 4.5, y - 4.5), (x + 4.5, y + 4.5), colour),
        Marker::Diamond => {
            canvas.polygon(vec![(x, y - 6.5), (x + 6.5, y), (x, y + 6.5), (x - 6.5, y)], colour)
        }
        Marker::Triangle => {
            canvas.polygon(vec![(x, y - 6.0), (x + 6.0, y + 5.0), (x - 6.0, y + 5.0)], colour);
        }
    }
}
