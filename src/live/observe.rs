//! From what was read to a snapshot.

use super::signals::{Observation, ServiceObservation};
use crate::scenario::Profile;
use crate::snapshot::{QuotaSnapshot, RevisionSnapshot, ServiceSnapshot, Signal, Snapshot};

/// What the snapshot of a tick is made of, beside the signals.
pub struct Circumstances<'a> {
    /// The tick, unix seconds.
    pub tick: i64,
    /// Whether the clock runs faster or slower than the wall's, so that its time of day means nothing.
    pub scaled_clock: bool,
    /// Decisions made before.
    pub step: u32,
    /// The services' profiles.
    pub profiles: &'a [Profile],
    /// What each service is asked to run by the custom resource.
    pub newest: &'a [RevisionSnapshot],
    /// What each service was last seen to run with all its pods ready.
    pub serving: &'a [RevisionSnapshot],
    /// The real quota.
    pub quota: Option<QuotaSnapshot>,
    /// The signals that the policy needs.
    pub needed: &'a [Signal],
}

/// The snapshot. What is not measured follows from what the service is asked to run; users that are
/// not known are not a number; a service that lacks a signal which the policy needs is marked.
pub fn snapshot(observation: &Observation, around: &Circumstances<'_>) -> Snapshot {
    let services = observation
        .services
        .iter()
        .enumerate()
        .map(|(index, read)| service(index, read, around))
        .collect();
    let t_s = around.tick as f64;
    let time_s = (!around.scaled_clock).then_some(t_s);
    Snapshot { t_s, time_s, step: around.step, services, quota: around.quota }
}

fn service(index: usize, read: &ServiceObservation, around: &Circumstances<'_>) -> ServiceSnapshot {
    let newest = around.newest[index];
    let count = |signal| read.value(signal).map(|pods| pods.round() as u32);
    let ready = count(Signal::PodsReady);
    let ready_pods = ready.unwrap_or(newest.pods);
    let starting_pods = count(Signal::PodsStarting).unwrap_or(0);
    let terminating_pods = count(Signal::PodsTerminating).unwrap_or(0);
    let pods = u64::from(ready_pods) + u64::from(starting_pods) + u64::from(terminating_pods);
    let cpu_m = match read.value(Signal::CpuCores) {
        Some(cores) => (cores * 1000.0).round() as u64,
        None => pods * newest.cpu_m,
    };
    // Live cannot see revisions: the old one serves until the pods of the new one are ready.
    let serving =
        if ready.is_none_or(|ready| ready >= newest.pods) { newest } else { around.serving[index] };
    let memory_mib = newest
        .option
        .and_then(|option| around.profiles[index].options.get(option as usize))
        .map_or(0, |option| option.memory.0);
    let lacks = |signal: &Signal| {
        *signal != Signal::Users
            && read.reading(*signal).is_none_or(|reading| reading.value.is_err())
    };
    ServiceSnapshot {
        users: read.value(Signal::Users).unwrap_or(f64::NAN),
        missing: around.needed.iter().any(lacks),
        p95_ms: read.value(Signal::P95Ms),
        cpu_m,
        memory_mib: pods * memory_mib,
        newest,
        serving,
        rolling_out: newest != serving,
        ready_pods,
        starting_pods,
        terminating_pods,
        denied_pods: 0,
        pending_pods: 0,
    }
}
