//! Keys: what the lines, areas and marks of a panel mean.

use super::canvas::{Align, Canvas, Point, Stroke, TextLook, text_width};
use super::style::{Colour, GREY, INK, LINE_WIDTH, TEXT_SIZE, WHITE};

const TEXT_GAP: f64 = 5.5;
const KEY_GAP: f64 = 11.0;

/// An entry of a key.
pub enum Key<'a> {
    Line(&'a str, Colour, &'static [f64]),
    Area(&'a str, Colour),
    Tick(&'a str),
    Cross(&'a str),
    Ring(&'a str, Colour),
}

impl Key<'_> {
    fn text(&self) -> &str {
        match self {
            Key::Line(text, ..)
            | Key::Area(text, _)
            | Key::Ring(text, _)
            | Key::Tick(text)
            | Key::Cross(text) => text,
        }
    }

    /// Width of the sample, and of the gap to its text.
    fn sample_width(&self) -> f64 {
        TEXT_GAP
            + match self {
                Key::Line(..) => 20.0,
                Key::Area(..) => 12.0,
                Key::Tick(_) => 5.0,
                Key::Cross(_) => 9.0,
                Key::Ring(..) => 10.0,
            }
    }

    fn width(&self, size: f64) -> f64 {
        self.sample_width() + text_width(self.text(), size, false)
    }

    fn draw(&self, canvas: &mut Canvas, x: f64, y: f64, size: f64) {
        match *self {
            Key::Line(_, colour, dashes) => {
                let width = if dashes.is_empty() { LINE_WIDTH } else { 1.25 };
                canvas.line(&[(x, y), (x + 20.0, y)], Stroke { colour, width, dashes });
            }
            Key::Area(_, colour) => {
                canvas.rectangle((x, y - 5.0), (x + 12.0, y + 5.0), colour);
            }
            Key::Tick(_) => {
                canvas.line(&[(x + 2.0, y - 4.0), (x + 2.0, y + 4.0)], Stroke::solid(INK, 1.25));
            }
            Key::Cross(_) => {
                cross(canvas, (x + 4.0, y), GREY);
            }
            Key::Ring(_, colour) => ring(canvas, (x + 5.0, y), colour),
        }
        let at = (x + self.sample_width(), y);
        canvas.text(at, self.text(), TextLook::new(size, INK, Align::Left));
    }
}

/// Draws keys side by side from `left`, smaller where they do not fit in `width`.
pub fn draw_keys(canvas: &mut Canvas, keys: &[Key<'_>], left: f64, y: f64, width: f64) {
    let needed =
        |size: f64| keys.iter().map(|key| key.width(size) + KEY_GAP).sum::<f64>() - KEY_GAP;
    let sizes = [TEXT_SIZE, TEXT_SIZE - 1.0, TEXT_SIZE - 2.0];
    let size = sizes.into_iter().find(|size| needed(*size) <= width).unwrap_or(sizes[2]);
    let mut x = left;
    for key in keys {
        key.draw(canvas, x, y, size);
        x += key.width(size) + KEY_GAP;
    }
}

/// A small ring.
pub fn ring(canvas: &mut Canvas, centre: Point, colour: Colour) {
    canvas.circle(centre, 5.0, colour);
    canvas.circle(centre, 3.0, WHITE);
}

/// A small cross.
pub fn cross(canvas: &mut Canvas, (x, y): Point, colour: Colour) {
    for slope in [-3.0, 3.0] {
        canvas.line(&[(x - 3.0, y - slope), (x + 3.0, y + slope)], Stroke::solid(colour, 1.75));
    }
}
