//! The loss of a training over its epochs, on the training and on the validation part.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, Stroke, TextLook, fit};
use super::keys::{Key, draw_keys};
use super::style::{
    INK, LINE_WIDTH, SOFT_INK, TEXT_SIZE, TITLE_SIZE, VERMILION, WIDTH, service_colour,
};
use crate::predictor::train::TrainingState;

const LEFT: f64 = 82.0;
/// Half of the last number below the axis.
const RIGHT: f64 = 24.0;
const LABEL_GAP: f64 = 64.0;
const TOP: f64 = 84.0;
const HEIGHT: f64 = 260.0;
const X_LABELS_HEIGHT: f64 = 44.0;
/// Room above and below the lines, as a share of their range.
const MARGIN: f64 = 0.06;

/// Draws the losses of `state`, which are of the kind `loss`.
pub fn draw(title: &str, state: &TrainingState, loss: &str) -> Canvas {
    let width = WIDTH - LEFT - RIGHT;
    let mut canvas = Canvas::new(WIDTH, TOP + HEIGHT + X_LABELS_HEIGHT);
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    canvas.text((LEFT, 22.0), fit(title, TITLE_SIZE, true, width), look);
    let text = match state.best {
        Some(best) => format!(
            "{} epochs · lowest validation loss {:.6} in epoch {}",
            state.epoch, best.loss, best.epoch
        ),
        None => "no epoch is done".to_owned(),
    };
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left);
    canvas.text((LEFT, 43.0), fit(&text, TEXT_SIZE, false, width), look);
    let keys = [
        Key::Line("training", service_colour(0), &[]),
        Key::Line("validation", VERMILION, &[]),
        Key::Tick("lowest"),
    ];
    draw_keys(&mut canvas, &keys, LEFT, 66.0, width);

    let epochs = |of: fn(&crate::predictor::train::EpochLoss) -> Option<f64>| -> Vec<Point> {
        let each = state.losses.iter();
        each.filter_map(|loss| of(loss).map(|value| (f64::from(loss.epoch), value))).collect()
    };
    let lines = [
        (epochs(|loss| loss.train), service_colour(0)),
        (epochs(|loss| Some(loss.validation)), VERMILION),
    ];
    let values = || lines.iter().flat_map(|(line, _)| line).map(|&(_, value)| value);
    let (low, high) = values()
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let positive = low > 0.0 && low.is_finite();
    let room = MARGIN * (high - low);
    let y = if positive && high / low > 5.0 {
        Axis::logarithmic(low / (1.0 + MARGIN), high * (1.0 + MARGIN))
    } else if positive {
        Axis::linear((low - room).max(0.0), high + room, 5)
    } else {
        Axis::rounded(0.0, high, 5)
    };
    let first = state.losses.first().map_or(0.0, |loss| f64::from(loss.epoch));
    let last = f64::from(state.epoch).max(first + 1.0);
    let panel = Panel {
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        bottom: TOP + HEIGHT,
        x: Axis::linear(first, last, 10.min((last - first) as usize).max(1)),
        y,
    };
    panel.draw_grid(&mut canvas);
    if let Some(best) = state.best {
        let x = panel.at_x(f64::from(best.epoch));
        canvas.line(&[(x, panel.top), (x, panel.bottom)], Stroke::solid(SOFT_INK, 1.25));
    }
    for (line, colour) in &lines {
        let points: Vec<Point> = line.iter().map(|&(x, y)| panel.at(x, y)).collect();
        canvas.line(&points, Stroke::solid(*colour, LINE_WIDTH));
        for point in points {
            canvas.circle(point, 2.0, *colour);
        }
    }
    panel.draw_frame(&mut canvas);
    panel.draw_y_labels(&mut canvas, loss, LABEL_GAP);
    panel.draw_x_labels(&mut canvas, "epoch");
    canvas
}
