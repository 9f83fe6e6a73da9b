//! Knative's autoscaler settings as numbers: parsed, within Knative's limits, defaults filled in.
//!
//! Every check takes the key's name, because one setting has different names as a ConfigMap key and
//! as an annotation (`stable-window`, `window`), and the message has to name the one that is written.

use std::time::Duration;

use super::duration::parse_duration;
use super::spec::KpaSpec;

/// Smallest target value of a metric, and smallest `target` annotation.
pub(crate) const LEAST_TARGET: f64 = 0.01;
/// Longest window, and longest delay or retention period as an annotation.
pub(crate) const LONGEST_WINDOW: Duration = Duration::from_secs(3600);
const SHORTEST_WINDOW: Duration = Duration::from_secs(6);

/// How the seconds of a window make one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The mean of the covered seconds.
    #[default]
    Linear,
    /// A sum with weights that fall exponentially with age, not normalised.
    WeightedExponential,
}

/// Settings of the autoscaler of one revision. [`Default`] is Knative 1.8's own.
#[derive(Clone, Debug, PartialEq)]
pub struct KpaConfig {
    /// How the seconds of a window make one value.
    pub aggregation: Aggregation,
    /// Most of the metric that a pod is meant to take (`target`; concurrency or requests per second).
    pub total: f64,
    /// Share of `total` that the autoscaler plans for.
    pub utilization: f64,
    /// Window of the stable average, seconds.
    pub stable_window_s: u32,
    /// Window of the panic average, seconds.
    pub panic_window_s: u32,
    /// Panic begins when the panic window wants this many times the ready pods.
    pub panic_threshold: f64,
    /// Largest factor up in one decision.
    pub max_scale_up_rate: f64,
    /// Largest factor down in one decision.
    pub max_scale_down_rate: f64,
    /// Requests kept in reserve before the activator leaves the path; -1 = unlimited, 0 = none.
    pub target_burst_capacity: f64,
    /// How long fewer pods have to be wanted before any go, seconds.
    pub scale_down_delay_s: u32,
    /// Fewest pods. Not in force for an unreachable revision ([`Self::least_scale`]).
    pub min_scale: u32,
    /// Most pods; 0 = no limit.
    pub max_scale: u32,
    /// Pods that a new revision starts with.
    pub initial_scale: u32,
    /// Fewest pods while there is any traffic; 0 = off.
    pub activation_scale: u32,
    /// Whether the last pod may go.
    pub enable_scale_to_zero: bool,
    /// How long the activator has to be in the path before the last pod goes, seconds.
    pub scale_to_zero_grace_period_s: f64,
    /// How long the last pod stays at least, seconds.
    pub scale_to_zero_pod_retention_period_s: f64,
    /// Whether a route leads to the revision.
    pub reachable: bool,
}

impl Default for KpaConfig {
    fn default() -> Self {
        Self {
            aggregation: Aggregation::Linear,
            total: 100.0,
            utilization: 0.7,
            stable_window_s: 60,
            panic_window_s: 6,
            panic_threshold: 2.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            target_burst_capacity: 211.0,
            scale_down_delay_s: 0,
            min_scale: 0,
            max_scale: 0,
            initial_scale: 1,
            activation_scale: 0,
            enable_scale_to_zero: true,
            scale_to_zero_grace_period_s: 30.0,
            scale_to_zero_pod_retention_period_s: 0.0,
            reachable: true,
        }
    }
}

