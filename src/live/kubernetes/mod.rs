//! Kubernetes: the custom resource by server-side apply, and what else live reads and writes there.

mod check;
mod config;
mod election;
mod errors;
mod lease;
mod published;
mod quota;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
pub use check::{Need, missing};
pub use config::{KubernetesConfig, LeaseConfig, ReplicateState, StateConfig};
pub use election::{Action, Elector};
use errors::fault_of;
pub(in crate::live) use errors::passes;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
pub use lease::{LeaseView, Leaseholder, PAUSED};
pub use published::Published;
use serde_json::json;

use super::fault::{Fault, FaultKind, FaultSource};
use super::resource::{GROUP, KIND, PLURAL, Spec, VERSION};
use crate::error::{Error, Result};

/// What mends a missing kubeconfig.
const NAME_A_KUBECONFIG: &str = "name a kubeconfig with --kubeconfig or KUBECONFIG";
/// What mends a definition that is missing or lacks the fields of our services.
pub(in crate::live) const DEFINE: &str = "quotascale crd --config FILE | kubectl apply -f -, \
    with --config for every installation of the cluster";

/// Annotation of the custom resource that names the installation which writes it.
pub const WRITER: &str = "quotascale/writer";

/// The custom resource as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionObject {
    /// Its version; an apply that names it fails when the object has changed since.
    pub resource_version: Option<String>,
    /// Its identity.
    pub uid: Option<String>,
    /// Its fields that are strings.
    pub spec: Spec,
    /// The installation that writes it, if one says so.
    pub writer: Option<String>,
}

impl ActionObject {
    fn of(object: &DynamicObject) -> Self {
        let spec = object.data.get("spec").and_then(serde_json::Value::as_object);
        let spec = spec
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let annotations = object.metadata.annotations.as_ref();
        Self {
            resource_version: object.metadata.resource_version.clone(),
            uid: object.metadata.uid.clone(),
            spec,
            writer: annotations.and_then(|all| all.get(WRITER)).cloned(),
        }
    }
}

/// One namespace of a cluster, and the custom resource in it.
pub struct Cluster {
    /// Replaced when the server no longer accepts it: a token may have been renewed.
    client: Mutex<Client>,
    /// Why there is no cluster at all: then nothing is there, and nothing can be asked.
    nowhere: Option<String>,
    kubeconfig: Option<PathBuf>,
    config: KubernetesConfig,
    /// `namespace/lease`: who we are to other installations.
    installation: String,
}

impl Cluster {
    /// For the cluster of `kubeconfig` (default: `KUBECONFIG`, `~/.kube/config`, or the pod's own
    /// account). The server is not asked yet.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no configuration or it cannot be read.
    pub async fn new(
        kubeconfig: Option<&Path>,
        config: &KubernetesConfig,
        lease: &LeaseConfig,
    ) -> Result<Self> {
        let cluster = Self::for_a_try(kubeconfig, config, lease).await?;
        match cluster.nowhere {
            None => Ok(cluster),
            Some(text) => Err(Error::input("Kubernetes", text, NAME_A_KUBECONFIG)),
        }
    }

