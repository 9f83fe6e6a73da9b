//! Revisions and pods: their states and their life.

/// A revision of a service.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    /// From 1.
    pub number: u32,
    pub option: Option<u32>,
    pub cpu_m: u64,
    pub memory_mib: u64,
    pub concurrency: u32,
    /// Index of its latency curve.
    pub curve: usize,
    /// Its initial-scale.
    pub initial_pods: u32,
    pub min_scale: u32,
    /// Replicas in force.
    pub replicas: u32,
    /// Initial pods that do not serve yet.
    pub unready: u32,
    /// Initial pods whose exact ready time has not come yet.
    pub unready_exact: u32,
    /// Latest ready time of the initial pods that serve.
    pub last_ready_s: f64,
    /// Pods that serve.
    pub serving_pods: u32,
    /// Pods that hold quota: pending, starting, ready, terminating.
    pub held_pods: u32,
    /// Pods that wait for quota.
    pub denied_pods: u32,
    /// Index of its autoscaler while it runs.
    pub scaler: Option<usize>,
    pub created_s: u32,
    pub ready_s: Option<f64>,
    pub deleted_s: Option<f64>,
    pub gone_s: Option<f64>,
    pub superseded: bool,
    /// Whether deleted pods of it are forced (gone after the operator's termination time).
    pub forced: bool,
    /// What traffic left behind when it moved on, if the pods are to be forced.
    pub left: Option<Left>,
}

impl Revision {
    /// A pod of it is deleted at `time_s`: if the revision waited for that pod, it waits no longer.
    pub fn no_longer_awaits(&mut self, pod: &Pod, time_s: f64) {
        if pod.initial && !pod.exactly_ready {
            self.unready -= u32::from(pod.state != PodState::Ready);
            self.unready_exact -= 1;
            self.last_ready_s = self.last_ready_s.max(time_s);
        } else if pod.initial && pod.state == PodState::Starting {
            self.unready -= 1;
        }
    }
}

/// The requests in flight on a revision at the moment that traffic leaves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// When.
    pub time_s: f64,
    pub users: u32,
    /// The pods that they are on.
    pub pods: u32,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PodState {
    /// Not in use.
    Free,
    /// Asked for in this tick; admission decides.
    Requested,
    /// The quota denies it.
    Denied,
    /// Created, without room on a node.
    Pending,
    /// In its cold start.
    Starting,
    /// Serves.
    Ready,
    /// Deleted, not gone.
    Terminating,
}

/// A pod of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod {
    /// Distinguishes it from earlier pods in the same slot; rises with the time of the request.
    pub id: u64,
    pub revision: u32,
    pub state: PodState,
    /// One of the pods that the revision waits for.
    pub initial: bool,
    /// Ready at once (pods that stand at t = 0).
    pub instant: bool,
    /// Whether its exact ready time has come.
    pub exactly_ready: bool,
    pub ready_s: f64,
}

/// A pod by service and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodRef {
    pub id: u64,
    pub service: u32,
    pub slot: u32,
}

/// Something that happens at an exact time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    pub time_s: f64,
    pub id: u64,
    pub service: u32,
    pub kind: EventKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A pod's exact ready time.
    Ready { slot: u32 },
    /// A terminating pod is gone.
    Gone { slot: u32 },
    /// The operator deletes a replaced revision.
    Delete { revision: u32 },
}

impl Eq for Event {}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.time_s.total_cmp(&other.time_s).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
