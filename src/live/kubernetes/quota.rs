//! The real ResourceQuota of the namespace.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::ListParams;

use super::Cluster;
use crate::live::fault::{Fault, FaultKind};
use crate::live::resource::{mebibytes, milli_cpu};
use crate::snapshot::QuotaSnapshot;

/// What makes the right to list quotas needless.
pub(super) const NAME_IT: &str = "[kubernetes] resource_quota = \"NAME\" needs `get` alone";
/// The keys that limit CPU: the operator sets limits, which Kubernetes takes as the requests.
const CPU: [&str; 3] = ["cpu", "requests.cpu", "limits.cpu"];
/// The keys that limit memory.
const MEMORY: [&str; 3] = ["memory", "requests.memory", "limits.memory"];

impl Cluster {
    /// The smallest limits of the ResourceQuota that is named, or of all in the namespace; `None` when
    /// there is none.
    ///
    /// # Errors
    /// The fault; [`FaultKind::Forbidden`] where we may not read them.
    pub async fn quota(&self) -> Result<Option<QuotaSnapshot>, Fault> {
        if self.is_nowhere() {
            return Ok(None);
        }
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client(), &self.config.namespace);
        let name = &self.config.resource_quota;
        let found = if name.is_empty() {
            let list = async { quotas.list(&ListParams::default()).await.map(|list| list.items) };
            let listed = self.ask("list the resource quotas", list).await;
            listed.map_err(|fault| match fault.kind {
                FaultKind::Forbidden => {
                    let text = format!("{}; or name the quota: {NAME_IT}", fault.text);
                    Fault { text, ..fault }
                }
                _ => fault,
            })?
        } else {
            self.ask("read the resource quota", quotas.get_opt(name)).await?.into_iter().collect()
        };
        Ok(smallest(&found))
    }
}

fn smallest(quotas: &[ResourceQuota]) -> Option<QuotaSnapshot> {
    let least = |keys: &[&str], read: fn(&str) -> Option<u64>| {
        quotas
            .iter()
            .filter_map(|quota| quota.spec.as_ref()?.hard.as_ref())
            .flat_map(|hard| keys.iter().filter_map(|key| read(&hard.get(*key)?.0)))
            .min()
    };
    let snapshot =
        QuotaSnapshot { cpu_m: least(&CPU, milli_cpu), memory_mib: least(&MEMORY, mebibytes) };
    (snapshot != QuotaSnapshot::default()).then_some(snapshot)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuotaSpec;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    fn quota(hard: &[(&str, &str)]) -> ResourceQuota {
        let hard =
            hard.iter().map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned())));
        ResourceQuota {
            spec: Some(ResourceQuotaSpec {
                hard: Some(hard.collect()),
                ..ResourceQuotaSpec::default()
            }),
            ..ResourceQuota::default()
        }
    }

    #[test]
    fn the_smallest_of_all_limits_binds() {
        let quotas = [
            quota(&[("requests.cpu", "40"), ("limits.memory", "64Gi"), ("pods", "9")]),
            quota(&[("limits.cpu", "30500m")]),
        ];
        let expected = QuotaSnapshot { cpu_m: Some(30_500), memory_mib: Some(65_536) };
        assert_eq!(smallest(&quotas), Some(expected));
        assert_eq!(smallest(&[quota(&[("pods", "9")])]), None);
        assert_eq!(smallest(&[]), None);
    }
}
