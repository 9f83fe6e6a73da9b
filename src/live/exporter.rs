//! Locust's figures in Prometheus's text format, under the names that the usual exporter has
//! (ContainerSolutions/locust_exporter), so that whoever scrapes that one can scrape this.
//!
//! Different on purpose:
//!
//! - Latencies come from every version of Locust; what is not known is left out rather than zero.
//! - The entry for all requests together is left out: a sum over `name` counts each request once.
//! - `locust_running` is 1 while users spawn, in the words of every version.
//! - An answer that is not Locust's makes `locust_up` zero, and nothing else is said then.
//! - Several Locusts can be served at once, told apart by a label `service`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use prometheus::{GaugeVec, IntCounter, Opts, Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fault::Fault;
use super::locust::{Locust, Report, State, Stats};

/// Longest answer of Locust that is read, bytes: one of a thousand request names has 600 kB.
const MAX_BODY_BYTES: usize = 16 << 20;

/// What Prometheus says about how long it waits, seconds.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// The part of that time that Locust may take; the rest is for the way back.
const SCRAPE_SHARE: f64 = 0.9;

/// Serves the figures of one or several Locusts.
#[derive(Debug)]
pub struct Exporter {
    namespace: String,
    timeout: Duration,
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    /// The value of the label `service`, if there are several.
    service: Option<String>,
    locust: Arc<Locust>,
    scrapes: AtomicU64,
    /// Whether the last answer was usable, so that only changes are told.
    up: AtomicBool,
}

/// A value of each request name: the metric's name, its help, where it stands.
type OfStats = (&'static str, &'static str, fn(&Stats) -> Option<f64>);

const OF_STATS: [OfStats; 9] = [
    ("num_requests", "Requests since the start.", |stats| Some(stats.num_requests)),
    ("num_failures", "Failed requests since the start.", |stats| Some(stats.num_failures)),
    ("avg_response_time", "Mean latency since the start, ms.", |stats| stats.avg_response_time),
    ("min_response_time", "Least latency since the start, ms.", |stats| stats.min_response_time),
    ("max_response_time", "Greatest latency since the start, ms.", |stats| stats.max_response_time),
    ("median_response_time", "Median latency since the start, ms.", |stats| {
        stats.median_response_time
    }),
    ("current_rps", "Requests per second now.", |stats| stats.current_rps),
    ("current_fail_per_sec", "Failures per second now.", |stats| stats.current_fail_per_sec),
    ("avg_content_length", "Mean length of an answer, bytes.", |stats| stats.avg_content_length),
];

impl Exporter {
    /// An exporter that waits at most `timeout` for Locust. The metrics' names begin with `namespace`.
    pub fn new(namespace: &str, timeout: Duration) -> Self {
        Self { namespace: namespace.to_owned(), timeout, sources: Vec::new() }
    }

