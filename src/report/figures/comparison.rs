//! Policies against each other: for each metric a dot plot of means with their intervals, the best
//! policy on top.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Stroke, TextLook, fit, text_width};
use super::metric::{
    ALLOCATED, Metric, OVER_QUOTA, OVER_SLO, REWARD, SHARE_OF_ORACLE, draw_beyond, draw_marker,
    draw_ticks,
};
use super::style::{GREY, INK, SOFT_INK, TEXT_SIZE, TITLE_SIZE, WHITE, WIDTH, policy_style};
use crate::report::comparison::{Comparison, PolicyResult, Statistic};
use crate::report::table::short_mean_text;

const MARGIN: f64 = 18.0;
const NAME_GAP: f64 = 12.0;
const WIDEST_NAME: f64 = 210.0;
const PANEL_GAP: f64 = 34.0;
const PANELS_TOP: f64 = 84.0;
const ROW_HEIGHT: f64 = 36.0;
/// Below the middle of a row, so that the number has room above.
const POINT_DROP: f64 = 6.0;
const AXIS_HEIGHT: f64 = 28.0;

/// Draws the comparison.
pub fn draw(comparison: &Comparison) -> Canvas {
    let policies = comparison.by_reward();
    let with_oracle = policies.iter().any(|policy| policy.oracle_share.is_some());
    let first = if with_oracle { SHARE_OF_ORACLE } else { REWARD };
    let metrics = [first, OVER_SLO, OVER_QUOTA, ALLOCATED];

    let bottom = PANELS_TOP + policies.len().max(1) as f64 * ROW_HEIGHT;
    let mut canvas = Canvas::new(WIDTH, bottom + AXIS_HEIGHT);

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
    let mut beyond = false;
    for (index, metric) in metrics.iter().enumerate() {
        let left = left + index as f64 * (width + PANEL_GAP);
        let ends = (left, left + width);
        beyond |= draw_metric(&mut canvas, comparison, &policies, metric, ends, bottom);
    }
    draw_titles(&mut canvas, comparison, beyond);
    canvas
}

fn draw_titles(canvas: &mut Canvas, comparison: &Comparison, beyond: bool) {
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
    let note = if beyond { note + "; arrow: beyond the axis" } else { note };
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left);
    canvas.text((MARGIN, 43.0), fit(&note, TEXT_SIZE, false, WIDTH - 2.0 * MARGIN), look);
}

fn row_y(row: usize) -> f64 {
    PANELS_TOP + (row as f64 + 0.5) * ROW_HEIGHT + POINT_DROP
}

/// Draws one metric. Gives whether any policy lies beyond its axis.
fn draw_metric(
    canvas: &mut Canvas,
    comparison: &Comparison,
    policies: &[&PolicyResult],
    metric: &Metric,
    (left, right): (f64, f64),
    bottom: f64,
) -> bool {
    let statistics: Vec<Option<&Statistic>> =
        policies.iter().map(|policy| (metric.of)(policy)).collect();
    let x = metric.axis(&statistics, true);
    let panel = Panel { left, top: PANELS_TOP, right, bottom, x, y: Axis::linear(0.0, 1.0, 1) };
    let look = TextLook::new(TEXT_SIZE, INK, Align::Left).bold();
    canvas.text((left, PANELS_TOP - 14.0), metric.heading, look);
    panel.draw_grid_x(canvas);
    let ends = [(left, bottom), (right, bottom)];
    canvas.line(&ends, Stroke::solid(SOFT_INK, 1.0));
    draw_ticks(canvas, &panel);

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
    let means = statistics.iter().flatten().filter_map(|statistic| statistic.mean);
    means.map(|mean| panel.x.beyond(mean * metric.factor)).any(|beyond| beyond.is_some())
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
    let (value, x) = (mean * factor, panel.at_x(mean * factor));
    if let Some(right) = panel.x.beyond(value) {
        draw_beyond(canvas, (x, y), right, colour);
    } else {
        if let Some([low, high]) = statistic.ci95 {
            let ends = [low, high].map(|value| (panel.at_x(value * factor), y));
            canvas.line(&ends, Stroke::solid(colour, 2.5));
        }
        draw_marker(canvas, (x, y), marker, colour);
    }
    let text = short_mean_text(mean, statistic.ci95, factor);
    let half = text_width(&text, TEXT_SIZE, false) / 2.0;
    let middle = x.clamp(panel.left + half, (panel.right - half).max(panel.left + half));
    // Grid and reference do not run through the number.
    canvas.rectangle((middle - half - 1.0, y - 21.0), (middle + half + 1.0, y - 9.0), WHITE);
    canvas.text((middle, y - 15.0), text, TextLook::new(TEXT_SIZE, INK, Align::Centre));
}
