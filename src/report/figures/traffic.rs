//! Users of each service over time.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, Stroke, TextLook, fit};
use super::style::{
    INK, LINE_WIDTH, SOFT_INK, TEXT_SIZE, TITLE_SIZE, WIDTH, service_colour, service_dashes,
};
use crate::trace::Trace;

const LEFT: f64 = 62.0;
/// Room for the names at the ends of the lines.
const RIGHT: f64 = 110.0;
const TOP: f64 = 62.0;
const HEIGHT: f64 = 220.0;
const X_LABELS_HEIGHT: f64 = 44.0;
const LABEL_GAP: f64 = 46.0;

/// Draws the stages of `trace`; ramps take seconds and are drawn as steps.
pub fn draw(title: &str, trace: &Trace) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, TOP + HEIGHT + X_LABELS_HEIGHT);
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    canvas.text((LEFT, 22.0), fit(title, TITLE_SIZE, true, WIDTH - LEFT - 14.0), look);
    let length_s = trace.services.iter().map(|service| service.duration_s()).max().unwrap_or(1);
    let note = format!("{} services over {length_s} s", trace.services.len());
    canvas.text((LEFT, 43.0), note, TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left));
    let (unit, unit_s) = if length_s > 6 * 3600 { ("h", 3600.0) } else { ("min", 60.0) };
    let stages = || trace.services.iter().flat_map(|service| &service.stages);
    let highest = stages().map(|stage| stage.users).fold(1.0, f64::max);
    let panel = Panel {
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        bottom: TOP + HEIGHT,
        x: Axis::linear(0.0, f64::from(length_s) / unit_s, 10),
        y: Axis::linear(0.0, highest * 1.06, 5),
    };
    panel.draw_grid(&mut canvas);
    let mut ends = Vec::new();
    for (index, service) in trace.services.iter().enumerate() {
        let stroke = Stroke {
            colour: service_colour(index),
            width: LINE_WIDTH,
            dashes: service_dashes(index),
        };
        let mut line: Vec<Point> = Vec::new();
        let mut time_s = 0.0;
        for stage in &service.stages {
            line.push(panel.at(time_s / unit_s, stage.users));
            time_s += f64::from(stage.duration_s);
            line.push(panel.at(time_s / unit_s, stage.users));
        }
        canvas.line(&line, stroke);
        let y = line.last().map_or(panel.bottom, |point| point.1);
        ends.push((y, service.service.clone(), index));
    }
    panel.draw_frame(&mut canvas);
    for (y, name, index) in super::profile::apart(ends, panel.top, panel.bottom) {
        let x = panel.right + 8.0;
        let stroke =
            Stroke { colour: service_colour(index), width: 3.0, dashes: service_dashes(index) };
        canvas.line(&[(x, y), (x + 14.0, y)], stroke);
        let look = TextLook::new(TEXT_SIZE, INK, Align::Left);
        canvas.text((x + 19.0, y), fit(&name, TEXT_SIZE, false, RIGHT - 32.0), look);
    }
    panel.draw_y_labels(&mut canvas, "users", LABEL_GAP);
    panel.draw_x_labels(&mut canvas, &format!("time, {unit}"));
    canvas
}
