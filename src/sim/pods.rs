//! The life of pods: asked for, admitted under the quota, placed, started, serving, deleted, gone.

use std::cmp::Reverse;

use super::cluster::Simulator;
use super::revision::{Event, EventKind, Pod, PodRef, PodState};
use crate::scenario::spec::QuotaMode;

impl Simulator {
    /// Pods whose cold start is over serve from this tick on.
    pub(super) fn begin_serving(&mut self, tick: u32) {
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
                    revision.last_ready_s = revision.last_ready_s.max(pod.ready_s);
                }
                service.touched = true;
            }
        }
    }

    /// Exact events up to and including `now_s`, in their order.
    pub(super) fn exact_events(&mut self, now_s: f64) {
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

    pub(super) fn exactly_ready(&mut self, event: &Event, slot: usize) {
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

    pub(super) fn gone(&mut self, event: &Event, slot: usize) {
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
    pub(super) fn release(&mut self, index: usize, revision: usize, time_s: f64) {
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
    pub(super) fn request_pods(
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
    pub(super) fn admit(&mut self, tick: u32) {
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
    pub(super) fn schedule(&mut self, tick: u32) {
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
    pub(super) fn start_pod(&mut self, reference: PodRef, tick: u32) {
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
    }

    /// Deletes one pod: what is not placed goes at once, the rest terminates for `grace_s`.
    pub(super) fn delete_pod(&mut self, index: usize, slot: usize, time_s: f64, grace_s: f64) {
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
                revision.no_longer_awaits(pod, time_s);
                pod.state = PodState::Free;
                service.free_slots.push(slot as u32);
                self.unadmitted.retain(|request| request.id != id);
            }
            PodState::Pending => {
                revision.no_longer_awaits(pod, time_s);
                pod.state = PodState::Free;
                service.free_slots.push(slot as u32);
                service.account.pending_pods -= 1;
                self.unscheduled.retain(|pending| pending.id != id);
                self.release(index, revision_index, time_s);
            }
            PodState::Starting | PodState::Ready => {
                revision.no_longer_awaits(pod, time_s);
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
}
