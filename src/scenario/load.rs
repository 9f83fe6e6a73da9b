//! From a name or a file, with overrides, to a checked [`Scenario`].

use std::path::{Path, PathBuf};

use super::source::{KeyPath, Segment, Source};
use super::spec::ScenarioSpec;
use super::{Scenario, validate};
use crate::error::{Error, Result, read_input};

/// The built-in scenarios: name and text.
pub const BUILTIN: [(&str, &str); 4] = [
    ("paper", include_str!("../../scenarios/paper.toml")),
    ("paper-random", include_str!("../../scenarios/paper-random.toml")),
    ("paper-knative", include_str!("../../scenarios/paper-knative.toml")),
    ("knative-random", include_str!("../../scenarios/knative-random.toml")),
];

/// The text of a built-in scenario.
pub fn builtin_text(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The JSON schema of the scenario file.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(ScenarioSpec).to_value()
}

impl Scenario {
    /// Loads a built-in scenario or a file and applies overrides (`quota.mode=enforced`,
    /// `service.house.slo_p95_ms=1000`, `service.0.option.3.cpu_m=2000`).
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, the line or key, and the remedy.
    pub fn load(name_or_path: &str, sets: &[String]) -> Result<Self> {
        let path = Path::new(name_or_path);
        if let Some(text) = builtin_text(name_or_path) {
            return Self::from_text(name_or_path, text, Path::new(""), sets);
        }
        let looks_like_path = name_or_path.contains(['/', '\\', '.']) || path.exists();
        if !looks_like_path {
            let names = BUILTIN.map(|(name, _)| name);
            return Err(Error::input(
                format!("scenario `{name_or_path}`"),
                "neither a file nor a built-in scenario",
                format!("{}built in: {}", did_you_mean(name_or_path, &names), names.join(", ")),
            ));
        }
        let text = read_input(path)?;
        let base_dir = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self::from_text(name_or_path, &text, &base_dir, sets)
    }

    /// From TOML text; `name` and `base_dir` are what messages and relative paths refer to.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_text(name: &str, text: &str, base_dir: &Path, sets: &[String]) -> Result<Self> {
        let mut source =
            Source { name: name.to_owned(), text: text.to_owned(), overrides: Vec::new() };
        let mut spec: ScenarioSpec = toml::from_str(text).map_err(|error| {
            let place = match error.span() {
                Some(span) => source.place_of_offset(span.start),
                None => name.to_owned(),
            };
            toml_error(place, error.message())
        })?;
        if !sets.is_empty() {
            let mut table: toml::Table = toml::from_str(text)
                .map_err(|error| toml_error(name.to_owned(), error.message()))?;
            for set in sets {
                source.overrides.push((apply_set(&mut table, set)?, set.clone()));
                // Deserialised after each, so that a message names the override at fault.
                spec = table.clone().try_into().map_err(|error: toml::de::Error| {
                    toml_error(format!("--set {set}"), error.message())
                })?;
            }
        }
        validate::check(spec, source, base_dir)
    }
}

/// A message of the TOML reader, with the nearest known key where a key is unknown.
fn toml_error(place: String, message: &str) -> Error {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let remedy = match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown") && !known.is_empty() => {
            format!("{}known: {}", did_you_mean(unknown, known), known.join(", "))
        }
        _ if message.starts_with("missing field") => {
            "add it; `quotascale scenario show paper-knative` prints a whole scenario".to_owned()
        }
        _ => "`quotascale scenario schema` prints every key with its type".to_owned(),
    };
    let problem = match message.split_once(", expected") {
        Some((head, _)) if head.starts_with("unknown") => head.replace("field", "key"),
        _ => message.to_owned(),
    };
    Error::input(place, problem, remedy)
}

/// `did you mean …? ` for the most similar of `known` (of several the one that `typed` begins), or nothing.
pub(crate) fn did_you_mean(typed: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), !name.starts_with(typed), name))
        .min()
        .filter(|(distance, _, name)| *distance <= name.len().max(typed.len()) / 2)
        .map_or_else(String::new, |(_, _, name)| format!("did you mean `{name}`? "))
}

