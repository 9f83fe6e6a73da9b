//! What live tells Prometheus about itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use super::fault::{Fault, FaultSource};
use crate::control::Rule;
use crate::error::{Error, Result};

/// How a tick ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The custom resource was changed.
    Applied,
    /// It holds already what was decided.
    Unchanged,
    /// The last good decision is held.
    Held,
    /// The stated fallback was asked for.
    Fallback,
    /// Decided, but a person paused the writing.
    Paused,
    /// Decided, but nothing is to be written.
    DryRun,
    /// Not run: too late.
    Missed,
    /// Decided, but it could not be applied; or it could not be decided.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Applied,
        Self::Unchanged,
        Self::Held,
        Self::Fallback,
        Self::Paused,
        Self::DryRun,
        Self::Missed,
        Self::Failed,
    ];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Held => "held",
            Self::Fallback => "fallback",
            Self::Paused => "paused",
            Self::DryRun => "dry_run",
            Self::Missed => "missed",
            Self::Failed => "failed",
        }
    }
}

/// A part of a tick that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Asking all signals and the cluster.
    Query,
    /// Forecaster, policy and guard.
    Decide,
    /// Saving and publishing the state.
    Save,
    /// Applying the custom resource.
    Apply,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Query, Self::Decide, Self::Save, Self::Apply];

    fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Decide => "decide",
            Self::Save => "save",
            Self::Apply => "apply",
        }
    }
}

/// Upper bounds of the durations' buckets, seconds.
const BUCKETS_S: [f64; 13] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    /// 1 while this process holds the lease.
    pub leader: IntGauge,
    /// 1 while a person pauses the writing.
    pub paused: IntGauge,
    last_decision: Gauge,
    ticks: IntCounterVec,
    faults: IntCounterVec,
    interventions: IntCounterVec,
    /// Users as last observed, by service.
    pub users: GaugeVec,
    /// p95 latency as last observed, by service.
    pub p95: GaugeVec,
    /// CPU of all pods decided, by service.
    pub decided_cpu: GaugeVec,
    /// Pods decided, by service.
    pub decided_pods: GaugeVec,
    /// Age of the last sample, by service and signal.
    pub age: GaugeVec,
    durations: HistogramVec,
}

impl Metrics {
    /// Metrics of this version and commit; every label that is known beforehand starts at 0.
    ///
    /// # Errors
    /// Never, as long as the names are distinct and valid.
    pub fn new(version: &str, commit: &str) -> Result<Self> {
        Self::build(version, commit)
            .map_err(|error| Error::Failed(format!("cannot set up the metrics: {error}")))
    }

    fn build(version: &str, commit: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauges = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<GaugeVec> {
            let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
                let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counter.clone()))?;
                Ok(counter)
            };
        let switch = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        gauges("quotascale_build_info", "Version and commit; always 1.", &["version", "commit"])?
            .with_label_values(&[version, commit])
            .set(1.0);
        let last_decision = Gauge::new(
            "quotascale_live_last_decision_timestamp_seconds",
            "Unix time of the last decision; 0 before the first.",
        )?;
        registry.register(Box::new(last_decision.clone()))?;
        let ticks = counters(
            "quotascale_live_ticks_total",
            "Ticks of the schedule, by how they ended.",
            &["outcome"],
        )?;
        let faults = counters(
            "quotascale_live_faults_total",
            "Faults around the controller, by source and kind.",
            &["source", "kind"],
        )?;
        let interventions = counters(
            "quotascale_live_guard_interventions_total",
            "Where the guard stepped in, by rule, counted by service.",
            &["rule"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "quotascale_live_decision_duration_seconds",
                "Duration of the phases of a tick.",
            )
            .buckets(BUCKETS_S.to_vec()),
            &["phase"],
        )?;
        registry.register(Box::new(durations.clone()))?;
        let metrics = Self {
            leader: switch("quotascale_live_leader", "1 while this process holds the lease.")?,
            paused: switch(
                "quotascale_live_paused",
                "1 while the writing is paused by annotation.",
            )?,
            users: gauges("quotascale_live_observed_users", "Users, as observed.", &["service"])?,
            p95: gauges(
                "quotascale_live_p95_latency_seconds",
                "p95 latency, as observed.",
                &["service"],
            )?,
            decided_cpu: gauges(
                "quotascale_live_decided_cpu_cores",
                "CPU of all pods, as decided.",
                &["service"],
            )?,
            decided_pods: gauges(
                "quotascale_live_decided_pods",
                "Pods, as decided.",
                &["service"],
            )?,
            age: gauges(
                "quotascale_live_sample_age_seconds",
                "Age of the last sample.",
                &["service", "signal"],
            )?,
            last_decision,
            ticks,
            faults,
            interventions,
            durations,
            registry,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        for outcome in Outcome::ALL {
            self.ticks.with_label_values(&[outcome.name()]);
        }
        for rule in Rule::ALL {
            self.interventions.with_label_values(&[rule.name()]);
        }
        for phase in Phase::ALL {
            self.durations.with_label_values(&[phase.name()]);
        }
        for source in FaultSource::ALL {
            for kind in source.kinds() {
                self.faults.with_label_values(&[source.name(), kind.name()]);
            }
        }
    }

    /// Counts `count` ticks that ended so.
    pub fn ticked(&self, outcome: Outcome, count: u64) {
        self.ticks.with_label_values(&[outcome.name()]).inc_by(count);
    }

    /// A decision was made now.
    pub fn decided(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_decision.set(now.as_secs_f64());
    }

    /// Counts a fault.
    pub fn fault(&self, fault: &Fault) {
        self.faults.with_label_values(&[fault.source.name(), fault.kind.name()]).inc();
    }

    /// Counts a rule of the guard at work.
    pub fn intervention(&self, rule: Rule) {
        self.interventions.with_label_values(&[rule.name()]).inc();
    }

    /// Times a phase.
    pub fn took(&self, phase: Phase, duration: Duration) {
        self.durations.with_label_values(&[phase.name()]).observe(duration.as_secs_f64());
    }

    /// All metrics in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// Never, as long as every metric has a name.
    pub fn text(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| Error::Failed(format!("cannot write the metrics: {error}")))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_labels_start_at_zero_and_names_follow_the_conventions() {
        let metrics = Metrics::new("1.0", "abc").unwrap();
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            "quotascale_build_info{commit=\"abc\",version=\"1.0\"} 1",
            "quotascale_live_leader 0",
            "quotascale_live_paused 0",
            "quotascale_live_last_decision_timestamp_seconds 0",
            "quotascale_live_ticks_total{outcome=\"dry_run\"} 0",
            "quotascale_live_faults_total{kind=\"crd_missing\",source=\"kubernetes\"} 0",
            "quotascale_live_guard_interventions_total{rule=\"fallback\"} 0",
            "quotascale_live_decision_duration_seconds_count{phase=\"apply\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[2].ends_with("_total"), words[3] == "counter", "{line}");
        }
        metrics.ticked(Outcome::Missed, 3);
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        assert!(text.contains("quotascale_live_ticks_total{outcome=\"missed\"} 3"));
    }
}
