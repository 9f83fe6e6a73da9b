//! One tick: read, decide, save, apply, save.

use std::time::{Duration, Instant};

use super::fault::{Fault, FaultKind, FaultSource};
use super::kubernetes::{ActionObject, passes};
use super::metrics::{Outcome, Phase};
use super::observe::{self, Circumstances};
use super::record::RecordLine;
use super::resource::Spec;
use super::run::{Live, TickReport};
use super::signals::Observation;
use super::state::SavedState;
use crate::control::Rule;
use crate::snapshot::{Decision, QuotaSnapshot, RevisionSnapshot, Signal, Snapshot};

/// The pauses between attempts of an apply.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What the round of questions brought.
struct Seen {
    /// When it was asked, on the clock that decides.
    looked_s: f64,
    observation: Observation,
    object: Result<Option<ActionObject>, Fault>,
    quota: Result<Option<QuotaSnapshot>, Fault>,
    paused: bool,
}

impl Live {
    /// Runs the tick and gives how it ended.
    pub(super) async fn tick(&mut self, tick: i64) -> Outcome {
        let began = Instant::now();
        let seen = self.look().await;
        let metrics = &self.telemetry.metrics;
        metrics.took(Phase::Query, began.elapsed());
        self.show_signals(&seen.observation);
        let problem = self.problem_of_signals(&seen.observation);
        self.probed(problem.is_none());
        self.telemetry.problem("signals", problem);
        self.tell_of_faults(&seen.observation);
        let quota = self.compare_quota(&seen.quota);
        let newest = match &seen.object {
            Ok(Some(object)) => self.setup.format.in_force(&object.spec),
            Ok(None) => self.newest_without_object(),
            Err(fault) => {
                self.fault(fault);
                // A dry run is also a try before anything is installed.
                match self.options.dry_run {
                    true => self.newest_without_object(),
                    false => vec![RevisionSnapshot::default(); self.setup.targets.len()],
                }
            }
        };
        self.telemetry.problem("kubernetes", seen.object.as_ref().err().map(ToString::to_string));
        let snapshot = observe::snapshot(
            &seen.observation,
            &Circumstances {
                tick,
                scaled_clock: self.setup.file.config.clock.speed != 1.0,
                step: self.memory.step(),
                profiles: &self.setup.scenario.profiles,
                newest: &newest,
                serving: &self.memory.serving,
                quota,
                needed: &self.setup.needed,
            },
        );
        self.see_whether_followed(&seen.observation, &snapshot);
        let began = Instant::now();
        let start = self.memory.begins.then(|| self.record_start());
        let before = self.memory.controller.clone();
        let decided = tokio::task::block_in_place(|| {
            self.setup.controller.decide(&snapshot, None, &mut self.memory.controller)
        });
        let decision = match decided {
            Ok(decision) => decision,
            Err(error) => {
                // As if the tick had not been: what it half remembers is let go.
                self.memory.controller = before;
                tracing::error!(tick, %error, "no decision");
                let metrics = &self.telemetry.metrics;
                metrics.ticked(Outcome::Failed, 1);
                return Outcome::Failed;
            }
        };
        self.telemetry.metrics.took(Phase::Decide, began.elapsed());
        self.telemetry.metrics.decided();
        self.record(tick, &snapshot, &decision, start);
        self.log_decision(tick, &snapshot, &decision);
        let outcome = self.carry_out(tick, &seen, &snapshot, &decision).await;
        self.telemetry.metrics.ticked(outcome, 1);
        tracing::info!(tick, outcome = outcome.name(), reason = decision.reason, "tick");
        let controller = &self.memory.controller;
        let forecast = controller.forecast.next().to_vec();
        let held = controller.interventions.iter().any(|word| word.held);
        self.tell(&TickReport { tick, outcome, held, decision, snapshot, forecast });
        outcome
    }

