//! The scenario file as it is written: TOML tables and keys, their units and their defaults.
//!
//! Every key of every table is listed here and nowhere else; unknown ones are refused. What these
//! types cannot say (options that fit the quota, an initial option that exists, …) is checked by
//! [`super::Scenario::from_text`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Mebibytes, MilliCpu};

/// One scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioSpec {
    /// Name of the scenario; results carry it.
    pub name: String,
    /// `knative` (the tick simulator) or `paper` (the original training environment, three services).
    pub environment: EnvironmentKind,
    /// Length in seconds (a whole number). Default: the longest trace. Not for `paper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<u32>,
    /// Seconds between decisions.
    #[serde(default = "default_interval_s")]
    pub interval_s: u32,
    /// Second of the first decision; live: unix time modulo `interval_s`.
    #[serde(default = "default_offset_s")]
    pub offset_s: u32,
    /// How late a live decision may run before its tick counts as missed, seconds.
    #[serde(default = "default_max_lateness_s")]
    pub max_lateness_s: u32,
    /// `paper` only: corrections of the original's quirks, by name (none: the original, exactly).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<String>,
    /// The quota that the services share.
    pub quota: QuotaSpec,
    /// The reward.
    #[serde(default)]
    pub reward: RewardSpec,
    /// Limits that the controller keeps whatever the policy says.
    #[serde(default)]
    pub guard: GuardSpec,
    /// The model's own numbers. `knative` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sim: Option<SimSpec>,
    /// How a decision becomes revisions. `knative` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorSpec>,
    /// Knative's autoscaler. `knative` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpa: Option<KpaSpec>,
    /// What the tables say.
    #[serde(default)]
    pub report: ReportSpec,
    /// The services, one table each.
    pub service: Vec<ServiceSpec>,
}

fn default_interval_s() -> u32 {
    120
}
fn default_offset_s() -> u32 {
    115
}
fn default_max_lateness_s() -> u32 {
    30
}

/// Which environment the scenario runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnvironmentKind {
    /// The original training environment: one step is one decision interval.
    Paper,
    /// The tick simulator.
    Knative,
}

/// `[quota]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaSpec {
    /// CPU quota, millicores.
    pub cpu_m: MilliCpu,
    /// Memory quota, MiB. Default: does not bind.
    #[serde(default = "default_memory_mib")]
    pub memory_mib: Mebibytes,
    /// `accounted`: the excess is measured; `enforced`: pods beyond the quota are denied.
    #[serde(default)]
    pub mode: QuotaMode,
    /// CPU of the nodes, millicores; pods beyond it stay pending. 0 = unlimited.
    #[serde(default = "default_node_cpu_m")]
    pub node_cpu_m: MilliCpu,
}

fn default_memory_mib() -> Mebibytes {
    Mebibytes(1_048_576)
}
fn default_node_cpu_m() -> MilliCpu {
    MilliCpu(60_000)
}

/// What happens to a pod that would exceed the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaMode {
    /// Created all the same; the excess is measured (the paper's setting).
    #[default]
    Accounted,
    /// Denied and tried again every tick (Kubernetes ResourceQuota).
    Enforced,
}

/// `[reward]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardSpec {
    /// `slo` or `paper`. Default: `slo` on `knative`, `paper` on `paper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<RewardKind>,
    /// Factor on every reward.
    #[serde(default = "one")]
    pub scale: f64,
    /// `slo`: weight of the share of requests over the SLO.
    #[serde(default = "one")]
    pub w_slo: f64,
    /// `slo`: weight of the over-quota share.
    #[serde(default = "one")]
    pub w_over: f64,
    /// `slo`: weight of the mean usage share.
    #[serde(default = "default_w_use")]
    pub w_use: f64,
    /// `paper` on `knative`: the latency in the formula, the option's or the measured p95.
    #[serde(default)]
    pub latency: RewardLatency,
}

