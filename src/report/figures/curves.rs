//! Courses of several trainings in one panel: what is measured of the most likely actions over
//! environment steps, a line a training, and their median.

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
const HEIGHT: f64 = 300.0;
const X_LABELS_HEIGHT: f64 = 44.0;
/// Room above and below the lines, as a share of their range.
const MARGIN: f64 = 0.06;

/// Steps and evaluation of each row that has one: % of the optimum where all rows have that, else reward.
fn evaluations(rows: &[LogRow], shares: bool) -> Vec<(u64, f64)> {
    let of = |row: &LogRow| match shares {
        true => row.evaluation_share.map(|share| 100.0 * share),
        false => row.evaluation_reward,
    };
    rows.iter().filter_map(|row| of(row).map(|value| (row.steps, value))).collect()
}

/// Draws the logs of trainings of the same length.
pub fn draw(title: &str, logs: &[Vec<LogRow>]) -> Canvas {
    let width = WIDTH - LEFT - RIGHT;
    let bottom = TOP + HEIGHT;
    let mut canvas = Canvas::new(WIDTH, bottom + X_LABELS_HEIGHT);
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    canvas.text((LEFT, 22.0), fit(title, TITLE_SIZE, true, width), look);
    let shares = logs.iter().flatten().any(|row| row.evaluation_share.is_some());
    let lines: Vec<Vec<(u64, f64)>> = logs.iter().map(|rows| evaluations(rows, shares)).collect();
    let median = median(&lines);
    let text = match median.last() {
        Some((steps, value)) => format!(
            "{} · after {steps} steps {value:.2}{}",
            match lines.len() {
                1 => "one training".to_owned(),
                count => format!("median of {count} trainings"),
            },
            if shares { " % of the optimum" } else { "" }
        ),
        None => "nothing was measured".to_owned(),
    };
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left);
    canvas.text((LEFT, 43.0), fit(&text, TEXT_SIZE, false, width), look);
    let thin = service_colour(0).tint(0.5);
    let keys = match lines.len() {
        ..=1 => vec![Key::Line("most likely actions", VERMILION, &[])],
        _ => vec![
            Key::Line("a training, most likely actions", thin, &[]),
            Key::Line("median", VERMILION, &[]),
        ],
    };
    draw_keys(&mut canvas, &keys, LEFT, 66.0, width);

    let values = || lines.iter().flatten().map(|point| point.1).filter(|value| value.is_finite());
    let (low, high) =
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let room = (MARGIN * (high - low)).max(1e-9 * high.abs()).max(1e-6);
    let last = logs.iter().flatten().map(|row| row.steps).max().unwrap_or(1000);
    let panel = Panel {
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        bottom,
        x: Axis::linear(0.0, last as f64 / 1000.0, 10),
        y: Axis::linear(low - room, high + room, 6),
    };
    panel.draw_grid(&mut canvas);
    let label = if shares { "% of the optimum" } else { "reward of an episode" };
    panel.draw_y_labels(&mut canvas, label, LABEL_GAP);
    let mut line = |points: &[(u64, f64)], stroke: Stroke| {
        let points: Vec<Point> = points
            .iter()
            .filter(|point| point.1.is_finite())
            .map(|&(steps, value)| panel.at(steps as f64 / 1000.0, value))
            .collect();
        canvas.line(&points, stroke);
    };
    for points in &lines {
        line(points, Stroke::solid(thin, 1.0));
    }
    line(&median, Stroke::solid(VERMILION, LINE_WIDTH));
    panel.draw_frame(&mut canvas);
    panel.draw_x_labels(&mut canvas, "environment steps, thousands");
    canvas
}

/// The median of the lines at the points that all of them have.
fn median(lines: &[Vec<(u64, f64)>]) -> Vec<(u64, f64)> {
    let shortest = lines.iter().map(Vec::len).min().unwrap_or(0);
    (0..shortest)
        .map(|index| {
            let values = lines.iter().map(|line| line[index].1).collect();
            (lines[0][index].0, super::metric::median(values))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_where_all_lines_are() {
        let line = |values: &[f64]| (1..).zip(values.iter().copied()).collect::<Vec<_>>();
        let lines = [line(&[1.0, 5.0, 9.0]), line(&[3.0, 4.0])];
        assert_eq!(median(&lines), [(1, 2.0), (2, 4.5)]);
        assert_eq!(median(&[line(&[1.0]), line(&[7.0]), line(&[2.0])]), [(1, 2.0)]);
        assert_eq!(median(&[]), []);
    }

    #[test]
    fn it_draws_even_what_was_not_measured() {
        draw("t", &[]);
        draw("t", &[vec![LogRow { steps: 10, ..LogRow::default() }]]);
    }
}
