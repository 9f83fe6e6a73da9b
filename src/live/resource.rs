//! The custom resource `DRLScaleAction`: a decision as strings in fields, and back.
//!
//! Group, names and string formats are those of the published operator
//! (github.com/mipearlska/knative_drl_operator): per service a resource (`4000m`), a concurrency and a
//! pod count (plain decimals). Field names come from templates, so that any number of services fits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::scenario::{Profile, Scenario};
use crate::snapshot::{Decision, RevisionSnapshot, ServiceDecision};

/// API group of the custom resource.
pub const GROUP: &str = "drlscaling.knativescaling.dcn.ssu.ac.kr";
/// Its version.
pub const VERSION: &str = "v1";
/// Its kind.
pub const KIND: &str = "DRLScaleAction";
/// Its plural, as in URLs and roles.
pub const PLURAL: &str = "drlscaleactions";
/// What a field template puts the service's name in place of.
const SERVICE: &str = "${service}";

/// The fields of a spec and their values.
pub type Spec = BTreeMap<String, String>;

/// Names of a service's fields; `${service}` stands for its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldTemplates {
    /// CPU of a pod, as `4000m`.
    pub cpu: String,
    /// Target concurrency.
    pub concurrency: String,
    /// Pods.
    pub pods: String,
}

impl Default for FieldTemplates {
    fn default() -> Self {
        Self {
            cpu: "service${service}_resource".to_owned(),
            concurrency: "service${service}_concurrency".to_owned(),
            pods: "service${service}_podcount".to_owned(),
        }
    }
}

/// One service's fields.
#[derive(Clone, Debug)]
struct ServiceFields {
    cpu: String,
    concurrency: String,
    pods: String,
    profile: Profile,
}

/// How the decisions of one scenario are written into the custom resource and read back.
#[derive(Clone, Debug)]
pub struct ActionFormat {
    services: Vec<ServiceFields>,
}

impl ActionFormat {
    /// For the services of `scenario`. `place` names the templates in messages.
    ///
    /// # Errors
    /// [`Error::Input`] when two fields get the same name, or a name is no field's.
    pub fn new(scenario: &Scenario, templates: &FieldTemplates, place: &str) -> Result<Self> {
        let services: Vec<ServiceFields> = scenario
            .spec
            .service
            .iter()
            .zip(&scenario.profiles)
            .map(|(service, profile)| {
                let field = |template: &str| template.replace(SERVICE, &service.name);
                ServiceFields {
                    cpu: field(&templates.cpu),
                    concurrency: field(&templates.concurrency),
                    pods: field(&templates.pods),
                    profile: profile.clone(),
                }
            })
            .collect();
        let format = Self { services };
        let mut names: Vec<&str> = format.fields().collect();
        names.sort_unstable();
        let plain = |name: &&str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if let Some(name) = names.iter().find(|name| !plain(name)) {
            return Err(Error::input(
                place,
                format!("`{name}` is no name of a field"),
                "use letters, digits, `_`, `-` and `.`, with ${service} for the service's name",
            ));
        }
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::input(
                place,
                format!("two fields are named `{}`", pair[0]),
                "put ${service} into every template, and give each another name",
            ));
        }
        Ok(format)
    }

    /// Every field, service by service.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.services
            .iter()
            .flat_map(|one| [one.cpu.as_str(), one.concurrency.as_str(), one.pods.as_str()])
    }

    /// The fields of `decision`. A service that is left as it is keeps what `present` holds for it,
    /// character by character: server-side apply takes away a field that its manager leaves out.
    pub fn write(&self, decision: &Decision, present: &Spec) -> Spec {
        let mut spec = Spec::new();
        for (fields, slot) in self.services.iter().zip(&decision.services) {
            match slot {
                Some(one) => {
                    spec.insert(fields.cpu.clone(), format!("{}m", one.cpu_m));
                    spec.insert(fields.concurrency.clone(), one.concurrency.to_string());
                    spec.insert(fields.pods.clone(), one.pods.to_string());
                }
                None => {
                    for name in [&fields.cpu, &fields.concurrency, &fields.pods] {
                        if let Some(value) = present.get(name) {
                            spec.insert(name.clone(), value.clone());
                        }
                    }
                }
            }
        }
        spec
    }

    /// What `spec` asks of each service; `None` where a field is missing or cannot be read.
    pub fn read(&self, spec: &Spec) -> Vec<Option<ServiceDecision>> {
        self.services.iter().map(|fields| fields.read(spec)).collect()
    }

    /// What is in force by `spec`: an option of the profile, or else nothing that is known.
    pub fn in_force(&self, spec: &Spec) -> Vec<RevisionSnapshot> {
        self.read(spec)
            .into_iter()
            .map(|one| match one {
                Some(decision) if decision.option.is_some() => decision.as_revision(),
                _ => RevisionSnapshot::default(),
            })
            .collect()
    }
}

