//! From an answer of the API server to a fault: its kind, and what mends it.

use kube::core::Status;

use crate::live::fault::{Fault, FaultKind, FaultSource};
use crate::live::kubernetes::DEFINE;
use crate::live::resource::PLURAL;

/// Whether to ask again may help within seconds.
pub(in crate::live) fn passes(fault: &Fault) -> bool {
    matches!(
        fault.kind,
        FaultKind::Timeout
            | FaultKind::Connect
            | FaultKind::Unauthorized
            | FaultKind::Throttled
            | FaultKind::Unavailable
            | FaultKind::ServerError
            | FaultKind::Changed
    )
}

/// Whether the answer says that this one object is missing, not the whole kind.
pub(super) fn is_object_missing(status: &Status) -> bool {
    status.is_not_found() && status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

/// The fault that `error` is.
pub(super) fn fault_of(what: &str, error: &kube::Error) -> Fault {
    let (kind, text) = match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::Auth(error) => (FaultKind::Unauthorized, error.to_string()),
        kube::Error::SerdeError(error) => (FaultKind::Decode, error.to_string()),
        kube::Error::Service(error) => (FaultKind::Connect, with_causes(error.as_ref())),
        kube::Error::HyperError(error) => (FaultKind::Connect, with_causes(error)),
        other => (FaultKind::Decode, other.to_string()),
    };
    Fault::new(FaultSource::Kubernetes, kind, format!("{what}: {text}"))
}

fn of_status(status: &Status) -> (FaultKind, String) {
    let message = &status.message;
    let manager_conflict = status.details.as_ref().is_some_and(|details| {
        details.causes.iter().any(|cause| cause.reason == "FieldManagerConflict")
    });
    // Servers before 1.21 answer 500 to what does not fit the schema.
    let schema = message.contains("failed to create typed patch object")
        || message.contains("field not declared in schema");
    match status.code {
        401 => (
            FaultKind::Unauthorized,
            format!(
                "the server does not accept our identity ({message}); renew the token or the kubeconfig"
            ),
        ),
        403 => (
            FaultKind::Forbidden,
            format!("{message}; add the verb to the Role: kubectl apply -f deploy/rbac.yaml"),
        ),
        404 if !is_object_missing(status) => {
            (FaultKind::CrdMissing, format!("the server does not know {PLURAL}; {DEFINE}"))
        }
        409 if manager_conflict => (
            FaultKind::Conflict,
            format!("{message}; let go of the fields there, or set kubernetes.force"),
        ),
        409 => (FaultKind::Changed, message.clone()),
        422 | 400 => (FaultKind::Status, message.clone()),
        429 => (FaultKind::Throttled, message.clone()),
        500.. if schema => {
            (FaultKind::Schema, format!("{message}; the definition lacks these fields: {DEFINE}"))
        }
        503 => (FaultKind::Unavailable, message.clone()),
        500.. => (FaultKind::ServerError, format!("{} {message}", status.code)),
        code => (FaultKind::Status, format!("{code} {message}")),
    }
}

/// The message of an error and of what caused it: the outermost alone often says nothing.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;
    use serde_json::json;

    use super::*;

    fn details(value: serde_json::Value) -> Option<StatusDetails> {
        serde_json::from_value(value).unwrap()
    }

    fn status(code: u16, message: &str) -> Status {
        Status { code, message: message.to_owned(), ..Status::default() }
    }

    #[test]
    fn answers_of_the_server_become_kinds() {
        let kind = |status: &Status| of_status(status).0;
        assert_eq!(kind(&status(401, "Unauthorized")), FaultKind::Unauthorized);
        assert_eq!(kind(&status(403, "no")), FaultKind::Forbidden);
        assert_eq!(kind(&status(404, "404 page not found")), FaultKind::CrdMissing);
        assert_eq!(kind(&status(429, "slow down")), FaultKind::Throttled);
        assert_eq!(kind(&status(503, "starting")), FaultKind::Unavailable);
        assert_eq!(kind(&status(500, "etcd")), FaultKind::ServerError);
        let old = "failed to create typed patch object: .spec.nope: field not declared in schema";
        assert_eq!(kind(&status(500, old)), FaultKind::Schema);
        assert_eq!(kind(&status(409, "Operation cannot be fulfilled")), FaultKind::Changed);
        let mut conflict = status(409, "Apply failed with 1 conflict");
        conflict.details = details(json!({ "causes": [{
            "reason": "FieldManagerConflict",
            "message": "conflict with \"kubectl-edit\"",
            "field": ".spec.servicehouse_podcount",
        }] }));
        assert_eq!(kind(&conflict), FaultKind::Conflict);
        for status in [status(500, old), conflict] {
            let error = kube::Error::Api(Box::new(status));
            assert!(!passes(&fault_of("apply", &error)), "asking again does not help");
        }
    }

    #[test]
    fn a_missing_object_is_not_a_missing_kind() {
        let mut missing = status(404, "drlscaleactions \"drl-action\" not found");
        missing.reason = "NotFound".to_owned();
        missing.details = details(json!({ "name": "drl-action" }));
        assert!(is_object_missing(&missing));
        assert!(!is_object_missing(&status(404, "404 page not found")));
    }

    #[test]
    fn every_kind_that_is_given_is_counted_from_the_start() {
        for code in [400, 401, 403, 404, 409, 418, 422, 429, 500, 503, 504] {
            let kind = of_status(&status(code, "")).0;
            assert!(FaultSource::Kubernetes.kinds().contains(&kind), "{kind:?}");
        }
    }
}