    /// Adds the Locust whose web page is at `url`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn add(&mut self, service: Option<String>, url: &str) -> Result<(), String> {
        let locust = Arc::new(Locust::new(url, MAX_BODY_BYTES)?);
        let (scrapes, up) = (AtomicU64::new(0), AtomicBool::new(true));
        self.sources.push(Source { service, locust, scrapes, up });
        Ok(())
    }

    /// The figures of this moment in the text format 0.0.4. `wait` is how long the asker waits, if
    /// it says so.
    ///
    /// # Errors
    /// When a name is not one that Prometheus takes.
    pub async fn text(&self, wait: Option<Duration>) -> prometheus::Result<String> {
        let wait = wait.map_or(self.timeout, |wait| wait.min(self.timeout));
        let deadline = Instant::now() + wait;
        let mut questions = JoinSet::new();
        for (index, source) in self.sources.iter().enumerate() {
            let locust = Arc::clone(&source.locust);
            questions.spawn(async move {
                let report = match locust.session() {
                    Ok(session) => locust.read(&session, deadline).await,
                    Err(fault) => Err(fault),
                };
                (index, report)
            });
        }
        let mut reports: Vec<Option<Result<Report, Fault>>> =
            self.sources.iter().map(|_| None).collect();
        while let Some(Ok((index, report))) = questions.join_next().await {
            reports[index] = Some(report);
        }
        let mut families = Vec::new();
        for (source, report) in self.sources.iter().zip(reports) {
            let report = report.and_then(|report| source.judge(report));
            let labels = source.service.iter().map(|name| ("service".to_owned(), name.clone()));
            let registry =
                Registry::new_custom(Some(self.namespace.clone()), Some(labels.collect()))?;
            source.fill(&registry, report.as_ref())?;
            families.push(registry.gather());
        }
        TextEncoder::new().encode_to_string(&merged(families))
    }

    /// Answers on `listener` until `stop` is done, then finishes what is under way.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let app = Router::new()
            .route("/", get(|| async { Html(r#"<a href="/metrics">Metrics</a>"#) }))
            .route("/metrics", get(metrics))
            .with_state(Arc::new(self));
        axum::serve(listener, app).with_graceful_shutdown(stop).await
    }
}

async fn metrics(Shared(exporter): Shared<Arc<Exporter>>, headers: HeaderMap) -> impl IntoResponse {
    let wait = headers
        .get(SCRAPE_TIMEOUT)
        .and_then(|value| value.to_str().ok()?.parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds * SCRAPE_SHARE).ok());
    exporter
        .text(wait)
        .await
        .map(|text| ([(CONTENT_TYPE, TEXT_FORMAT)], text))
        .map_err(|error| (axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

impl Source {
    /// The report if it is usable; tells of the change where it was and no longer is, or is again.
    fn judge(&self, report: Result<Report, Fault>) -> Option<Report> {
        let was_up = self.up.swap(report.is_ok(), Ordering::Relaxed);
        match report {
            Ok(report) => {
                if !was_up {
                    eprintln!("{}: answers again", self.locust.shown());
                }
                Some(report)
            }
            Err(fault) => {
                if was_up {
                    eprintln!("warning: {fault}");
                }
                None
            }
        }
    }

    fn fill(&self, registry: &Registry, report: Option<&Report>) -> prometheus::Result<()> {
        let scrapes = IntCounter::new("total_scrapes", "Times that Locust was asked.")?;
        scrapes.inc_by(self.scrapes.fetch_add(1, Ordering::Relaxed) + 1);
        registry.register(Box::new(scrapes))?;
        let up = report.is_some();
        plain(registry, "up", "Whether Locust answers (1) or not (0).", Some(f64::from(up)))?;
        let Some(report) = report else { return Ok(()) };

        plain(registry, "users", "Users now.", Some(report.users))?;
        let running = match report.state {
            State::Spawning => 1.0,
            State::Running => 2.0,
            State::Ready | State::Cleanup | State::Stopping | State::Stopped | State::Missing => {
                0.0
            }
        };
        plain(registry, "running", "0 stopped, 1 users spawn, 2 running.", Some(running))?;
        let active = report.state.active();
        let ratio = "Share of requests that failed, since the start.";
        plain(registry, "requests_fail_ratio", ratio, Some(report.fail_ratio))?;
        for (share, latency) in [("50", report.p50_ms), ("95", report.p95_ms)] {
            let name = format!("requests_current_response_time_percentile_{share}");
            let help = format!("p{share} of the latencies of the last 10 s, ms.");
            // After the end of a test Locust repeats the last ones.
            plain(registry, &name, &help, latency.filter(|_| active))?;
        }
        self.fill_stats(registry, report)?;
        fill_workers(registry, report)
    }

    fn fill_stats(&self, registry: &Registry, report: &Report) -> prometheus::Result<()> {
        for (name, help, value) in OF_STATS {
            let gauge = vector(registry, &format!("requests_{name}"), help, &["method", "name"])?;
            for stats in report.stats.iter().filter(|stats| !stats.is_aggregate()) {
                if let Some(value) = value(stats) {
                    let method = stats.method.as_deref().unwrap_or_default();
                    gauge.with_label_values(&[method, &stats.name]).set(value);
                }
            }
        }
        let errors = vector(
            registry,
            "errors",
            "Requests that ended with an error, since the start.",
            &["method", "name", "error"],
        )?;
        for error in &report.errors {
            let method = error.method.as_deref().unwrap_or_default();
            errors.with_label_values(&[method, &error.name, &error.error]).set(error.occurrences);
        }
        Ok(())
    }
}

fn fill_workers(registry: &Registry, report: &Report) -> prometheus::Result<()> {
    let count = |states: &[&str]| {
        let known = report.workers.iter().filter(|worker| states.contains(&worker.state.as_str()));
        Some(known.count() as f64)
    };
    let all = Some(report.workers.len() as f64);
    plain(registry, "workers_count", "Workers of a distributed run.", all)?;
    for (name, states) in [
        ("running", &["running"][..]),
        ("hatching", &["spawning", "hatching"]),
        ("missing", &["missing"]),
    ] {
        let help = format!("Workers whose state is {}.", states[0]);
        plain(registry, &format!("workers_{name}_count"), &help, count(states))?;
    }
    let detail = vector(registry, "worker_detail", "Users of each worker.", &["id", "state"])?;
    for worker in &report.workers {
        detail.with_label_values(&[&worker.id, &worker.state]).set(worker.user_count);
    }
    Ok(())
}

/// A gauge without labels; none for no value.
fn plain(
    registry: &Registry,
    name: &str,
    help: &str,
    value: Option<f64>,
) -> prometheus::Result<()> {
    match value {
        None => Ok(()),
        Some(value) => {
            vector(registry, name, help, &[])?.with_label_values::<&str>(&[]).set(value);
            Ok(())
        }
    }
}

fn vector(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<GaugeVec> {
    let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// The families of all registries; those of one name become one, as the format wants it.
fn merged(all: Vec<Vec<prometheus::proto::MetricFamily>>) -> Vec<prometheus::proto::MetricFamily> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut families: Vec<prometheus::proto::MetricFamily> = Vec::new();
    for mut family in all.into_iter().flatten() {
        match places.get(family.name()) {
            Some(&place) => families[place].mut_metric().extend(family.take_metric()),
            None => {
                places.insert(family.name().to_owned(), families.len());
                families.push(family);
            }
        }
    }
    families
}