impl Default for RewardSpec {
    fn default() -> Self {
        Self {
            kind: None,
            scale: 1.0,
            w_slo: 1.0,
            w_over: 1.0,
            w_use: default_w_use(),
            latency: RewardLatency::default(),
        }
    }
}

fn one() -> f64 {
    1.0
}
fn default_w_use() -> f64 {
    0.1
}

/// The formula of the reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RewardKind {
    /// The original's formula.
    Paper,
    /// -(w_slo * share over SLO + w_over * over-quota share + w_use * usage share).
    Slo,
}

/// Where the latency of the `paper` reward comes from on `knative`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RewardLatency {
    /// The p95 that the profile states for the option in force.
    #[default]
    Profile,
    /// The p95 measured in the stage.
    Measured,
}

/// `[guard]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardSpec {
    /// Largest change of a service's CPU in one decision, millicores.
    #[serde(default = "default_max_step_cpu_m")]
    pub max_step_cpu_m: MilliCpu,
    /// Largest change of a service's pods in one decision.
    #[serde(default = "default_max_step_pods")]
    pub max_step_pods: u32,
    /// More users than this are not believed.
    #[serde(default = "default_max_users")]
    pub max_users: f64,
    /// How long the last good decision is held when signals are missing, seconds.
    #[serde(default = "default_hold_max_s")]
    pub hold_max_s: u32,
    /// How many consecutive failures the last good decision is held for.
    #[serde(default = "default_hold_max_failures")]
    pub hold_max_failures: u32,
    /// What follows after that: `hold`, or `fixed:` and an option per service.
    #[serde(default = "default_fallback")]
    pub fallback: String,
}

impl Default for GuardSpec {
    fn default() -> Self {
        Self {
            max_step_cpu_m: default_max_step_cpu_m(),
            max_step_pods: default_max_step_pods(),
            max_users: default_max_users(),
            hold_max_s: default_hold_max_s(),
            hold_max_failures: default_hold_max_failures(),
            fallback: default_fallback(),
        }
    }
}

fn default_max_step_cpu_m() -> MilliCpu {
    MilliCpu(1_000_000)
}
fn default_max_step_pods() -> u32 {
    1000
}
fn default_max_users() -> f64 {
    100_000.0
}
fn default_hold_max_s() -> u32 {
    600
}
fn default_hold_max_failures() -> u32 {
    5
}
fn default_fallback() -> String {
    "hold".to_owned()
}

/// `[sim]`: numbers of the model (rules of the simulator in docs/model.md).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimSpec {
    /// Utilization that pods are planned for: pods = ceil(users / concurrency / this).
    pub target_utilization: f64,
    /// Fewest pods that a decision asks for.
    pub min_pods: u32,
    /// p95 over mean of the latency of a request; 1 < ratio < 3.868.
    pub p95_mean_ratio: f64,
    /// How long a pod terminates that the autoscaler or a superseded revision leaves, seconds.
    pub pod_drain_s: f64,
    /// A pod serves in the first tick t with t >= ready time - this (0.5: the nearest, no bias), seconds.
    pub ready_rounding_s: f64,
    /// Window of the p95 that a controller sees, seconds.
    pub p95_window_s: u32,
    /// How requests reach pods.
    pub routing: Routing,
}

impl Default for SimSpec {
    fn default() -> Self {
        Self {
            target_utilization: 0.7,
            min_pods: 1,
            p95_mean_ratio: 1.6,
            pod_drain_s: 30.0,
            ready_rounding_s: 0.5,
            p95_window_s: 10,
            routing: Routing::LeastLoaded,
        }
    }
}

/// How requests reach pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// Ideal: loads of pods differ by one at most. An optimistic bound.
    LeastLoaded,
}

