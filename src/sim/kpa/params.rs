//! `params.json` of a replay: mode and conventions, and the settings as a user of Knative writes
//! them: `config` as in ConfigMap `config-autoscaler`, `annotations` as on a revision (which win).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result, read_input};
use crate::scenario::did_you_mean;
use crate::scenario::kpa::{self, Aggregation, KeyProblem, KpaConfig};

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
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    config: BTreeMap<String, String>,
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
        let config = resolve(&file).map_err(|(section, problem)| {
            Error::input(place(section, &problem.key), problem.problem, problem.remedy)
        })?;
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

const CONFIG: &str = "config";
const ANNOTATIONS: &str = "annotations";
/// Annotations may be written with their prefix.
const PREFIX: &str = "autoscaling.knative.dev/";
const KPA_CLASS: &str = "kpa.autoscaling.knative.dev";

/// The problem and the section it is in.
type Resolved<T> = Result<T, (&'static str, KeyProblem)>;

/// Settings that only decide what others become.
struct Context {
    concurrency_default: f64,
    rps_default: f64,
    allow_zero_initial_scale: bool,
    max_scale_limit: u32,
    panic_window_percentage: f64,
}

fn resolve(file: &File) -> Resolved<KpaConfig> {
    let mut config = KpaConfig { reachable: !file.unreachable, ..KpaConfig::default() };
    let context = config_map(&file.config, &mut config).map_err(|problem| (CONFIG, problem))?;
    annotations(file, context, &mut config).map_err(|problem| (ANNOTATIONS, problem))?;
    Ok(config)
}

/// Applies ConfigMap `config-autoscaler`.
fn config_map(
    entries: &BTreeMap<String, String>,
    config: &mut KpaConfig,
) -> Result<Context, KeyProblem> {
    let mut context = Context {
        concurrency_default: config.total,
        rps_default: 200.0,
        allow_zero_initial_scale: false,
        max_scale_limit: 0,
        panic_window_percentage: 10.0,
    };
    for (key, text) in entries {
        let key = key.as_str();
        let text = text.trim();
        match key {
            "container-concurrency-target-percentage" => {
                config.utilization = kpa::utilization(key, number(key, text)?)?;
            }
            "container-concurrency-target-default" => {
                context.concurrency_default = kpa::finite(key, number(key, text)?)?;
            }
            "requests-per-second-target-default" => {
                context.rps_default = kpa::at_least(key, number(key, text)?, kpa::LEAST_TARGET)?;
            }
            "stable-window" => config.stable_window_s = kpa::stable_window_s(key, text)?,
            "panic-window-percentage" => {
                context.panic_window_percentage =
                    kpa::panic_window_percentage(key, number(key, text)?)?;
            }
            "panic-threshold-percentage" => {
                config.panic_threshold = kpa::finite(key, number(key, text)?)? / 100.0;
            }
            "max-scale-up-rate" => config.max_scale_up_rate = kpa::rate(key, number(key, text)?)?,
            "max-scale-down-rate" => {
                config.max_scale_down_rate = kpa::rate(key, number(key, text)?)?;
            }
            "target-burst-capacity" => {
                config.target_burst_capacity = kpa::target_burst_capacity(key, number(key, text)?)?;
            }
            "scale-down-delay" => {
                config.scale_down_delay_s = kpa::scale_down_delay_s(key, text, None)?;
            }
            "min-scale" => config.min_scale = pods(key, text)?,
            "max-scale" => config.max_scale = pods(key, text)?,
            "max-scale-limit" => context.max_scale_limit = pods(key, text)?,
            "initial-scale" => config.initial_scale = pods(key, text)?,
            "allow-zero-initial-scale" => context.allow_zero_initial_scale = switch(key, text)?,
            "enable-scale-to-zero" => config.enable_scale_to_zero = switch(key, text)?,
            "scale-to-zero-grace-period" => {
                config.scale_to_zero_grace_period_s = kpa::grace_period_s(key, text)?;
            }
            "scale-to-zero-pod-retention-period" => {
                config.scale_to_zero_pod_retention_period_s =
                    kpa::retention_period_s(key, text, None)?;
            }
            // It decides how many activators there are, not how many pods.
            "activator-capacity" => {
                kpa::at_least(key, number(key, text)?, 1.0)?;
            }
            "pod-autoscaler-class" => check_class(key, text)?,
            _ => return Err(unknown(key, &CONFIG_KEYS)),
        }
    }
    let total = config.utilization * context.concurrency_default;
    if total < kpa::LEAST_TARGET {
        return Err(KeyProblem::new(
            "container-concurrency-target-default",
            format!("with container-concurrency-target-percentage it gives a target of {total}"),
            format!("raise one of them until their product is {}", kpa::LEAST_TARGET),
        ));
    }
    check_initial_scale("initial-scale", config.initial_scale, &context)?;
    check_scales("max-scale", config, &context)?;
    Ok(context)
}

const CONFIG_KEYS: [&str; 20] = [
    "activator-capacity",
    "allow-zero-initial-scale",
    "container-concurrency-target-default",
    "container-concurrency-target-percentage",
    "enable-scale-to-zero",
    "initial-scale",
    "max-scale",
    "max-scale-down-rate",
    "max-scale-limit",
    "max-scale-up-rate",
    "min-scale",
    "panic-threshold-percentage",
    "panic-window-percentage",
    "pod-autoscaler-class",
    "requests-per-second-target-default",
    "scale-down-delay",
    "scale-to-zero-grace-period",
    "scale-to-zero-pod-retention-period",
    "stable-window",
    "target-burst-capacity",
];

/// Applies a revision's annotations and settles what depends on them.
fn annotations(file: &File, context: Context, config: &mut KpaConfig) -> Result<(), KeyProblem> {
    let mut panic_window_percentage = context.panic_window_percentage;
    let mut rps = false;
    let mut target = None;
    let mut utilization = None;
    for (written, text) in &file.annotations {
        let key = written.as_str();
        let text = text.trim();
        match key.strip_prefix(PREFIX).unwrap_or(key) {
            "class" => check_class(key, text)?,
            "metric" => rps = is_rps(key, text)?,
            "metric-aggregation-algorithm" => config.aggregation = aggregation(key, text)?,
            "target" => target = Some(kpa::at_least(key, number(key, text)?, kpa::LEAST_TARGET)?),
            "target-utilization-percentage" | "targetUtilizationPercentage" => {
                utilization = Some(kpa::within(key, number(key, text)?, 1.0, 100.0)? / 100.0);
            }
            "window" => config.stable_window_s = kpa::stable_window_s(key, text)?,
            "panic-window-percentage" | "panicWindowPercentage" => {
                panic_window_percentage = kpa::panic_window_percentage(key, number(key, text)?)?;
            }
            "panic-threshold-percentage" | "panicThresholdPercentage" => {
                config.panic_threshold =
                    kpa::within(key, number(key, text)?, 110.0, 1000.0)? / 100.0;
            }
            "target-burst-capacity" | "targetBurstCapacity" => {
                config.target_burst_capacity = kpa::target_burst_capacity(key, number(key, text)?)?;
            }
            "scale-down-delay" | "scaleDownDelay" => {
                config.scale_down_delay_s =
                    kpa::scale_down_delay_s(key, text, Some(kpa::LONGEST_WINDOW))?;
            }
            "scale-to-zero-pod-retention-period" | "scaleToZeroPodRetentionPeriod" => {
                config.scale_to_zero_pod_retention_period_s =
                    kpa::retention_period_s(key, text, Some(kpa::LONGEST_WINDOW))?;
            }
            "min-scale" | "minScale" => config.min_scale = pods(key, text)?,
            "max-scale" | "maxScale" => config.max_scale = pods(key, text)?,
            "initial-scale" | "initialScale" => {
                config.initial_scale = pods(key, text)?;
                check_initial_scale(key, config.initial_scale, &context)?;
            }
            "activation-scale" => config.activation_scale = pods(key, text)?,
            _ => return Err(unknown(key, &ANNOTATION_KEYS)),
        }
    }
    let written = |plain: &'static str| {
        let found = file.annotations.keys().find(|key| key.strip_prefix(PREFIX) == Some(plain));
        found.map_or(plain, String::as_str)
    };
    check_scales(written("max-scale"), config, &context)?;
    let activation_key = written("activation-scale");
    if file.annotations.contains_key(activation_key) {
        let scale = config.activation_scale;
        kpa::check_activation_scale(activation_key, scale, config.min_scale, config.max_scale)?;
    }
    config.panic_window_s = kpa::panic_window_s(config.stable_window_s, panic_window_percentage);
    let limit = f64::from(file.container_concurrency);
    config.total = match target {
        _ if rps => target.unwrap_or(context.rps_default),
        Some(target) if limit > 0.0 => target.min(limit),
        Some(target) => target,
        None if limit > 0.0 => limit,
        None => context.concurrency_default,
    };
    if rps {
        // The ConfigMap's percentage is of concurrency alone.
        config.utilization = KpaConfig::default().utilization;
    }
    config.utilization = utilization.unwrap_or(config.utilization);
    Ok(())
}

