//! What a finished simulation gives: the rows of its tables and the figures of the whole run.

use std::collections::BTreeMap;

use super::account::Integrals;
use super::cell::CellService;
use super::cluster::Simulator;
use super::revision::Revision;
use super::traffic_stats::Requests;
use crate::run::{ALL_SERVICES, IntervalRow, RevisionRow, TickRow};

/// Millicore-seconds in a CPU-second.
const MILLI: f64 = 1000.0;

/// Requests and allocation of all services over one traffic stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// Start, seconds.
    pub from_s: u32,
    /// End, seconds.
    pub to_s: u32,
    /// Requests over the SLO and users still waiting at the end.
    pub violations: f64,
    /// All requests and users still waiting at the end.
    pub requests: f64,
    /// Integral of the users of all services.
    pub user_seconds: f64,
    /// Integral of allocated CPU, CPU-seconds.
    pub cpu_seconds: f64,
    /// Integral of CPU allocated above the quota, CPU-seconds.
    pub over_quota_cpu_seconds: f64,
    /// CPU allocated at the end, millicores.
    pub cpu_at_end_m: u64,
    /// p95 of each service, ms; `None` without completions. Empty where it was not asked for.
    pub p95_ms: Vec<Option<f64>>,
    /// Option that serves at the end, by service; `None` when cpu and concurrency are no option's.
    pub options: Vec<Option<u32>>,
}

/// One service between two edges.
struct Measured {
    requests: Requests,
    cell: CellService,
}

/// The results of a finished simulation.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// A row per interval and service, and one for all.
    pub intervals: Vec<IntervalRow>,
    /// A row per revision.
    pub revisions: Vec<RevisionRow>,
    /// A row per tick and service, if recorded.
    pub ticks: Vec<TickRow>,
    /// Share of requests over the SLO in the whole run.
    pub slo_violation_share: Option<f64>,
    /// p95 of the whole run by service, ms.
    pub p95_ms: BTreeMap<String, Option<f64>>,
    /// CPU-seconds allocated.
    pub cpu_seconds: f64,
    /// CPU-seconds above the quota.
    pub over_quota_cpu_seconds: f64,
    /// MiB-seconds allocated.
    pub memory_mib_seconds: f64,
    /// MiB-seconds above the quota.
    pub over_quota_memory_mib_seconds: f64,
    /// Pod-seconds denied by the quota.
    pub denied_pod_seconds: f64,
    /// Pods created after t = 0.
    pub cold_starts: u64,
    /// Requests in flight on pods at the moment they are force-deleted.
    pub requests_at_risk: f64,
    /// Roll-outs that wait for quota held by others, and other things to know.
    pub warnings: Vec<String>,
}

