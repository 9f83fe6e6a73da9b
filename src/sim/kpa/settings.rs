//! Settings as a user of Knative writes them, to numbers: ConfigMap `config-autoscaler`, and the
//! annotations of a revision, which win.

use std::collections::BTreeMap;

use crate::scenario::did_you_mean;
use crate::scenario::kpa::{self, Aggregation, KeyProblem, KpaConfig};

/// Annotations may be written with their prefix.
const PREFIX: &str = "autoscaling.knative.dev/";
const KPA_CLASS: &str = "kpa.autoscaling.knative.dev";

/// Keys and values as text.
pub(super) type Entries = BTreeMap<String, String>;

/// Settings that only decide what others become.
struct Context {
    concurrency_default: f64,
    rps_default: f64,
    allow_zero_initial_scale: bool,
    max_scale_limit: u32,
    panic_window_percentage: f64,
}

/// The settings of a revision with these texts and this limit on a pod's concurrency (0 = none).
///
/// # Errors
/// The section (`config` or `annotations`) and the key that Knative would refuse.
pub(super) fn resolve(
    config_entries: &Entries,
    annotation_entries: &Entries,
    container_concurrency: u32,
) -> Result<KpaConfig, (&'static str, KeyProblem)> {
    let mut config = KpaConfig::default();
    let context = config_map(config_entries, &mut config).map_err(|problem| ("config", problem))?;
    annotations(annotation_entries, container_concurrency, &context, &mut config)
        .map_err(|problem| ("annotations", problem))?;
    Ok(config)
}

/// Applies ConfigMap `config-autoscaler`.
fn config_map(entries: &Entries, config: &mut KpaConfig) -> Result<Context, KeyProblem> {
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
    check_scales("max-scale", config.min_scale, config.max_scale, context.max_scale_limit)?;
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
fn annotations(
    entries: &Entries,
    container_concurrency: u32,
    context: &Context,
    config: &mut KpaConfig,
) -> Result<(), KeyProblem> {
    let mut panic_window_percentage = context.panic_window_percentage;
    let mut rps = false;
    let (mut target, mut utilization) = (None, None);
    let (mut least, mut most, mut activation) = (None, None, None);
    for (written, text) in entries {
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
            "min-scale" | "minScale" => least = Some((written, pods(key, text)?)),
            "max-scale" | "maxScale" => most = Some((written, pods(key, text)?)),
            "initial-scale" | "initialScale" => {
                config.initial_scale = pods(key, text)?;
                check_initial_scale(key, config.initial_scale, context)?;
            }
            "activation-scale" => activation = Some((written, pods(key, text)?)),
            _ => return Err(unknown(key, &ANNOTATION_KEYS)),
        }
    }
    // Knative compares annotations with each other only; a ConfigMap's max-scale gives way to a min-scale.
    let (min_scale, max_scale) =
        (least.map_or(0, |found| found.1), most.map_or(0, |found| found.1));
    if let Some((key, _)) = most {
        check_scales(key, min_scale, max_scale, context.max_scale_limit)?;
    }
    if let Some((key, scale)) = activation {
        kpa::check_activation_scale(key, scale, min_scale, max_scale)?;
        config.activation_scale = scale;
    }
    config.min_scale = least.map_or(config.min_scale, |found| found.1);
    config.max_scale = most.map_or(config.max_scale, |found| found.1);
    config.panic_window_s = kpa::panic_window_s(config.stable_window_s, panic_window_percentage);
    let limit = f64::from(container_concurrency);
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

fn check_scales(key: &str, min: u32, max: u32, limit: u32) -> Result<(), KeyProblem> {
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
