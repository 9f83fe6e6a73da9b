//! `params.json` of a replay: mode and conventions, and the settings as a user of Knative writes them.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::settings::{self, Entries};
use crate::error::{Error, Result, read_input};
use crate::scenario::KpaConfig;
use crate::scenario::did_you_mean;

/// Where the ready pods come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// From the input.
    Open,
    /// From the decisions, which take effect at once, within min and max scale.
    Closed,
    /// From the decisions, by way of the scaler with its way to zero.
    Lifecycle,
}

/// Which values are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordPolicy {
    /// Every value.
    #[default]
    Always,
    /// Every value but a 0 that no ready pod would report.
    ScrapeLike,
}

/// What to replay, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayParams {
    /// Settings of the autoscaler, resolved.
    pub config: KpaConfig,
    /// Where the ready pods come from.
    pub mode: Mode,
    /// Which values are recorded.
    pub record_policy: RecordPolicy,
    /// Whether the decision of a second comes before its value.
    pub tick_before_record: bool,
    /// Whether a request wakes an autoscaler that wants no pods.
    pub poke: bool,
    /// Ready pods that the autoscaler finds when it is created.
    pub initial_ready: u32,
    /// Replicas before the first second.
    pub initial_replicas: u32,
    /// Seconds from a decision to its pods being ready.
    pub startup_delay_s: u32,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mode: Mode,
    #[serde(default)]
    annotations: Entries,
    #[serde(default)]
    config: Entries,
    #[serde(default)]
    container_concurrency: u32,
    #[serde(default)]
    record_policy: RecordPolicy,
    #[serde(default)]
    tick_before_record: bool,
    #[serde(default)]
    poke: bool,
    #[serde(default)]
    unreachable: bool,
    #[serde(default)]
    initial_ready: u32,
    initial_replicas: Option<u32>,
    #[serde(default)]
    startup_delay_s: u32,
    #[serde(default, rename = "name")]
    _name: IgnoredAny,
    #[serde(default, rename = "note")]
    _note: IgnoredAny,
    #[serde(default, rename = "seed")]
    _seed: IgnoredAny,
    #[serde(default, rename = "duration_s")]
    _duration_s: IgnoredAny,
    /// What the original derived; for readers.
    #[serde(default, rename = "resolved")]
    _resolved: IgnoredAny,
}

impl ReplayParams {
    /// Reads `params.json`.
    ///
    /// # Errors
    /// [`Error::Input`] naming file, line and remedy.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&path.display().to_string(), &read_input(path)?)
    }

    /// From JSON text; `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let file: File = serde_json::from_str(text).map_err(|error| json_error(name, &error))?;
        let place = |section: &str, key: &str| match line_of(text, section, key) {
            Some(line) => format!("{name}:{line}: {section}.{key}"),
            None => format!("{name}: {section}.{key}"),
        };
        let resolved =
            settings::resolve(&file.config, &file.annotations, file.container_concurrency);
        let config = resolved.map_err(|(section, problem)| {
            Error::input(place(section, &problem.key), problem.problem, problem.remedy)
        })?;
        let config = KpaConfig { reachable: !file.unreachable, ..config };
        Ok(Self {
            mode: file.mode,
            record_policy: file.record_policy,
            tick_before_record: file.tick_before_record,
            poke: file.poke,
            initial_ready: file.initial_ready,
            // As Knative's deployments start.
            initial_replicas: file.initial_replicas.unwrap_or(config.initial_scale),
            startup_delay_s: file.startup_delay_s,
            config,
        })
    }
}

fn json_error(name: &str, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let place = format!("{name}:{}", error.line());
    match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown") && !known.is_empty() => {
            Error::input(
                place,
                message.split(", expected").next().unwrap_or_default().replace("field", "key"),
                format!("{}known: {}", did_you_mean(unknown, known), known.join(", ")),
            )
        }
        _ => Error::input(place, message, "params.json is one JSON object, with `mode` at least"),
    }
}

