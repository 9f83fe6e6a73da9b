//! Where each signal of a snapshot comes from: the tables `[prometheus]`, `[signals.*]` and
//! `[locust]` of live.toml.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::span::Span;
pub use crate::snapshot::Signal;

impl Signal {
    /// The query that is asked unless the configuration has its own, and the one for the age of
    /// its sample, seconds.
    ///
    /// No series means that its source is gone, so the queries about pods give a zero of their own
    /// where the source knows of pods, only of none of this service.
    pub fn default_queries(self) -> (&'static str, &'static str) {
        match self {
            Self::Users => (
                r#"sum(locust_users{service="${service}"})"#,
                r#"time() - min(timestamp(locust_users{service="${service}"}))"#,
            ),
            Self::P95Ms => (
                r#"max(locust_requests_current_response_time_percentile_95{service="${service}"})"#,
                r#"time() - min(timestamp(locust_requests_current_response_time_percentile_95{service="${service}"}))"#,
            ),
            Self::CpuCores => (
                r#"sum(kube_pod_container_resource_requests{resource="cpu",container="user-container",namespace="${namespace}",pod=~"${target}-.*"}) or 0 * count(kube_pod_status_ready{namespace="${namespace}"})"#,
                POD_AGE,
            ),
            Self::PodsReady => (
                r#"sum(kube_pod_status_ready{condition="true",namespace="${namespace}",pod=~"${target}-.*"} unless on (namespace, pod) kube_pod_deletion_timestamp) or 0 * count(kube_pod_status_ready{namespace="${namespace}"})"#,
                POD_AGE,
            ),
            Self::PodsStarting => (
                r#"sum(kube_pod_status_ready{condition="false",namespace="${namespace}",pod=~"${target}-.*"} unless on (namespace, pod) kube_pod_deletion_timestamp) or 0 * count(kube_pod_status_ready{namespace="${namespace}"})"#,
                POD_AGE,
            ),
            Self::PodsTerminating => (
                r#"count(kube_pod_deletion_timestamp{namespace="${namespace}",pod=~"${target}-.*"}) or 0 * count(kube_pod_status_ready{namespace="${namespace}"})"#,
                POD_AGE,
            ),
        }
    }
}

/// The age of what kube-state-metrics says of the namespace's pods.
const POD_AGE: &str = r#"time() - min(timestamp(kube_pod_status_ready{namespace="${namespace}"}))"#;

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignalSource {
    /// A query to Prometheus.
    #[default]
    Prometheus,
    /// Locust's web API: users and p95 only.
    Locust,
}

/// `[signals]`: one table a signal, each with defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalsConfig {
    /// Users.
    pub users: SignalConfig,
    /// p95 latency, ms.
    pub p95_ms: SignalConfig,
    /// CPU requested, cores.
    pub cpu_cores: SignalConfig,
    /// Ready pods.
    pub pods_ready: SignalConfig,
    /// Starting pods.
    pub pods_starting: SignalConfig,
    /// Terminating pods.
    pub pods_terminating: SignalConfig,
}

impl SignalsConfig {
    /// The table of one signal.
    pub fn of(&self, signal: Signal) -> &SignalConfig {
        match signal {
            Signal::Users => &self.users,
            Signal::P95Ms => &self.p95_ms,
            Signal::CpuCores => &self.cpu_cores,
            Signal::PodsReady => &self.pods_ready,
            Signal::PodsStarting => &self.pods_starting,
            Signal::PodsTerminating => &self.pods_terminating,
        }
    }
}

/// How one signal is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalConfig {
    /// Where it comes from.
    pub source: SignalSource,
    /// PromQL with `${service}`, `${target}` and `${namespace}`; default: [`Signal::default_queries`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// PromQL for the age of the sample, seconds; empty: the age is not checked. Default: that of
    /// the default query; for a query of one's own that is a plain selector, the age of its sample;
    /// else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_query: Option<String>,
    /// The oldest sample that is believed.
    pub max_age: Span,
    /// Services with a query of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_service: BTreeMap<String, ServiceQuery>,
}

impl Default for SignalConfig {
    fn default() -> Self {
        Self {
            source: SignalSource::default(),
            query: None,
            age_query: None,
            max_age: Span::from_secs(60),
            by_service: BTreeMap::new(),
        }
    }
}

/// One service's own query: its text, or a table with the query for the age too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServiceQuery {
    /// The query alone.
    Query(String),
    /// The query, and the one for the age of its sample.
    WithAge(QueryWithAge),
}

/// A query, and the one for the age of its sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryWithAge {
    /// PromQL of the value.
    pub query: String,
    /// PromQL of its age, seconds; empty: the age is not checked.
    pub age_query: String,
}

impl ServiceQuery {
    /// The query, and the one for the age if it is given.
    pub fn texts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Query(query) => (query, None),
            Self::WithAge(both) => (&both.query, Some(&both.age_query)),
        }
    }
}

/// `[prometheus]`. Its files are read again when they change; an empty path is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// The server, with the path before `/api/v1` if there is one.
    pub url: String,
    /// Deadline of one round of queries.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Longest answer that is read, bytes.
    #[serde(default = "default_max_body_bytes")]
    pub max_body_bytes: usize,
    /// A file with a bearer token.
    #[serde(default)]
    pub bearer_token_file: PathBuf,
    /// A file with one line `user:password`.
    #[serde(default)]
    pub basic_auth_file: PathBuf,
    /// A file of PEM certificates that are trusted instead of the system's.
    #[serde(default)]
    pub ca_file: PathBuf,
    /// The PEM certificate that this program shows.
    #[serde(default)]
    pub client_cert_file: PathBuf,
    /// The PEM key of that certificate.
    #[serde(default)]
    pub client_key_file: PathBuf,
}

impl PrometheusConfig {
    /// The server at `url`, with defaults for the rest.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            timeout: default_timeout(),
            max_body_bytes: default_max_body_bytes(),
            bearer_token_file: PathBuf::new(),
            basic_auth_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            client_cert_file: PathBuf::new(),
            client_key_file: PathBuf::new(),
        }
    }

    /// Takes relative paths of files as relative to `folder`, that of the configuration file.
    pub fn resolve(&mut self, folder: &Path) {
        for path in [
            &mut self.bearer_token_file,
            &mut self.basic_auth_file,
            &mut self.ca_file,
            &mut self.client_cert_file,
            &mut self.client_key_file,
        ] {
            if !path.as_os_str().is_empty() {
                *path = folder.join(&path);
            }
        }
    }
}

/// `[locust]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocustConfig {
    /// The web page of each service's Locust.
    pub urls: BTreeMap<String, String>,
    /// Longest answer that is read, bytes.
    #[serde(default = "default_max_body_bytes")]
    pub max_body_bytes: usize,
}

fn default_timeout() -> Span {
    Span::from_secs(2)
}

fn default_max_body_bytes() -> usize {
    1 << 20
}
