//! A list of shapes, drawn through plotters as SVG and as PNG, and as PDF by [`super::pdf`].
//!
//! Figures place shapes in units of one CSS pixel, as fractions. Backends of plotters take whole
//! pixels and do not anti-alias, so both are drawn [`FINENESS`] times larger: the SVG says so in
//! its view box, the PNG is averaged down to [`PNG_SCALE`].

use std::path::Path;
use std::sync::Once;

use plotters::prelude::{
    BitMapBackend, Circle, DrawingArea, DrawingBackend, IntoDrawingArea, PathElement, Polygon,
    RGBColor, Rectangle, SVGBackend, ShapeStyle, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, register_font};

use super::style::Colour;
use crate::error::{Error, Result};

/// Drawn so many times larger than shown.
const FINENESS: i32 = 4;
/// Pixels of the PNG per unit: fit for print.
const PNG_SCALE: i32 = 2;
/// A viewer without DejaVu has Verdana, of the same widths, or measures anew.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
/// Line height over em of DejaVu Sans: what plotters' rasteriser takes as the size of a font.
const HEIGHT_OVER_EM: f64 = 1.164;
/// How plotters' backends take text.
#[derive(Clone, Copy)]
struct TextRules {
    /// Their size of a font over its em.
    size_over_em: f64,
    /// How far below the middle of digits and capitals their middle of a line is, in em.
    drop_em: f64,
}

/// The rasteriser takes the line height as size, and centres from a baseline that is too high.
const RASTER_TEXT: TextRules = TextRules { size_over_em: HEIGHT_OVER_EM, drop_em: 0.24 };
/// SVG text is divided by 1.24 and centred by the height of an x.
const SVG_TEXT: TextRules = TextRules { size_over_em: 1.24, drop_em: 0.085 };

/// A point in units.
pub type Point = (f64, f64);

/// How a line is drawn.
#[derive(Clone, Copy)]
pub struct Stroke {
    pub colour: Colour,
    pub width: f64,
    /// Lengths of dashes and gaps in turn; empty = solid.
    pub dashes: &'static [f64],
}

impl Stroke {
    /// A solid line.
    pub fn solid(colour: Colour, width: f64) -> Self {
        Self { colour, width, dashes: &[] }
    }
}

/// Where the anchor of a text is, across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Centre,
    Right,
}

/// How a text is drawn; its anchor is at half its height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextLook {
    pub size: f64,
    pub bold: bool,
    pub colour: Colour,
    pub align: Align,
    /// Upwards, for the label of a vertical axis.
    pub upwards: bool,
}

impl TextLook {
    /// Horizontal text of normal weight.
    pub fn new(size: f64, colour: Colour, align: Align) -> Self {
        Self { size, bold: false, colour, align, upwards: false }
    }

    /// The same in bold.
    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

/// One of the shapes that a figure is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Line { points: Vec<Point>, colour: Colour, width: f64 },
    Polygon { points: Vec<Point>, colour: Colour },
    Rectangle { from: Point, to: Point, colour: Colour },
    Circle { centre: Point, radius: f64, colour: Colour },
    Text { at: Point, text: String, look: TextLook },
}

/// A figure in the making. Later shapes cover earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Canvas {
    width: f64,
    height: f64,
    shapes: Vec<Shape>,
}

impl Canvas {
    /// An empty figure.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    /// A line through points; a gap in the dashes wherever the stroke has one.
    pub fn line(&mut self, points: &[Point], stroke: Stroke) {
        let Stroke { colour, width, dashes } = stroke;
        if dashes.is_empty() {
            self.add_line(points.to_vec(), colour, width);
        } else {
            for points in cut_into_dashes(points, dashes) {
                self.add_line(points, colour, width);
            }
        }
    }

    fn add_line(&mut self, points: Vec<Point>, colour: Colour, width: f64) {
        if points.len() > 1 {
            self.shapes.push(Shape::Line { points, colour, width });
        }
    }

    /// A filled polygon.
    pub fn polygon(&mut self, points: Vec<Point>, colour: Colour) {
        if points.len() > 2 {
            self.shapes.push(Shape::Polygon { points, colour });
        }
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, from: Point, to: Point, colour: Colour) {
        self.shapes.push(Shape::Rectangle { from, to, colour });
    }

    /// A filled circle.
    pub fn circle(&mut self, centre: Point, radius: f64, colour: Colour) {
        self.shapes.push(Shape::Circle { centre, radius, colour });
    }

    /// A line of text.
    pub fn text(&mut self, at: Point, text: impl Into<String>, look: TextLook) {
        self.shapes.push(Shape::Text { at, text: text.into(), look });
    }

    /// Its width and height, whole units.
    pub fn extent(&self) -> (f64, f64) {
        (self.width.ceil(), self.height.ceil())
    }

