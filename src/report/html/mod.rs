//! A report as one HTML page that needs nothing else: figures inline, their numbers behind them, no
//! script and no network. It reads on a phone (figures and tables scroll inside their frames) and in
//! print.
//!
//! A [`Page`] is data; [`Page::to_html`] writes it. [`sections`] makes its parts of results.

pub mod sections;

use std::fmt::Write;

use super::figures::{Picture, font_face};
use crate::error::Result;

const STYLE: &str = include_str!("style.css");

/// A report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// What it is, a paragraph each.
    pub lead: Vec<String>,
    /// Its parts.
    pub sections: Vec<Section>,
}

/// A part of a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What it says, a paragraph each.
    pub paragraphs: Vec<String>,
    /// Tables that are always shown.
    pub tables: Vec<Table>,
    /// Figures, each with its numbers.
    pub figures: Vec<Figure>,
    /// Names and values: seeds, version, commands.
    pub facts: Vec<(String, String)>,
    /// Texts that are folded away: name and text.
    pub texts: Vec<(String, String)>,
}

/// A figure with what it says in words and in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Its name.
    pub title: String,
    /// What it shows, for those who cannot see it and as its caption.
    pub description: String,
    /// The picture.
    pub picture: Picture,
    /// The numbers behind it.
    pub numbers: Vec<Table>,
}

/// A table; the first column holds the names of the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it holds.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// Rows of as many cells.
    pub rows: Vec<Vec<String>>,
}

impl Page {
    /// The whole page. The same page gives the same bytes.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] when the figures' font cannot be had.
    pub fn to_html(&self) -> Result<String> {
        let figures = self.sections.iter().flat_map(|section| &section.figures);
        let letters: String = figures.map(|figure| figure.picture.letters()).collect();
        let mut html = String::new();
        let title = escape(&self.title);
        html += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
        html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
        // Without one a browser asks its server for an icon.
        html += "<link rel=\"icon\" href=\"data:,\">\n";
        let _ = writeln!(
            html,
            "<title>{title}</title>\n<style>\n{}\n{STYLE}</style>\n</head>",
            font_face(&letters)?
        );
        let _ = writeln!(html, "<body>\n<header>\n<h1>{title}</h1>");
        for paragraph in &self.lead {
            let _ = writeln!(html, "<p>{}</p>", escape(paragraph));
        }
        html += "</header>\n";
        if self.sections.len() > 1 {
            html += "<nav aria-label=\"Contents\">\n<ol>\n";
            for (index, section) in self.sections.iter().enumerate() {
                let _ =
                    writeln!(html, "<li><a href=\"#s{index}\">{}</a></li>", escape(&section.title));
            }
            html += "</ol>\n</nav>\n";
        }
        html += "<main>\n";
        let mut number = 0;
        for (index, section) in self.sections.iter().enumerate() {
            section.write(&mut html, index, &mut number)?;
        }
        html += "</main>\n</body>\n</html>\n";
        Ok(html)
    }
}

impl Section {
    fn write(&self, html: &mut String, index: usize, number: &mut usize) -> Result<()> {
        let _ = writeln!(
            html,
            "<section aria-labelledby=\"s{index}\">\n<h2 id=\"s{index}\">{}</h2>",
            escape(&self.title)
        );
        for paragraph in &self.paragraphs {
            let _ = writeln!(html, "<p>{}</p>", escape(paragraph));
        }
        for table in &self.tables {
            table.write(html);
        }
        for figure in &self.figures {
            *number += 1;
            figure.write(html, *number)?;
        }
        if !self.facts.is_empty() {
            *html += "<dl>\n";
            for (name, value) in &self.facts {
                let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
            }
            *html += "</dl>\n";
        }
        for (name, text) in &self.texts {
            let _ = writeln!(
                html,
                "<details>\n<summary>{}</summary>\n<pre tabindex=\"0\">{}</pre>\n</details>",
                escape(name),
                escape(text)
            );
        }
        *html += "</section>\n";
        Ok(())
    }
}

impl Figure {
    fn write(&self, html: &mut String, number: usize) -> Result<()> {
        let (title, description) = (escape(&self.title), escape(&self.description));
        let svg = self.picture.to_svg()?.replacen(
            "<svg ",
            &format!("<svg role=\"img\" aria-labelledby=\"f{number}t f{number}d\" "),
            1,
        );
        let words = format!(
            "<title id=\"f{number}t\">{title}</title><desc id=\"f{number}d\">{description}</desc>"
        );
        let svg = match svg.find('>') {
            Some(end) => format!("{}{words}{}", &svg[..=end], &svg[end + 1..]),
            None => svg,
        };
        let _ = writeln!(
            html,
            "<figure id=\"figure-{number}\">\n<div class=\"wide picture\" tabindex=\"0\">\n{svg}\n</div>\n\
             <figcaption>Figure {number}. {title}. {description}</figcaption>"
        );
        if !self.numbers.is_empty() {
            *html += "<details>\n<summary>Numbers behind the figure</summary>\n";
            for table in &self.numbers {
                table.write(html);
            }
            *html += "</details>\n";
        }
        *html += "</figure>\n";
        Ok(())
    }
}

impl Table {
    fn write(&self, html: &mut String) {
        let _ = writeln!(
            html,
            "<div class=\"wide\" tabindex=\"0\">\n<table>\n<caption>{}</caption>\n<thead><tr>",
            escape(&self.caption)
        );
        for name in &self.header {
            let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
        }
        *html += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            *html += "<tr>";
            for (index, cell) in row.iter().enumerate() {
                let _ = match index {
                    0 => write!(html, "<th scope=\"row\">{}</th>", escape(cell)),
                    _ => write!(html, "<td>{}</td>", escape(cell)),
                };
            }
            *html += "</tr>\n";
        }
        *html += "</tbody>\n</table>\n</div>\n";
    }
}

/// Text as HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::figures::traffic_picture;
    use super::*;
    use crate::trace::Trace;

    #[test]
    fn a_page_holds_everything_and_nothing_from_elsewhere() {
        let numbers = Table {
            caption: "all".into(),
            header: vec!["policy".into(), "reward".into()],
            rows: vec![vec!["a<b".into(), "1".into()]],
        };
        let figure = Figure {
            title: "T".into(),
            description: "What & why".into(),
            picture: traffic_picture("users <5", &Trace::default()),
            numbers: vec![numbers],
        };
        let section = Section {
            title: "One".into(),
            figures: vec![figure.clone(), figure],
            texts: vec![("scenario".into(), "name = \"x\"".into())],
            ..Section::default()
        };
        let page =
            Page { title: "R".into(), sections: vec![section.clone(), section], ..Page::default() };
        let html = page.to_html().unwrap();
        for text in [
            "a&lt;b",
            "Figure 4. T. What &amp; why",
            "id=\"f4d\"",
            "href=\"#s1\"",
            "name = &quot;x&quot;",
            "users &lt;5",
        ] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("@font-face").count(), 1);
        let addresses = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!addresses.contains("http"), "no address but the name of the namespace");
        assert_eq!(html, page.to_html().unwrap());
    }
}
