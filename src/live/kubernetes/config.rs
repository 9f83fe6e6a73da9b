//! `[kubernetes]`, `[lease]` and `[state]` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::live::resource::FieldTemplates;
use crate::live::span::Span;

/// `[kubernetes]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesConfig {
    /// Namespace of the custom resource, the lease and the state.
    pub namespace: String,
    /// Name of the custom resource.
    pub name: String,
    /// Who applies, as the server records it for each field.
    pub field_manager: String,
    /// Whether to take over fields that another manager owns.
    pub force: bool,
    /// How long one request may take.
    pub timeout: Span,
    /// Names of the fields.
    pub fields: FieldTemplates,
    /// Name of the ResourceQuota that binds. Empty: every one in the namespace, where we may list them.
    pub resource_quota: String,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            name: "drl-action".to_owned(),
            field_manager: "quotascale".to_owned(),
            force: false,
            timeout: Span::from_secs(2),
            fields: FieldTemplates::default(),
            resource_quota: String::new(),
        }
    }
}

/// `[lease]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseConfig {
    /// Name of the Lease that the one writer holds.
    pub name: String,
    /// How long others wait for a holder that is silent.
    pub duration: Span,
    /// After so long without a renewal the holder stops writing.
    pub renew_deadline: Span,
    /// Time between two attempts to acquire or renew.
    pub retry: Span,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self {
            name: "quotascale".to_owned(),
            duration: Span::from_secs(15),
            renew_deadline: Span::from_secs(10),
            retry: Span::from_secs(2),
        }
    }
}

/// `[state]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Folder of the saved state, relative to the working folder.
    pub dir: PathBuf,
    /// Where the leader publishes its state for those that may follow it.
    pub replicate: ReplicateState,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("state"), replicate: ReplicateState::default() }
    }
}

/// Where the leader publishes its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicateState {
    /// In the ConfigMap `<lease>-state`.
    #[default]
    Configmap,
    /// Nowhere.
    None,
}
