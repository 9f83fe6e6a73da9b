//! The leader's state in a ConfigMap, for the one that follows it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use super::Cluster;
use crate::live::fault::Fault;

/// The key of the state in the ConfigMap.
const KEY: &str = "state.json";

/// The ConfigMap `<lease>-state`.
pub struct Published {
    name: String,
    /// Version of the ConfigMap as this process last wrote or read it.
    version: Mutex<Option<String>>,
}

impl Published {
    /// For the lease `lease`.
    pub fn new(lease: &str) -> Self {
        Self { name: format!("{lease}-state"), version: Mutex::new(None) }
    }

    fn remember(&self, map: Option<&ConfigMap>) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) =
            map.and_then(|map| map.metadata.resource_version.clone());
    }

    /// Reads the state; `None` where none was published.
    ///
    /// # Errors
    /// The fault.
    pub async fn read(&self, cluster: &Cluster) -> Result<Option<String>, Fault> {
        if cluster.is_nowhere() {
            return Ok(None);
        }
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), &cluster.config.namespace);
        let map = cluster.ask("read the published state", maps.get_opt(&self.name)).await?;
        self.remember(map.as_ref());
        Ok(map.and_then(|map| map.data).and_then(|mut data| data.remove(KEY)))
    }

    /// Publishes `state`, if nobody else has since this process last read or wrote it.
    ///
    /// # Errors
    /// The fault; [`crate::live::fault::FaultKind::Changed`] when somebody else has.
    pub async fn write(&self, cluster: &Cluster, state: String) -> Result<(), Fault> {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), &cluster.config.namespace);
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(cluster.config.namespace.clone()),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(KEY.to_owned(), state)])),
            ..ConfigMap::default()
        };
        let params = PostParams::default();
        let written = if version.is_some() {
            cluster.ask("publish the state", maps.replace(&self.name, &params, &map)).await
        } else {
            cluster.ask("publish the state", maps.create(&params, &map)).await
        };
        match written {
            Ok(map) => {
                self.remember(Some(&map));
                Ok(())
            }
            Err(fault) => {
                // The next attempt begins with what is there.
                if let Ok(map) =
                    cluster.ask("read the published state", maps.get_opt(&self.name)).await
                {
                    self.remember(map.as_ref());
                }
                Err(fault)
            }
        }
    }
}