impl KpaConfig {
    /// The settings that a scenario's `[kpa]` states. Target and scales are a revision's own:
    /// [`Self::for_revision`].
    ///
    /// # Errors
    /// The key that is outside Knative's limits.
    pub fn from_spec(spec: &KpaSpec) -> Result<Self, KeyProblem> {
        let stable_window_s = stable_window_s("stable-window", &spec.stable_window)?;
        let percentage =
            panic_window_percentage("panic-window-percentage", spec.panic_window_percentage)?;
        let threshold_key = "panic-threshold-percentage";
        let max_scale = scale("max-scale", spec.max_scale.into())?;
        let activation_scale = scale("activation-scale", spec.activation_scale.into())?;
        if activation_scale != 0 {
            check_activation_scale("activation-scale", activation_scale, 0, max_scale)?;
        }
        Ok(Self {
            aggregation: aggregation(
                "metric-aggregation-algorithm",
                &spec.metric_aggregation_algorithm,
            )?,
            utilization: utilization(
                "container-concurrency-target-percentage",
                spec.container_concurrency_target_percentage,
            )?,
            stable_window_s,
            panic_window_s: panic_window_s(stable_window_s, percentage),
            panic_threshold: finite(threshold_key, spec.panic_threshold_percentage)? / 100.0,
            max_scale_up_rate: rate("max-scale-up-rate", spec.max_scale_up_rate)?,
            max_scale_down_rate: rate("max-scale-down-rate", spec.max_scale_down_rate)?,
            target_burst_capacity: target_burst_capacity(
                "target-burst-capacity",
                spec.target_burst_capacity,
            )?,
            scale_down_delay_s: scale_down_delay_s(
                "scale-down-delay",
                &spec.scale_down_delay,
                None,
            )?,
            max_scale,
            activation_scale,
            enable_scale_to_zero: spec.enable_scale_to_zero,
            scale_to_zero_grace_period_s: grace_period_s(
                "scale-to-zero-grace-period",
                &spec.scale_to_zero_grace_period,
            )?,
            scale_to_zero_pod_retention_period_s: retention_period_s(
                "scale-to-zero-pod-retention-period",
                &spec.scale_to_zero_pod_retention_period,
                None,
            )?,
            ..Self::default()
        })
    }

    /// The same settings for a revision with this target concurrency and these scales.
    #[must_use]
    pub fn for_revision(&self, concurrency: f64, min_scale: u32, initial_scale: u32) -> Self {
        Self { total: concurrency, min_scale, initial_scale, ..self.clone() }
    }

    /// What the autoscaler plans for a pod to take.
    pub fn target_value(&self) -> f64 {
        (self.total * self.utilization).max(LEAST_TARGET)
    }

    /// Fewest pods in force: none for an unreachable revision.
    pub fn least_scale(&self) -> u32 {
        if self.reachable { self.min_scale } else { 0 }
    }

    /// `desired` within the bounds; the lower one wins.
    pub fn bounded(&self, desired: u32) -> u32 {
        bounded(desired, self.least_scale(), self.max_scale)
    }
}

/// `desired` from `least` to `most` (0 = no limit); `least` wins.
pub fn bounded(desired: u32, least: u32, most: u32) -> u32 {
    if desired < least {
        least
    } else if most != 0 && desired > most {
        most
    } else {
        desired
    }
}

/// The panic window: a percentage of the stable one, to whole seconds (half a second goes up), at least 1.
pub fn panic_window_s(stable_window_s: u32, percentage: f64) -> u32 {
    // Knative cuts to nanoseconds before it rounds to seconds.
    let nanos = (f64::from(stable_window_s) * 1e9 * percentage / 100.0) as u64;
    ((nanos + 500_000_000) / 1_000_000_000).max(1) as u32
}

/// A key whose value Knative would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProblem {
    /// The key, as it is written.
    pub key: String,
    /// What is wrong with its value.
    pub problem: String,
    /// What the user can do about it.
    pub remedy: String,
}

impl KeyProblem {
    pub(crate) fn new(key: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into(), remedy: remedy.into() }
    }
}

pub(crate) fn finite(key: &str, value: f64) -> Result<f64, KeyProblem> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(KeyProblem::new(key, format!("{value} is not allowed"), "give a finite number"))
}

/// `value` has to be from `low` to `high`.
pub(crate) fn within(key: &str, value: f64, low: f64, high: f64) -> Result<f64, KeyProblem> {
    if value >= low && value <= high {
        return Ok(value);
    }
    Err(KeyProblem::new(
        key,
        format!("{value} is not allowed"),
        format!("give a number from {low} to {high}"),
    ))
}

/// `value` has to be finite and at least `least`.
pub(crate) fn at_least(key: &str, value: f64, least: f64) -> Result<f64, KeyProblem> {
    if value.is_finite() && value >= least {
        return Ok(value);
    }
    Err(KeyProblem::new(
        key,
        format!("{value} is not allowed"),
        format!("give a number of at least {least}"),
    ))
}

