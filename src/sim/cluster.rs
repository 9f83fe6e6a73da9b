//! The cluster: services, pods, quota, autoscaler and operator, advanced tick by tick.
//!
//! Order within a tick (rule 1): traffic, pod life cycle, admission, routing, service, metrics; at
//! its end the autoscaler, the operator, and then - between two calls of [`Simulator::advance`] -
//! the controller.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::account::Account;
use super::cell::{Cell, CellService};
use super::model::Model;
use super::published::Published;
use super::revision::{Event, PodRef};
use super::service::Service;
use super::users::UserRuns;
use crate::error::{Error, Result};
use crate::rng::Streams;
use crate::trace::{MOST_COUNTED_USERS, Trace};

/// Stream of the cold starts; index = service.
const COLD_START_STREAM: &str = "cold-start";

/// What runs at t = 0 and who scales it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The scenario's initial options; a controller will decide.
    Controlled,
    /// These options, and Knative's autoscaler alone (rule 24).
    Fixed(Vec<u32>),
}

/// One simulation in progress.
#[derive(Clone, Debug)]
pub struct Simulator {
    pub(super) model: Arc<Model>,
    pub(super) now: u32,
    pub(super) services: Vec<Service>,
    pub(super) total: Account,
    pub(super) events: BinaryHeap<Reverse<Event>>,
    pub(super) serve_queue: BinaryHeap<Reverse<(u32, u64, u32, u32)>>,
    /// Pods that the quota has not admitted yet, oldest first.
    pub(super) unadmitted: Vec<PodRef>,
    /// Pods without room on a node, oldest first.
    pub(super) unscheduled: Vec<PodRef>,
    /// CPU on the nodes, millicores.
    pub(super) placed_cpu_m: u64,
    /// Whether trying again could admit or schedule a pod.
    pub(super) admission_due: bool,
    pub(super) next_id: u64,
    pub(super) published: Published,
    pub(super) edges: Vec<u32>,
    next_edge: usize,
    pub(super) cells: Vec<Cell>,
    /// One entry a cell and service.
    pub(super) cell_services: Vec<CellService>,
    recorder: Option<super::recorder::Recorder>,
}

impl Simulator {
    /// A cluster at t = 0 under `traffic`. `seed` gives the cold starts.
    ///
    /// # Errors
    /// [`Error::Input`] when the traffic has not one trace a service or more than 10,000,000 users of one,
    /// or an option does not exist.
    pub fn new(model: Arc<Model>, traffic: &Trace, seed: u64, start: &Start) -> Result<Self> {
        if traffic.services.len() != model.services.len() {
            return Err(Error::input(
                "traffic",
                format!("{} traces for {} services", traffic.services.len(), model.services.len()),
                "give every service a trace",
            ));
        }
        let quota = (model.quota.cpu_m.0, model.quota.memory_mib.0);
        let services: Vec<Service> = traffic
            .services
            .iter()
            .enumerate()
            .map(|(index, trace)| {
                let rng = Streams::new(seed).open_indexed(COLD_START_STREAM, index as u64);
                Service::new(UserRuns::new(trace), rng)
            })
            .collect();
        let mut simulator = Self {
            edges: edges(&model, &services),
            total: Account::new(quota.0, quota.1),
            services,
            now: 0,
            events: BinaryHeap::with_capacity(256),
            serve_queue: BinaryHeap::with_capacity(256),
            unadmitted: Vec::with_capacity(64),
            unscheduled: Vec::with_capacity(64),
            placed_cpu_m: 0,
            admission_due: false,
            next_id: 0,
            published: Published::new(model.services.len()),
            next_edge: 1,
            cells: Vec::new(),
            cell_services: Vec::new(),
            recorder: None,
            model,
        };
        for (service, model) in simulator.services.iter().zip(&simulator.model.services) {
            let most = service.runs.most_users();
            if most > MOST_COUNTED_USERS {
                return Err(Error::input(
                    format!("traffic of {}", model.name),
                    format!("{most} users"),
                    format!("give 0 to {MOST_COUNTED_USERS}"),
                ));
            }
        }
        simulator.cells.reserve(simulator.edges.len());
        simulator.cell_services.reserve(simulator.edges.len() * simulator.services.len());
        for service in 0..simulator.services.len() {
            simulator.create_initial(service, start)?;
        }
        // What stands at t = 0 is there before anybody decides.
        simulator.admit(0);
        Ok(simulator)
    }

