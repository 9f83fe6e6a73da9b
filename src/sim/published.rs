//! The published operator: one reconcile at a time, replaced revisions deleted one after the other.
//!
//! After the original operator (docs/model.md, "operator kinds"): a reconcile updates every service
//! that differs, then looks at the pods every `poll_s` seconds. Of the awaited revisions that a look
//! sees ready, each in turn has its old revision deleted `published_delay_s` later; the next waits.
//! A decision that arrives meanwhile waits until the present one is done; only the latest is kept
//! for each service.

use super::cluster::Simulator;
use crate::error::Error;
use crate::snapshot::Decision;

/// The operator's place in its loop.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// The latest decision that has not been taken up.
    submitted: Option<Decision>,
    /// Services with a revision that is awaited, in order.
    awaited: Vec<usize>,
    /// Replaced revisions whose deletion is due once their successor is handled, by service.
    replaced: Vec<Option<usize>>,
    /// Services that the last look saw ready and that are not handled yet.
    seen: Vec<usize>,
    /// When it goes on.
    next_s: Option<u32>,
    error: Option<Error>,
}

impl Clone for Published {
    fn clone(&self) -> Self {
        Self {
            submitted: self.submitted.clone(),
            awaited: self.awaited.clone(),
            replaced: self.replaced.clone(),
            seen: self.seen.clone(),
            next_s: self.next_s,
            // An error ends the run that it belongs to.
            error: None,
        }
    }
}

impl Published {
    pub fn new(services: usize) -> Self {
        Self {
            awaited: Vec::with_capacity(services),
            replaced: vec![None; services],
            seen: Vec::with_capacity(services),
            ..Self::default()
        }
    }

    /// Whether it has something to do in the ticks to come.
    pub fn busy(&self) -> bool {
        self.next_s.is_some() || self.submitted.is_some()
    }

    /// Takes a decision in. What an earlier one said of services that this one leaves alone stays
    /// in the resource.
    pub fn submit(&mut self, decision: &Decision) {
        let Some(resource) = &mut self.submitted else {
            self.submitted = Some(decision.clone());
            return;
        };
        for (kept, service) in resource.services.iter_mut().zip(&decision.services) {
            *kept = service.or(*kept);
        }
        resource.reason.clone_from(&decision.reason);
    }

    /// A decision that could not be applied.
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Traffic has left `revision`, whose deletion the operator will see to.
    pub fn await_deletion(&mut self, service: usize, revision: usize) {
        self.replaced[service] = Some(revision);
    }

    /// Goes on at `now`.
    pub fn step(&mut self, simulator: &mut Simulator, now: u32) {
        if let Some(next_s) = self.next_s {
            if now < next_s {
                return;
            }
            if self.seen.is_empty() {
                self.look(simulator, now);
            } else {
                self.delete_first_seen(simulator, now);
            }
        }
        if self.next_s.is_none()
            && let Some(decision) = self.submitted.take()
        {
            self.begin(simulator, &decision, now);
        }
    }

    fn begin(&mut self, simulator: &mut Simulator, decision: &Decision, now: u32) {
        for (index, service) in decision.services.iter().enumerate() {
            let Some(service) = service else { continue };
            match simulator.roll_out(index, service) {
                Ok(true) => self.awaited.push(index),
                Ok(false) => {}
                Err(error) => self.error = Some(error),
            }
        }
        self.wait_for_next_look(simulator, now);
    }

    fn wait_for_next_look(&mut self, simulator: &Simulator, now: u32) {
        self.next_s = (!self.awaited.is_empty()).then(|| now + simulator.model.operator.poll_s);
    }

    /// One look at the pods: which awaited revisions are ready.
    fn look(&mut self, simulator: &Simulator, now: u32) {
        let services = &simulator.services;
        self.seen.extend(self.awaited.iter().copied().filter(|&index| {
            let service = &services[index];
            service.revisions[service.newest].unready_exact == 0
        }));
        if self.seen.is_empty() {
            self.wait_for_next_look(simulator, now);
        } else {
            self.next_s = Some(handled_at(simulator, now));
        }
    }

    fn delete_first_seen(&mut self, simulator: &mut Simulator, now: u32) {
        let index = self.seen.remove(0);
        self.awaited.retain(|&awaited| awaited != index);
        if let Some(revision) = self.replaced[index].take() {
            simulator.delete_replaced(index, revision, now);
        }
        if self.seen.is_empty() {
            self.wait_for_next_look(simulator, now);
        } else {
            self.next_s = Some(handled_at(simulator, now));
        }
    }
}

/// When a revision that is seen ready at `now`, or is next in turn, has its old one deleted: not before
/// the coming tick, in which traffic moves.
fn handled_at(simulator: &Simulator, now: u32) -> u32 {
    now + simulator.model.operator.published_delay_s.max(1)
}
