//! What the cluster has to give us, and the command that mends what is missing.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::quota::NAME_IT;
use super::{Cluster, DEFINE, NAME_A_KUBECONFIG};
use crate::live::fault::Fault;
use crate::live::resource::{GROUP, PLURAL, VERSION};

/// The verbs that live uses: group, resource, verb, and whether it does without.
const VERBS: [(&str, &str, &str, bool); 12] = [
    (GROUP, PLURAL, "get", false),
    (GROUP, PLURAL, "create", false),
    (GROUP, PLURAL, "patch", false),
    ("coordination.k8s.io", "leases", "get", false),
    ("coordination.k8s.io", "leases", "create", false),
    ("coordination.k8s.io", "leases", "update", false),
    ("", "configmaps", "get", false),
    ("", "configmaps", "create", false),
    ("", "configmaps", "update", false),
    ("", "events", "create", true),
    ("", QUOTAS, "get", true),
    ("", QUOTAS, "list", true),
];
const QUOTAS: &str = "resourcequotas";

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is missing.
    pub what: String,
    /// The command that mends it.
    pub remedy: String,
    /// Whether live does without it.
    pub optional: bool,
}

/// What the cluster lacks: the definition of the custom resource, and each verb that we may not use.
/// `state_is_published`: whether the state is kept in a ConfigMap.
///
/// # Errors
/// The fault when the server cannot be asked.
pub async fn missing(cluster: &Cluster, state_is_published: bool) -> Result<Vec<Need>, Fault> {
    if let Some(why) = &cluster.nowhere {
        return Ok(vec![Need {
            what: format!("no cluster: {why}"),
            remedy: NAME_A_KUBECONFIG.to_owned(),
            optional: false,
        }]);
    }
    let mut needs = Vec::new();
    let client = cluster.client();
    let version = format!("{GROUP}/{VERSION}");
    let discovered = async {
        match client.list_api_group_resources(&version).await {
            Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == PLURAL)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error),
        }
    };
    if !cluster.ask("discover the custom resource", discovered).await? {
        needs.push(Need {
            what: format!("the server does not know {PLURAL}.{GROUP}"),
            remedy: DEFINE.to_owned(),
            optional: false,
        });
    }
    let namespace = &cluster.config.namespace;
    // A quota that is named is read, others are listed.
    let quota_verb = if cluster.config.resource_quota.is_empty() { "list" } else { "get" };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    for (group, resource, verb, optional) in VERBS {
        let unused = match resource {
            "configmaps" => !state_is_published,
            QUOTAS => verb != quota_verb,
            _ => false,
        };
        if unused {
            continue;
        }
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.clone()),
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let params = PostParams::default();
        let answer = cluster.ask("review our rights", reviews.create(&params, &review)).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            let mut remedy = format!("kubectl -n {namespace} apply -f deploy/rbac.yaml");
            if (resource, verb) == (QUOTAS, "list") {
                remedy = format!("{remedy}; or name the quota: {NAME_IT}");
            }
            let what = format!("no right to {verb} {resource} in namespace {namespace}");
            needs.push(Need { what, remedy, optional });
        }
    }
    Ok(needs)
}