/// Applies `key=value` and gives the key. A service can be named (`service.house.…`) or numbered (`service.0.…`).
fn apply_set(table: &mut toml::Table, set: &str) -> Result<KeyPath> {
    let place = format!("--set {set}");
    let (key, text) = set.split_once('=').ok_or_else(|| {
        Error::input(
            &place,
            "no `=`",
            "write it as --set key=value, for example --set quota.mode=enforced",
        )
    })?;
    // What is not a TOML value is taken as a string, so that quotes are not needed.
    let value = toml::from_str::<toml::Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let path = KeyPath::parse(key.trim());
    let mut segments = path.0.iter();
    let Some(Segment::Key(first)) = segments.next() else {
        return Err(Error::input(&place, "no key", "write it as --set key=value"));
    };
    let mut target =
        table.entry(first.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let mut resolved = vec![Segment::Key(first.clone())];
    for segment in segments {
        let (step, deeper) = step_into(target, segment).ok_or_else(|| {
            Error::input(
                &place,
                format!("there is no `{key}`"),
                "a service is named or numbered from 0: service.house.slo_p95_ms, service.0.option.3.cpu_m",
            )
        })?;
        resolved.push(step);
        target = deeper;
    }
    *target = value;
    Ok(KeyPath(resolved))
}

/// The value one segment deeper, and that segment with a number in place of a service's name; tables
/// grow by missing keys, arrays do not.
fn step_into<'a>(
    value: &'a mut toml::Value,
    segment: &Segment,
) -> Option<(Segment, &'a mut toml::Value)> {
    let array = match (value, segment) {
        (toml::Value::Table(table), Segment::Key(key)) => {
            let deeper =
                table.entry(key.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            return Some((segment.clone(), deeper));
        }
        (toml::Value::Array(array), _) => array,
        _ => return None,
    };
    let index = match segment {
        Segment::Index(index) => *index,
        Segment::Key(key) => key.parse().ok().or_else(|| {
            array
                .iter()
                .position(|element| element.get("name").and_then(toml::Value::as_str) == Some(key))
        })?,
    };
    Some((Segment::Index(index), array.get_mut(index)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_ins_load_and_write_themselves_back() {
        for (name, _) in BUILTIN {
            let scenario = Scenario::load(name, &[]).unwrap();
            assert_eq!(scenario.name(), name);
            let again = Scenario::from_text(name, &scenario.to_toml(), Path::new(""), &[]).unwrap();
            assert_eq!(again.spec, scenario.spec);
            assert_eq!(again.hash().unwrap(), scenario.hash().unwrap());
        }
    }

    #[test]
    fn an_unknown_key_names_the_line_and_the_nearest_known_one() {
        let text = builtin_text("paper").unwrap().replace("interval_s", "intervall_s");
        let error = Scenario::from_text("x.toml", &text, Path::new(""), &[]).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("x.toml:4: unknown key `intervall_s`"), "{message}");
        assert!(message.contains("did you mean `interval_s`?"), "{message}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_wrong_override_is_named_rather_than_the_line_it_replaces() {
        for (set, problem) in [
            ("kpa.stable-window=5s", "--set kpa.stable-window=5s: 5s is not allowed"),
            ("service.senti.slo_p95_ms=0", "--set service.senti.slo_p95_ms=0: 0 is not allowed"),
        ] {
            let error = Scenario::load("paper-knative", &[set.to_owned()]).unwrap_err();
            assert!(error.to_string().starts_with(problem), "{error}");
        }
    }

    #[test]
    fn any_key_can_be_overridden() {
        let sets = [
            "quota.mode=enforced",
            "service.house.slo_p95_ms=1000",
            "service.2.option.0.cpu_m=600",
            "service[1].cold_start_cv=0",
            "operator.kind=published",
        ]
        .map(str::to_owned);
        let scenario = Scenario::load("paper-knative", &sets).unwrap();
        assert_eq!(scenario.spec.quota.mode, crate::scenario::spec::QuotaMode::Enforced);
        assert_eq!(scenario.spec.service[0].slo_p95_ms, 1000.0);
        assert_eq!(scenario.profiles[2].options[0].cpu.0, 600);
        assert_eq!(scenario.spec.service[1].cold_start_cv, 0.0);
        let error =
            Scenario::load("paper-knative", &["quota.mod=enforced".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("did you mean `mode`?"), "{error}");
        let error = Scenario::load("paper-knative", &["service.haus.slo_p95_ms=1".to_owned()]);
        assert_eq!(error.unwrap_err().exit_code(), 2);
    }
}
