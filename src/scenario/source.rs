//! Where a scenario's text came from, so that a message can name file and line.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// A step on the way to a key: a table key or an index into an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A key of a table.
    Key(String),
    /// An element of an array.
    Index(usize),
}

/// The path of a key, as `service[1].option[3].cpu_m`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(pub Vec<Segment>);

impl KeyPath {
    /// From text such as `service[1].option[3].cpu_m`.
    pub fn parse(text: &str) -> Self {
        let mut segments = Vec::new();
        for part in text.split('.') {
            let mut pieces = part.split('[');
            if let Some(key) = pieces.next().filter(|key| !key.is_empty()) {
                segments.push(Segment::Key(key.to_owned()));
            }
            for piece in pieces {
                if let Ok(index) = piece.trim_end_matches(']').parse() {
                    segments.push(Segment::Index(index));
                }
            }
        }
        Self(segments)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A scenario's text, the name of its file (or of the built-in), and what of it was replaced.
#[derive(Clone, Debug)]
pub struct Source {
    /// File or built-in name.
    pub name: String,
    /// The TOML text.
    pub text: String,
    /// Keys with other values than the text's, each with its `key=value`.
    pub overrides: Vec<(KeyPath, String)>,
}

impl Source {
    /// `file:line` of a byte offset.
    pub fn place_of_offset(&self, offset: usize) -> String {
        let line = self.text[..offset.min(self.text.len())].matches('\n').count() + 1;
        format!("{}:{line}", self.name)
    }

    /// `file:line: key` of a key, or of the nearest table above it that is written; `--set key=value`
    /// where the text's value does not count.
    pub fn place_of_key(&self, path: &KeyPath) -> String {
        let replaced = self.overrides.iter().rev().find(|(key, _)| path.0.starts_with(&key.0));
        if let Some((key, set)) = replaced {
            let within = if key == path { String::new() } else { format!(": {path}") };
            return format!("--set {set}{within}");
        }
        let offset =
            DeTable::parse(&self.text).ok().and_then(|table| locate(table.get_ref(), &path.0));
        match offset {
            Some(offset) => format!("{}: {path}", self.place_of_offset(offset)),
            None => format!("{}: {path}", self.name),
        }
    }
}

/// Offset of the deepest written part of `path`.
fn locate(table: &DeTable<'_>, path: &[Segment]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let Segment::Key(key) = first else { return None };
    let (written, value) = table.iter().find(|(written, _)| written.get_ref() == key)?;
    locate_in_value(value.get_ref(), rest)
        .or_else(|| {
            // Inside an inline array the element's own offset is nearer than the key's.
            element_offset(value.get_ref(), rest)
        })
        .or(Some(written.span().start))
}

fn locate_in_value(value: &DeValue<'_>, path: &[Segment]) -> Option<usize> {
    match (path.first()?, value) {
        (Segment::Key(_), DeValue::Table(table)) => locate(table, path),
        (Segment::Index(index), DeValue::Array(array)) => {
            let element = array.get(*index)?;
            locate_in_value(element.get_ref(), &path[1..]).or(Some(element.span().start))
        }
        _ => None,
    }
}

fn element_offset(value: &DeValue<'_>, path: &[Segment]) -> Option<usize> {
    match (path.first()?, value) {
        (Segment::Index(index), DeValue::Array(array)) => {
            array.get(*index).map(|element| element.span().start)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_line_and_a_missing_one_by_its_table() {
        let source = Source {
            name: "s.toml".to_owned(),
            text: "a = 1\n[[service]]\nname = \"x\"\noption = [\n  { cpu_m = 1 },\n  { cpu_m = 2 },\n]\n"
                .to_owned(),
            overrides: vec![(KeyPath::parse("service[0].trace"), "service.0.trace=1".to_owned())],
        };
        let place = |path: &str| source.place_of_key(&KeyPath::parse(path));
        assert_eq!(place("a"), "s.toml:1: a");
        assert_eq!(place("service[0].option[1].cpu_m"), "s.toml:6: service[0].option[1].cpu_m");
        assert_eq!(place("service[0].option[0].p95_ms"), "s.toml:5: service[0].option[0].p95_ms");
        assert_eq!(place("quota"), "s.toml: quota");
        assert_eq!(place("service[0].trace"), "--set service.0.trace=1");
        assert_eq!(place("service[0].trace.low"), "--set service.0.trace=1: service[0].trace.low");
    }
}
