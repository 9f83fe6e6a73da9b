//! Integrals over time of what is allocated, exact between events.

/// What is allocated at an instant, and its integrals since the last reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// CPU of pending, starting, ready and terminating pods, millicores.
    pub cpu_m: u64,
    /// Their memory, MiB.
    pub memory_mib: u64,
    /// Pods that are ready by their exact ready time.
    pub ready_pods: u32,
    /// Pods that the quota denies.
    pub denied_pods: u32,
    /// Created pods that wait for room on a node.
    pub pending_pods: u32,
    /// Pods in their cold start.
    pub starting_pods: u32,
    /// Pods that serve.
    pub serving_pods: u32,
    /// Deleted pods that are not gone yet.
    pub terminating_pods: u32,
    /// Pods created since the start.
    pub created_pods: u64,
    /// Pods gone since the start.
    pub gone_pods: u64,
    /// CPU above this counts as over the quota, millicores.
    cpu_quota_m: u64,
    /// Memory above this counts as over the quota, MiB.
    memory_quota_mib: u64,
    last_s: f64,
    integrals: Integrals,
}

/// Integrals over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Integrals {
    pub cpu_milli_seconds: f64,
    pub over_cpu_milli_seconds: f64,
    pub memory_mib_seconds: f64,
    pub over_memory_mib_seconds: f64,
    pub ready_pod_seconds: f64,
    pub denied_pod_seconds: f64,
}

impl Account {
    pub fn new(cpu_quota_m: u64, memory_quota_mib: u64) -> Self {
        Self { cpu_quota_m, memory_quota_mib, ..Self::default() }
    }

    /// Integrates up to `time_s`; call before any change.
    pub fn advance(&mut self, time_s: f64) {
        let elapsed = time_s - self.last_s;
        if elapsed <= 0.0 {
            return;
        }
        let sums = &mut self.integrals;
        sums.cpu_milli_seconds += self.cpu_m as f64 * elapsed;
        sums.over_cpu_milli_seconds += self.cpu_m.saturating_sub(self.cpu_quota_m) as f64 * elapsed;
        sums.memory_mib_seconds += self.memory_mib as f64 * elapsed;
        sums.over_memory_mib_seconds +=
            self.memory_mib.saturating_sub(self.memory_quota_mib) as f64 * elapsed;
        sums.ready_pod_seconds += f64::from(self.ready_pods) * elapsed;
        sums.denied_pod_seconds += f64::from(self.denied_pods) * elapsed;
        self.last_s = time_s;
    }

    /// The integrals up to `time_s`, which start anew.
    pub fn take(&mut self, time_s: f64) -> Integrals {
        self.advance(time_s);
        std::mem::take(&mut self.integrals)
    }
}

impl Integrals {
    pub fn add(&mut self, other: &Self) {
        self.cpu_milli_seconds += other.cpu_milli_seconds;
        self.over_cpu_milli_seconds += other.over_cpu_milli_seconds;
        self.memory_mib_seconds += other.memory_mib_seconds;
        self.over_memory_mib_seconds += other.over_memory_mib_seconds;
        self.ready_pod_seconds += other.ready_pod_seconds;
        self.denied_pod_seconds += other.denied_pod_seconds;
    }
}
