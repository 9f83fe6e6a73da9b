//! What Prometheus scrapes: users and p95 latency as Locust's exporter names them, with a label
//! `service`; pods and quota as kube-state-metrics names them; and the rehearsal's own clock.
//!
//! Names and labels: github.com/ContainerSolutions/locust_exporter and kube-state-metrics'
//! docs/metrics (pod and resourcequota). Pods are named as Knative and a Deployment name them.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{Encoder, Gauge, GaugeVec, Opts, Registry, TextEncoder};

use crate::error::{Error, Result};
use crate::live::signals::Target;
use crate::sim::{PodPhase, PodView, Simulator};
use crate::snapshot::Snapshot;

/// The container that the operator sizes.
const USER_CONTAINER: &str = "user-container";
/// Knative's sidecar.
const QUEUE_PROXY: &str = "queue-proxy";
/// CPU that Knative requests for the sidecar by default, cores. The simulated quota leaves it out.
const QUEUE_PROXY_CORES: f64 = 0.025;
/// Name of the quota.
const QUOTA: &str = "rehearsal";
/// The one node.
const NODE: &str = "rehearsal";
const MEBIBYTE: f64 = 1_048_576.0;

/// What the rehearsal says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Simulated seconds played.
    pub simulated_s: u32,
    /// Times as fast as the wall.
    pub speed: f64,
    /// Whether simulated time waits for a tick of live.
    pub waits: bool,
    /// Ticks that live reported.
    pub reported: u64,
    /// Ticks that live did not report in time.
    pub silent: u64,
    /// Ticks that live reported of something older than the simulation's stop.
    pub out_of_step: u64,
}

/// Writes the metrics of one simulated cluster.
#[derive(Clone, Debug)]
pub struct Exposition {
    targets: Vec<Target>,
    namespace: String,
    /// Wall time at which a pod was first seen to be deleted, by its id.
    deleted_s: BTreeMap<u64, f64>,
    snapshot: Snapshot,
}

impl Exposition {
    /// For the services `targets`, in the scenario's order, in `namespace`.
    pub fn new(targets: Vec<Target>, namespace: &str) -> Self {
        Self {
            targets,
            namespace: namespace.to_owned(),
            deleted_s: BTreeMap::new(),
            snapshot: Snapshot::default(),
        }
    }