/// A percentage in (0, 100] as a fraction; what is at most 1 is one already.
pub(crate) fn utilization(key: &str, value: f64) -> Result<f64, KeyProblem> {
    if !(value > 0.0 && value <= 100.0) {
        return Err(KeyProblem::new(
            key,
            format!("{value} is not allowed"),
            "give a percentage above 0 and at most 100",
        ));
    }
    Ok(if value > 1.0 { value / 100.0 } else { value })
}

pub(crate) fn rate(key: &str, value: f64) -> Result<f64, KeyProblem> {
    if value.is_finite() && value > 1.0 {
        return Ok(value);
    }
    Err(KeyProblem::new(key, format!("{value} is not allowed"), "give a number above 1"))
}

pub(crate) fn target_burst_capacity(key: &str, value: f64) -> Result<f64, KeyProblem> {
    if value.is_finite() && (value >= 0.0 || value == -1.0) {
        return Ok(value);
    }
    Err(KeyProblem::new(
        key,
        format!("{value} is not allowed"),
        "give a number of at least 0, or -1 for unlimited",
    ))
}

pub(crate) fn panic_window_percentage(key: &str, value: f64) -> Result<f64, KeyProblem> {
    within(key, value, 1.0, 100.0)
}

/// A number of pods.
pub(crate) fn scale(key: &str, value: i64) -> Result<u32, KeyProblem> {
    i32::try_from(value).ok().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| {
        KeyProblem::new(
            key,
            format!("{value} pods are not possible"),
            format!("give a whole number from 0 to {}", i32::MAX),
        )
    })
}

/// An activation scale has to be at least 2 and between the bounds.
pub(crate) fn check_activation_scale(
    key: &str,
    value: u32,
    min_scale: u32,
    max_scale: u32,
) -> Result<(), KeyProblem> {
    if value < 2 {
        return Err(KeyProblem::new(
            key,
            format!("{value} is not allowed"),
            "give at least 2, or leave the key out",
        ));
    }
    if value < min_scale || (max_scale != 0 && value > max_scale) {
        return Err(KeyProblem::new(
            key,
            format!("{value} is not between min-scale {min_scale} and max-scale {max_scale}"),
            "give a number between the two",
        ));
    }
    Ok(())
}

pub(crate) fn aggregation(key: &str, text: &str) -> Result<Aggregation, KeyProblem> {
    match text {
        "linear" => Ok(Aggregation::Linear),
        "weighted-exponential" | "weightedExponential" => Ok(Aggregation::WeightedExponential),
        _ => Err(KeyProblem::new(
            key,
            format!("`{text}` is not known"),
            "use linear or weighted-exponential",
        )),
    }
}

pub(crate) fn stable_window_s(key: &str, text: &str) -> Result<u32, KeyProblem> {
    let window = duration(key, text)?;
    if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&window) {
        return Err(KeyProblem::new(
            key,
            format!("{text} is not allowed"),
            "give a duration from 6s to 1h",
        ));
    }
    whole_seconds(key, text, window)
}

pub(crate) fn scale_down_delay_s(
    key: &str,
    text: &str,
    longest: Option<Duration>,
) -> Result<u32, KeyProblem> {
    let delay = duration(key, text)?;
    no_longer_than(key, text, delay, longest)?;
    whole_seconds(key, text, delay)
}

pub(crate) fn retention_period_s(
    key: &str,
    text: &str,
    longest: Option<Duration>,
) -> Result<f64, KeyProblem> {
    let period = duration(key, text)?;
    no_longer_than(key, text, period, longest)?;
    Ok(period.as_secs_f64())
}

pub(crate) fn grace_period_s(key: &str, text: &str) -> Result<f64, KeyProblem> {
    let period = duration(key, text)?;
    if period.is_zero() {
        return Err(KeyProblem::new(
            key,
            format!("{text} is not allowed"),
            "give a duration above 0s",
        ));
    }
    Ok(period.as_secs_f64())
}

