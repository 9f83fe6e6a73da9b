//! The example that fixes the scenario's keys, and the schema.

use std::fs;
use std::path::Path;

use quotascale::scenario::{Scenario, builtin_text, json_schema};

use crate::support::data;

/// The built-in's list of options for the first service.
fn all_options() -> String {
    let text = builtin_text("paper-knative").unwrap();
    let from = text.find("option = [\n").unwrap();
    let to = from + text[from..].find("\n]").unwrap() + 2;
    text[from..to].to_owned()
}

#[test]
fn the_example_reads_as_the_built_in() {
    let text = fs::read_to_string(data("spec/scenario.example.toml")).unwrap();
    // As it stands it names option 21 and lists two: exactly that is said, with the line.
    let error = Scenario::from_text("example.toml", &text, Path::new(""), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("example.toml:52: service[0].initial.option: there is no option 21"),
        "{error}"
    );

    let (head, _) = text.split_once("option = [").unwrap();
    let whole = format!("{head}{}", all_options());
    let example = Scenario::from_text("example.toml", &whole, Path::new(""), &[]).unwrap();
    let mut builtin = Scenario::load("paper-knative", &[]).unwrap().spec;
    builtin.service.truncate(1);
    assert_eq!(example.spec, builtin);
}

#[test]
fn every_key_of_the_built_in_stands_in_the_schema_with_a_description() {
    let schema = json_schema();
    let properties = schema["properties"].as_object().unwrap();
    let scenario: toml::Table = toml::from_str(builtin_text("paper-knative").unwrap()).unwrap();
    for key in scenario.keys() {
        assert!(properties[key]["description"].is_string(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