    /// The metrics in Prometheus' text format 0.0.4. `simulator` is `None` before simulated time begins:
    /// then there is no service and no pod. `wall_s` is unix time.
    ///
    /// # Errors
    /// Never, as long as the names are distinct and valid.
    pub fn text(
        &mut self,
        simulator: Option<&Simulator>,
        standing: &Standing,
        wall_s: f64,
    ) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        self.gather(simulator, standing, wall_s)
            .and_then(|registry| TextEncoder::new().encode(&registry.gather(), &mut text))
            .map_err(|error| Error::Failed(format!("cannot write the metrics: {error}")))?;
        Ok(text)
    }

    fn gather(
        &mut self,
        simulator: Option<&Simulator>,
        standing: &Standing,
        wall_s: f64,
    ) -> prometheus::Result<Registry> {
        let registry = Registry::new();
        gather_standing(&registry, standing)?;
        let Some(simulator) = simulator else { return Ok(registry) };
        simulator.snapshot(0, &mut self.snapshot);
        self.gather_load(&registry)?;
        self.gather_pods(&registry, simulator, wall_s)?;
        self.gather_quota(&registry, simulator)?;
        Ok(registry)
    }

    fn gather_load(&self, registry: &Registry) -> prometheus::Result<()> {
        let labels = ["service"];
        let up = vec(registry, "locust_up", "Whether Locust answered.", &labels)?;
        let users = vec(registry, "locust_users", "Users.", &labels)?;
        let p95 = vec(
            registry,
            "locust_requests_current_response_time_percentile_95",
            "p95 latency of the last seconds, ms.",
            &labels,
        )?;
        for (target, seen) in self.targets.iter().zip(&self.snapshot.services) {
            let labels = [target.service.as_str()];
            up.with_label_values(&labels).set(1.0);
            users.with_label_values(&labels).set(seen.users);
            // Where nothing was completed there is no percentile, and no sample rather than a zero.
            if let Some(p95_ms) = seen.p95_ms {
                p95.with_label_values(&labels).set(p95_ms);
            }
        }
        Ok(())
    }

    fn gather_pods(
        &mut self,
        registry: &Registry,
        simulator: &Simulator,
        wall_s: f64,
    ) -> prometheus::Result<()> {
        let requests = vec(
            registry,
            "kube_pod_container_resource_requests",
            "What a container requests.",
            &["namespace", "pod", "uid", "container", "node", "resource", "unit"],
        )?;
        let ready = vec(
            registry,
            "kube_pod_status_ready",
            "Whether the pod is ready to serve.",
            &["namespace", "pod", "uid", "condition"],
        )?;
        let deleted = vec(
            registry,
            "kube_pod_deletion_timestamp",
            "Unix time of the pod's deletion.",
            &["namespace", "pod", "uid"],
        )?;
        let mut terminating = BTreeMap::new();
        for (index, target) in self.targets.iter().enumerate() {
            for pod in simulator.pods(index) {
                let name = pod_name(&target.target, &pod);
                let uid = format!("00000000-0000-4000-8000-{:012x}", pod.id);
                let (namespace, name, uid) = (self.namespace.as_str(), name.as_str(), uid.as_str());
                let node = if pod.phase == PodPhase::Pending { "" } else { NODE };
                for (container, resource, unit, value) in [
                    (USER_CONTAINER, "cpu", "core", pod.cpu_m as f64 / 1000.0),
                    (USER_CONTAINER, "memory", "byte", pod.memory_mib as f64 * MEBIBYTE),
                    (QUEUE_PROXY, "cpu", "core", QUEUE_PROXY_CORES),
                ] {
                    requests
                        .with_label_values(&[namespace, name, uid, container, node, resource, unit])
                        .set(value);
                }
                // A pod without a node has no condition Ready yet.
                if pod.phase != PodPhase::Pending {
                    let serves = pod.phase == PodPhase::Ready;
                    for (condition, holds) in
                        [("true", serves), ("false", !serves), ("unknown", false)]
                    {
                        let value = f64::from(u8::from(holds));
                        ready.with_label_values(&[namespace, name, uid, condition]).set(value);
                    }
                }
                if pod.phase == PodPhase::Terminating {
                    let since_s = self.deleted_s.get(&pod.id).copied().unwrap_or(wall_s.floor());
                    terminating.insert(pod.id, since_s);
                    deleted.with_label_values(&[namespace, name, uid]).set(since_s);
                }
            }
        }
        self.deleted_s = terminating;
        Ok(())
    }

    fn gather_quota(&self, registry: &Registry, simulator: &Simulator) -> prometheus::Result<()> {
        let quota = vec(
            registry,
            "kube_resourcequota",
            "The quota of the namespace.",
            &["namespace", "resourcequota", "resource", "type"],
        )?;
        let limits = &simulator.model().quota;
        let (cpu_m, memory_mib) = simulator.used();
        for (resource, kind, value) in [
            ("requests.cpu", "hard", limits.cpu_m.cores()),
            ("requests.cpu", "used", cpu_m as f64 / 1000.0),
            ("requests.memory", "hard", limits.memory_mib.0 as f64 * MEBIBYTE),
            ("requests.memory", "used", memory_mib as f64 * MEBIBYTE),
        ] {
            quota.with_label_values(&[&self.namespace, QUOTA, resource, kind]).set(value);
        }
        Ok(())
    }
}

fn gather_standing(registry: &Registry, standing: &Standing) -> prometheus::Result<()> {
    for (name, help, value) in [
        (
            "quotascale_rehearsal_simulated_seconds",
            "Simulated time played.",
            f64::from(standing.simulated_s),
        ),
        ("quotascale_rehearsal_speed", "Times as fast as the wall.", standing.speed),
        (
            "quotascale_rehearsal_waits",
            "1 while simulated time waits for a tick of live.",
            f64::from(u8::from(standing.waits)),
        ),
    ] {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        register(registry, gauge)?;
    }
    let ticks = prometheus::IntCounterVec::new(
        Opts::new("quotascale_rehearsal_ticks_total", "Ticks of live, by how they were seen."),
        &["outcome"],
    )?;
    for (outcome, count) in [
        ("reported", standing.reported),
        ("silent", standing.silent),
        ("out_of_step", standing.out_of_step),
    ] {
        ticks.with_label_values(&[outcome]).inc_by(count);
    }
    register(registry, ticks)
}

fn vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<GaugeVec> {
    let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
    register(registry, gauge.clone())?;
    Ok(gauge)
}

fn register(registry: &Registry, metric: impl Collector + 'static) -> prometheus::Result<()> {
    registry.register(Box::new(metric))
}

