//! `live --check`: what is there and what is missing, with the command that mends it.

use std::path::Path;

use serde::Serialize;

use super::fault::{Fault, FaultKind, FaultSource};
use super::kubernetes::{self, Cluster, DEFINE, ReplicateState};
use super::setup::Setup;
use super::signals::Observation;
use crate::error::Result;
use crate::snapshot::Signal;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// What.
    pub what: String,
    /// Whether it is in order.
    pub ok: bool,
    /// Whether live does without it.
    pub optional: bool,
    /// The command that mends it.
    pub remedy: Option<String>,
}

/// All that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing is missing that is needed.
    pub ok: bool,
    /// One by one.
    pub items: Vec<Item>,
}

/// Looks at the signals and the cluster.
///
/// # Errors
/// [`crate::Error::Input`] when the configuration itself does not fit together.
pub async fn check(setup: &Setup, kubeconfig: Option<&Path>) -> Result<Report> {
    let config = &setup.file.config;
    // The clients of Prometheus and Kubernetes use one TLS. Fails only when it was called before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let signals = setup.signals()?;
    let cluster = Cluster::for_a_try(kubeconfig, &config.kubernetes, &config.lease).await?;
    let mut items = Vec::new();
    let observation = signals.read(tokio::time::Instant::now() + config.patience()).await;
    tell_of_signals(setup, &observation, &mut items);
    let published = config.state.replicate == ReplicateState::Configmap;
    match kubernetes::missing(&cluster, published).await {
        Ok(needs) => {
            if needs.iter().all(|need| need.optional) {
                items.push(undeclared_fields(setup, &cluster).await.unwrap_or_else(|| Item {
                    what: "custom resource definition and rights".to_owned(),
                    ok: true,
                    optional: false,
                    remedy: None,
                }));
            }
            items.extend(needs.into_iter().map(|need| Item {
                what: need.what,
                ok: false,
                optional: need.optional,
                remedy: Some(need.remedy),
            }));
        }
        Err(fault) => items.push(Item {
            what: fault.to_string(),
            ok: false,
            optional: false,
            remedy: Some("check the kubeconfig and the API server".to_owned()),
        }),
    }
    Ok(Report { ok: items.iter().all(|item| item.ok || item.optional), items })
}

/// What is wrong where the definition is one for other services. Our Role may not read definitions, so
/// the server tries an apply of every field.
async fn undeclared_fields(setup: &Setup, cluster: &Cluster) -> Option<Item> {
    let object = cluster.read().await.ok()?;
    let spec = setup.format.fields().map(|name| (name.to_owned(), String::new())).collect();
    let fault = cluster.apply(&spec, object.as_ref(), true).await.err()?;
    (fault.kind == FaultKind::Schema).then(|| Item {
        what: "the definition of the custom resource lacks fields of these services".to_owned(),
        ok: false,
        optional: false,
        remedy: Some(DEFINE.to_owned()),
    })
}

/// One item a signal that is in order, and one for all that lack it for the same reason.
fn tell_of_signals(setup: &Setup, observation: &Observation, items: &mut Vec<Item>) {
    let mut troubles: Vec<(&Fault, bool, Vec<String>)> = Vec::new();
    for (target, read) in setup.targets.iter().zip(&observation.services) {
        for signal in Signal::ALL {
            let Some(reading) = read.reading(signal) else { continue };
            let name = format!("{} of {}", signal.name(), target.service);
            let optional = !setup.needed.contains(&signal);
            match &reading.value {
                Ok(_) => {
                    items.push(Item {
                        what: format!("signal {name}"),
                        ok: true,
                        optional,
                        remedy: None,
                    });
                }
                Err(fault) => {
                    let same = |one: &&mut (&Fault, bool, Vec<String>)| {
                        one.0 == fault && one.1 == optional
                    };
                    match troubles.iter_mut().find(same) {
                        Some((_, _, names)) => names.push(name),
                        None => troubles.push((fault, optional, vec![name])),
                    }
                }
            }
        }
    }
    items.extend(troubles.into_iter().map(|(fault, optional, names)| Item {
        what: format!("signal {}: {fault}", names.join(", ")),
        ok: false,
        optional,
        remedy: Some(remedy(fault)),
    }));
}

/// What mends a signal.
fn remedy(fault: &Fault) -> String {
    let server = match fault.source {
        FaultSource::Locust => "Locust",
        _ => "Prometheus",
    };
    let key = match fault.source {
        FaultSource::Locust => "[locust.urls]",
        _ => "url of [prometheus]",
    };
    match fault.kind {
        FaultKind::Connect
        | FaultKind::Timeout
        | FaultKind::Unavailable
        | FaultKind::ServerError
        | FaultKind::Throttled => {
            format!("start {server}, or mend {key}; `curl` shows whether it answers there")
        }
        FaultKind::Unauthorized | FaultKind::Credentials => {
            "mend bearer_token_file, basic_auth_file or the certificates of [prometheus]".to_owned()
        }
        FaultKind::Empty => {
            "see that Prometheus scrapes it (its page Targets), or ask for it by another query in [signals]".to_owned()
        }
        FaultKind::Stale => {
            "see that Prometheus scrapes it (its page Targets), or raise max_age in [signals]".to_owned()
        }
        FaultKind::ZeroLatency => "replace the exporter: quotascale exporter --locust URL".to_owned(),
        FaultKind::Stopped | FaultKind::WorkersMissing | FaultKind::UnknownKeys => {
            "look at Locust's own page".to_owned()
        }
        _ => "ask for it by a query in [signals] that gives one number".to_owned(),
    }
}
