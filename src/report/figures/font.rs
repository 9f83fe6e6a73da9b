//! The part of the figures' font that a text needs, as a TrueType font that browsers and readers of PDF take.
//!
//! Kept are the outlines of the letters and their widths; hinting, kerning and names go. The tables
//! are those of the OpenType specification 1.9.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ttf_parser::{Face, Tag};

use crate::error::{Error, Result};

/// `font-family` that the figures ask for first.
pub const FAMILY: &str = "DejaVu Sans";

/// Flags of a part of a composite glyph.
const WORDS: u16 = 0x0001;
const SCALE: u16 = 0x0008;
const MORE: u16 = 0x0020;
const TWO_SCALES: u16 = 0x0040;
const MATRIX: u16 = 0x0080;
const INSTRUCTIONS: u16 = 0x0100;

/// A CSS rule that brings the letters of `text` along.
///
/// # Errors
/// [`Error::Failed`] when the built-in font is not as expected.
pub fn font_face(text: &str) -> Result<String> {
    Ok(format!(
        "@font-face{{font-family:\"{FAMILY}\";src:url(data:font/ttf;base64,{}) format(\"truetype\")}}",
        STANDARD.encode(cut(false, text)?)
    ))
}

/// The figures' font with the letters of `text` alone, as a TrueType file.
///
/// # Errors
/// As [`font_face`].
pub fn cut(bold: bool, text: &str) -> Result<Vec<u8>> {
    let whole = if bold { dejavu::sans::bold() } else { dejavu::sans::regular() };
    subset(whole, text)
        .ok_or_else(|| Error::Failed("the built-in font cannot be cut down".to_owned()))
}

