//! What a controller sees ([`Snapshot`]) and what it answers ([`Decision`]).
//!
//! Simulator, `paper` environment and live mode fill the same types, so that a policy cannot tell
//! where its input comes from.

use serde::{Deserialize, Serialize};

/// What can be observed at the instant of a decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Seconds since the start (live: unix time).
    pub t_s: f64,
    /// The time of day and date, seconds since 1970-01-01; none where the clock is a simulated one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_s: Option<f64>,
    /// Decisions made before this one.
    pub step: u32,
    /// One entry a service, in the scenario's order.
    pub services: Vec<ServiceSnapshot>,
    /// The quota that the cluster enforces, where one was read (live). The guard keeps the smaller of
    /// this and the scenario's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaSnapshot>,
}

/// A real ResourceQuota; `None` where it does not limit the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaSnapshot {
    /// CPU, millicores.
    pub cpu_m: Option<u64>,
    /// Memory, MiB.
    pub memory_mib: Option<u64>,
}

impl Snapshot {
    /// CPU allocated to all services, millicores.
    pub fn cpu_m(&self) -> u64 {
        self.services.iter().map(|service| service.cpu_m).sum()
    }
}

/// What can be observed of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// Users now (`paper`: users that the coming step serves). Not a number: not known (live).
    #[serde(with = "crate::number::plain")]
    pub users: f64,
    /// Whether a signal that the policy needs is missing (live): what stands in its place here is not
    /// measured, and the guard holds the service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
    /// p95 latency over the last seconds, ms; `None` without completions (always on `paper`).
    pub p95_ms: Option<f64>,
    /// CPU allocated to its pods, millicores (`paper`: CPU held).
    pub cpu_m: u64,
    /// Memory allocated to its pods, MiB.
    pub memory_mib: u64,
    /// The newest revision, ready or not.
    pub newest: RevisionSnapshot,
    /// The revision that serves.
    pub serving: RevisionSnapshot,
    /// Whether the newest revision does not serve yet.
    pub rolling_out: bool,
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
}

/// What a revision was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionSnapshot {
    /// Index of the option; `None` when cpu and concurrency are no option's.
    pub option: Option<u32>,
    /// CPU of a pod, millicores.
    pub cpu_m: u64,
    /// Target concurrency.
    pub concurrency: u32,
    /// Pods it was asked for (its min-scale).
    pub pods: u32,
}

impl RevisionSnapshot {
    /// Whether anything is known of it: no pod has 0 CPU.
    pub fn is_known(&self) -> bool {
        self.cpu_m > 0
    }

    /// The decision that asks for this revision.
    pub fn as_decision(&self) -> ServiceDecision {
        ServiceDecision {
            option: self.option,
            cpu_m: self.cpu_m,
            concurrency: self.concurrency,
            pods: self.pods,
        }
    }
}

/// What to run from now on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// One entry a service, in the scenario's order; `None` leaves the service as it is.
    pub services: Vec<Option<ServiceDecision>>,
    /// Why, in a few words.
    pub reason: String,
}

/// Option and pods for one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDecision {
    /// Index of the option; `None` when cpu and concurrency are no option's.
    pub option: Option<u32>,
    /// CPU of a pod, millicores.
    pub cpu_m: u64,
    /// Target concurrency of a pod.
    pub concurrency: u32,
    /// Pods (the `paper` environment computes its own).
    pub pods: u32,
}

impl ServiceDecision {
    /// The revision that this decision asks for.
    pub fn as_revision(&self) -> RevisionSnapshot {
        RevisionSnapshot {
            option: self.option,
            cpu_m: self.cpu_m,
            concurrency: self.concurrency,
            pods: self.pods,
        }
    }
}

/// What a snapshot is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Users now.
    Users,
    /// p95 latency of the last seconds, ms.
    P95Ms,
    /// CPU requested by the service's pods, cores.
    CpuCores,
    /// Pods that are ready and not being deleted.
    PodsReady,
    /// Pods that are not ready yet and not being deleted.
    PodsStarting,
    /// Pods being deleted.
    PodsTerminating,
}

impl Signal {
    /// All signals; a signal's place here is its number as `usize`.
    pub const ALL: [Self; 6] = [
        Self::Users,
        Self::P95Ms,
        Self::CpuCores,
        Self::PodsReady,
        Self::PodsStarting,
        Self::PodsTerminating,
    ];

    /// The name of its table and label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::P95Ms => "p95_ms",
            Self::CpuCores => "cpu_cores",
            Self::PodsReady => "pods_ready",
            Self::PodsStarting => "pods_starting",
            Self::PodsTerminating => "pods_terminating",
        }
    }
}
