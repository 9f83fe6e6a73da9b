//! What the simulated operator sees on the API server: the custom resource, and the state that `live`
//! publishes after each tick.
//!
//! A decision that changes nothing writes nothing to the custom resource, so the published state
//! (ConfigMap `<lease>-state`) is what says that a tick was decided.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::live::kubernetes::{Cluster, KubernetesConfig, LeaseConfig, Published};
use crate::live::resource::Spec;
use crate::snapshot::Decision;

/// A tick that `live` has decided and carried out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Report {
    /// The tick, unix seconds of the rehearsal's clock.
    pub tick: i64,
    /// When the signals were asked for, on the same clock.
    pub looked_s: f64,
    /// Whether the custom resource holds it.
    pub applied: bool,
    /// What was decided.
    pub decision: Decision,
}

/// One look at the API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The custom resource's fields; `None` where there is none.
    pub spec: Option<Spec>,
    /// The last tick that was carried out.
    pub report: Option<Report>,
    /// Why this look failed, if it did; the rest is then as it was.
    pub problem: Option<String>,
}

/// Looks at the API server.
pub struct Watcher {
    cluster: Cluster,
    published: Published,
}

impl Watcher {
    /// With the names of `kubernetes` and `lease`. Looks once.
    ///
    /// # Errors
    /// [`Error::Input`] when the kubeconfig cannot be read, the server does not answer or does not know
    /// the custom resource.
    pub async fn new(
        kubeconfig: &Path,
        kubernetes: &KubernetesConfig,
        lease: &LeaseConfig,
    ) -> Result<(Self, Seen)> {
        let cluster = Cluster::new(Some(kubeconfig), kubernetes, lease).await?;
        let watcher = Self { cluster, published: Published::new(&lease.name) };
        let seen = watcher.look(&Seen::default()).await;
        match seen.problem {
            None => Ok((watcher, seen)),
            Some(problem) => Err(Error::input(
                format!("--kubeconfig {}", kubeconfig.display()),
                problem,
                "the rehearsal needs a running API server that knows the custom resource",
            )),
        }
    }

    /// The state first, then the resource: what a report speaks of is in the resource that is read
    /// after it.
    async fn look(&self, before: &Seen) -> Seen {
        let read = async {
            let state = self.published.read(&self.cluster).await?;
            let object = self.cluster.read().await?;
            Ok((state, object))
        };
        match read.await {
            Ok((state, object)) => Seen {
                spec: object.map(|object| object.spec),
                report: state
                    .and_then(|text| serde_json::from_str::<Report>(&text).ok())
                    .filter(|report| report.applied)
                    .or_else(|| before.report.clone()),
                problem: None,
            },
            Err(fault) => {
                let fault: crate::live::fault::Fault = fault;
                Seen { problem: Some(fault.to_string()), ..before.clone() }
            }
        }
    }

    /// Looks again and again, `every` so often, until nobody listens.
    pub async fn watch(self, every: Duration, sender: watch::Sender<Seen>) {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(every) => {}
            }
            let before = sender.borrow().clone();
            let seen = self.look(&before).await;
            sender.send_if_modified(|present| {
                let news = *present != seen;
                *present = seen;
                news
            });
        }
    }
}
