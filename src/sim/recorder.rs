//! The `ticks` table: a row per tick and service, recorded only when asked for.

use super::cluster::Simulator;
use crate::run::{ALL_SERVICES, TickRow};

/// Collects the rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    pub rows: Vec<TickRow>,
}

impl Recorder {
    /// Records tick `tick`, whose requests have just been served.
    pub fn record(&mut self, simulator: &Simulator, tick: u32) {
        let mut all = TickRow {
            t_s: f64::from(tick),
            service: ALL_SERVICES.to_owned(),
            quota_cpu_m: Some(simulator.model.quota.cpu_m.0),
            ..TickRow::default()
        };
        for (service, model) in simulator.services.iter().zip(&simulator.model.services) {
            let account = &service.account;
            let pods = service.revisions[service.serving].serving_pods;
            let (waiting_users, in_flight) =
                if pods == 0 { (service.users, 0) } else { (0, service.users) };
            let row = TickRow {
                t_s: f64::from(tick),
                service: model.name.clone(),
                users: service.users,
                waiting_users,
                in_flight,
                throughput_rps: service.throughput(model, tick),
                p95_ms: service.recent_p95(model, simulator.model.shape, tick, tick + 1),
                ready_pods: account.serving_pods,
                starting_pods: account.starting_pods,
                terminating_pods: account.terminating_pods,
                denied_pods: account.denied_pods,
                pending_pods: account.pending_pods,
                cpu_m: account.cpu_m,
                overlap_cpu_m: service.overlap_cpu_m(),
                memory_mib: account.memory_mib,
                revision: Some(service.revisions[service.serving].number),
                quota_cpu_m: None,
            };
            all.users += row.users;
            all.waiting_users += row.waiting_users;
            all.in_flight += row.in_flight;
            all.throughput_rps += row.throughput_rps;
            all.ready_pods += row.ready_pods;
            all.starting_pods += row.starting_pods;
            all.terminating_pods += row.terminating_pods;
            all.denied_pods += row.denied_pods;
            all.pending_pods += row.pending_pods;
            all.cpu_m += row.cpu_m;
            all.overlap_cpu_m += row.overlap_cpu_m;
            all.memory_mib += row.memory_mib;
            self.rows.push(row);
        }
        self.rows.push(all);
    }
}
