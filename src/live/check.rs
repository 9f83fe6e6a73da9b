//! `live --check`: what is there and what is missing, with the command that mends it.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::kubernetes::{self, Cluster, ReplicateState};
use super::setup::Setup;
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
    let cluster = Cluster::new(kubeconfig, &config.kubernetes, &config.lease).await?;
    let mut items = Vec::new();
    let patience = config.prometheus.as_ref().map_or(Duration::from_secs(2), |one| one.timeout.0);
    let observation = signals.read(tokio::time::Instant::now() + patience).await;
    for (target, read) in setup.targets.iter().zip(&observation.services) {
        for signal in Signal::ALL {
            let Some(reading) = read.reading(signal) else { continue };
            let name = format!("signal {} of {}", signal.name(), target.service);
            let fault = reading.value.as_ref().err();
            items.push(Item {
                what: fault.map_or(name.clone(), |fault| format!("{name}: {fault}")),
                ok: fault.is_none(),
                optional: !setup.needed.contains(&signal),
                remedy: Some(format!(
                    "set the query of [signals.{}] to one that gives one number",
                    signal.name()
                )),
            });
        }
    }
    let published = config.state.replicate == ReplicateState::Configmap;
    match kubernetes::missing(&cluster, published).await {
        Ok(needs) => {
            if needs.iter().all(|need| need.optional) {
                let what = "custom resource definition and rights".to_owned();
                items.push(Item { what, ok: true, optional: false, remedy: None });
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