fn no_longer_than(
    key: &str,
    text: &str,
    value: Duration,
    longest: Option<Duration>,
) -> Result<(), KeyProblem> {
    match longest {
        Some(longest) if value > longest => Err(KeyProblem::new(
            key,
            format!("{text} is too long"),
            format!("give at most {}s", longest.as_secs()),
        )),
        _ => Ok(()),
    }
}

fn whole_seconds(key: &str, text: &str, value: Duration) -> Result<u32, KeyProblem> {
    match u32::try_from(value.as_secs()) {
        Ok(seconds) if value.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(KeyProblem::new(
            key,
            format!("{text} is not a whole number of seconds"),
            "give whole seconds, as 60s or 1m30s",
        )),
    }
}

fn duration(key: &str, text: &str) -> Result<Duration, KeyProblem> {
    parse_duration(text).ok_or_else(|| {
        KeyProblem::new(
            key,
            format!("`{text}` is not a duration"),
            "give a number with its unit, not negative: 60s, 1m30s, 1h, 500ms",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_panic_window_rounds_half_seconds_up_and_is_at_least_one() {
        assert_eq!(panic_window_s(60, 10.0), 6);
        assert_eq!(panic_window_s(45, 10.0), 5);
        assert_eq!(panic_window_s(44, 10.0), 4);
        assert_eq!(panic_window_s(6, 1.0), 1);
        assert_eq!(panic_window_s(3600, 100.0), 3600);
    }

    #[test]
    fn the_default_of_a_scenario_is_knatives_own() {
        assert_eq!(KpaConfig::from_spec(&KpaSpec::default()), Ok(KpaConfig::default()));
        let revision = KpaConfig::default().for_revision(10.0, 2, 2);
        assert_eq!(revision.target_value(), 7.0);
        assert_eq!((revision.bounded(0), revision.bounded(9)), (2, 9));
        assert_eq!(KpaConfig { reachable: false, ..revision }.bounded(0), 0);
        assert_eq!(KpaConfig::default().for_revision(0.001, 0, 1).target_value(), 0.01);
    }

    #[test]
    fn every_limit_names_its_key() {
        type Change = fn(&mut KpaSpec);
        let cases: [(&str, Change); 15] = [
            ("stable-window", |spec| spec.stable_window = "5s".into()),
            ("stable-window", |spec| spec.stable_window = "3601s".into()),
            ("stable-window", |spec| spec.stable_window = "6500ms".into()),
            ("container-concurrency-target-percentage", |spec| {
                spec.container_concurrency_target_percentage = 0.0;
            }),
            ("panic-window-percentage", |spec| spec.panic_window_percentage = 0.5),
            ("panic-threshold-percentage", |spec| spec.panic_threshold_percentage = f64::NAN),
            ("max-scale-up-rate", |spec| spec.max_scale_up_rate = 1.0),
            ("max-scale-down-rate", |spec| spec.max_scale_down_rate = f64::INFINITY),
            ("target-burst-capacity", |spec| spec.target_burst_capacity = -0.5),
            ("scale-down-delay", |spec| spec.scale_down_delay = "-1s".into()),
            ("max-scale", |spec| spec.max_scale = -1),
            ("activation-scale", |spec| spec.activation_scale = 1),
            ("scale-to-zero-grace-period", |spec| spec.scale_to_zero_grace_period = "0s".into()),
            ("scale-to-zero-pod-retention-period", |spec| {
                spec.scale_to_zero_pod_retention_period = "soon".into();
            }),
            ("metric-aggregation-algorithm", |spec| {
                spec.metric_aggregation_algorithm = "mean".into();
            }),
        ];
        for (key, change) in cases {
            let mut spec = KpaSpec::default();
            change(&mut spec);
            assert_eq!(KpaConfig::from_spec(&spec).unwrap_err().key, key);
        }
        let fraction =
            KpaSpec { container_concurrency_target_percentage: 0.7, ..KpaSpec::default() };
        assert_eq!(KpaConfig::from_spec(&fraction).unwrap().utilization, 0.7);
        let unlimited = KpaSpec { target_burst_capacity: -1.0, ..KpaSpec::default() };
        assert_eq!(KpaConfig::from_spec(&unlimited).unwrap().target_burst_capacity, -1.0);
    }
}
