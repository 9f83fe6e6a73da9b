//! Keys: what the lines, areas and marks of a panel mean.

use super::canvas::{Align, Canvas, Point, Stroke, TextLook, text_width};
use super::style::{Colour, GREY, INK, LINE_WIDTH, TEXT_SIZE};

/// An entry of a key.
pub enum Key<'a> {
    Line(&'a str, Colour, &'static [f64]),
    Area(&'a str, Colour),
    Tick(&'a str),
    Cross(&'a str),
}

impl Key<'_> {
    /// Draws it from `x` on and gives where it ends.
    pub fn draw(&self, canvas: &mut Canvas, x: f64, y: f64) -> f64 {
        let (text, width) = match *self {
            Key::Line(text, colour, dashes) => {
                let width = if dashes.is_empty() { LINE_WIDTH } else { 1.25 };
                canvas.line(&[(x, y), (x + 20.0, y)], Stroke { colour, width, dashes });
                (text, 20.0)
            }
            Key::Area(text, colour) => {
                canvas.rectangle((x, y - 5.0), (x + 12.0, y + 5.0), colour);
                (text, 12.0)
            }
            Key::Tick(text) => {
                canvas.line(&[(x + 2.0, y - 4.0), (x + 2.0, y + 4.0)], Stroke::solid(INK, 1.25));
                (text, 5.0)
            }
            Key::Cross(text) => {
                cross(canvas, (x + 4.0, y), GREY);
                (text, 9.0)
            }
        };
        canvas.text((x + width + 4.0, y), text, TextLook::new(TEXT_SIZE, INK, Align::Left));
        x + width + 4.0 + text_width(text, TEXT_SIZE, false)
    }
}

/// A small cross.
pub fn cross(canvas: &mut Canvas, (x, y): Point, colour: Colour) {
    for slope in [-3.0, 3.0] {
        canvas.line(&[(x - 3.0, y - slope), (x + 3.0, y + slope)], Stroke::solid(colour, 1.75));
    }
}