/// `[operator]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorSpec {
    /// How a roll-out goes.
    pub kind: OperatorKind,
    /// Which decisions make a new revision.
    pub rule: OperatorRule,
    /// `ideal`, `graceful`: seconds from readiness to the deletion of the old revision.
    pub delay_s: f64,
    /// Seconds that a force-deleted pod takes to be gone.
    pub termination_s: f64,
    /// `published`: seconds between two looks at the pods.
    pub poll_s: u32,
    /// `published`: seconds from readiness being seen to the deletion of the old revision.
    pub published_delay_s: u32,
}

impl Default for OperatorSpec {
    fn default() -> Self {
        Self {
            kind: OperatorKind::Ideal,
            rule: OperatorRule::AnyChange,
            delay_s: 2.0,
            termination_s: 2.0,
            poll_s: 1,
            published_delay_s: 3,
        }
    }
}

/// How a roll-out goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorKind {
    /// Traffic moves at readiness; services roll out side by side.
    Ideal,
    /// The published operator: one service after the other, each waited for without limit.
    Published,
    /// As `ideal`, but old pods take `sim.pod_drain_s`.
    Graceful,
}

/// Which decisions make a new revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorRule {
    /// Any difference in cpu, concurrency or pods.
    AnyChange,
    /// Only cpu or concurrency; pods change in place.
    OptionChange,
}

/// `[kpa]`: Knative's own names and values (ConfigMap `config-autoscaler`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct KpaSpec {
    /// Whether the autoscaler runs; without it a revision keeps the pods it was given.
    pub enabled: bool,
    /// Utilization of the target concurrency, percent.
    pub container_concurrency_target_percentage: f64,
    /// Window of the stable average, as `60s`; 6s to 1h.
    pub stable_window: String,
    /// Panic window as a percentage of the stable window, 1 to 100.
    pub panic_window_percentage: f64,
    /// Panic begins at this percentage of the ready pods' capacity.
    pub panic_threshold_percentage: f64,
    /// Largest factor up in one decision, > 1.
    pub max_scale_up_rate: f64,
    /// Largest factor down in one decision, > 1.
    pub max_scale_down_rate: f64,
    /// Requests kept in reserve before the activator leaves the path; -1 = unlimited.
    pub target_burst_capacity: f64,
    /// How long fewer pods have to be wanted before any go, as `0s`.
    pub scale_down_delay: String,
    /// Most pods of a revision; 0 = no limit.
    pub max_scale: i32,
    /// Fewest pods when scaling up from zero; 0 = off.
    pub activation_scale: i32,
    /// Whether a revision without requests may go to zero (where its min-scale is 0).
    pub enable_scale_to_zero: bool,
    /// How long the last pod stays after the activator is in the path.
    pub scale_to_zero_grace_period: String,
    /// How long the last pod stays at least.
    pub scale_to_zero_pod_retention_period: String,
    /// `linear` or `weighted-exponential`.
    pub metric_aggregation_algorithm: String,
}

impl Default for KpaSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            container_concurrency_target_percentage: 70.0,
            stable_window: "60s".to_owned(),
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            target_burst_capacity: 211.0,
            scale_down_delay: "0s".to_owned(),
            max_scale: 0,
            activation_scale: 0,
            enable_scale_to_zero: true,
            scale_to_zero_grace_period: "30s".to_owned(),
            scale_to_zero_pod_retention_period: "0s".to_owned(),
            metric_aggregation_algorithm: "linear".to_owned(),
        }
    }
}

/// `[report]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSpec {
    /// Edges of the intervals, both ends included, whole seconds; empty: the traffic stages.
    pub boundaries_s: Vec<u32>,
}

