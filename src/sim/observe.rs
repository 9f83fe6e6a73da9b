//! What can be seen of a simulation in progress: by a controller, and by whoever checks the books.

use super::cluster::Simulator;
use super::revision::{PodState, Revision};
use crate::snapshot::{RevisionSnapshot, ServiceSnapshot, Snapshot};

/// One service's users and pods, counted one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Census {
    /// Users in the last tick.
    pub users: u32,
    /// Users who wait for a pod.
    pub waiting_users: f64,
    /// Requests on pods.
    pub in_flight: u32,
    /// Pods that the quota denies, or has not been asked about yet.
    pub denied_pods: u32,
    /// Created pods without room on a node.
    pub pending_pods: u32,
    /// Pods in their cold start.
    pub starting_pods: u32,
    /// Pods that serve.
    pub ready_pods: u32,
    /// Deleted pods that are not gone.
    pub terminating_pods: u32,
    /// Pods created since the start.
    pub created_pods: u64,
    /// Pods gone since the start.
    pub gone_pods: u64,
    /// CPU of all pods that hold quota, millicores.
    pub cpu_m: u64,
    /// Memory of all pods that hold quota, MiB.
    pub memory_mib: u64,
    /// CPU of those that are on a node, millicores.
    pub placed_cpu_m: u64,
}

/// Where a pod stands that holds quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Created, without room on a node.
    Pending,
    /// In its cold start.
    Starting,
    /// Serves.
    Ready,
    /// Deleted, not gone.
    Terminating,
}

/// One pod that holds quota, as a cluster would list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodView {
    /// No other pod of the simulation has it.
    pub id: u64,
    /// Number of its revision, from 1 for each service.
    pub revision: u32,
    /// Where it stands.
    pub phase: PodPhase,
    /// Its CPU, millicores.
    pub cpu_m: u64,
    /// Its memory, MiB.
    pub memory_mib: u64,
}

impl Simulator {
    /// The pods of a service that hold quota, those being deleted included.
    pub fn pods(&self, service: usize) -> impl Iterator<Item = PodView> + '_ {
        let service = &self.services[service];
        service.pods.iter().filter_map(|pod| {
            let phase = match pod.state {
                PodState::Free | PodState::Requested | PodState::Denied => return None,
                PodState::Pending => PodPhase::Pending,
                PodState::Starting => PodPhase::Starting,
                PodState::Ready => PodPhase::Ready,
                PodState::Terminating => PodPhase::Terminating,
            };
            let revision = &service.revisions[pod.revision as usize];
            let (cpu_m, memory_mib) = (revision.cpu_m, revision.memory_mib);
            Some(PodView { id: pod.id, revision: revision.number, phase, cpu_m, memory_mib })
        })
    }

    /// Counts users and pods of a service anew, for comparison with what the simulation keeps.
    pub fn census(&self, service: usize) -> Census {
        let service = &self.services[service];
        let on_pods = service.stretches.last().is_some_and(|stretch| stretch.pods > 0);
        let mut census = Census {
            users: service.users,
            waiting_users: service.users_waiting(),
            in_flight: if on_pods { service.users } else { 0 },
            created_pods: service.account.created_pods,
            gone_pods: service.account.gone_pods,
            ..Census::default()
        };
        for pod in &service.pods {
            let revision = &service.revisions[pod.revision as usize];
            let placed = match pod.state {
                PodState::Free => continue,
                PodState::Requested | PodState::Denied => {
                    census.denied_pods += 1;
                    continue;
                }
                PodState::Pending => {
                    census.pending_pods += 1;
                    false
                }
                PodState::Starting => {
                    census.starting_pods += 1;
                    true
                }
                PodState::Ready => {
                    census.ready_pods += 1;
                    true
                }
                PodState::Terminating => {
                    census.terminating_pods += 1;
                    true
                }
            };
            census.cpu_m += revision.cpu_m;
            census.memory_mib += revision.memory_mib;
            census.placed_cpu_m += if placed { revision.cpu_m } else { 0 };
        }
        census
    }

    /// CPU (millicores) and memory (MiB) in use against the quota.
    pub fn used(&self) -> (u64, u64) {
        (self.total.cpu_m, self.total.memory_mib)
    }

    /// Writes what a controller sees now (rule 28) into `snapshot`; `step` = decisions before this one.
    pub fn snapshot(&self, step: u32, snapshot: &mut Snapshot) {
        snapshot.t_s = f64::from(self.now);
        snapshot.step = step;
        snapshot.quota = None;
        snapshot.services.clear();
        for (service, model) in self.services.iter().zip(&self.model.services) {
            let spec = |revision: &Revision| RevisionSnapshot {
                option: revision.option,
                cpu_m: revision.cpu_m,
                concurrency: revision.concurrency,
                pods: revision.min_scale,
            };
            let account = &service.account;
            snapshot.services.push(ServiceSnapshot {
                users: f64::from(service.users),
                missing: false,
                p95_ms: service.recent_p95(
                    model,
                    self.model.shape,
                    self.now.saturating_sub(self.model.sim.p95_window_s),
                    self.now,
                ),
                cpu_m: account.cpu_m,
                memory_mib: account.memory_mib,
                newest: spec(&service.revisions[service.newest]),
                serving: spec(&service.revisions[service.serving]),
                rolling_out: service.newest != service.serving,
                ready_pods: account.serving_pods,
                starting_pods: account.starting_pods,
                terminating_pods: account.terminating_pods,
                denied_pods: account.denied_pods,
                pending_pods: account.pending_pods,
            });
        }
    }

    /// Users of a service in tick `tick`, played or not.
    pub fn users_at(&self, service: usize, tick: u32) -> u32 {
        self.services[service].runs.at(tick)
    }

    /// Users of a service at the end of the ramp of the stage that follows now (perfect forecast).
    pub fn users_at_end_of_next_stage(&self, service: usize) -> u32 {
        self.services[service].runs.at_end_of_next_stage(self.now)
    }
}