    /// Its shapes, from the lowest to the uppermost.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The letters of its texts in bold, or of the others.
    pub fn letters(&self, bold: bool) -> String {
        let texts = self.shapes.iter().filter_map(|shape| match shape {
            Shape::Text { text, look, .. } if look.bold == bold => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The figure as SVG.
    ///
    /// # Errors
    /// [`Error::Failed`] when plotters cannot draw.
    pub fn to_svg(&self) -> Result<String> {
        let (width, height) = self.size(FINENESS);
        let mut svg = String::new();
        let backend = SVGBackend::with_string(&mut svg, (width, height));
        self.draw(&backend.into_drawing_area(), SVG_TEXT, true)?;
        let (shown_width, shown_height) = self.size(1);
        Ok(svg.replacen(
            &format!("width=\"{width}\" height=\"{height}\""),
            &format!("width=\"{shown_width}\" height=\"{shown_height}\""),
            1,
        ))
    }

    /// Writes the figure as PNG. `path` ends in `.png`.
    ///
    /// # Errors
    /// [`Error::Failed`] when plotters cannot draw or write.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let size = self.size(FINENESS);
        let mut fine = vec![255u8; size.0 as usize * size.1 as usize * 3];
        let backend = BitMapBackend::with_buffer(&mut fine, size);
        self.draw(&backend.into_drawing_area(), RASTER_TEXT, false)?;
        let small_size = self.size(PNG_SCALE);
        let small = halve(&fine, size.0 as usize);
        let failed = |error: &dyn std::fmt::Display| {
            Error::Failed(format!("cannot write {}: {error}", path.display()))
        };
        let mut backend = BitMapBackend::new(path, small_size);
        backend.blit_bitmap((0, 0), small_size, &small).map_err(|error| failed(&error))?;
        backend.present().map_err(|error| failed(&error))
    }

    fn size(&self, scale: i32) -> (u32, u32) {
        // Rounded first, so that all sizes are multiples of one.
        let (width, height) = self.extent();
        ((width * f64::from(scale)) as u32, (height * f64::from(scale)) as u32)
    }

    /// Draws all shapes. `joined`: lines as one path each; else by pieces, because the rasteriser
    /// draws spikes at sharp corners.
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
        rules: TextRules,
        joined: bool,
    ) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::Failed(format!("cannot draw the figure: {error}"))
        };
        area.fill(&RGBColor(255, 255, 255)).map_err(|error| failed(&error))?;
        for shape in &self.shapes {
            let drawn = match shape {
                Shape::Line { points, colour, width } => {
                    let style = ShapeStyle { stroke_width: fine(*width) as u32, ..filled(*colour) };
                    if joined {
                        let points: Vec<_> = points.iter().map(fine_point).collect();
                        area.draw(&PathElement::new(points, ShapeStyle { filled: false, ..style }))
                    } else {
                        points
                            .windows(2)
                            .try_for_each(|pair| draw_piece(area, pair[0], pair[1], *width, style))
                    }
                }
                Shape::Polygon { points, colour } => {
                    let points: Vec<_> = points.iter().map(fine_point).collect();
                    area.draw(&Polygon::new(points, filled(*colour)))
                }
                Shape::Rectangle { from, to, colour } => {
                    area.draw(&Rectangle::new([fine_point(from), fine_point(to)], filled(*colour)))
                }
                Shape::Circle { centre, radius, colour } => {
                    area.draw(&Circle::new(fine_point(centre), fine(*radius), filled(*colour)))
                }
                Shape::Text { at, text, look } => {
                    let drop = rules.drop_em * look.size;
                    let at = match look.upwards {
                        true => (at.0 + drop, at.1),
                        false => (at.0, at.1 + drop),
                    };
                    area.draw_text(text, &text_style(*look, rules.size_over_em), fine_point(&at))
                }
            };
            drawn.map_err(|error| failed(&error))?;
        }
        area.present().map_err(|error| failed(&error))
    }
}

/// One straight piece of a line with a round end.
fn draw_piece<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    from: Point,
    to: Point,
    width: f64,
    style: ShapeStyle,
) -> Result<(), plotters::drawing::DrawingAreaErrorKind<B::ErrorType>> {
    let half = width / 2.0;
    let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
    let length = along_x.hypot(along_y);
    if length == 0.0 {
        return Ok(());
    }
    if along_x == 0.0 || along_y == 0.0 {
        let low = (from.0.min(to.0), from.1.min(to.1));
        let high = (from.0.max(to.0), from.1.max(to.1));
        // Across by half the width; along too, so that corners are square and closed.
        return area.draw(&Rectangle::new(
            [
                fine_point(&(low.0 - half, low.1 - half)),
                fine_point(&(high.0 + half, high.1 + half)),
            ],
            style,
        ));
    }
    let (x, y) = (-along_y / length * half, along_x / length * half);
    let corners = [
        (from.0 + x, from.1 + y),
        (to.0 + x, to.1 + y),
        (to.0 - x, to.1 - y),
        (from.0 - x, from.1 - y),
    ];
    area.draw(&Polygon::new(corners.iter().map(fine_point).collect::<Vec<_>>(), style))?;
    area.draw(&Circle::new(fine_point(&to), fine(half), style))
}