/// `[[service]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Name; tables and figures use it.
    pub name: String,
    /// Name of the Knative Service. Default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Bound on the p95 latency, ms.
    pub slo_p95_ms: f64,
    /// Mean of a pod's cold start, seconds.
    #[serde(default = "default_cold_start_mean_s")]
    pub cold_start_mean_s: f64,
    /// Coefficient of variation of a pod's cold start (log-normal); 0 = always the mean.
    #[serde(default = "default_cold_start_cv")]
    pub cold_start_cv: f64,
    /// Memory of a pod, MiB, unless an option says otherwise.
    #[serde(default)]
    pub memory_mib: Mebibytes,
    /// `paper` only: growth without a new revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_growth: Option<SoftGrowthSpec>,
    /// What is there at t = 0.
    pub initial: InitialSpec,
    /// Users per interval before t = 0, oldest first: what a forecaster has seen.
    #[serde(default)]
    pub history_users: Vec<f64>,
    /// The traffic.
    pub trace: TraceSpec,
    /// The profile: what a pod may be.
    pub option: Vec<OptionSpec>,
}

fn default_cold_start_mean_s() -> f64 {
    3.0
}
fn default_cold_start_cv() -> f64 {
    0.3
}

/// `soft_growth` of a service: when pods are added to a revision rather than made anew (`paper`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoftGrowthSpec {
    /// Only if the option's p95 is at most this, ms.
    pub p95_ms: f64,
    /// Only by at most so many pods; 0 = any number.
    #[serde(default)]
    pub max_pods: u32,
}

/// `initial` of a service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitialSpec {
    /// Option in force at t = 0.
    pub option: u32,
    /// Pods at t = 0.
    pub pods: u32,
    /// Whether these are ready at t = 0; otherwise their cold start begins then.
    #[serde(default = "yes")]
    pub ready: bool,
    /// Fewest pods of the revision.
    #[serde(default = "one_pod")]
    pub min_scale: u32,
    /// `paper` only: CPU held at t = 0, millicores. Default: pods * cpu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_held_m: Option<MilliCpu>,
    /// `paper` only: users that the first step serves. Default: the first row of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// `paper` only: first latency entry of the observation, % of the SLO. Default: the option's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_entry: Option<u32>,
}

fn yes() -> bool {
    true
}
fn one_pod() -> u32 {
    1
}

/// One option of a profile: what a pod may be and the p95 measured there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionSpec {
    /// CPU of a pod, millicores.
    pub cpu_m: MilliCpu,
    /// Target concurrency of a pod.
    pub concurrency: u32,
    /// p95 latency of a pod under that concurrency, ms.
    pub p95_ms: f64,
    /// Memory of a pod, MiB. Default: the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<Mebibytes>,
}

/// `trace` of a service: exactly one of `builtin`, `file` and `generator`. Each takes only the
/// keys that belong to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceSpec {
    /// A built-in trace and column, as `paper/house`; without a column, the service's name is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<String>,
    /// A CSV file, relative to the scenario file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The column (interval form) or service (stage form) of `file`. Default: the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// A generator, drawn anew for each seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<GeneratorKind>,
    /// Rows to generate. Default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// Length of a row, seconds. Default: `interval_s`. Not for a file in stage form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_s: Option<u32>,
    /// Fewest users, a whole number. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Most users, a whole number. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// `diurnal`: rows of one day; `steps`: rows of one level. Default 20 and 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_rows: Option<u32>,
    /// `diurnal`: standard deviation of the noise, as a share of high - low. Default 0.05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// `bursts`: probability that a burst begins in a row. Default 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// `bursts`: height of a burst, as a share of high - low. Default 0.8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
    /// `walk`: standard deviation of one row's change, users. Default 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
}

/// Kinds of generated traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorKind {
    /// Independent whole numbers, uniform from `low` to `high`.
    Random,
    /// Levels held for `period_rows` rows, each uniform from `low` to `high`.
    Steps,
    /// A straight line from `low` to `high`.
    Ramp,
    /// A daily wave of `period_rows` rows between `low` and `high`, with noise.
    Diurnal,
    /// `low`, with bursts that start suddenly and decay.
    Bursts,
    /// A random walk reflected at `low` and `high`.
    Walk,
}
