//! The HTTP endpoints: /metrics, /healthz, /readyz.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics::Metrics;
use crate::error::{Error, Result};

/// A loop that has not turned for so long hangs.
const HANGS: Duration = Duration::from_secs(90);

/// What the endpoints tell, shared with the loop.
pub struct Telemetry {
    /// The metrics.
    pub metrics: Metrics,
    /// Why we are not ready, by what it is about.
    problems: Mutex<BTreeMap<&'static str, String>>,
    beat: Mutex<Instant>,
}

impl Telemetry {
    /// Not ready yet.
    pub fn new(metrics: Metrics) -> Self {
        let problems = BTreeMap::from([("start", "no look at the cluster yet".to_owned())]);
        Self { metrics, problems: Mutex::new(problems), beat: Mutex::new(Instant::now()) }
    }

    /// Sets or clears the problem with `what`. Tells whether that is news.
    pub fn problem(&self, what: &'static str, problem: Option<String>) -> bool {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(text) => problems.insert(what, text.clone()) != Some(text),
            None => problems.remove(what).is_some(),
        }
    }

    /// The loop turned.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn hangs(&self) -> bool {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > HANGS
    }

    fn reasons(&self) -> String {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.iter().fold(String::new(), |mut text, (what, problem)| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{what}: {problem}");
            text
        })
    }
}

/// Listens at `address` (`host:port`).
///
/// # Errors
/// [`Error::Input`] when that is not possible.
pub async fn listen(address: &str, place: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::input(
            place,
            format!("cannot listen at {address}: {error}"),
            "name another host:port, or stop what listens there",
        )
    })
}

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, telemetry: Arc<Telemetry>, stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(telemetry);
    let mut stop = stop;
    let stopped = async move {
        // An error means that nobody can ask to stop any more.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the endpoints stopped");
    }
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> Response {
    match telemetry.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn healthz(State(telemetry): State<Arc<Telemetry>>) -> Response {
    if telemetry.hangs() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the loop hangs\n").into_response();
    }
    "ok\n".into_response()
}

async fn readyz(State(telemetry): State<Arc<Telemetry>>) -> Response {
    let reasons = telemetry.reasons();
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons).into_response()
}