/// Width of a text in units.
pub fn text_width(text: &str, size: f64, bold: bool) -> f64 {
    let look = TextLook { bold, ..TextLook::new(size, Colour(0, 0, 0), Align::Left) };
    let width = font(look, HEIGHT_OVER_EM).box_size(text).map_or(0, |(width, _)| width);
    f64::from(width) / f64::from(FINENESS)
}

/// The text, shortened with an ellipsis in the middle to at most `width` units: names of services
/// and policies often differ at their ends.
pub fn fit(text: &str, size: f64, bold: bool, width: f64) -> String {
    if text_width(text, size, bold) <= width {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    for kept in (2..letters.len()).rev() {
        let head = kept.div_ceil(2);
        let short: String = letters[..head]
            .iter()
            .chain(&['…'])
            .chain(&letters[letters.len() - (kept - head)..])
            .collect();
        if text_width(&short, size, bold) <= width {
            return short;
        }
    }
    "…".to_owned()
}

fn font(look: TextLook, height_over_em: f64) -> FontDesc<'static> {
    // Here, so that no text is ever measured or drawn without it.
    register_fonts();
    let style = if look.bold { FontStyle::Bold } else { FontStyle::Normal };
    FontDesc::new(FontFamily::Name(FONT), look.size * height_over_em * f64::from(FINENESS), style)
}

fn text_style(look: TextLook, height_over_em: f64) -> TextStyle<'static> {
    let transform = if look.upwards { FontTransform::Rotate270 } else { FontTransform::None };
    let across = match look.align {
        Align::Left => HPos::Left,
        Align::Centre => HPos::Center,
        Align::Right => HPos::Right,
    };
    let colour = rgb(look.colour);
    let style = TextStyle::from(font(look, height_over_em).transform(transform));
    TextStyle { color: colour.to_backend_color(), ..style }.pos(Pos::new(across, VPos::Center))
}

/// Registers the font once in a process.
fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A font that does not register shows as an error of the first text drawn.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font(FONT, FontStyle::Bold, dejavu::sans::bold());
    });
}

fn rgb(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

fn filled(colour: Colour) -> ShapeStyle {
    ShapeStyle { color: rgb(colour).into(), filled: true, stroke_width: 1 }
}

fn fine(length: f64) -> i32 {
    (length * f64::from(FINENESS)).round() as i32
}

fn fine_point(point: &Point) -> (i32, i32) {
    (fine(point.0), fine(point.1))
}

/// Averages each two by two pixels of an RGB picture.
fn halve(fine: &[u8], width: usize) -> Vec<u8> {
    let row = width * 3;
    let mut small = Vec::with_capacity(fine.len() / 4);
    for rows in fine.chunks_exact(row * 2) {
        let (upper, lower) = rows.split_at(row);
        for (upper, lower) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            for channel in 0..3 {
                let sum = [upper[channel], upper[channel + 3], lower[channel], lower[channel + 3]]
                    .iter()
                    .map(|&value| u16::from(value))
                    .sum::<u16>();
                small.push(((sum + 2) / 4) as u8);
            }
        }
    }
    small
}

/// The parts of a line that dashes cover. `dashes` has dash and gap lengths in turn, all positive.
fn cut_into_dashes(points: &[Point], dashes: &[f64]) -> Vec<Vec<Point>> {
    let mut parts = Vec::new();
    let mut part: Vec<Point> = points.first().copied().into_iter().collect();
    let mut index = 0;
    let mut left = dashes[0];
    for pair in points.windows(2) {
        let ((mut x, mut y), to) = (pair[0], pair[1]);
        let mut length = (to.0 - x).hypot(to.1 - y);
        while length > left {
            x += (to.0 - x) * left / length;
            y += (to.1 - y) * left / length;
            length -= left;
            if index % 2 == 0 {
                part.push((x, y));
                parts.push(std::mem::take(&mut part));
            } else {
                part = vec![(x, y)];
            }
            index = (index + 1) % dashes.len();
            left = dashes[index];
        }
        left -= length;
        if index % 2 == 0 {
            part.push(to);
        }
    }
    if index % 2 == 0 {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_go_round_corners() {
        let parts = cut_into_dashes(&[(0.0, 0.0), (3.0, 0.0), (3.0, 3.0)], &[2.0, 0.5]);
        assert_eq!(
            parts,
            [
                vec![(0.0, 0.0), (2.0, 0.0)],
                vec![(2.5, 0.0), (3.0, 0.0), (3.0, 1.5)],
                vec![(3.0, 2.0), (3.0, 3.0)],
            ]
        );
    }

    #[test]
    fn long_texts_are_shortened_in_the_middle() {
        assert_eq!(fit("house", 12.0, false, 200.0), "house");
        let short = fit("a-very-long-name-of-a-service-v2", 12.0, false, 100.0);
        assert!(short.starts_with("a-ve") && short.contains('…') && short.ends_with("-v2"));
        assert!(text_width(&short, 12.0, false) <= 100.0);
    }
}
