//! The course of a training: rewards (as a share of the optimum where that is known) and the entropy of the
//! policy over environment steps.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, Stroke, TextLook, fit};
use super::keys::{Key, draw_keys};
use super::style::{
    INK, LINE_WIDTH, SOFT_INK, TEXT_SIZE, TITLE_SIZE, VERMILION, WIDTH, service_colour,
};
use crate::agent::log::LogRow;

const LEFT: f64 = 82.0;
/// Half of the last number below the axis.
const RIGHT: f64 = 24.0;
const LABEL_GAP: f64 = 64.0;
const TOP: f64 = 84.0;
const HEIGHT: f64 = 230.0;
/// Height of the entropy's panel, and of the gap above it.
const ENTROPY_HEIGHT: f64 = 110.0;
const GAP: f64 = 22.0;
const X_LABELS_HEIGHT: f64 = 44.0;
/// Room above and below the lines, as a share of their range.
const MARGIN: f64 = 0.06;
/// Points of a line at most: more than the figure has pixels would only make it larger.
const POINTS: usize = 800;

/// A column of the log.
type Column = fn(&LogRow) -> Option<f64>;

/// Draws the rows of a training's log.
pub fn draw(title: &str, rows: &[LogRow]) -> Canvas {
    let width = WIDTH - LEFT - RIGHT;
    let bottom = TOP + HEIGHT + GAP + ENTROPY_HEIGHT;
    let mut canvas = Canvas::new(WIDTH, bottom + X_LABELS_HEIGHT);
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    canvas.text((LEFT, 22.0), fit(title, TITLE_SIZE, true, width), look);
    // Shares where there are any; the episodes' own need a single known trace.
    let shares = rows.iter().any(|row| row.evaluation_share.is_some());
    let (episode, evaluation): (Column, Column) = if shares {
        (|row| row.episode_share.map(|x| 100.0 * x), |row| row.evaluation_share.map(|x| 100.0 * x))
    } else {
        (|row| row.episode_reward, |row| row.evaluation_reward)
    };
    let best = rows.iter().filter_map(evaluation).fold(f64::NEG_INFINITY, f64::max);
    let unit = if shares { " % of the optimum" } else { "" };
    let best_text = format!("{best:.2}{unit}").replace('-', "−");
    let text = match rows.last() {
        Some(row) if best.is_finite() => {
            format!("{} steps, {} updates · best evaluation {best_text}", row.steps, row.updates)
        }
        Some(row) => format!("{} steps, {} updates", row.steps, row.updates),
        None => "no step is done".to_owned(),
    };
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left);
    canvas.text((LEFT, 43.0), fit(&text, TEXT_SIZE, false, width), look);
    let keys = [
        Key::Line("training episodes, sampled", service_colour(0), &[]),
        Key::Line("evaluation, most likely actions", VERMILION, &[]),
    ];
    draw_keys(&mut canvas, &keys, LEFT, 66.0, width);

    let line = |of: &dyn Fn(&LogRow) -> Option<f64>| -> Vec<Point> {
        let points: Vec<Point> = rows
            .iter()
            .filter_map(|row| of(row).map(|value| (row.steps as f64 / 1000.0, value)))
            .filter(|point| point.1.is_finite())
            .collect();
        thin(points)
    };
    let lines = [(line(&episode), service_colour(0)), (line(&evaluation), VERMILION)];
    let entropy = line(&|row| Some(row.entropy));
    let last = rows.last().map_or(1.0, |row| row.steps as f64 / 1000.0);
    let x = || Axis::linear(0.0, last, 10);
    let (low, high) = range(lines.iter().flat_map(|(line, _)| line));
    let above = Panel {
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        bottom: TOP + HEIGHT,
        x: x(),
        y: Axis::linear(low, high, 6),
    };
    let (_, high) = range(entropy.iter());
    let below = Panel {
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP + HEIGHT + GAP,
        bottom,
        x: x(),
        y: Axis::linear(0.0, high, 4),
    };
    let label = if shares { "% of the optimum" } else { "reward of an episode" };
    for (panel, label) in [(&above, label), (&below, "entropy, nats")] {
        panel.draw_grid(&mut canvas);
        panel.draw_y_labels(&mut canvas, label, LABEL_GAP);
    }
    let entropy = (entropy, SOFT_INK);
    for (panel, (line, colour)) in
        lines.iter().map(|line| (&above, line)).chain([(&below, &entropy)])
    {
        let points: Vec<Point> = line.iter().map(|&(x, y)| panel.at(x, y)).collect();
        canvas.line(&points, Stroke::solid(*colour, LINE_WIDTH));
    }
    above.draw_frame(&mut canvas);
    below.draw_frame(&mut canvas);
    below.draw_x_labels(&mut canvas, "environment steps, thousands");
    canvas
}

/// The range of the values with some room, never empty.
fn range<'a>(points: impl Iterator<Item = &'a Point>) -> (f64, f64) {
    let (low, high) = points.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| {
        (low.min(point.1), high.max(point.1))
    });
    if low > high {
        return (0.0, 1.0);
    }
    let room = (MARGIN * (high - low)).max(1e-9 * high.abs()).max(1e-6);
    (low - room, high + room)
}

/// At most [`POINTS`] points, each the mean of its neighbours.
fn thin(points: Vec<Point>) -> Vec<Point> {
    let size = points.len().div_ceil(POINTS).max(1);
    if size == 1 {
        return points;
    }
    points
        .chunks(size)
        .map(|chunk| {
            let count = chunk.len() as f64;
            let sum =
                chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / count, sum.1 / count)
        })
        .collect()
}