const ANNOTATION_KEYS: [&str; 15] = [
    "activation-scale",
    "class",
    "initial-scale",
    "max-scale",
    "metric",
    "metric-aggregation-algorithm",
    "min-scale",
    "panic-threshold-percentage",
    "panic-window-percentage",
    "scale-down-delay",
    "scale-to-zero-pod-retention-period",
    "target",
    "target-burst-capacity",
    "target-utilization-percentage",
    "window",
];

fn unknown(key: &str, known: &[&str]) -> KeyProblem {
    KeyProblem::new(
        key,
        "unknown key",
        format!("{}known: {}", did_you_mean(key, known), known.join(", ")),
    )
}

fn number(key: &str, text: &str) -> Result<f64, KeyProblem> {
    text.parse().map_err(|_| {
        KeyProblem::new(key, format!("`{text}` is not a number"), "give a number, as \"70\"")
    })
}

fn pods(key: &str, text: &str) -> Result<u32, KeyProblem> {
    let value = text.parse().map_err(|_| {
        KeyProblem::new(key, format!("`{text}` is not a whole number"), "give pods, as \"2\"")
    })?;
    kpa::scale(key, value)
}

fn switch(key: &str, text: &str) -> Result<bool, KeyProblem> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
        _ => Err(KeyProblem::new(
            key,
            format!("`{text}` is neither true nor false"),
            "give true or false",
        )),
    }
}

