//! A *run*: the results of one policy on one scenario and seed.
//!
//! The row types are the tables of a run folder, one field a column, in column order. Their
//! documentation is the reference of the output columns.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The value of the `service` column in rows that speak of all services together.
pub const ALL_SERVICES: &str = "all";

/// Everything that one policy did on one scenario and seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// The figures of the whole run.
    pub summary: Summary,
    /// What was decided, a row per decision and service.
    pub decisions: Vec<DecisionRow>,
    /// What was measured, a row per interval and service, and one for all services.
    pub intervals: Vec<IntervalRow>,
    /// The life of every revision (empty on `paper`).
    pub revisions: Vec<RevisionRow>,
    /// Second by second (empty unless asked for).
    pub ticks: Vec<TickRow>,
}

/// The figures of a whole run (`summary.json`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The policy's name.
    pub policy: String,
    /// The master seed.
    pub seed: u64,
    /// Sum of the rewards of all decisions, in their order.
    #[serde(with = "crate::number::plain")]
    pub reward: f64,
    /// Decisions that earned a reward.
    pub decisions: u64,
    /// Requests over the SLO (and users still waiting at the end) as a share of all; `None` without any.
    pub slo_violation_share: Option<f64>,
    /// Integral of CPU allocated above the quota, in CPU-seconds.
    pub over_quota_cpu_seconds: f64,
    /// Integral of the CPU allocated to pods (starting, ready, terminating, pending), in CPU-seconds.
    pub cpu_seconds: f64,
    /// Integral of memory allocated above its quota, in MiB-seconds; `None` on `paper`.
    pub over_quota_memory_mib_seconds: Option<f64>,
    /// Integral of the memory allocated to pods, in MiB-seconds; `None` on `paper`.
    pub memory_mib_seconds: Option<f64>,
    /// Pods created after t = 0; `None` on `paper`.
    pub cold_starts: Option<u64>,
    /// Integral of the pods that the quota denied, in pod-seconds; `None` on `paper`.
    pub denied_pod_seconds: Option<f64>,
    /// Requests in flight on pods at the moment the operator force-deletes them; `None` on `paper`.
    pub requests_at_risk: Option<f64>,
    /// 95th percentile of the latency over the whole run by service, ms; `None` on `paper`.
    pub p95_ms: Option<BTreeMap<String, Option<f64>>>,
    /// What the reader should know: deadlocks at the quota, actions that had no effect, …
    pub warnings: Vec<String>,
}

/// One service's part of one decision (`decisions`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// When it was decided, seconds from the start.
    pub t_s: f64,
    /// The service.
    pub service: String,
    /// Users that the controller saw.
    pub users_seen: f64,
    /// Users that it expected for the coming stage; empty where another process decided (`rehearse`).
    #[serde(with = "crate::number::plain")]
    pub forecast: f64,
    /// Index of the chosen option in the profile; empty when cpu and concurrency are no option's.
    pub option: Option<u32>,
    /// CPU of a pod, millicores.
    pub cpu_m: u64,
    /// Target concurrency of a pod.
    pub concurrency: u32,
    /// Pods asked for.
    pub pods: u32,
    /// Why: the policy's word, and the guard's where it intervened.
    pub reason: String,
    /// Reward of the stage that follows, the same for every service; empty when no whole stage follows.
    pub reward: Option<f64>,
}

/// One service, or all, in one interval (`intervals`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntervalRow {
    /// Start, seconds.
    pub from_s: f64,
    /// End, seconds.
    pub to_s: f64,
    /// The service, or `all`.
    pub service: String,
    /// Completed requests per second.
    pub throughput_rps: Option<f64>,
    /// 95th percentile of the latency of the requests completed, ms; empty without any.
    pub p95_ms: Option<f64>,
    /// Mean latency of the requests completed, ms; empty without any.
    pub mean_ms: Option<f64>,
    /// Share of requests over the SLO (users still waiting at the end count as over); empty without any.
    pub share_over_slo: Option<f64>,
    /// Integral of the users.
    pub user_seconds: Option<f64>,
    /// Integral of the users who wait because no pod is ready.
    pub waiting_user_seconds: Option<f64>,
    /// Integral of the ready pods.
    pub ready_pod_seconds: Option<f64>,
    /// Integral of the allocated CPU, CPU-seconds.
    pub cpu_seconds: f64,
    /// Pods created in the interval.
    pub pods_created: Option<u64>,
    /// `all` only: integral of CPU allocated above the quota, CPU-seconds.
    pub over_quota_cpu_seconds: Option<f64>,
    /// `all` only: integral of the pods that the quota denied.
    pub denied_pod_seconds: Option<f64>,
    /// Integral of the allocated memory, MiB-seconds.
    pub memory_mib_seconds: Option<f64>,
    /// `all` only: integral of memory allocated above its quota, MiB-seconds.
    pub over_quota_memory_mib_seconds: Option<f64>,
}

/// The life of one revision (`revisions`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionRow {
    /// The service.
    pub service: String,
    /// Number of the revision, from 1 for each service.
    pub revision: u32,
    /// When it was created, seconds.
    pub created_s: f64,
    /// When its last initial pod became ready; empty if never.
    pub ready_s: Option<f64>,
    /// When it was deleted; empty if never.
    pub deleted_s: Option<f64>,
    /// When its last pod was gone; empty if never.
    pub gone_s: Option<f64>,
    /// Index of its option; empty when cpu and concurrency are no option's.
    pub option: Option<u32>,
    /// CPU of a pod, millicores.
    pub cpu_m: u64,
    /// Target concurrency of a pod.
    pub concurrency: u32,
    /// Initial pods.
    pub pods: u32,
    /// `serving`, `replaced`, `superseded`, `rolling-out` or `waiting-for-quota`.
    pub outcome: String,
}

/// One service, or all, in one tick (`ticks`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TickRow {
    /// Start of the tick, seconds.
    pub t_s: f64,
    /// The service, or `all`.
    pub service: String,
    /// Users.
    pub users: u32,
    /// Users who wait because no pod is ready.
    pub waiting_users: u32,
    /// Requests in service on pods.
    pub in_flight: u32,
    /// Completed requests per second.
    pub throughput_rps: f64,
    /// 95th percentile of the latency of the requests completed in the tick, ms; empty without any.
    pub p95_ms: Option<f64>,
    /// Pods that serve.
    pub ready_pods: u32,
    /// Pods in their cold start.
    pub starting_pods: u32,
    /// Deleted pods that are not gone yet.
    pub terminating_pods: u32,
    /// Pods that the quota denies.
    pub denied_pods: u32,
    /// Created pods that wait for room on a node.
    pub pending_pods: u32,
    /// Allocated CPU at the start of the tick, millicores.
    pub cpu_m: u64,
    /// CPU of that which belongs to revisions other than the serving one, millicores (the overlap).
    pub overlap_cpu_m: u64,
    /// Allocated memory at the start of the tick, MiB.
    pub memory_mib: u64,
    /// The revision that serves; empty for `all`.
    pub revision: Option<u32>,
    /// CPU quota, millicores; empty for a service.
    pub quota_cpu_m: Option<u64>,
}
