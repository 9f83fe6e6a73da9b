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
use super::revision::{Event, EventKind, Left, Pod, PodRef, PodState, Revision};
use super::service::Service;
use super::traffic_stats::Requests;
use super::users::UserRuns;
use crate::error::{Error, Result};
use crate::rng::Streams;
use crate::scenario::spec::{OperatorKind, OperatorRule, QuotaMode};
use crate::snapshot::{Decision, RevisionSnapshot, ServiceDecision, ServiceSnapshot, Snapshot};
use crate::trace::Trace;

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
    events: BinaryHeap<Reverse<Event>>,
    serve_queue: BinaryHeap<Reverse<(u32, u64, u32, u32)>>,
    /// Pods that the quota has not admitted yet, oldest first.
    unadmitted: Vec<PodRef>,
    /// Pods without room on a node, oldest first.
    unscheduled: Vec<PodRef>,
    /// CPU on the nodes, millicores.
    placed_cpu_m: u64,
    /// Whether trying again could admit or schedule a pod.
    admission_due: bool,
    next_id: u64,
    published: Published,
    pub(super) edges: Vec<u32>,
    next_edge: usize,
    pub(super) cells: Vec<Cell>,
    recorder: Option<super::recorder::Recorder>,
}

impl Simulator {
    /// A cluster at t = 0 under `traffic`. `seed` gives the cold starts.
    ///
    /// # Errors
    /// [`Error::Input`] when the traffic has not one trace a service or an option does not exist.
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
            recorder: None,
            model,
        };
        simulator.cells.reserve(simulator.edges.len());
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
        let model = Arc::clone(&self.model);
        for index in 0..self.services.len() {
            if self.services[index].roll_out_complete() {
                self.switch(index, tick);
            }
            self.services[index].serve(tick, &model.services[index]);
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
        self.autoscale(now);
        self.operate(now);
        self.now = now;
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

    // ---- Pods -------------------------------------------------------------------------------

    /// Pods whose cold start is over serve from this tick on.
    fn begin_serving(&mut self, tick: u32) {
        while let Some(&Reverse((at, id, service, slot))) = self.serve_queue.peek() {
            if at > tick {
                break;
            }
            self.serve_queue.pop();
            let service = &mut self.services[service as usize];
            let pod = &mut service.pods[slot as usize];
            if pod.id == id && pod.state == PodState::Starting {
                pod.state = PodState::Ready;
                service.account.starting_pods -= 1;
                service.account.serving_pods += 1;
                let revision = &mut service.revisions[pod.revision as usize];
                revision.serving_pods += 1;
                if pod.initial {
                    revision.unready -= 1;
                }
                service.touched = true;
            }
        }
    }

    /// Exact events up to and including `now_s`, in their order.
    fn exact_events(&mut self, now_s: f64) {
        while let Some(&Reverse(event)) = self.events.peek() {
            if event.time_s > now_s {
                break;
            }
            self.events.pop();
            match event.kind {
                EventKind::Ready { slot } => self.exactly_ready(&event, slot as usize),
                EventKind::Gone { slot } => self.gone(&event, slot as usize),
                EventKind::Delete { revision } => {
                    self.delete_revision(event.service as usize, revision as usize, event.time_s);
                }
            }
        }
    }

    fn exactly_ready(&mut self, event: &Event, slot: usize) {
        let service = &mut self.services[event.service as usize];
        let pod = &mut service.pods[slot];
        if pod.id != event.id || !matches!(pod.state, PodState::Starting | PodState::Ready) {
            return;
        }
        pod.exactly_ready = true;
        let index = pod.revision as usize;
        if pod.initial {
            let revision = &mut service.revisions[index];
            revision.unready_exact -= 1;
            if revision.unready_exact == 0 && index == service.serving {
                // It serves without a switch: it stood at t = 0, cold.
                revision.ready_s.get_or_insert(event.time_s);
            }
        }
        service.account.advance(event.time_s);
        service.account.ready_pods += 1;
    }

    fn gone(&mut self, event: &Event, slot: usize) {
        let service = &mut self.services[event.service as usize];
        let pod = &mut service.pods[slot];
        debug_assert!(pod.id == event.id && pod.state == PodState::Terminating);
        pod.state = PodState::Free;
        service.free_slots.push(slot as u32);
        service.account.terminating_pods -= 1;
        let revision = pod.revision as usize;
        self.placed_cpu_m -= self.services[event.service as usize].revisions[revision].cpu_m;
        self.release(event.service as usize, revision, event.time_s);
    }

    /// A created pod gives back its quota.
    fn release(&mut self, index: usize, revision: usize, time_s: f64) {
        let service = &mut self.services[index];
        let revision = &mut service.revisions[revision];
        service.account.advance(time_s);
        self.total.advance(time_s);
        service.account.cpu_m -= revision.cpu_m;
        service.account.memory_mib -= revision.memory_mib;
        service.account.gone_pods += 1;
        self.total.cpu_m -= revision.cpu_m;
        self.total.memory_mib -= revision.memory_mib;
        revision.held_pods -= 1;
        if revision.held_pods == 0 && revision.deleted_s.is_some() {
            revision.gone_s = Some(time_s);
        }
        self.admission_due |= !self.unadmitted.is_empty() || !self.unscheduled.is_empty();
    }

    /// Asks for `count` pods of a revision; admission of the coming tick decides.
    fn request_pods(
        &mut self,
        index: usize,
        revision: usize,
        count: u32,
        initial: bool,
        instant: bool,
    ) {
        for _ in 0..count {
            let id = self.next_id;
            self.next_id += 1;
            let slot = self.services[index].take_slot(Pod {
                id,
                revision: revision as u32,
                state: PodState::Requested,
                initial,
                instant,
                exactly_ready: false,
                ready_s: 0.0,
            });
            self.unadmitted.push(PodRef { id, service: index as u32, slot });
        }
        self.admission_due |= count > 0;
    }

    /// Admission under the quota and placement on the nodes (rules 18, 19), oldest request first.
    fn admit(&mut self, tick: u32) {
        self.admission_due = false;
        let now_s = f64::from(tick);
        let enforced = self.model.quota.mode == QuotaMode::Enforced;
        let mut kept = 0;
        for position in 0..self.unadmitted.len() {
            let request = self.unadmitted[position];
            let index = request.service as usize;
            let service = &mut self.services[index];
            let pod = &mut service.pods[request.slot as usize];
            let revision = &mut service.revisions[pod.revision as usize];
            let fits = self.total.cpu_m + revision.cpu_m <= self.model.quota.cpu_m.0
                && self.total.memory_mib + revision.memory_mib <= self.model.quota.memory_mib.0;
            if enforced && !fits {
                if pod.state == PodState::Requested {
                    pod.state = PodState::Denied;
                    service.account.advance(now_s);
                    service.account.denied_pods += 1;
                    revision.denied_pods += 1;
                }
                self.unadmitted[kept] = request;
                kept += 1;
                continue;
            }
            service.account.advance(now_s);
            self.total.advance(now_s);
            if pod.state == PodState::Denied {
                service.account.denied_pods -= 1;
                revision.denied_pods -= 1;
            }
            pod.state = PodState::Pending;
            service.account.pending_pods += 1;
            service.account.created_pods += 1;
            service.created_at_start += u64::from(tick == 0);
            service.account.cpu_m += revision.cpu_m;
            service.account.memory_mib += revision.memory_mib;
            self.total.cpu_m += revision.cpu_m;
            self.total.memory_mib += revision.memory_mib;
            revision.held_pods += 1;
            self.unscheduled.push(request);
        }
        self.unadmitted.truncate(kept);
        self.schedule(tick);
    }

    /// Pending pods start where there is room on a node.
    fn schedule(&mut self, tick: u32) {
        let node_cpu_m = self.model.quota.node_cpu_m.0;
        let mut kept = 0;
        for position in 0..self.unscheduled.len() {
            let pending = self.unscheduled[position];
            let index = pending.service as usize;
            let service = &mut self.services[index];
            let revision = service.pods[pending.slot as usize].revision as usize;
            let cpu_m = service.revisions[revision].cpu_m;
            if node_cpu_m > 0 && self.placed_cpu_m + cpu_m > node_cpu_m {
                self.unscheduled[kept] = pending;
                kept += 1;
                continue;
            }
            self.placed_cpu_m += cpu_m;
            service.account.pending_pods -= 1;
            self.start_pod(pending, tick);
        }
        self.unscheduled.truncate(kept);
    }

    /// The cold start begins (rules 2 and 16).
    fn start_pod(&mut self, reference: PodRef, tick: u32) {
        let index = reference.service as usize;
        let now_s = f64::from(tick);
        let model = &self.model.services[index];
        let service = &mut self.services[index];
        let pod = &mut service.pods[reference.slot as usize];
        let revision = &mut service.revisions[pod.revision as usize];
        // What found no room at t = 0 starts cold when there is some.
        if pod.instant && tick == 0 {
            pod.state = PodState::Ready;
            pod.exactly_ready = true;
            pod.ready_s = now_s;
            service.account.advance(now_s);
            service.account.ready_pods += 1;
            service.account.serving_pods += 1;
            revision.serving_pods += 1;
            if pod.initial {
                revision.unready -= 1;
                revision.unready_exact -= 1;
            }
            service.touched = true;
        } else {
            pod.state = PodState::Starting;
            service.account.starting_pods += 1;
            pod.ready_s = now_s + model.draw_cold_start(&mut service.rng);
            let serves = (pod.ready_s - self.model.sim.ready_rounding_s).ceil().max(now_s) as u32;
            self.serve_queue.push(Reverse((serves, pod.id, reference.service, reference.slot)));
            self.events.push(Reverse(Event {
                time_s: pod.ready_s,
                id: pod.id,
                service: reference.service,
                kind: EventKind::Ready { slot: reference.slot },
            }));
        }
        if pod.initial {
            revision.last_ready_s = revision.last_ready_s.max(pod.ready_s);
        }
    }

    /// Deletes one pod: what is not placed goes at once, the rest terminates for `grace_s`.
    fn delete_pod(&mut self, index: usize, slot: usize, time_s: f64, grace_s: f64) {
        let service = &mut self.services[index];
        let pod = &mut service.pods[slot];
        let revision_index = pod.revision as usize;
        let revision = &mut service.revisions[revision_index];
        let (state, id) = (pod.state, pod.id);
        match state {
            PodState::Requested | PodState::Denied => {
                if state == PodState::Denied {
                    service.account.advance(time_s);
                    service.account.denied_pods -= 1;
                    revision.denied_pods -= 1;
                }
                revision.no_longer_awaits(pod);
                pod.state = PodState::Free;
                service.free_slots.push(slot as u32);
                self.unadmitted.retain(|request| request.id != id);
            }
            PodState::Pending => {
                revision.no_longer_awaits(pod);
                pod.state = PodState::Free;
                service.free_slots.push(slot as u32);
                service.account.pending_pods -= 1;
                self.unscheduled.retain(|pending| pending.id != id);
                self.release(index, revision_index, time_s);
            }
            PodState::Starting | PodState::Ready => {
                revision.no_longer_awaits(pod);
                service.account.advance(time_s);
                if pod.exactly_ready {
                    service.account.ready_pods -= 1;
                }
                if state == PodState::Ready {
                    service.account.serving_pods -= 1;
                    revision.serving_pods -= 1;
                } else {
                    service.account.starting_pods -= 1;
                }
                service.account.terminating_pods += 1;
                pod.state = PodState::Terminating;
                service.touched = true;
                self.events.push(Reverse(Event {
                    time_s: time_s + grace_s,
                    id,
                    service: index as u32,
                    kind: EventKind::Gone { slot: slot as u32 },
                }));
            }
            PodState::Free | PodState::Terminating => {}
        }
    }

    // ---- Revisions --------------------------------------------------------------------------

    fn create_initial(&mut self, index: usize, start: &Start) -> Result<()> {
        let model = Arc::clone(&self.model);
        let service = &model.services[index];
        let initial = &service.initial;
        let option = match start {
            Start::Controlled => initial.option,
            Start::Fixed(options) => options.get(index).copied().unwrap_or(initial.option),
        };
        if option as usize >= service.profile.options.len() {
            return Err(Error::input(
                &service.name,
                format!("there is no option {option}"),
                format!("give an index from 0 to {}", service.profile.options.len() - 1),
            ));
        }
        let decision = service.profile.decision(option, initial.pods);
        self.add_revision(index, &decision, initial.min_scale, 0, initial.ready)?;
        // What stands at t = 0 serves from then on, whenever its pods are ready.
        let revision = &mut self.services[index].revisions[0];
        revision.ready_s = initial.ready.then_some(0.0);
        Ok(())
    }

    /// Creates a revision with `decision.pods` initial pods.
    fn add_revision(
        &mut self,
        index: usize,
        decision: &ServiceDecision,
        min_scale: u32,
        now: u32,
        instant: bool,
    ) -> Result<usize> {
        let model = &self.model.services[index];
        let curve = model.curve_of(decision.cpu_m).ok_or_else(|| {
            let known: Vec<String> =
                model.curves.iter().map(|curve| curve.cpu_m.to_string()).collect();
            Error::input(
                format!("decision at t = {now} s for {}", model.name),
                format!("no option of the profile has {} m of CPU", decision.cpu_m),
                format!("use one of {}", known.join(", ")),
            )
        })?;
        if decision.concurrency == 0 {
            return Err(Error::input(
                format!("decision at t = {now} s for {}", model.name),
                "a target concurrency of 0",
                "give at least 1",
            ));
        }
        let option =
            decision.option.or_else(|| model.profile.find(decision.cpu_m, decision.concurrency));
        let service = &mut self.services[index];
        let scaler = self.model.kpa.as_ref().map(|kpa| {
            service.start_scaler(
                kpa,
                decision,
                min_scale,
                now,
                if instant { decision.pods } else { 0 },
            )
        });
        let number = service.revisions.len() as u32 + 1;
        service.revisions.push(Revision {
            number,
            option,
            cpu_m: decision.cpu_m,
            memory_mib: model.memory_of(option),
            concurrency: decision.concurrency,
            curve,
            initial_pods: decision.pods,
            min_scale,
            replicas: decision.pods,
            unready: decision.pods,
            unready_exact: decision.pods,
            last_ready_s: f64::from(now),
            serving_pods: 0,
            held_pods: 0,
            denied_pods: 0,
            scaler,
            created_s: now,
            ready_s: None,
            deleted_s: None,
            gone_s: None,
            superseded: false,
            forced: false,
            left: None,
        });
        let revision = service.revisions.len() - 1;
        service.newest = revision;
        service.touched = true;
        self.request_pods(index, revision, decision.pods, true, instant);
        Ok(revision)
    }

    /// Traffic moves to the newest revision (rule 10).
    fn switch(&mut self, index: usize, tick: u32) {
        let operator = &self.model.operator;
        let forced = operator.kind != OperatorKind::Graceful;
        let service = &mut self.services[index];
        let (old, new) = (service.serving, service.newest);
        let ready_s = service.revisions[new].last_ready_s;
        service.revisions[new].ready_s = Some(ready_s);
        if forced {
            service.revisions[old].left = Some(Left {
                time_s: ready_s,
                users: service.users,
                pods: service.revisions[old].serving_pods,
            });
        }
        service.serving = new;
        service.touched = true;
        service.stop_scaler(old);
        service.revisions[old].forced = forced;
        if operator.kind == OperatorKind::Published {
            self.published.await_deletion(index, old);
        } else {
            // Ready times lie up to half a tick ahead of the tick; nothing is deleted in the past.
            let time_s = (ready_s + operator.delay_s).max(f64::from(tick));
            self.schedule_deletion(index, old, time_s);
        }
    }

    fn schedule_deletion(&mut self, index: usize, revision: usize, time_s: f64) {
        let id = self.next_id;
        self.next_id += 1;
        self.events.push(Reverse(Event {
            time_s,
            id,
            service: index as u32,
            kind: EventKind::Delete { revision: revision as u32 },
        }));
    }

    /// Deletes a revision with all its pods at `time_s`.
    fn delete_revision(&mut self, index: usize, revision: usize, time_s: f64) {
        let operator = &self.model.operator;
        let grace_s = if self.services[index].revisions[revision].forced {
            operator.termination_s
        } else {
            self.model.sim.pod_drain_s
        };
        self.services[index].stop_scaler(revision);
        self.services[index].revisions[revision].deleted_s = Some(time_s);
        self.services[index].count_requests_at_risk(
            &self.model.services[index],
            self.model.shape,
            revision,
            time_s,
        );
        for slot in 0..self.services[index].pods.len() {
            if self.services[index].pods[slot].revision as usize == revision {
                self.delete_pod(index, slot, time_s, grace_s);
            }
        }
        let revision = &mut self.services[index].revisions[revision];
        if revision.held_pods == 0 {
            revision.gone_s.get_or_insert(time_s);
        }
    }

    /// The published operator deletes a replaced revision now.
    pub(super) fn delete_replaced(&mut self, index: usize, revision: usize, now: u32) {
        self.delete_revision(index, revision, f64::from(now));
    }

    // ---- Autoscaler and operator ------------------------------------------------------------

    /// The autoscalers that are due at `now` (rule 3), and their effect on pods.
    fn autoscale(&mut self, now: u32) {
        for index in 0..self.services.len() {
            let (serving, newest) = (self.services[index].serving, self.services[index].newest);
            self.scale_revision(index, serving, now);
            if newest != serving {
                self.scale_revision(index, newest, now);
            }
        }
    }

    fn scale_revision(&mut self, index: usize, revision: usize, now: u32) {
        if let Some(replicas) = self.services[index].evaluate(revision, now) {
            self.set_replicas(index, revision, replicas, now);
        }
    }

    /// Adds or removes pods of a revision (rule 17) so that it has `replicas`.
    fn set_replicas(&mut self, index: usize, revision: usize, replicas: u32, now: u32) {
        let service = &mut self.services[index];
        service.revisions[revision].replicas = replicas;
        let present = service.replica_count(revision);
        if replicas > present {
            self.request_pods(index, revision, replicas - present, false, false);
        }
        for _ in replicas..present {
            let Some(slot) = self.services[index].first_to_go(revision) else { break };
            self.delete_pod(index, slot, f64::from(now), self.model.sim.pod_drain_s);
        }
    }

    /// Applies a decision at the present instant.
    ///
    /// # Errors
    /// [`Error::Input`] when it names a CPU size that the profile has not.
    pub fn apply(&mut self, decision: &Decision) -> Result<()> {
        if self.model.operator.kind == OperatorKind::Published {
            self.published.submit(decision);
            self.operate(self.now);
            return self.published.take_error().map_or(Ok(()), Err);
        }
        for (index, service) in decision.services.iter().enumerate() {
            if let Some(service) = service {
                self.roll_out(index, service)?;
            }
        }
        Ok(())
    }

    /// Rolls out one service's part of a decision (rules 20 to 22); whether that makes a revision.
    pub(super) fn roll_out(&mut self, index: usize, decision: &ServiceDecision) -> Result<bool> {
        let now = self.now;
        let service = &mut self.services[index];
        let newest = service.newest;
        let spec = &mut service.revisions[newest];
        let same_option = spec.cpu_m == decision.cpu_m && spec.concurrency == decision.concurrency;
        let same_pods = spec.min_scale == decision.pods;
        if same_option && same_pods {
            return Ok(false);
        }
        if same_option && self.model.operator.rule == OperatorRule::OptionChange {
            service.set_min_scale(newest, decision.pods);
            if self.model.kpa.is_none() {
                self.set_replicas(index, newest, decision.pods, now);
            }
            return Ok(false);
        }
        let superseded = (newest != service.serving).then_some(newest);
        // Created first, so that an unusable decision changes nothing.
        self.add_revision(index, decision, decision.pods, now, false)?;
        if let Some(old) = superseded {
            self.services[index].revisions[old].superseded = true;
            self.delete_revision(index, old, f64::from(now));
        }
        Ok(true)
    }

    fn operate(&mut self, now: u32) {
        if self.model.operator.kind != OperatorKind::Published {
            return;
        }
        let mut published = std::mem::take(&mut self.published);
        published.step(self, now);
        self.published = published;
    }

    // ---- What can be seen -------------------------------------------------------------------

    /// Writes what a controller sees now (rule 28) into `snapshot`; `step` = decisions before this one.
    pub fn snapshot(&self, step: u32, snapshot: &mut Snapshot) {
        snapshot.t_s = f64::from(self.now);
        snapshot.step = step;
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

    /// Users of a service at the end of the ramp of the stage that follows now (perfect forecast).
    pub fn users_at_end_of_next_stage(&self, service: usize) -> u32 {
        self.services[service].runs.at_end_of_next_stage(self.now)
    }

    // ---- Cells ------------------------------------------------------------------------------

    fn close_cell(&mut self, now: u32) {
        let from = self.edges[self.next_edge - 1];
        let time_s = f64::from(now);
        let services = self
            .services
            .iter_mut()
            .zip(&self.model.services)
            .map(|(service, model)| {
                let requests = Requests::collect(
                    &service.stretches,
                    &service.waited,
                    (from, now),
                    &model.curves,
                    model.slo_ms,
                    self.model.shape,
                );
                let created = service.account.created_pods - service.created_before;
                service.created_before = service.account.created_pods;
                let integrals = service.account.take(time_s);
                service.forget_before(now.saturating_sub(self.model.sim.p95_window_s));
                let option_at_end = service.revisions[service.serving].option;
                CellService { requests, integrals, created, option_at_end }
            })
            .collect();
        self.cells.push(Cell {
            from,
            to: now,
            services,
            total: self.total.take(time_s),
            cpu_at_end_m: self.total.cpu_m,
        });
        self.next_edge += 1;
    }

    /// Ends the run: the rest of the last interval is closed, and the recorder handed out.
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