fn is_rps(key: &str, text: &str) -> Result<bool, KeyProblem> {
    match text {
        "concurrency" => Ok(false),
        "rps" => Ok(true),
        _ => Err(KeyProblem::new(key, format!("`{text}` is not known"), "use concurrency or rps")),
    }
}

fn aggregation(key: &str, text: &str) -> Result<Aggregation, KeyProblem> {
    // Knative takes an empty annotation for the default.
    if text.is_empty() { Ok(Aggregation::Linear) } else { kpa::aggregation(key, text) }
}

fn check_class(key: &str, text: &str) -> Result<(), KeyProblem> {
    if text == KPA_CLASS {
        return Ok(());
    }
    Err(KeyProblem::new(key, format!("`{text}` is another autoscaler"), format!("use {KPA_CLASS}")))
}

fn check_initial_scale(key: &str, scale: u32, context: &Context) -> Result<(), KeyProblem> {
    if scale > 0 || context.allow_zero_initial_scale {
        return Ok(());
    }
    Err(KeyProblem::new(
        key,
        "0 is not allowed",
        "give at least 1, or set allow-zero-initial-scale in config",
    ))
}

fn check_scales(key: &str, config: &KpaConfig, context: &Context) -> Result<(), KeyProblem> {
    let (min, max, limit) = (config.min_scale, config.max_scale, context.max_scale_limit);
    if max != 0 && max < min {
        return Err(KeyProblem::new(
            key,
            format!("{max} is less than min-scale {min}"),
            "raise it, or lower min-scale",
        ));
    }
    if limit != 0 && (max == 0 || max > limit) {
        return Err(KeyProblem::new(
            key,
            format!("{max} is beyond max-scale-limit (0 means no limit)"),
            format!("give a number from 1 to {limit}"),
        ));
    }
    Ok(())
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