impl Simulator {
    /// Starts and ends of the whole traffic stages within the run.
    pub fn stages(&self) -> Vec<(u32, u32)> {
        let mut edges: Vec<u32> = self
            .services
            .iter()
            .flat_map(|service| service.runs.edges.iter().copied())
            .filter(|&edge| edge <= self.model.duration_s)
            .collect();
        edges.sort_unstable();
        edges.dedup();
        edges.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// What was measured in [from, to), both of them edges that have been passed. The p95 of the services
    /// takes several times as long as all the rest: without `latency` it is left out.
    pub fn stage(&self, from: u32, to: u32, latency: bool) -> Stage {
        let (services, total) = self.measured(from, to);
        let mut stage = Stage { from_s: from, to_s: to, ..Stage::default() };
        let mut components = Vec::new();
        for (service, model) in services.iter().zip(&self.model.services) {
            let (over, all) = service.requests.violations();
            stage.violations += over;
            stage.requests += all;
            stage.user_seconds += service.requests.user_seconds;
            if latency {
                stage.p95_ms.push(service.requests.p95_ms(
                    &model.curves,
                    self.model.shape,
                    &mut components,
                ));
            }
            stage.options.push(service.cell.option_at_end);
        }
        stage.cpu_seconds = total.cpu_milli_seconds / MILLI;
        stage.over_quota_cpu_seconds = total.over_cpu_milli_seconds / MILLI;
        stage.cpu_at_end_m =
            self.cells[self.cells_between(from, to)].last().map_or(0, |cell| cell.cpu_at_end_m);
        stage
    }

    /// Indices of the cells within [from, to].
    fn cells_between(&self, from: u32, to: u32) -> std::ops::Range<usize> {
        let first = self.cells.partition_point(|cell| cell.from < from);
        let last = self.cells.partition_point(|cell| cell.to <= to);
        first..last.max(first)
    }

    fn measured(&self, from: u32, to: u32) -> (Vec<Measured>, Integrals) {
        let cells = self.cells_between(from, to);
        let mut total = Integrals::default();
        self.cells[cells.clone()].iter().for_each(|cell| total.add(&cell.total));
        let count = self.services.len();
        let services = self
            .services
            .iter()
            .zip(&self.model.services)
            .enumerate()
            .map(|(index, (service, model))| {
                let mut cell = CellService::default();
                for number in cells.clone() {
                    cell.add(&self.cell_services[number * count + index]);
                }
                let requests = Requests::collect(
                    &service.stretches,
                    &service.waited,
                    (from, to),
                    &model.curves,
                    model.slo_ms,
                    self.model.shape,
                );
                Measured { requests, cell }
            })
            .collect();
        (services, total)
    }

    /// The results. Call at the end of the scenario.
    pub fn finish(mut self) -> Results {
        let mut results = Results::default();
        let boundaries: Vec<u32> = if self.model.boundaries_s.is_empty() {
            self.edges.clone()
        } else {
            self.model.boundaries_s.clone()
        };
        for pair in boundaries.windows(2).filter(|pair| pair[1] <= self.now) {
            self.push_interval(pair[0], pair[1], &mut results.intervals);
        }
        let (services, total) = self.measured(0, self.now);
        let (mut over, mut all, mut user_seconds) = (0.0, 0.0, 0.0);
        let mut components = Vec::new();
        for (service, model) in services.iter().zip(&self.model.services) {
            let violations = service.requests.violations();
            over += violations.0;
            all += violations.1;
            user_seconds += service.requests.user_seconds;
            let p95 = service.requests.p95_ms(&model.curves, self.model.shape, &mut components);
            results.p95_ms.insert(model.name.clone(), p95);
            results.denied_pod_seconds += service.cell.integrals.denied_pod_seconds;
        }
        results.slo_violation_share = if all > 0.0 {
            Some(over / all)
        } else {
            // Users came and went, and nobody was served (rule 30).
            (user_seconds > 0.0).then_some(1.0)
        };
        results.cpu_seconds = total.cpu_milli_seconds / MILLI;
        results.over_quota_cpu_seconds = total.over_cpu_milli_seconds / MILLI;
        results.memory_mib_seconds = total.memory_mib_seconds;
        results.over_quota_memory_mib_seconds = total.over_memory_mib_seconds;
        for (service, model) in self.services.iter().zip(&self.model.services) {
            results.cold_starts += service.account.created_pods - service.created_at_start;
            results.requests_at_risk += service.requests_at_risk;
            for (index, revision) in service.revisions.iter().enumerate() {
                let outcome = outcome(service, index, revision);
                results.revisions.push(RevisionRow {
                    service: model.name.clone(),
                    revision: revision.number,
                    created_s: f64::from(revision.created_s),
                    ready_s: revision.ready_s,
                    deleted_s: revision.deleted_s,
                    gone_s: revision.gone_s,
                    option: revision.option,
                    cpu_m: revision.cpu_m,
                    concurrency: revision.concurrency,
                    pods: revision.initial_pods,
                    outcome: outcome.to_owned(),
                });
                if outcome == "waiting-for-quota" {
                    results.warnings.push(self.deadlock(&model.name, revision));
                }
            }
        }
        if let Some(recorder) = self.take_recorder() {
            results.ticks = recorder.rows;
        }
        results
    }

    /// Who holds the quota that a roll-out waits for.
    fn deadlock(&self, name: &str, waiting: &Revision) -> String {
        let mut holders = Vec::new();
        for (service, model) in self.services.iter().zip(&self.model.services) {
            for revision in service.revisions.iter().filter(|revision| revision.held_pods > 0) {
                holders.push(format!(
                    "{} revision {} {} x {}m",
                    model.name, revision.number, revision.held_pods, revision.cpu_m
                ));
            }
        }
        format!(
            "{name}: revision {} of t = {} s waits for quota at the end ({} of {} pods denied, {}m each; used {}m of {}m by {})",
            waiting.number,
            waiting.created_s,
            waiting.denied_pods,
            waiting.initial_pods,
            waiting.cpu_m,
            self.total.cpu_m,
            self.model.quota.cpu_m.0,
            holders.join(", ")
        )
    }

    fn push_interval(&self, from: u32, to: u32, rows: &mut Vec<IntervalRow>) {
        let seconds = f64::from(to - from);
        let (services, total) = self.measured(from, to);
        let mut all = IntervalRow {
            from_s: f64::from(from),
            to_s: f64::from(to),
            service: ALL_SERVICES.to_owned(),
            cpu_seconds: total.cpu_milli_seconds / MILLI,
            over_quota_cpu_seconds: Some(total.over_cpu_milli_seconds / MILLI),
            memory_mib_seconds: Some(total.memory_mib_seconds),
            over_quota_memory_mib_seconds: Some(total.over_memory_mib_seconds),
            ..IntervalRow::default()
        };
        let (mut over, mut requests, mut completions) = (0.0, 0.0, 0.0);
        let (mut users, mut waiting, mut ready, mut created, mut denied) = (0.0, 0.0, 0.0, 0, 0.0);
        let mut components = Vec::new();
        for (service, model) in services.iter().zip(&self.model.services) {
            let measured = &service.requests;
            let some = measured.completions > 0.0;
            rows.push(IntervalRow {
                from_s: f64::from(from),
                to_s: f64::from(to),
                service: model.name.clone(),
                throughput_rps: Some(measured.completions / seconds),
                p95_ms: measured.p95_ms(&model.curves, self.model.shape, &mut components),
                mean_ms: some.then(|| measured.latency_ms / measured.completions),
                // Rule 9: without a completion there is no share, whoever waits.
                share_over_slo: measured.share_over_slo().filter(|_| some),
                user_seconds: Some(measured.user_seconds),
                waiting_user_seconds: Some(measured.waiting_user_seconds),
                ready_pod_seconds: Some(service.cell.integrals.ready_pod_seconds),
                cpu_seconds: service.cell.integrals.cpu_milli_seconds / MILLI,
                pods_created: Some(service.cell.created),
                over_quota_cpu_seconds: None,
                denied_pod_seconds: Some(service.cell.integrals.denied_pod_seconds),
                memory_mib_seconds: Some(service.cell.integrals.memory_mib_seconds),
                over_quota_memory_mib_seconds: None,
            });
            let violations = measured.violations();
            over += violations.0;
            requests += violations.1;
            completions += measured.completions;
            users += measured.user_seconds;
            waiting += measured.waiting_user_seconds;
            ready += service.cell.integrals.ready_pod_seconds;
            created += service.cell.created;
            denied += service.cell.integrals.denied_pod_seconds;
        }
        all.throughput_rps = Some(completions / seconds);
        all.share_over_slo = (requests > 0.0 && completions > 0.0).then(|| over / requests);
        all.user_seconds = Some(users);
        all.waiting_user_seconds = Some(waiting);
        all.ready_pod_seconds = Some(ready);
        all.pods_created = Some(created);
        all.denied_pod_seconds = Some(denied);
        rows.push(all);
    }
}

fn outcome(service: &super::service::Service, index: usize, revision: &Revision) -> &'static str {
    if revision.superseded {
        "superseded"
    } else if index == service.serving {
        "serving"
    } else if index == service.newest && revision.denied_pods > 0 {
        "waiting-for-quota"
    } else if index == service.newest {
        "rolling-out"
    } else {
        "replaced"
    }
}
