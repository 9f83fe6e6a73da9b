//! The endpoint that Prometheus scrapes, and what its scrapes tell.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::exposition::{Exposition, Standing};
use crate::live::clock::{Clock, WallClock};
use crate::sim::Simulator;

/// The header by which a scrape is told from a person's look: Prometheus and what replaces it send it.
const SCRAPE_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// What of the longest time between scrapes is still reckoned with at the next one.
const FADE: f64 = 0.9;

/// The scrapes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scrapes {
    /// When the last one was answered.
    pub last: Option<Instant>,
    /// Time between the last two.
    gap: Option<Duration>,
    /// The shorter of the last two times between scrapes: what is usual.
    pub usual: Option<Duration>,
    /// The longest of late: what has to be reckoned with.
    pub longest: Option<Duration>,
    /// The first scrape that saw simulated time stand at a decision: its second, and the wall's unix
    /// time at the answer.
    pub stood: Option<(u32, f64)>,
}

impl Scrapes {
    /// A scrape at `now`.
    fn follow(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.duration_since(last);
            self.usual = Some(self.gap.map_or(gap, |before| before.min(gap)));
            self.longest = Some(self.longest.map_or(gap, |longest| gap.max(longest.mul_f64(FADE))));
            self.gap = Some(gap);
        }
    }
}

/// The simulated cluster, shared by who plays it and who shows it.
pub struct World {
    inner: Mutex<Inner>,
    scrapes: watch::Sender<Scrapes>,
}

/// What is behind the endpoint.
#[derive(Clone)]
pub struct Inner {
    /// The cluster.
    pub simulator: Simulator,
    /// Whether simulated time has begun: before, no service is shown.
    pub begun: bool,
    /// What the rehearsal says of itself.
    pub standing: Standing,
    exposition: Exposition,
}

impl World {
    /// Nothing has begun.
    pub fn new(simulator: Simulator, exposition: Exposition, speed: f64) -> Self {
        let standing = Standing { speed, ..Standing::default() };
        Self {
            inner: Mutex::new(Inner { simulator, begun: false, standing, exposition }),
            scrapes: watch::channel(Scrapes::default()).0,
        }
    }

    /// The cluster, for as long as the guard is held.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scrapes, and news of them.
    pub fn scrapes(&self) -> watch::Receiver<Scrapes> {
        self.scrapes.subscribe()
    }

    /// The cluster, when nobody serves it any more.
    pub fn into_inner(self) -> Inner {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, scraped: bool) -> Response {
        let mut inner = self.lock();
        let Inner { simulator, begun, standing, exposition } = &mut *inner;
        let wall_s = WallClock.now_s();
        standing.simulated_s = simulator.now();
        let text = exposition.text(begun.then_some(&*simulator), standing, wall_s);
        let stands = standing.waits.then_some(standing.simulated_s);
        drop(inner);
        if scraped {
            self.note_scrape(stands, wall_s);
        }
        match text {
            Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }

    fn note_scrape(&self, stands: Option<u32>, wall_s: f64) {
        let now = Instant::now();
        self.scrapes.send_modify(|scrapes| {
            scrapes.follow(now);
            match (stands, scrapes.stood) {
                (Some(second), Some((seen, _))) if second == seen => {}
                (Some(second), _) => scrapes.stood = Some((second, wall_s)),
                (None, _) => {}
            }
        });
    }
}

/// Serves /metrics until `stop` turns true.
pub async fn serve(listener: TcpListener, world: Arc<World>, mut stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(world);
    let stopped = async move {
        // An error means that nobody can ask to stop any more.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    // Fails only where the listener does, and then scrapes fail, which Prometheus shows.
    let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
}

async fn metrics(State(world): State<Arc<World>>, headers: HeaderMap) -> Response {
    world.show(headers.contains_key(SCRAPE_HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_scrape_is_reckoned_with_for_a_while_and_not_usual() {
        let start = Instant::now();
        let mut scrapes = Scrapes::default();
        let mut at_ms = 0;
        for gap_ms in [0, 200, 200, 1000, 200] {
            at_ms += gap_ms;
            scrapes.follow(start + Duration::from_millis(at_ms));
        }
        assert_eq!(scrapes.usual, Some(Duration::from_millis(200)));
        assert_eq!(scrapes.longest, Some(Duration::from_millis(900)));
        for _ in 0..20 {
            at_ms += 200;
            scrapes.follow(start + Duration::from_millis(at_ms));
        }
        assert_eq!(scrapes.longest, Some(Duration::from_millis(200)));
    }
}