/// The font with the letters of `text` alone; `None` when it is damaged.
fn subset(font: &[u8], text: &str) -> Option<Vec<u8>> {
    let face = Face::parse(font, 0).ok()?;
    let raw = face.raw_face();
    let table = |name: &[u8; 4]| raw.table(Tag::from_bytes(name));
    let (head, loca, glyf) = (table(b"head")?, table(b"loca")?, table(b"glyf")?);
    let long = be16(head, 50)? == 1;
    let outline = |glyph: u16| -> Option<&[u8]> {
        let at = |index: usize| -> Option<usize> {
            if long {
                let bytes = loca.get(index * 4..index * 4 + 4)?;
                Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
            } else {
                Some(usize::from(be16(loca, index * 2)?) * 2)
            }
        };
        glyf.get(at(usize::from(glyph))?..at(usize::from(glyph) + 1)?)
    };

    // Letters to the glyphs of the whole font; letters that it lacks go to the next font.
    let letters: BTreeMap<u16, u16> = text
        .chars()
        .collect::<BTreeSet<char>>()
        .into_iter()
        .filter_map(|letter| {
            Some((u16::try_from(u32::from(letter)).ok()?, face.glyph_index(letter)?.0))
        })
        .collect();
    // Glyph 0 stands for missing letters; composite glyphs bring their parts.
    let mut kept: Vec<u16> = vec![0];
    let mut open: Vec<u16> = letters.values().copied().collect();
    while let Some(glyph) = open.pop() {
        if !kept.contains(&glyph) {
            kept.push(glyph);
            open.extend(parts(outline(glyph)?)?.into_iter().map(|(_, part)| part));
        }
    }
    kept[1..].sort_unstable();
    let new_index = |glyph: u16| kept.iter().position(|&other| other == glyph).map(|at| at as u16);

    let mut new_glyf = Vec::new();
    let mut new_loca = 0_u32.to_be_bytes().to_vec();
    let mut new_hmtx = Vec::new();
    for &glyph in &kept {
        new_glyf.extend(plain_outline(outline(glyph)?, &new_index)?);
        new_glyf.resize(new_glyf.len().next_multiple_of(4), 0);
        new_loca.extend((new_glyf.len() as u32).to_be_bytes());
        let id = ttf_parser::GlyphId(glyph);
        new_hmtx.extend(face.glyph_hor_advance(id)?.to_be_bytes());
        new_hmtx.extend(face.glyph_hor_side_bearing(id)?.to_be_bytes());
    }
    let count = kept.len() as u16;
    let mut new_head = head.to_vec();
    new_head.get_mut(50..52)?.copy_from_slice(&1_u16.to_be_bytes());
    // The sum over the whole file, which readers of web fonts do not look at.
    new_head.get_mut(8..12)?.fill(0);
    let mut hhea = table(b"hhea")?.to_vec();
    hhea.get_mut(34..36)?.copy_from_slice(&count.to_be_bytes());
    let mut maxp = table(b"maxp")?.to_vec();
    maxp.get_mut(4..6)?.copy_from_slice(&count.to_be_bytes());
    let mut post = table(b"post")?.get(..32)?.to_vec();
    // Version 3: no names of glyphs.
    post.get_mut(..4)?.copy_from_slice(&0x0003_0000_u32.to_be_bytes());
    let cmap =
        character_map(letters.iter().filter_map(|(&c, &glyph)| Some((c, new_index(glyph)?))));
    Some(file(&[
        (*b"OS/2", table(b"OS/2")?.to_vec()),
        (*b"cmap", cmap),
        (*b"glyf", new_glyf),
        (*b"head", new_head),
        (*b"hhea", hhea),
        (*b"hmtx", new_hmtx),
        (*b"loca", new_loca),
        (*b"maxp", maxp),
        // No record: six bytes of header.
        (*b"name", vec![0, 0, 0, 0, 0, 6]),
        (*b"post", post),
    ]))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The parts of a composite glyph: where each begins, and its glyph. None of a simple one.
fn parts(outline: &[u8]) -> Option<Vec<(usize, u16)>> {
    let mut found = Vec::new();
    if outline.is_empty() || be16(outline, 0)? as i16 >= 0 {
        return Some(found);
    }
    let mut at = 10;
    loop {
        let flags = be16(outline, at)?;
        found.push((at, be16(outline, at + 2)?));
        at += part_length(flags);
        if flags & MORE == 0 {
            return Some(found);
        }
    }
}

fn part_length(flags: u16) -> usize {
    let offsets = if flags & WORDS == 0 { 2 } else { 4 };
    let scale = match flags {
        _ if flags & SCALE != 0 => 2,
        _ if flags & TWO_SCALES != 0 => 4,
        _ if flags & MATRIX != 0 => 8,
        _ => 0,
    };
    4 + offsets + scale
}

/// An outline without its instructions, its parts renumbered.
fn plain_outline(outline: &[u8], new_index: &dyn Fn(u16) -> Option<u16>) -> Option<Vec<u8>> {
    if outline.is_empty() {
        return Some(Vec::new());
    }
    let contours = be16(outline, 0)? as i16;
    if contours >= 0 {
        let at = 10 + contours as usize * 2;
        let length = usize::from(be16(outline, at)?);
        let mut plain = outline.get(..at)?.to_vec();
        plain.extend([0, 0]);
        plain.extend(outline.get(at + 2 + length..)?);
        return Some(plain);
    }
    let parts = parts(outline)?;
    let &(last, _) = parts.last()?;
    let end = last + part_length(be16(outline, last)?);
    let mut plain = outline.get(..end)?.to_vec();
    for (at, glyph) in parts {
        let flags = be16(outline, at)? & !INSTRUCTIONS;
        plain.get_mut(at..at + 2)?.copy_from_slice(&flags.to_be_bytes());
        plain.get_mut(at + 2..at + 4)?.copy_from_slice(&new_index(glyph)?.to_be_bytes());
    }
    Some(plain)
}

/// A `cmap` with one subtable of format 4, a segment for each letter.
fn character_map(letters: impl Iterator<Item = (u16, u16)>) -> Vec<u8> {
    let mut letters: Vec<(u16, u16)> = letters.filter(|(letter, _)| *letter != u16::MAX).collect();
    // The last segment is 0xFFFF, to glyph 0.
    letters.push((u16::MAX, 0));
    let count = letters.len() as u16;
    let power = 1 << count.ilog2();
    let mut words: Vec<u16> = vec![0, 1, 3, 1, 0, 12];
    words.extend([4, 16 + 8 * count, 0, count * 2]);
    words.extend([power * 2, count.ilog2() as u16, (count - power) * 2]);
    words.extend(letters.iter().map(|(letter, _)| *letter));
    words.push(0);
    words.extend(letters.iter().map(|(letter, _)| *letter));
    words.extend(letters.iter().map(|(letter, glyph)| glyph.wrapping_sub(*letter)));
    words.extend(std::iter::repeat_n(0, letters.len()));
    words.into_iter().flat_map(u16::to_be_bytes).collect()
}

/// A font file of tables, which are in order of their tags.
fn file(tables: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let count = tables.len() as u16;
    let power = 1_u16 << count.ilog2();
    let mut head: Vec<u8> = 0x0001_0000_u32.to_be_bytes().to_vec();
    for word in [count, power * 16, count.ilog2() as u16, (count - power) * 16] {
        head.extend(word.to_be_bytes());
    }
    let mut body: Vec<u8> = Vec::new();
    let start = 12 + tables.len() * 16;
    for (tag, table) in tables {
        let offset = (start + body.len()) as u32;
        body.extend(table);
        body.resize(body.len().next_multiple_of(4), 0);
        let sum = body[offset as usize - start..]
            .chunks_exact(4)
            .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
            .fold(0_u32, u32::wrapping_add);
        head.extend(tag);
        for word in [sum, offset, table.len() as u32] {
            head.extend(word.to_be_bytes());
        }
    }
    head.extend(body);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_has_the_letters_their_widths_and_outlines() {
        let whole = Face::parse(dejavu::sans::regular(), 0).unwrap();
        let text = "p95, % of SLO: −1.5 ± é … ·";
        let bytes = subset(dejavu::sans::regular(), text).unwrap();
        assert!(bytes.len() < 12_000, "{}", bytes.len());
        let face = Face::parse(&bytes, 0).unwrap();
        struct Count(usize);
        impl ttf_parser::OutlineBuilder for Count {
            fn move_to(&mut self, _: f32, _: f32) {
                self.0 += 1;
            }
            fn line_to(&mut self, _: f32, _: f32) {
                self.0 += 1;
            }
            fn quad_to(&mut self, _: f32, _: f32, _: f32, _: f32) {
                self.0 += 1;
            }
            fn curve_to(&mut self, _: f32, _: f32, _: f32, _: f32, _: f32, _: f32) {
                self.0 += 1;
            }
            fn close(&mut self) {}
        }
        for letter in text.chars() {
            let (old, new) =
                (whole.glyph_index(letter).unwrap(), face.glyph_index(letter).unwrap());
            assert_eq!(whole.glyph_hor_advance(old), face.glyph_hor_advance(new), "{letter}");
            let (mut a, mut b) = (Count(0), Count(0));
            assert_eq!(whole.outline_glyph(old, &mut a), face.outline_glyph(new, &mut b));
            assert_eq!(a.0, b.0, "{letter}");
        }
        assert!(face.glyph_index('Q').is_none());
        assert!(font_face("").unwrap().starts_with("@font-face"));
    }
}
