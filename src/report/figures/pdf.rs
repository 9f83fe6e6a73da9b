//! The shapes of a canvas as PDF: one page of the figure's size, vectors and real letters, with the
//! part of the font that they need.
//!
//! A unit is a CSS pixel, 0.75 points. Without dates or random names: the same figure gives the same
//! bytes.

use std::collections::BTreeMap;

use pdf_writer::types::{CidFontType, FontFlags, LineJoinStyle, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use ttf_parser::Face;

use super::canvas::{Align, Canvas, Point, Shape, TextLook};
use super::font;
use super::style::Colour;
use crate::error::{Error, Result};

/// Points of a CSS pixel.
const SCALE: f64 = 0.75;
/// Half the height of DejaVu Sans' digits and capitals, in em: how far below the middle of a text its
/// baseline is.
const HALF_CAPITAL: f64 = 0.3645;
/// How far from the end of a quarter of a circle its control point is, over the radius.
const ARC: f64 = 0.552_284_75;
/// The registry of glyph numbers that are those of the font itself.
const IDENTITY: SystemInfo<'_> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// A weight of the font in the document.
struct Font {
    /// Of the document's resources.
    name: Name<'static>,
    /// Of the PostScript font: six letters mark a part of one.
    postscript: Name<'static>,
    /// The TrueType file.
    bytes: Vec<u8>,
    /// Letters to glyphs and advances, the latter in thousandths of the em.
    glyphs: BTreeMap<char, (u16, f32)>,
    /// Ascent, descent and height of capitals, in thousandths of the em.
    heights: [f32; 3],
    first: i32,
}

impl Font {
    /// With the letters of `text`; its objects are numbered from `first`.
    fn new(bold: bool, text: &str, first: i32) -> Result<Self> {
        let failed = || Error::Failed("the built-in font cannot be cut down".to_owned());
        let bytes = font::cut(bold, text)?;
        let face = Face::parse(&bytes, 0).map_err(|_| failed())?;
        let em = f32::from(face.units_per_em()) / 1000.0;
        let glyphs = text
            .chars()
            .filter_map(|letter| {
                let glyph = face.glyph_index(letter)?;
                Some((letter, (glyph.0, f32::from(face.glyph_hor_advance(glyph)?) / em)))
            })
            .collect();
        let capitals = face.capital_height().unwrap_or_else(|| face.ascender());
        let heights = [face.ascender(), face.descender(), capitals].map(|it| f32::from(it) / em);
        let (name, postscript) = match bold {
            false => (Name(b"R"), Name(b"QUOTAS+DejaVuSans")),
            true => (Name(b"B"), Name(b"QUOTAS+DejaVuSans-Bold")),
        };
        Ok(Self { name, postscript, bytes, glyphs, heights, first })
    }

    /// The object that a page names.
    fn id(&self) -> Ref {
        Ref::new(self.first)
    }

    /// The glyph of a letter; that of missing letters where the font has none.
    fn glyph(&self, letter: char) -> (u16, f32) {
        self.glyphs.get(&letter).copied().unwrap_or((0, 600.0))
    }

    /// Width of a text, in thousandths of its size.
    fn width(&self, text: &str) -> f64 {
        text.chars().map(|letter| f64::from(self.glyph(letter).1)).sum()
    }

    fn write(&self, pdf: &mut Pdf) {
        let [cid, descriptor, file, cmap] = [1, 2, 3, 4].map(|next| Ref::new(self.first + next));
        let mut letters = pdf.type0_font(self.id());
        letters.base_font(self.postscript).encoding_predefined(Name(b"Identity-H"));
        letters.descendant_font(cid).to_unicode(cmap);
        letters.finish();
        let mut font = pdf.cid_font(cid);
        font.subtype(CidFontType::Type2).base_font(self.postscript).system_info(IDENTITY);
        font.font_descriptor(descriptor).cid_to_gid_map_predefined(Name(b"Identity"));
        let mut widths = font.widths();
        for (glyph, width) in self.glyphs.values() {
            widths.same(*glyph, *glyph, *width);
        }
        widths.finish();
        font.finish();
        let [ascent, descent, capitals] = self.heights;
        let mut described = pdf.font_descriptor(descriptor);
        described.name(self.postscript).flags(FontFlags::NON_SYMBOLIC).italic_angle(0.0);
        described.bbox(Rect::new(-1100.0, descent.min(-500.0), 2200.0, ascent.max(1300.0)));
        described.ascent(ascent).descent(descent).cap_height(capitals).stem_v(80.0);
        described.font_file2(file);
        described.finish();
        pdf.stream(file, &self.bytes).pair(Name(b"Length1"), self.bytes.len() as i32);
        let mut letters = UnicodeCmap::new(Name(b"Letters"), IDENTITY);
        for (letter, (glyph, _)) in &self.glyphs {
            letters.pair(*glyph, *letter);
        }
        pdf.stream(cmap, &letters.finish());
    }
}

/// A canvas as a document of one page, with `title` in its properties.
///
/// # Errors
/// [`Error::Failed`] when the built-in font is not as expected.
pub fn document(canvas: &Canvas, title: &str) -> Result<Vec<u8>> {
    let [catalog, pages, page, contents, info] = [1, 2, 3, 4, 5].map(Ref::new);
    let fonts =
        [Font::new(false, &canvas.letters(false), 6)?, Font::new(true, &canvas.letters(true), 11)?];
    let (width, height) = canvas.extent();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.document_info(info).title(TextStr(title)).producer(TextStr("quotascale"));
    pdf.pages(pages).kids([page]).count(1);
    let mut only = pdf.page(page);
    let size = [width, height].map(|length| (length * SCALE) as f32);
    only.parent(pages).media_box(Rect::new(0.0, 0.0, size[0], size[1])).contents(contents);
    let mut resources = only.resources();
    let mut named = resources.fonts();
    for font in &fonts {
        named.pair(font.name, font.id());
    }
    named.finish();
    resources.finish();
    only.finish();
    for font in &fonts {
        font.write(&mut pdf);
    }

    let mut content = Content::new();
    // From units that grow downwards to points that grow upwards.
    let [scale, top] = [SCALE as f32, size[1]];
    content.transform([scale, 0.0, 0.0, -scale, 0.0, top]);
    content.set_line_join(LineJoinStyle::MiterJoin);
    for shape in canvas.shapes() {
        draw(&mut content, shape, &fonts);
    }
    pdf.stream(contents, &content.finish());
    Ok(pdf.finish())
}

fn draw(content: &mut Content, shape: &Shape, fonts: &[Font; 2]) {
    match shape {
        Shape::Line { points, colour, width } => {
            let [red, green, blue] = channels(*colour);
            content.set_stroke_rgb(red, green, blue).set_line_width(rounded(*width));
            path(content, points);
            content.stroke();
        }
        Shape::Polygon { points, colour } => {
            fill_with(content, *colour);
            path(content, points);
            content.close_path().fill_nonzero();
        }
        Shape::Rectangle { from, to, colour } => {
            fill_with(content, *colour);
            let [x, y, right, bottom] = [from.0, from.1, to.0, to.1].map(rounded);
            content.rect(x, y, right - x, bottom - y).fill_nonzero();
        }
        Shape::Circle { centre, radius, colour } => {
            fill_with(content, *colour);
            circle(content, *centre, *radius);
            content.fill_nonzero();
        }
        Shape::Text { at, text, look } => write_text(content, *at, text, look, fonts),
    }
}

fn path(content: &mut Content, points: &[Point]) {
    for (index, &(x, y)) in points.iter().enumerate() {
        match index {
            0 => content.move_to(rounded(x), rounded(y)),
            _ => content.line_to(rounded(x), rounded(y)),
        };
    }
}

fn circle(content: &mut Content, (x, y): Point, radius: f64) {
    let at = |dx: f64, dy: f64| (rounded(x + dx * radius), rounded(y + dy * radius));
    let start = at(1.0, 0.0);
    content.move_to(start.0, start.1);
    // A quarter each, from one direction to the next.
    for (from, to) in [
        ((1.0, 0.0), (0.0, 1.0)),
        ((0.0, 1.0), (-1.0, 0.0)),
        ((-1.0, 0.0), (0.0, -1.0)),
        ((0.0, -1.0), (1.0, 0.0)),
    ] {
        let first = at(from.0 + ARC * to.0, from.1 + ARC * to.1);
        let second = at(to.0 + ARC * from.0, to.1 + ARC * from.1);
        let end = at(to.0, to.1);
        content.cubic_to(first.0, first.1, second.0, second.1, end.0, end.1);
    }
}

fn write_text(content: &mut Content, at: Point, text: &str, look: &TextLook, fonts: &[Font; 2]) {
    let font = &fonts[usize::from(look.bold)];
    let width = font.width(text) / 1000.0 * look.size;
    let before = match look.align {
        Align::Left => 0.0,
        Align::Centre => width / 2.0,
        Align::Right => width,
    };
    let drop = HALF_CAPITAL * look.size;
    // Mirrored back, because the page is drawn downwards.
    let matrix = match look.upwards {
        false => [1.0, 0.0, 0.0, -1.0, rounded(at.0 - before), rounded(at.1 + drop)],
        true => [0.0, -1.0, -1.0, 0.0, rounded(at.0 + drop), rounded(at.1 + before)],
    };
    let glyphs: Vec<u8> =
        text.chars().flat_map(|letter| font.glyph(letter).0.to_be_bytes()).collect();
    fill_with(content, look.colour);
    content.begin_text().set_font(font.name, look.size as f32).set_text_matrix(matrix);
    content.show(Str(&glyphs)).end_text();
}

fn fill_with(content: &mut Content, colour: Colour) {
    let [red, green, blue] = channels(colour);
    content.set_fill_rgb(red, green, blue);
}

fn channels(colour: Colour) -> [f32; 3] {
    [colour.0, colour.1, colour.2].map(|channel| {
        let share = f32::from(channel) / 255.0;
        (share * 1000.0).round() / 1000.0
    })
}

/// Hundredths of a unit are finer than any print.
fn rounded(length: f64) -> f32 {
    ((length * 100.0).round() / 100.0) as f32
}

#[cfg(test)]
mod tests {
    use super::super::canvas::Stroke;
    use super::super::style::{INK, WHITE};
    use super::*;

    #[test]
    fn a_document_has_its_size_shapes_and_letters() {
        let mut canvas = Canvas::new(400.0, 200.0);
        canvas.line(&[(0.0, 0.0), (10.0, 20.0)], Stroke::solid(INK, 2.0));
        canvas.polygon(vec![(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)], WHITE);
        canvas.circle((50.0, 50.0), 5.0, INK);
        let look = TextLook::new(12.0, INK, Align::Centre);
        canvas.text((200.0, 100.0), "−1.5 ≥ µ", look.bold());
        canvas.text((20.0, 100.0), "users", TextLook { upwards: true, ..look });
        let bytes = document(&canvas, "Title ≥").unwrap();
        assert!(bytes.starts_with(b"%PDF-") && bytes.ends_with(b"%%EOF"));
        let text = String::from_utf8_lossy(&bytes);
        for part in ["[0 0 300 150]", "0.75 0 0 -0.75 0 150 cm", "10 20 l", "/FontFile2", "<2212>"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(bytes, document(&canvas, "Title ≥").unwrap(), "the same bytes each time");
        document(&Canvas::new(1.0, 1.0), "").unwrap();
    }
}