/// `deploy-a-00002-deployment-bbbbc`: the name of Knative's Deployment of the revision, and a suffix in
/// the letters that Kubernetes draws its suffixes from.
fn pod_name(target: &str, pod: &PodView) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut suffix = [LETTERS[0]; 5];
    let mut rest = pod.id;
    for letter in suffix.iter_mut().rev() {
        *letter = LETTERS[(rest % 27) as usize];
        rest /= 27;
    }
    let suffix = suffix.map(char::from).iter().collect::<String>();
    format!("{target}-{:05}-deployment-{suffix}", pod.revision)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scenario::Scenario;
    use crate::sim::{Model, Start};
    use crate::snapshot::Decision;

    fn rehearsed(until: u32, change: bool) -> (Simulator, Exposition) {
        let scenario = Scenario::load("paper-knative", &[]).unwrap();
        let model = Arc::new(Model::new(&scenario).unwrap());
        let traffic = scenario.traffic(0).unwrap();
        let mut simulator = Simulator::new(model, &traffic, 0, &Start::Controlled).unwrap();
        simulator.advance(115);
        if change {
            let services = vec![Some(scenario.profiles[0].decision(21, 2)), None, None];
            simulator.apply(&Decision { services, reason: String::new() }).unwrap();
        }
        simulator.advance(until);
        let targets = [("house", "deploy-a"), ("senti", "sentiment"), ("numbr", "numberreg")];
        let targets = targets.map(|(service, target)| Target {
            service: service.to_owned(),
            target: target.to_owned(),
        });
        (simulator, Exposition::new(targets.to_vec(), "default"))
    }

    fn lines(text: &[u8], start: &str) -> Vec<String> {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    fn sum(text: &[u8], start: &str, with: &[&str]) -> f64 {
        let chosen = lines(text, start);
        let chosen = chosen.iter().filter(|line| with.iter().all(|part| line.contains(part)));
        chosen.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    #[test]
    fn every_number_of_a_snapshot_is_there_to_the_last_bit() {
        // During the roll-out: pods of two revisions, some starting.
        let (simulator, mut exposition) = rehearsed(117, true);
        let text = exposition.text(Some(&simulator), &Standing::default(), 1e9).unwrap();
        let mut snapshot = Snapshot::default();
        simulator.snapshot(0, &mut snapshot);
        for (service, seen) in ["house", "senti", "numbr"].into_iter().zip(&snapshot.services) {
            let label = format!("service=\"{service}\"");
            assert_eq!(sum(&text, "locust_users{", &[&label]), seen.users);
            let p95 = "locust_requests_current_response_time_percentile_95{";
            assert_eq!(Some(sum(&text, p95, &[&label])), seen.p95_ms);
        }
        let house = &snapshot.services[0];
        assert!(house.starting_pods == 2 && house.ready_pods > 0, "{house:?}");
        let pod = "pod=\"deploy-a-";
        let ready = |condition: &str| sum(&text, "kube_pod_status_ready{", &[pod, condition]);
        assert_eq!(ready("condition=\"true\""), f64::from(house.ready_pods));
        assert_eq!(ready("condition=\"false\""), f64::from(house.starting_pods));
        let requests = "kube_pod_container_resource_requests{";
        let user = "container=\"user-container\"";
        let cores = sum(&text, requests, &[pod, user, "resource=\"cpu\""]);
        assert_eq!((cores * 1000.0).round() as u64, house.cpu_m);
        let bytes = sum(&text, requests, &[pod, user, "resource=\"memory\"", "unit=\"byte\""]);
        assert_eq!(bytes, house.memory_mib as f64 * MEBIBYTE);
        let used = sum(&text, "kube_resourcequota{", &["requests.cpu", "type=\"used\""]);
        assert_eq!((used * 1000.0).round() as u64, snapshot.cpu_m());
        assert_eq!(sum(&text, "kube_resourcequota{", &["requests.cpu", "type=\"hard\""]), 40.0);
        assert_eq!(lines(&text, "kube_pod_deletion_timestamp{").len(), 0);
        let names: Vec<String> = simulator.pods(0).map(|pod| pod_name("deploy-a", &pod)).collect();
        assert!(names.iter().all(|name| name.starts_with("deploy-a-0000")), "{names:?}");
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len());
    }

    #[test]
    fn a_deleted_pod_keeps_its_time_of_deletion_until_it_is_gone() {
        let mut second = 117;
        let (mut simulator, mut exposition) = rehearsed(second, true);
        let terminating = |simulator: &Simulator| {
            simulator.pods(0).filter(|pod| pod.phase == PodPhase::Terminating).count()
        };
        while terminating(&simulator) == 0 {
            second += 1;
            simulator.advance(second);
        }
        let mut scrape = |simulator: &Simulator, wall_s: f64| {
            let text = exposition.text(Some(simulator), &Standing::default(), wall_s).unwrap();
            lines(&text, "kube_pod_deletion_timestamp{")
        };
        let first = scrape(&simulator, 1000.5);
        assert_eq!(first.len(), terminating(&simulator));
        assert!(first[0].ends_with("} 1000"), "{first:?}");
        assert_eq!(scrape(&simulator, 1001.5), first);
        simulator.advance(second + 60);
        assert_eq!(scrape(&simulator, 1061.5), Vec::<String>::new());
    }

    #[test]
    fn before_simulated_time_begins_there_is_no_service() {
        let (_, mut exposition) = rehearsed(115, false);
        let text = exposition.text(None, &Standing::default(), 1e9).unwrap();
        assert_eq!(lines(&text, "locust_"), Vec::<String>::new());
        assert_eq!(lines(&text, "kube_"), Vec::<String>::new());
        let own = lines(&text, "quotascale_rehearsal_");
        assert!(own.contains(&"quotascale_rehearsal_simulated_seconds 0".to_owned()), "{own:?}");
    }
}
