//! The same policies in several worlds: a row a world, a point a policy, a panel a metric.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Stroke, TextLook, fit, text_width};
use super::metric::{Metric, OVER_QUOTA, OVER_SLO, REWARD, draw_marker, draw_ticks};
use super::style::{GRID, INK, SOFT_INK, TEXT_SIZE, TITLE_SIZE, WIDTH, policy_style};
use crate::report::comparison::{Comparison, Statistic};

const MARGIN: f64 = 18.0;
const NAMES: f64 = 200.0;
const PANEL_GAP: f64 = 34.0;
const PANELS_TOP: f64 = 106.0;
/// Height of one policy's line in a row.
const LINE: f64 = 12.0;
const ROW_GAP: f64 = 14.0;
const AXIS_HEIGHT: f64 = 28.0;

const METRICS: [Metric; 3] = [REWARD, OVER_SLO, OVER_QUOTA];

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
            x: metric.axis(&statistics(worlds, metric), false),
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

fn statistics<'a>(
    worlds: &'a [(String, Comparison)],
    metric: &Metric,
) -> Vec<Option<&'a Statistic>> {
    let policies = worlds.iter().flat_map(|(_, comparison)| &comparison.policies);
    policies.map(metric.of).collect()
}

fn draw_metric(
    canvas: &mut Canvas,
    panel: &Panel,
    worlds: &[(String, Comparison)],
    metric: &Metric,
    row_height: f64,
) {
    let look = TextLook::new(TEXT_SIZE, INK, Align::Left).bold();
    canvas.text((panel.left, PANELS_TOP - 14.0), metric.heading, look);
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
            let Some(statistic) = (metric.of)(policy) else { continue };
            let Some(mean) = statistic.mean.filter(|mean| mean.is_finite()) else { continue };
            if let Some([low, high]) = statistic.ci95 {
                let ends = [low, high].map(|value| (panel.at_x(value * metric.factor), y));
                canvas.line(&ends, Stroke::solid(colour, 2.0));
            }
            draw_marker(canvas, (panel.at_x(mean * metric.factor), y), marker, colour);
        }
    }
    draw_ticks(canvas, panel);
}
