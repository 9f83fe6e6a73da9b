//! The same policies in several worlds: a row a world, a point a policy, a panel a metric.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Stroke, TextLook, fit, text_width};
use super::comparison::draw_marker;
use super::style::{GRID, INK, SOFT_INK, TEXT_SIZE, TITLE_SIZE, WIDTH, policy_style};
use crate::report::comparison::{Comparison, PolicyResult, Statistic};

const MARGIN: f64 = 16.0;
const NAMES: f64 = 200.0;
const PANEL_GAP: f64 = 26.0;
const PANELS_TOP: f64 = 106.0;
/// Height of one policy's line in a row.
const LINE: f64 = 12.0;
const ROW_GAP: f64 = 14.0;
const AXIS_HEIGHT: f64 = 28.0;

/// A metric: heading, factor to its unit, whether zero belongs on the axis, where it is found.
type Metric = (&'static str, f64, bool, fn(&PolicyResult) -> &Statistic);

const METRICS: [Metric; 3] = [
    ("reward", 1.0, false, |policy| &policy.reward),
    ("requests over SLO, %", 100.0, true, |policy| &policy.slo_violation_share),
    ("over quota, CPU-s", 1.0, true, |policy| &policy.over_quota_cpu_seconds),
];

/// Draws `worlds`, each a label and its comparison; all have the same policies.
pub fn draw(title: &str, worlds: &[(String, Comparison)]) -> Canvas {
    let policies: Vec<&str> = worlds.first().map_or(Vec::new(), |(_, comparison)| {
        comparison.policies.iter().map(|policy| policy.name.as_str()).collect()
    });
    let row_height = policies.len().max(1) as f64 * LINE + ROW_GAP;
    let bottom = PANELS_TOP + worlds.len().max(1) as f64 * row_height;
    let mut canvas = Canvas::new(WIDTH, bottom + AXIS_HEIGHT);
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    canvas.text((MARGIN, 22.0), fit(title, TITLE_SIZE, true, WIDTH - 2.0 * MARGIN), look);
    let seeds = worlds.first().map_or(0, |(_, comparison)| comparison.seeds.len());
    let note = format!("mean over {seeds} seeds with its 95 % bootstrap interval");
    canvas.text((MARGIN, 43.0), note, TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left));
    draw_policies(&mut canvas, &policies);

    for (row, (label, _)) in worlds.iter().enumerate() {
        let y = PANELS_TOP + (row as f64 + 0.5) * row_height;
        let look = TextLook::new(TEXT_SIZE, INK, Align::Right);
        canvas.text((MARGIN + NAMES, y), fit(label, TEXT_SIZE, false, NAMES), look);
    }
    let left = MARGIN + NAMES + 12.0;
    let count = METRICS.len() as f64;
    let width = (WIDTH - MARGIN - left - (count - 1.0) * PANEL_GAP) / count;
    for (index, metric) in METRICS.iter().enumerate() {
        let left = left + index as f64 * (width + PANEL_GAP);
        let panel = Panel {
            left,
            top: PANELS_TOP,
            right: left + width,
            bottom,
            x: axis(worlds, metric),
            y: Axis::linear(0.0, 1.0, 1),
        };
        draw_metric(&mut canvas, &panel, worlds, metric, row_height);
    }
    canvas
}

/// The policies' markers, in the order of the points in a row.
fn draw_policies(canvas: &mut Canvas, policies: &[&str]) {
    let mut x = MARGIN;
    for name in policies {
        let (colour, marker) = policy_style(name);
        draw_marker(canvas, (x + 6.0, 66.0), marker, colour);
        canvas.text((x + 16.0, 66.0), *name, TextLook::new(TEXT_SIZE, INK, Align::Left));
        x += text_width(name, TEXT_SIZE, false) + 34.0;
    }
}

fn axis(worlds: &[(String, Comparison)], &(_, factor, from_zero, of): &Metric) -> Axis {
    let statistics = worlds.iter().flat_map(|(_, comparison)| comparison.policies.iter().map(of));
    let values: Vec<f64> = statistics
        .flat_map(|one| one.mean.into_iter().chain(one.ci95.into_iter().flatten()))
        .map(|value| value * factor)
        .filter(|value| value.is_finite())
        .collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let pad = (high - low) * 0.06;
    match (from_zero, high > 0.0) {
        (true, true) => Axis::linear(low.min(0.0), high + pad, 4),
        (true, false) => Axis::linear(low.min(0.0), 1.0, 4),
        (false, _) => Axis::linear(low - pad, high + pad, 4),
    }
}

fn draw_metric(
    canvas: &mut Canvas,
    panel: &Panel,
    worlds: &[(String, Comparison)],
    &(heading, factor, _, of): &Metric,
    row_height: f64,
) {
    let look = TextLook::new(TEXT_SIZE, INK, Align::Left).bold();
    canvas.text((panel.left, PANELS_TOP - 14.0), heading, look);
    panel.draw_grid_x(canvas);
    for row in 0..=worlds.len() {
        let y = PANELS_TOP + row as f64 * row_height;
        let colour = if row == worlds.len() { SOFT_INK } else { GRID };
        canvas.line(&[(panel.left, y), (panel.right, y)], Stroke::solid(colour, 1.0));
    }
    for (row, (_, comparison)) in worlds.iter().enumerate() {
        let top = PANELS_TOP + row as f64 * row_height + ROW_GAP / 2.0;
        for (index, policy) in comparison.policies.iter().enumerate() {
            let y = top + (index as f64 + 0.5) * LINE;
            let (colour, marker) = policy_style(&policy.name);
            let statistic = of(policy);
            let Some(mean) = statistic.mean.filter(|mean| mean.is_finite()) else { continue };
            if let Some([low, high]) = statistic.ci95 {
                let ends = [low, high].map(|value| (panel.at_x(value * factor), y));
                canvas.line(&ends, Stroke::solid(colour, 2.0));
            }
            draw_marker(canvas, (panel.at_x(mean * factor), y), marker, colour);
        }
    }
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Centre);
    for (value, text) in &panel.x.ticks {
        canvas.text((panel.at_x(*value), panel.bottom + 12.0), text, look);
    }
}