/// The definition of the custom resource with the fields of all `formats`, as YAML for
/// `kubectl apply -f -`. A cluster has one definition, whatever the number of its installations.
pub fn definition(formats: &[ActionFormat]) -> String {
    let mut text = format!(
        "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {PLURAL}.{GROUP}
spec:
  group: {GROUP}
  names:
    kind: {KIND}
    listKind: {KIND}List
    plural: {PLURAL}
    singular: drlscaleaction
  scope: Namespaced
  versions:
  - name: {VERSION}
    served: true
    storage: true
    subresources:
      status: {{}}
    schema:
      openAPIV3Schema:
        description: What each service is to run; made by quotascale, carried out by the operator.
        type: object
        properties:
          apiVersion:
            type: string
          kind:
            type: string
          metadata:
            type: object
          spec:
            type: object
            properties:
"
    );
    let mut written = BTreeSet::new();
    for fields in formats.iter().flat_map(|format| &format.services) {
        for (name, about) in [
            (&fields.cpu, "CPU of a pod, as 4000m"),
            (&fields.concurrency, "Target concurrency of a pod"),
            (&fields.pods, "Pods"),
        ] {
            if written.insert(name) {
                // Writing to a string does not fail.
                let _ = write!(
                    text,
                    "              {name}:\n                description: {about}.\n                type: string\n"
                );
            }
        }
    }
    text.push_str("          status:\n            type: object\n");
    text
}

impl ServiceFields {
    fn read(&self, spec: &Spec) -> Option<ServiceDecision> {
        let cpu_m = milli_cpu(spec.get(&self.cpu)?)?;
        let concurrency = spec.get(&self.concurrency)?.parse().ok()?;
        let pods = spec.get(&self.pods)?.parse().ok()?;
        let option = self.profile.find(cpu_m, concurrency);
        Some(ServiceDecision { option, cpu_m, concurrency, pods })
    }
}

/// Whole millicores of a CPU quantity as Kubernetes writes it (`4000m`, `4`, `2.5`).
pub fn milli_cpu(text: &str) -> Option<u64> {
    whole(quantity(text)? * 1000.0)
}

/// Whole MiB of a memory quantity as Kubernetes writes it (`200Mi`, `3G`), rounded down.
pub fn mebibytes(text: &str) -> Option<u64> {
    whole((quantity(text)? / (1024.0 * 1024.0)).floor())
}

fn whole(value: f64) -> Option<u64> {
    let rounded = value.round();
    ((value - rounded).abs() < 1e-6 && (0.0..=1e15).contains(&rounded)).then_some(rounded as u64)
}

/// The value of a Kubernetes quantity: a decimal with an optional suffix or exponent.
fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1.0));
    // Rust reads words such as `inf` as numbers too; a quantity begins with a digit, a sign or a point.
    let plain =
        number.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'));
    let value: f64 = number.parse().ok().filter(|_| plain)?;
    Some(value * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format() -> (ActionFormat, Scenario) {
        let scenario = Scenario::load("paper-knative", &[]).unwrap();
        let format = ActionFormat::new(&scenario, &FieldTemplates::default(), "fields").unwrap();
        (format, scenario)
    }

    #[test]
    fn the_defaults_are_the_originals_nine_strings() {
        let (format, scenario) = format();
        let decision = Decision {
            services: vec![
                Some(scenario.profiles[0].decision(21, 1)),
                Some(scenario.profiles[1].decision(6, 12)),
                Some(scenario.profiles[2].decision(0, 2)),
            ],
            reason: String::new(),
        };
        let spec = format.write(&decision, &Spec::new());
        let text: Vec<String> =
            spec.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(spec["servicehouse_resource"], "4000m");
        assert_eq!(spec["servicehouse_concurrency"], "60");
        assert_eq!(spec["servicehouse_podcount"], "1");
        assert_eq!(spec["servicenumbr_resource"], "500m");
        assert_eq!(text.len(), 9, "{text:?}");
        let back = format.read(&spec);
        assert_eq!(back, decision.services);
    }

    #[test]
    fn a_service_left_alone_keeps_its_text_and_an_unknown_option_is_not_known() {
        let (format, _) = format();
        let mut present = Spec::new();
        for (name, value) in [
            ("servicehouse_resource", "4"),
            ("servicehouse_concurrency", "60"),
            ("servicehouse_podcount", "2"),
            ("servicesenti_resource", "1234m"),
            ("servicesenti_concurrency", "7"),
            ("servicesenti_podcount", "2"),
            ("somebody_elses", "x"),
        ] {
            present.insert(name.to_owned(), value.to_owned());
        }
        let nothing = Decision { services: vec![None; 3], reason: String::new() };
        let spec = format.write(&nothing, &present);
        assert_eq!(spec["servicehouse_resource"], "4");
        assert!(!spec.contains_key("somebody_elses"), "only our own fields");
        let in_force = format.in_force(&present);
        assert_eq!((in_force[0].option, in_force[0].cpu_m), (Some(21), 4000));
        assert!(!in_force[1].is_known(), "no option of the profile");
        assert!(!in_force[2].is_known(), "missing");
    }

    #[test]
    fn templates_have_to_tell_services_apart() {
        let scenario = Scenario::load("paper-knative", &[]).unwrap();
        let templates = FieldTemplates { cpu: "cpu".to_owned(), ..FieldTemplates::default() };
        let error = ActionFormat::new(&scenario, &templates, "live.toml:9: kubernetes.fields");
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("live.toml:9: kubernetes.fields: two fields are named `cpu`"));
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("4000m", Some(4000)),
            ("4", Some(4000)),
            ("2.5", Some(2500)),
            ("4e0", Some(4000)),
            ("1k", Some(1_000_000)),
            ("inf", None),
            ("-1", None),
            ("", None),
            ("0.0001", None),
        ] {
            assert_eq!(milli_cpu(text), expected, "{text}");
        }
        assert_eq!(mebibytes("200Mi"), Some(200));
        assert_eq!(mebibytes("3G"), Some(2861));
        assert_eq!(mebibytes("1048576"), Some(1));
    }
}