    /// Records a row per tick and service from now on.
    pub fn record_ticks(&mut self) {
        self.recorder = Some(super::recorder::Recorder::default());
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Ticks [0, now) have been played.
    pub fn now(&self) -> u32 {
        self.now
    }

    /// Plays the ticks up to `until`, the autoscaler and the operator at `until` included.
    pub fn advance(&mut self, until: u32) {
        while self.now < until {
            let idle = self.idle_ticks(until);
            if idle > 1 {
                self.skip(idle);
            } else {
                self.tick();
            }
        }
    }

    fn tick(&mut self) {
        let tick = self.now;
        for service in &mut self.services {
            service.follow_traffic(tick);
        }
        self.begin_serving(tick);
        if self.admission_due {
            self.admit(tick);
            // A cold start shorter than the rounding serves in the tick it began in.
            self.begin_serving(tick);
        }
        for index in 0..self.services.len() {
            if self.services[index].roll_out_complete() {
                self.switch(index, tick);
            }
            self.services[index].serve(tick, &self.model.services[index]);
        }
        if let Some(mut recorder) = self.recorder.take() {
            recorder.record(self, tick);
            self.recorder = Some(recorder);
        }
        self.end_tick(tick + 1);
    }

    /// What happens at the end of the tick that ends at `now`.
    fn end_tick(&mut self, now: u32) {
        self.exact_events(f64::from(now));
        if self.edges.get(self.next_edge) == Some(&now) {
            self.close_cell(now);
        }
        self.now = now;
        self.autoscale(now);
        self.operate(now);
    }

    /// How many ticks from now on nothing can change but the passing of time (at least 1: the present tick).
    fn idle_ticks(&self, until: u32) -> u32 {
        if self.admission_due || self.recorder.is_some() || self.published.busy() {
            return 1;
        }
        let mut next = until.min(self.edges.get(self.next_edge).copied().unwrap_or(until));
        if let Some(Reverse((tick, ..))) = self.serve_queue.peek() {
            next = next.min(*tick);
        }
        if let Some(Reverse(event)) = self.events.peek() {
            // It is handled at the end of the tick that contains it.
            next = next.min((event.time_s.ceil() as u32).saturating_sub(1));
        }
        for service in &self.services {
            if next <= self.now + 1 {
                return 1;
            }
            next = next.min(service.next_change(self.now));
        }
        next.saturating_sub(self.now).max(1)
    }

    /// Plays `ticks` ticks in which nothing changes; none of them ends an interval but maybe the last.
    fn skip(&mut self, ticks: u32) {
        let from = self.now;
        for service in &mut self.services {
            service.serve_idle(from, ticks);
        }
        let now = from + ticks;
        if self.edges.get(self.next_edge) == Some(&now) {
            self.close_cell(now);
        }
        self.now = now;
    }

    // ---- Cells ------------------------------------------------------------------------------

    fn close_cell(&mut self, now: u32) {
        let time_s = f64::from(now);
        for service in &mut self.services {
            let created = service.account.created_pods - service.created_before;
            service.created_before = service.account.created_pods;
            self.cell_services.push(CellService {
                integrals: service.account.take(time_s),
                created,
                option_at_end: service.revisions[service.serving].option,
            });
        }
        self.cells.push(Cell {
            from: self.edges[self.next_edge - 1],
            to: now,
            total: self.total.take(time_s),
            cpu_at_end_m: self.total.cpu_m,
        });
        self.next_edge += 1;
    }

    /// Ends the run: the recorder is handed out.
    pub(super) fn take_recorder(&mut self) -> Option<super::recorder::Recorder> {
        self.recorder.take()
    }
}

/// Edges of all cells: traffic stages and reported boundaries together, from 0 to the end.
fn edges(model: &Model, services: &[Service]) -> Vec<u32> {
    let mut edges: Vec<u32> = services
        .iter()
        .flat_map(|service| service.runs.edges.iter().copied())
        .chain(model.boundaries_s.iter().copied())
        .chain([0, model.duration_s])
        .filter(|&edge| edge <= model.duration_s)
        .collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}
