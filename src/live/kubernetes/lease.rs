//! The Lease of coordination.k8s.io on the server: acquired, renewed and given back in a task of its
//! own, which publishes what it knows as a [`LeaseView`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;

use super::election::{Action, Elector};
use super::{Cluster, LeaseConfig};
use crate::live::fault::{Fault, FaultKind, FaultSource};

/// Annotation of the Lease by which a person pauses all writing.
pub const PAUSED: &str = "quotascale/paused";

/// What is known of the lease.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaseView {
    /// Until when this process may write; `None` when it does not hold the lease.
    pub held_until: Option<Instant>,
    /// How often this process became the holder: a new term begins with adopting the state.
    pub term: u64,
    /// Who holds it.
    pub holder: String,
    /// Whether a person paused the writing.
    pub paused: bool,
    /// Why the last attempt failed.
    pub fault: Option<Fault>,
}

impl LeaseView {
    /// The view of a process that writes without a lease.
    pub fn without_lease() -> Self {
        // Far enough for any process, and no overflow in an addition.
        let held_until = Instant::now().checked_add(Duration::from_secs(100 * 365 * 86_400));
        Self { held_until, term: 1, ..Self::default() }
    }

    /// Whether a request that takes up to `longest` may be sent at `now`: it ends before anybody else
    /// may write.
    pub fn may_write(&self, now: Instant, longest: Duration) -> bool {
        self.held_until.is_some_and(|until| now + longest <= until)
    }

    /// Whether the lease is held at `now`.
    pub fn is_leader(&self, now: Instant) -> bool {
        self.may_write(now, Duration::ZERO)
    }
}

/// Whether a Lease says that writing is paused.
pub(super) fn is_paused(lease: &Lease) -> bool {
    lease
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(PAUSED))
        .is_some_and(|value| value == "true")
}

impl Cluster {
    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client(), &self.config.namespace)
    }

    /// The Lease `name`; `None` when there is none.
    async fn lease(&self, name: &str) -> Result<Option<Lease>, Fault> {
        let leases = self.leases();
        self.ask("read the lease", leases.get_opt(name)).await.map_err(of_lease)
    }

    /// Whether a person paused the writing, asked now.
    ///
    /// # Errors
    /// The fault.
    pub async fn paused(&self, lease: &str) -> Result<bool, Fault> {
        Ok(self.lease(lease).await?.as_ref().is_some_and(is_paused))
    }
}

/// Faults of requests about the lease are the lease's.
fn of_lease(fault: Fault) -> Fault {
    Fault { source: FaultSource::Lease, ..fault }
}

/// The task that holds the lease.
pub struct Leaseholder {
    cluster: Arc<Cluster>,
    config: LeaseConfig,
    elector: Elector,
    view: watch::Sender<LeaseView>,
}

impl Leaseholder {
    /// A candidate named `identity`, and where its view of the lease can be watched.
    pub fn new(
        cluster: Arc<Cluster>,
        config: &LeaseConfig,
        identity: String,
    ) -> (Self, watch::Receiver<LeaseView>) {
        let (view, watched) = watch::channel(LeaseView::default());
        let elector = Elector::new(identity, config.duration.0, config.renew_deadline.0);
        (Self { cluster, config: config.clone(), elector, view }, watched)
    }

    /// Acquires and renews until `stop` turns true, then gives the lease back.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.attempt().await;
            let mut pause = self.config.retry.0;
            if let Some(over_at) = self.elector.over_at() {
                let left = over_at.saturating_duration_since(Instant::now());
                pause = pause.min(left.max(Duration::from_millis(50)));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // An error means that nobody can ask to stop any more.
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.give_back().await;
    }