    /// Asks everybody at once.
    async fn look(&self) -> Seen {
        let looked_s = self.clock.now_s();
        let config = &self.setup.file.config;
        let paused = async {
            match self.options.dry_run {
                true => Ok(false),
                false => self.cluster.paused(&config.lease.name).await,
            }
        };
        let (observation, object, quota, paused) = tokio::join!(
            self.signals.read(self.signals_deadline()),
            self.read_object(),
            self.cluster.quota(),
            paused,
        );
        let paused = paused.unwrap_or_else(|_| self.lease.borrow().paused);
        self.telemetry.metrics.paused.set(i64::from(paused));
        Seen { looked_s, observation, object, quota, paused }
    }

    /// The custom resource; what passes is waited for within two time-outs.
    async fn read_object(&self) -> Result<Option<ActionObject>, Fault> {
        let until = Instant::now() + self.cluster.timeout() * 2;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.cluster.read().await {
                Err(fault)
                    if passes(&fault) && Instant::now() + pause < until && !self.stopping() =>
                {
                    self.fault(&fault);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// The real quota, where there is one. Says once that it differs from the scenario's, and once that
    /// it must not be read: that right is optional.
    fn compare_quota(
        &mut self,
        answer: &Result<Option<QuotaSnapshot>, Fault>,
    ) -> Option<QuotaSnapshot> {
        let real = match answer {
            Ok(real) => *real,
            Err(fault) => {
                let forbidden = fault.kind == FaultKind::Forbidden;
                let told = std::mem::replace(&mut self.memory.quota_forbidden, forbidden);
                if !(forbidden && told) {
                    self.fault(fault);
                }
                return None;
            }
        };
        self.memory.quota_forbidden = false;
        if std::mem::replace(&mut self.memory.quota, real) != real {
            self.tell_of_quota(real);
        }
        real
    }

    fn tell_of_quota(&self, real: Option<QuotaSnapshot>) {
        let Some(real) = real else { return };
        let quota = &self.setup.scenario.spec.quota;
        let cpu = real.cpu_m.is_some_and(|cpu_m| cpu_m != quota.cpu_m.0);
        let memory = real.memory_mib.is_some_and(|mib| mib < quota.memory_mib.0);
        if cpu || memory {
            let text = format!(
                "the ResourceQuota ({:?} millicores, {:?} MiB) differs from the scenario's ({}, {}); the smaller is kept",
                real.cpu_m, real.memory_mib, quota.cpu_m, quota.memory_mib
            );
            let kind = FaultKind::QuotaDiffers;
            self.fault(&Fault::new(FaultSource::Kubernetes, kind, text));
        }
    }

    /// Between ticks: looks whether the signals can be read, so that it is known before a tick needs them,
    /// and known again when they can. What is not news is not told.
    pub(super) async fn probe_signals(&mut self) {
        let observation = self.signals.read(self.signals_deadline()).await;
        let problem = self.problem_of_signals(&observation);
        self.probed(problem.is_none());
        if self.telemetry.problem("signals", problem) {
            self.tell_of_faults(&observation);
        }
    }

    fn signals_deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.setup.file.config.patience()
    }

    /// Shows what was read in metrics.
    fn show_signals(&self, observation: &Observation) {
        let metrics = &self.telemetry.metrics;
        for (index, target) in self.setup.targets.iter().enumerate() {
            let read = &observation.services[index];
            let labels = [target.service.as_str()];
            let users = read.value(Signal::Users).unwrap_or(f64::NAN);
            metrics.users.with_label_values(&labels).set(users);
            let p95_s = read.value(Signal::P95Ms).map_or(f64::NAN, |ms| ms / 1000.0);
            metrics.p95.with_label_values(&labels).set(p95_s);
            for signal in Signal::ALL {
                if let Some(age_s) = read.reading(signal).and_then(|reading| reading.age_s) {
                    let labels = [target.service.as_str(), signal.name()];
                    metrics.age.with_label_values(&labels).set(age_s);
                }
            }
        }
    }

    /// The first fault in the way of a signal that the policy needs.
    fn problem_of_signals(&self, observation: &Observation) -> Option<String> {
        let (index, signal, fault) = observation.faults().find(|(index, signal, _)| {
            let reading = observation.services[*index].reading(*signal);
            self.setup.needed.contains(signal) && reading.is_some_and(|one| one.value.is_err())
        })?;
        Some(format!("{} of {}: {fault}", signal.name(), self.setup.targets[index].service))
    }

    /// Counts and logs what stands in the way of signals.
    fn tell_of_faults(&self, observation: &Observation) {
        for (index, signal, fault) in observation.faults() {
            self.telemetry.metrics.fault(fault);
            let service = &self.setup.targets[index].service;
            tracing::warn!(
                source = fault.source.name(),
                kind = fault.kind.name(),
                service,
                signal = signal.name(),
                "{}",
                fault.text
            );
        }
    }

    /// Says so when what was asked for an interval ago is not there.
    fn see_whether_followed(&mut self, observation: &Observation, snapshot: &Snapshot) {
        for (index, service) in snapshot.services.iter().enumerate() {
            if !service.rolling_out {
                self.memory.serving[index] = service.newest;
                continue;
            }
            let asked_before = self.memory.saved.as_ref().is_some_and(|saved| {
                saved.applied && saved.newest.get(index) == Some(&service.newest)
            });
            if let Some(ready) = observation.services[index].value(Signal::PodsReady)
                && asked_before
                && service.newest.is_known()
            {
                let text = format!(
                    "service {} has {ready} pods ready of the {} asked for at the tick before; \
                     does the operator run, is there room in the quota and on the nodes?",
                    self.setup.targets[index].service, service.newest.pods
                );
                let kind = FaultKind::NotFollowed;
                self.fault(&Fault::new(FaultSource::Kubernetes, kind, text));
            }
        }
    }

    fn record(
        &mut self,
        tick: i64,
        snapshot: &Snapshot,
        decision: &Decision,
        start: Option<super::record::RecordStart>,
    ) {
        let Some(recorder) = &mut self.recorder else { return };
        let line =
            RecordLine { tick, snapshot: snapshot.clone(), decision: decision.clone(), start };
        match recorder.write(&line) {
            Ok(()) => self.memory.begins = false,
            Err(error) => tracing::error!(%error, "the record is not written"),
        }
    }

    fn log_decision(&self, tick: i64, snapshot: &Snapshot, decision: &Decision) {
        let state = &self.memory.controller;
        let explanation = self.setup.controller.policy().explain(&state.policy);
        for (index, slot) in decision.services.iter().enumerate() {
            let seen = &snapshot.services[index];
            let chosen = slot.unwrap_or(seen.newest.as_decision());
            let guard: Vec<String> = state
                .interventions
                .iter()
                .filter(|word| word.service == index)
                .map(|word| format!("{}: {}", word.rule.name(), word.words))
                .collect();
            let choices = explanation.as_ref().and_then(|all| all.choices.get(index));
            tracing::info!(
                tick,
                service = self.setup.targets[index].service,
                users = seen.users,
                p95_ms = seen.p95_ms,
                cpu_m_now = seen.cpu_m,
                ready_pods = seen.ready_pods,
                forecast = state.forecast.next().get(index),
                option = chosen.option,
                cpu_m = chosen.cpu_m,
                concurrency = chosen.concurrency,
                pods = chosen.pods,
                kept = slot.is_none(),
                guard = guard.join("; "),
                choices = choices.map(|choices| format!("{choices:?}")),
                "decided"
            );
            let labels = [self.setup.targets[index].service.as_str()];
            let metrics = &self.telemetry.metrics;
            metrics.decided_pods.with_label_values(&labels).set(f64::from(chosen.pods));
            let cores = chosen.cpu_m as f64 * f64::from(chosen.pods) / 1000.0;
            metrics.decided_cpu.with_label_values(&labels).set(cores);
        }
        for word in &state.interventions {
            self.telemetry.metrics.intervention(word.rule);
        }
    }

    /// Saves and applies the decision.
    async fn carry_out(
        &mut self,
        tick: i64,
        seen: &Seen,
        snapshot: &Snapshot,
        decision: &Decision,
    ) -> Outcome {
        let object = seen.object.as_ref().ok().and_then(Option::as_ref);
        let present = object.map(|object| object.spec.clone()).unwrap_or_default();
        let newest: Vec<RevisionSnapshot> = decision
            .services
            .iter()
            .zip(&snapshot.services)
            .map(|(slot, seen)| slot.map_or(seen.newest, |one| one.as_revision()))
            .collect();
        let spec = self.fields(decision, object, &newest);
        let changes = decision.services.iter().any(Option::is_some) && spec != present;
        let whole = self.setup.format.fields().all(|field| spec.contains_key(field));
        let mut writes = changes && whole && !seen.paused && !self.options.dry_run;
        if changes && !whole {
            // The published operator ends at a field that is missing.
            tracing::warn!(tick, "not written: it is not known what some service runs");
        }
        let words = &self.memory.controller.interventions;
        let fallback = words.iter().any(|word| word.rule == Rule::Fallback);
        let held = words.iter().any(|word| word.held) || (changes && !whole);
        writes &= seen.object.is_ok();
        self.memory.saved = Some(SavedState {
            version: SavedState::version(),
            identity: self.setup.identity.clone(),
            tick,
            looked_s: seen.looked_s,
            step: self.memory.step() + 1,
            decision: decision.clone(),
            spec: spec.clone(),
            applied: !writes,
            controller: self.memory.controller.clone(),
            newest,
            serving: self.memory.serving.clone(),
        });
        let began = Instant::now();
        self.save().await;
        self.telemetry.metrics.took(Phase::Save, began.elapsed());
        if self.options.dry_run {
            if changes && whole && !self.cluster.is_nowhere() {
                self.try_dry(&spec, object).await;
            }
            return Outcome::DryRun;
        }
        if seen.paused {
            return Outcome::Paused;
        }
        if !writes {
            return match (seen.object.is_ok(), fallback, held) {
                (false, false, false) => Outcome::Failed,
                (_, true, _) => Outcome::Fallback,
                (_, _, true) => Outcome::Held,
                _ => Outcome::Unchanged,
            };
        }
        let until =
            self.clock.until(tick as f64 + f64::from(self.setup.scenario.spec.max_lateness_s));
        let began = Instant::now();
        let applied = self.apply(&spec, object.cloned(), until).await;
        self.telemetry.metrics.took(Phase::Apply, began.elapsed());
        self.telemetry.problem("apply", applied.as_ref().err().map(ToString::to_string));
        match applied {
            Ok(now) => {
                let message = self.change(decision, object.map(|object| &object.spec));
                self.applied(&now, &message).await;
                if fallback { Outcome::Fallback } else { Outcome::Applied }
            }
            Err(_) => Outcome::Failed,
        }
    }

    /// All fields of the custom resource by `decision`. Where there is no object, a service that is left
    /// as it is gets what it is taken to run.
    fn fields(
        &self,
        decision: &Decision,
        object: Option<&ActionObject>,
        newest: &[RevisionSnapshot],
    ) -> Spec {
        match object {
            Some(object) => self.setup.format.write(decision, &object.spec),
            None => {
                let known = |one: &RevisionSnapshot| one.is_known().then(|| one.as_decision());
                let whole = Decision {
                    services: newest.iter().map(known).collect(),
                    reason: String::new(),
                };
                self.setup.format.write(&whole, &Spec::new())
            }
        }
    }

    /// What changes, and why, in words.
    fn change(&self, decision: &Decision, present: Option<&Spec>) -> String {
        let before = self.setup.format.read(present.unwrap_or(&Spec::new()));
        let mut words = Vec::new();
        for (index, slot) in decision.services.iter().enumerate() {
            if let Some(one) = slot.filter(|one| before[index] != Some(*one)) {
                let service = &self.setup.targets[index].service;
                words.push(format!(
                    "{service}: {} pods of {}m at concurrency {}",
                    one.pods, one.cpu_m, one.concurrency
                ));
            }
        }
        format!("{} ({})", words.join("; "), decision.reason)
    }

    /// Asks the server whether it would take the decision.
    async fn try_dry(&self, spec: &Spec, object: Option<&ActionObject>) {
        match self.cluster.apply(spec, object, true).await {
            Ok(_) => tracing::info!("the server would apply it"),
            Err(fault) => self.fault(&fault),
        }
    }

    /// Applies `spec` over `object`, again where that may help, for at most `patience`.
    async fn apply(
        &self,
        spec: &Spec,
        object: Option<ActionObject>,
        patience: Duration,
    ) -> Result<ActionObject, Fault> {
        let until = Instant::now() + patience;
        let mut over = object.clone();
        let mut pause = FIRST_PAUSE;
        loop {
            let view = self.lease.borrow().clone();
            if !view.may_write(Instant::now(), self.cluster.timeout()) {
                let text = "not written: the lease is lost, or over before the server would answer";
                let fault = Fault::new(FaultSource::Lease, FaultKind::Lost, text);
                self.fault(&fault);
                return Err(fault);
            }
            let fault = match self.cluster.apply(spec, over.as_ref(), false).await {
                Ok(object) => return Ok(object),
                Err(fault) => fault,
            };
            self.fault(&fault);
            if !passes(&fault) || self.stopping() || Instant::now() + pause > until {
                return self.read_back(spec, fault).await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // It may have been applied although the answer got lost, or somebody else changed it.
            match self.cluster.read().await {
                Ok(Some(now)) if self.cluster.holds(&now, spec) => return Ok(now),
                Ok(now) => {
                    let same =
                        now.as_ref().map(|one| &one.spec) == object.as_ref().map(|one| &one.spec);
                    if now.is_some() && !same {
                        let text = "the object was changed by somebody since it was read: the next tick decides anew";
                        let fault = Fault::new(FaultSource::Kubernetes, FaultKind::Changed, text);
                        self.fault(&fault);
                        return Err(fault);
                    }
                    over = now;
                }
                Err(fault) => self.fault(&fault),
            }
        }
    }

    /// The last look after an apply that failed: it may have been applied all the same.
    async fn read_back(&self, spec: &Spec, fault: Fault) -> Result<ActionObject, Fault> {
        if fault.kind == FaultKind::Timeout
            && let Ok(Some(now)) = self.cluster.read().await
            && self.cluster.holds(&now, spec)
        {
            return Ok(now);
        }
        Err(fault)
    }

    /// The decision is applied: that is saved, and told by an event.
    async fn applied(&mut self, object: &ActionObject, reason: &str) {
        if let Some(saved) = &mut self.memory.saved {
            saved.applied = true;
        }
        self.save().await;
        let (cluster, telemetry) =
            (std::sync::Arc::clone(&self.cluster), std::sync::Arc::clone(&self.telemetry));
        let (object, reason) = (object.clone(), reason.to_owned());
        // Nobody waits for it: an event is for people.
        tokio::spawn(async move {
            if let Err(fault) = cluster.event(&object, "Decided", &reason).await {
                telemetry.metrics.fault(&fault);
                tracing::warn!(kind = fault.kind.name(), "{}", fault.text);
            }
        });
    }

    /// Applies what was decided before this term began and did not get through.
    pub(super) async fn apply_again(&mut self) {
        let Some(saved) = self.memory.saved.clone() else { return };
        tracing::info!(tick = saved.tick, "applies what was decided and not applied");
        match self.cluster.paused(&self.setup.file.config.lease.name).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(fault) => return self.fault(&fault),
        }
        let object = match self.read_object().await {
            Ok(object) => object,
            Err(fault) => return self.fault(&fault),
        };
        let applied = match object {
            Some(object) if self.cluster.holds(&object, &saved.spec) => Ok(object),
            object => {
                let end = saved.tick as f64 + self.setup.schedule.interval_s() as f64;
                let patience = self.clock.until(end).min(Duration::from_secs(10));
                self.apply(&saved.spec, object, patience).await
            }
        };
        // A fault was told where it arose.
        if let Ok(object) = applied {
            self.applied(&object, &saved.decision.reason).await;
        }
    }
}
