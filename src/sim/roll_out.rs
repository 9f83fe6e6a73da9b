//! Revisions: made by decisions, scaled by the autoscaler, replaced and deleted by the operator.

use std::cmp::Reverse;
use std::sync::Arc;

use super::cluster::{Simulator, Start};
use super::revision::{Event, EventKind, Left, Revision};
use crate::error::{Error, Result};
use crate::scenario::spec::{OperatorKind, OperatorRule};
use crate::snapshot::{Decision, ServiceDecision};

/// Most pods of a revision: a cluster of Kubernetes holds a tenth of them.
const MOST_PODS: u32 = 2_000_000;

impl Simulator {
    pub(super) fn create_initial(&mut self, index: usize, start: &Start) -> Result<()> {
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
    pub(super) fn add_revision(
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
        check_pods(&model.name, decision.pods, now)?;
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
    pub(super) fn switch(&mut self, index: usize, tick: u32) {
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

    pub(super) fn schedule_deletion(&mut self, index: usize, revision: usize, time_s: f64) {
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
    pub(super) fn delete_revision(&mut self, index: usize, revision: usize, time_s: f64) {
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
    pub(super) fn autoscale(&mut self, now: u32) {
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
        // What an autoscaler asks for beyond all reason is not made either.
        let replicas = replicas.min(MOST_PODS);
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
    /// [`Error::Input`] when it names a CPU size that the profile has not, no concurrency, or more pods
    /// than any cluster holds.
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
            check_pods(&self.model.services[index].name, decision.pods, now)?;
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

    pub(super) fn operate(&mut self, now: u32) {
        if self.model.operator.kind != OperatorKind::Published {
            return;
        }
        let mut published = std::mem::take(&mut self.published);
        published.step(self, now);
        self.published = published;
    }
}

/// Refuses decisions that no memory would hold.
fn check_pods(service: &str, pods: u32, now: u32) -> Result<()> {
    if pods <= MOST_PODS {
        return Ok(());
    }
    Err(Error::input(
        format!("decision at t = {now} s for {service}"),
        format!("{pods} pods"),
        format!("give at most {MOST_PODS}"),
    ))
}