/// The line of a key inside a section.
fn line_of(text: &str, section: &str, key: &str) -> Option<usize> {
    let start = text.find(&format!("\"{section}\""))?;
    let offset = start + text[start..].find(&format!("\"{key}\""))?;
    Some(text[..offset].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ReplayParams> {
        ReplayParams::parse("p.json", text)
    }

    fn resolved(config: &str, annotations: &str, container_concurrency: u32) -> KpaConfig {
        parse(&format!(
            r#"{{"mode": "open", "config": {{{config}}}, "annotations": {{{annotations}}},
                "container_concurrency": {container_concurrency}}}"#
        ))
        .unwrap()
        .config
    }

    #[test]
    fn the_target_comes_from_annotation_container_or_default() {
        let target = |annotations, limit| {
            let config = resolved("", annotations, limit);
            (config.total, config.target_value())
        };
        assert_eq!(target("", 0), (100.0, 70.0));
        assert_eq!(target("", 20), (20.0, 14.0));
        assert_eq!(target(r#""target": "50""#, 20).0, 20.0);
        assert_eq!(target(r#""target": "10""#, 20).0, 10.0);
        assert_eq!(target(r#""metric": "rps""#, 20), (200.0, 140.0));
        assert_eq!(target(r#""metric": "rps", "target": "50""#, 20).0, 50.0);
        assert_eq!(target(r#""target": "0.01", "target-utilization-percentage": "50""#, 0).1, 0.01);
    }

    #[test]
    fn annotations_win_over_the_config_map() {
        let config = resolved(
            r#""stable-window": "1m30s", "container-concurrency-target-percentage": "0.5",
               "panic-window-percentage": "20", "max-scale": "5""#,
            r#""autoscaling.knative.dev/window": "45s", "maxScale": "0""#,
            0,
        );
        assert_eq!((config.stable_window_s, config.panic_window_s), (45, 9));
        assert_eq!((config.utilization, config.max_scale), (0.5, 0));
        let rps =
            resolved(r#""container-concurrency-target-percentage": "50""#, r#""metric": "rps""#, 0);
        assert_eq!(rps.target_value(), 140.0);
    }

    #[test]
    fn bad_keys_and_values_name_line_and_remedy() {
        let cases = [
            (
                "{\n \"mode\": \"open\",\n \"pokee\": true\n}",
                "p.json:3: unknown key `pokee`",
                "`poke`",
            ),
            ("{\n \"mode\": \"opn\"}", "p.json:2: unknown variant `opn`", "`open`"),
            ("{}", "p.json:1: missing field `mode`", "mode"),
            (
                "{\"mode\": \"open\",\n\"annotations\": {\n\"windw\": \"60s\"}}",
                "p.json:3: annotations.windw: unknown key",
                "did you mean `window`?",
            ),
            (
                "{\"mode\": \"open\",\n\"config\": {\"stable-window\": \"2h\"}}",
                "p.json:2: config.stable-window: 2h is not allowed",
                "6s to 1h",
            ),
            (
                "{\"mode\": \"open\", \"annotations\": {\"panic-threshold-percentage\": \"100\"}}",
                "annotations.panic-threshold-percentage: 100 is not allowed",
                "110 to 1000",
            ),
            (
                "{\"mode\": \"open\", \"annotations\": {\"initial-scale\": \"0\"}}",
                "annotations.initial-scale: 0 is not allowed",
                "allow-zero-initial-scale",
            ),
            (
                "{\"mode\": \"open\", \"annotations\": {\"min-scale\": \"3\", \"max-scale\": \"2\"}}",
                "annotations.max-scale: 2 is less than min-scale 3",
                "lower min-scale",
            ),
            (
                "{\"mode\": \"open\", \"annotations\": {\"target\": \"NaN\"}}",
                "annotations.target: NaN is not allowed",
                "at least 0.01",
            ),
            ("{\"mode\": \"open\", \"annotations\": {\"target\": 10}}", "invalid type", "JSON"),
        ];
        for (text, problem, remedy) in cases {
            let error = parse(text).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(problem) && message.contains(remedy), "{message}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
