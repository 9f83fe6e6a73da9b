//! docs/reference.md is made from the code: keys from the scenario's schema, columns from src/run.rs.
//!
//! `QUOTASCALE_WRITE_REFERENCE=1 cargo test --test it reference` writes it anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use quotascale::scenario::json_schema;
use serde_json::Value;

/// Set, the test writes the reference rather than comparing it.
const WRITE: &str = "QUOTASCALE_WRITE_REFERENCE";

const HEAD: &str = "\
# Reference of keys and columns

Made from the code (`tests/it/reference.rs`); do not edit. What the keys do: [model.md](model.md).

## Scenario keys

A key without a default has to be given, unless it is optional (-).
";

#[test]
fn the_committed_reference_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let reference = reference();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, reference).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let line = committed.lines().zip(reference.lines()).position(|(old, new)| old != new);
    assert!(
        committed == reference,
        "docs/reference.md differs from the code (first in line {:?}); {WRITE}=1 cargo test --test it reference",
        line.map(|line| line + 1)
    );
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let schema = json_schema();
    push_table(&mut text, "(top level)", &schema, &schema);
    let definitions = schema["$defs"].as_object().unwrap();
    for definition in definitions.values().filter(|one| one["type"] == "object") {
        let heading = definition["description"].as_str().unwrap();
        push_table(&mut text, heading, definition, &schema);
    }
    text.push_str("\n## Words\n\nValues of the keys above that are words.\n");
    for (name, definition) in definitions.iter().filter(|(_, one)| !one["oneOf"].is_null()) {
        let about = definition["description"].as_str().unwrap();
        writeln!(text, "\n<a id=\"{name}\"></a>{about}\n").unwrap();
        for value in definition["oneOf"].as_array().unwrap() {
            let word = value["const"].as_str().unwrap();
            writeln!(text, "- `{word}`: {}", value["description"].as_str().unwrap()).unwrap();
        }
    }
    text.push_str(
        "\n## Columns\n\nOf the tables in a run folder. Empty where a row has no such figure.\n",
    );
    for table in tables(include_str!("../../src/run.rs")) {
        writeln!(text, "\n### {}\n\n| column | meaning |\n|---|---|", table.about).unwrap();
        for (column, meaning) in table.columns {
            writeln!(text, "| `{column}` | {} |", cell(&meaning)).unwrap();
        }
    }
    text
}

fn push_table(text: &mut String, heading: &str, table: &Value, schema: &Value) {
    writeln!(text, "\n### {heading}\n\n| key | type | default | meaning |\n|---|---|---|---|")
        .unwrap();
    let required: Vec<&str> =
        table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, property) in table["properties"].as_object().unwrap() {
        let default = match &property["default"] {
            _ if required.contains(&key.as_str()) => String::new(),
            Value::Null => "-".to_owned(),
            // The defaults of a table stand in its own section.
            Value::Object(_) => "see there".to_owned(),
            value => format!("`{value}`"),
        };
        let meaning = cell(property["description"].as_str().unwrap());
        writeln!(text, "| `{key}` | {} | {default} | {meaning} |", type_of(property, schema))
            .unwrap();
    }
}

/// A property's type in words: `number`, `table`, a link to the words that are allowed.
fn type_of(property: &Value, schema: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        let definition = &schema["$defs"][name];
        return match &definition["oneOf"] {
            Value::Null if definition["type"] == "object" => "table".to_owned(),
            Value::Null => type_of(definition, schema),
            _ => format!("[word](#{name})"),
        };
    }
    if let Some(first) = property["anyOf"].as_array().and_then(|all| all.first()) {
        return type_of(first, schema);
    }
    let name = match &property["type"] {
        Value::Array(names) => names[0].as_str().unwrap(),
        name => name.as_str().unwrap(),
    };
    match name {
        "array" => format!("list of {}", type_of(&property["items"], schema)),
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

struct Table {
    about: String,
    columns: Vec<(String, String)>,
}

/// The documented fields of the documented structs of a source file, in their order.
fn tables(source: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut doc = String::new();
    for line in source.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            if !doc.is_empty() {
                doc.push(' ');
            }
            doc.push_str(words.trim());
        } else if line.starts_with("pub struct ") {
            let about = std::mem::take(&mut doc);
            tables
                .push(Table { about: about.trim_end_matches('.').to_owned(), columns: Vec::new() });
        } else if let Some((name, _)) =
            line.strip_prefix("pub ").and_then(|field| field.split_once(": "))
        {
            if let Some(table) = tables.last_mut().filter(|_| !name.contains(' ')) {
                table.columns.push((name.to_owned(), std::mem::take(&mut doc)));
            }
            doc.clear();
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    // The first one holds the tables, it is none.
    tables.remove(0);
    tables
}