    /// One look at the lease, and what follows from it.
    async fn attempt(&mut self) {
        let mut outcome = self.try_once().await;
        if matches!(&outcome, Err(fault) if fault.kind == FaultKind::Changed) {
            // Somebody changed it in between: a person's annotation, or another candidate. Look again.
            outcome = self.try_once().await;
        }
        let held_until = self.elector.held_until();
        self.view.send_modify(|view| {
            if held_until.is_some() && view.held_until.is_none() {
                view.term += 1;
            }
            view.held_until = held_until;
            match outcome {
                Ok((holder, paused)) => {
                    view.holder = holder;
                    view.paused = paused;
                    view.fault = None;
                }
                Err(fault) => view.fault = Some(fault),
            }
            // A deadline that has passed ends the term, whether or not the server could be asked.
            if !view.is_leader(Instant::now()) {
                view.held_until = None;
            }
        });
        if self.view.borrow().held_until.is_none() {
            self.elector.lost_it();
        }
    }

    async fn try_once(&mut self) -> Result<(String, bool), Fault> {
        let found = self.cluster.lease(&self.config.name).await?;
        let asked = Instant::now();
        let record = found.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        let action = self.elector.look(record.as_ref(), asked);
        if action == Action::Wait {
            let holder = record.and_then(|record| record.holder_identity).unwrap_or_default();
            return Ok((holder, found.as_ref().is_some_and(is_paused)));
        }
        let mut lease = found.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.cluster.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        lease.spec = Some(self.claim(record.unwrap_or_default(), action));
        let leases = self.cluster.leases();
        let params = PostParams::default();
        let written = if action == Action::Create {
            self.cluster.ask("create the lease", leases.create(&params, &lease)).await
        } else {
            // With the version that was read: only one of several candidates gets through.
            let replace = leases.replace(&self.config.name, &params, &lease);
            self.cluster.ask("renew the lease", replace).await
        };
        match written {
            Ok(lease) => {
                self.elector.got_it(asked);
                Ok((self.elector.identity().to_owned(), is_paused(&lease)))
            }
            Err(fault) => Err(of_lease(fault)),
        }
    }

    fn claim(&self, record: LeaseSpec, action: Action) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let new_term = action != Action::Renew;
        let transitions = record.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.elector.identity().to_owned()),
            lease_duration_seconds: Some(
                i32::try_from(self.config.duration.0.as_secs_f64().ceil() as u64)
                    .unwrap_or(i32::MAX),
            ),
            acquire_time: if new_term { Some(now.clone()) } else { record.acquire_time.clone() },
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(action == Action::Take)),
            ..record
        }
    }

    /// Lets go of the lease, so that another need not wait for it to be over.
    async fn give_back(mut self) {
        if self.elector.held_until().is_none() {
            return;
        }
        self.elector.lost_it();
        self.view.send_modify(|view| view.held_until = None);
        let Ok(Some(mut lease)) = self.cluster.lease(&self.config.name).await else { return };
        let Some(record) = lease.spec.as_mut() else { return };
        if record.holder_identity.as_deref() != Some(self.elector.identity()) {
            return;
        }
        record.holder_identity = Some(String::new());
        record.lease_duration_seconds = Some(1);
        let leases = self.cluster.leases();
        let params = PostParams::default();
        let replace = leases.replace(&self.config.name, &params, &lease);
        // Where it fails the lease runs out by itself.
        if let Err(fault) = self.cluster.ask("give the lease back", replace).await {
            tracing::warn!(%fault, "the lease was not given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_only_when_its_answer_comes_before_the_deadline() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let view = LeaseView { held_until: Some(now + 2 * second), ..LeaseView::default() };
        assert!(view.may_write(now, 2 * second));
        assert!(view.may_write(now + second, second));
        let later = now + second + Duration::from_nanos(1);
        assert!(!view.may_write(later, second), "it could end after the deadline");
        assert!(view.is_leader(later), "still the holder");
        assert!(!view.is_leader(now + 2 * second + Duration::from_nanos(1)));
        assert!(!LeaseView::default().may_write(now, Duration::ZERO), "nobody's lease");
        assert!(LeaseView::without_lease().may_write(now, second));
    }
}