    /// As [`Self::new`], but where no kubeconfig is named and none is found it is a cluster in which
    /// nothing is there: so a decision can be tried before there is a cluster.
    ///
    /// # Errors
    /// [`Error::Input`] when the kubeconfig that is named cannot be read.
    pub async fn for_a_try(
        kubeconfig: Option<&Path>,
        config: &KubernetesConfig,
        lease: &LeaseConfig,
    ) -> Result<Self> {
        // Fails only when it was called before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (client, nowhere) = match (connect(kubeconfig, config).await, kubeconfig) {
            (Ok(client), _) => (client, None),
            (Err(text), Some(path)) => {
                return Err(Error::input(path.display(), text, NAME_A_KUBECONFIG));
            }
            (Err(text), None) => {
                // Never asked, but requests are made of one.
                let unused = Config::new(Uri::from_static("http://localhost"));
                let client = Client::try_from(unused)
                    .map_err(|error| Error::Failed(format!("no client: {error}")))?;
                (client, Some(text))
            }
        };
        Ok(Self {
            client: Mutex::new(client),
            nowhere,
            kubeconfig: kubeconfig.map(Path::to_owned),
            config: config.clone(),
            installation: format!("{}/{}", config.namespace, lease.name),
        })
    }

    /// Whether there is no cluster at all.
    pub fn is_nowhere(&self) -> bool {
        self.nowhere.is_some()
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for an answer within the time-out. An answer that says our identity is not accepted makes
    /// the next request read the identity anew.
    async fn ask<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Fault> {
        let fault = match tokio::time::timeout(self.config.timeout.0, request).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => fault_of(what, &error),
            Err(_) => Fault::new(
                FaultSource::Kubernetes,
                FaultKind::Timeout,
                format!("{what}: no answer within {:?}", self.config.timeout.0),
            ),
        };
        if fault.kind == FaultKind::Unauthorized
            && let Ok(client) = connect(self.kubeconfig.as_deref(), &self.config).await
        {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        }
        Err(fault)
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        self.config.timeout.0
    }

    fn actions(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(GROUP, VERSION, KIND);
        let resource = ApiResource::from_gvk_with_plural(&kind, PLURAL);
        Api::namespaced_with(self.client(), &self.config.namespace, &resource)
    }

    /// The custom resource; `None` when there is none.
    ///
    /// # Errors
    /// The fault; [`FaultKind::CrdMissing`] when the server does not know the kind.
    pub async fn read(&self) -> Result<Option<ActionObject>, Fault> {
        if self.is_nowhere() {
            return Ok(None);
        }
        let actions = self.actions();
        let read = async {
            match actions.get(&self.config.name).await {
                Ok(object) => Ok(Some(ActionObject::of(&object))),
                Err(kube::Error::Api(status)) if errors::is_object_missing(&status) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.ask("read the custom resource", read).await
    }

    /// Applies `spec` over the object that was read (`None`: there was none).
    ///
    /// # Errors
    /// The fault. [`FaultKind::Conflict`]: another field manager owns a field, or another installation
    /// writes the object; [`FaultKind::Changed`]: the object has changed since it was read;
    /// [`FaultKind::Timeout`]: it may have been applied.
    pub async fn apply(
        &self,
        spec: &Spec,
        over: Option<&ActionObject>,
        dry_run: bool,
    ) -> Result<ActionObject, Fault> {
        if let Some(writer) = over.and_then(|object| object.writer.as_ref())
            && *writer != self.installation
            && !self.config.force
        {
            let text = format!(
                "{} is written by installation {writer}; stop that one, or set kubernetes.force, or remove the annotation: \
                 kubectl -n {} annotate {PLURAL} {} {WRITER}-",
                self.config.name, self.config.namespace, self.config.name
            );
            return Err(Fault::new(FaultSource::Kubernetes, FaultKind::Conflict, text));
        }
        let mut metadata = json!({
            "name": self.config.name,
            "namespace": self.config.namespace,
            "annotations": { WRITER: self.installation },
        });
        if let Some(version) = over.and_then(|object| object.resource_version.as_ref()) {
            metadata["resourceVersion"] = json!(version);
        }
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "metadata": metadata,
            "spec": spec,
        });
        let mut params = PatchParams::apply(&self.config.field_manager);
        params.dry_run = dry_run;
        params.force = self.config.force;
        let actions = self.actions();
        let patch = async {
            let patched = actions.patch(&self.config.name, &params, &Patch::Apply(&body)).await?;
            Ok(ActionObject::of(&patched))
        };
        self.ask("apply the custom resource", patch).await
    }

    /// Whether `object` is what an apply of `spec` by this installation makes.
    pub fn holds(&self, object: &ActionObject, spec: &Spec) -> bool {
        object.writer.as_ref() == Some(&self.installation)
            && spec.iter().all(|(name, value)| object.spec.get(name) == Some(value))
    }

    /// Records an Event about the custom resource.
    ///
    /// # Errors
    /// The fault.
    pub async fn event(
        &self,
        about: &ActionObject,
        reason: &str,
        message: &str,
    ) -> Result<(), Fault> {
        let now = Timestamp::now();
        // Longer messages are refused by the server.
        let message: String = message.chars().take(1000).collect();
        let event = Event {
            metadata: ObjectMeta {
                // As Kubernetes' own recorders name them: unique by time.
                name: Some(format!("{}.{:x}", self.config.name, now.as_nanosecond())),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(format!("{GROUP}/{VERSION}")),
                kind: Some(KIND.to_owned()),
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                uid: about.uid.clone(),
                resource_version: about.resource_version.clone(),
                ..ObjectReference::default()
            },
            type_: Some("Normal".to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            event_time: Some(MicroTime(now)),
            action: Some("Scale".to_owned()),
            reporting_component: Some("quotascale".to_owned()),
            reporting_instance: Some(self.installation.clone()),
            source: Some(EventSource { component: Some("quotascale".to_owned()), host: None }),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client(), &self.config.namespace);
        let create = async { events.create(&PostParams::default(), &event).await.map(|_| ()) };
        self.ask("record an event", create).await
    }
}

/// A client whose requests are neither repeated nor waited for beyond the time-out behind our back.
async fn connect(kubeconfig: Option<&Path>, settings: &KubernetesConfig) -> Result<Client, String> {
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| error.to_string())?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| error.to_string())?
        }
        None => Config::infer().await.map_err(|error| error.to_string())?,
    };
    config.default_retry = false;
    config.connect_timeout = Some(settings.timeout.0);
    Client::try_from(config).map_err(|error| error.to_string())
}
