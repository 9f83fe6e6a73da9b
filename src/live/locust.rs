//! Locust's web API, `/stats/requests`, of every version since 2.8.
//!
//! The names of its fields changed over time, which is why the usual exporter reports a p95 of zero
//! on a newer Locust:
//!
//! | Locust | p95 of the last seconds |
//! |---|---|
//! | 2.8 to 2.14 | `current_response_time_percentile_95` |
//! | 2.15 to 2.19, and later with the classic page | `current_response_time_percentile_2` |
//! | since 2.20 with the modern page | `current_response_time_percentiles`, an object; a locustfile chooses its keys |
//!
//! A null there is no sample, never zero. After the end of a test the last percentiles stand on:
//! only the state says so.

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::fault::{Fault, FaultKind};
use super::http::{Server, Session};

/// The versions whose answers are known, for messages.
const KNOWN_VERSIONS: &str = "2.8 to 2.47";

/// One Locust.
#[derive(Debug)]
pub struct Locust {
    server: Server,
}

/// What Locust says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it does.
    pub state: State,
    /// Users now.
    pub users: f64,
    /// Median latency of the last seconds, ms; `None` without requests, and where the locustfile
    /// left it out.
    pub p50_ms: Option<f64>,
    /// p95 latency of the last seconds, ms; `None` without requests.
    pub p95_ms: Option<f64>,
    /// Share of requests that failed, since the start.
    pub fail_ratio: f64,
    /// One entry a request, and the one for all together (`Aggregated`) last.
    pub stats: Vec<Stats>,
    /// Errors that requests ended with.
    pub errors: Vec<ErrorCount>,
    /// The workers of a distributed run.
    pub workers: Vec<Worker>,
}

/// What Locust does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits to be started.
    Ready,
    /// Starts or stops users. Before 1.0: `hatching`.
    #[serde(alias = "hatching")]
    Spawning,
    /// Has the users it was asked for.
    Running,
    /// Is about to stop.
    Cleanup,
    /// Is stopping.
    Stopping,
    /// Has ended.
    Stopped,
    /// A master without workers.
    Missing,
}

impl State {
    /// Whether users send requests.
    pub fn active(self) -> bool {
        matches!(self, Self::Spawning | Self::Running)
    }

    /// Locust's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Spawning => "spawning",
            Self::Running => "running",
            Self::Cleanup => "cleanup",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Missing => "missing",
        }
    }
}

/// What Locust says of the requests of one name. Latencies in ms, rates per second.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Stats {
    /// HTTP method; none for all together.
    #[serde(default)]
    pub method: Option<String>,
    /// The name of the request.
    pub name: String,
    /// Requests since the start.
    pub num_requests: f64,
    /// Failures since the start.
    pub num_failures: f64,
    /// Mean latency since the start.
    #[serde(default)]
    pub avg_response_time: Option<f64>,
    /// Least latency since the start.
    #[serde(default)]
    pub min_response_time: Option<f64>,
    /// Greatest latency since the start.
    #[serde(default)]
    pub max_response_time: Option<f64>,
    /// Median latency since the start.
    #[serde(default)]
    pub median_response_time: Option<f64>,
    /// Requests per second now.
    #[serde(default)]
    pub current_rps: Option<f64>,
    /// Failures per second now.
    #[serde(default)]
    pub current_fail_per_sec: Option<f64>,
    /// Mean length of an answer, bytes.
    #[serde(default)]
    pub avg_content_length: Option<f64>,
}

impl Stats {
    /// Whether this is the entry for all requests together.
    pub fn is_aggregate(&self) -> bool {
        // `Total` before 1.0. A request may have that name too, but has a method then.
        matches!(self.name.as_str(), "Aggregated" | "Total")
            && self.method.as_deref().unwrap_or_default().is_empty()
    }
}

/// How often requests ended with one error.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ErrorCount {
    /// HTTP method.
    #[serde(default)]
    pub method: Option<String>,
    /// The name of the request.
    #[serde(default)]
    pub name: String,
    /// What went wrong.
    #[serde(default)]
    pub error: String,
    /// How often.
    #[serde(default)]
    pub occurrences: f64,
}

/// One worker of a distributed run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Worker {
    /// Its name.
    pub id: String,
    /// What it does, in Locust's words.
    pub state: String,
    /// Its users.
    #[serde(default)]
    pub user_count: f64,
}

impl Report {
    /// Whether a distributed run has lost all its workers: its users are then unknown, not none.
    pub fn workers_missing(&self) -> bool {
        self.state == State::Missing
            || !self.workers.is_empty()
                && self.workers.iter().all(|worker| worker.state == "missing")
    }
}

impl Locust {
    /// The Locust whose web page is at `url`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, max_body_bytes: usize) -> Result<Self, String> {
        Ok(Self { server: Server::locust(url, max_body_bytes)? })
    }

    /// The URL without user and password.
    pub fn shown(&self) -> &str {
        self.server.shown()
    }

    /// A client.
    ///
    /// # Errors
    /// A fault where none can be made.
    pub fn session(&self) -> Result<Session, Fault> {
        self.server.session()
    }

    /// What Locust says now. It makes its answer anew every two seconds or so.
    ///
    /// # Errors
    /// A fault.
    pub async fn read(&self, session: &Session, deadline: Instant) -> Result<Report, Fault> {
        let body = self.server.get(session, "stats/requests", &[], deadline).await?;
        parse(&body).map_err(|(kind, text)| {
            self.server.fault(kind, format!("{}/stats/requests: {text}", self.shown()))
        })
    }

    /// A fault of this Locust.
    pub fn fault(&self, kind: FaultKind, text: &str) -> Fault {
        self.server.fault(kind, format!("{}: {text}", self.shown()))
    }
}

/// Reads an answer.
///
/// # Errors
/// The kind of fault and its details.
pub fn parse(body: &[u8]) -> Result<Report, (FaultKind, String)> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| {
        let kind = if error.is_eof() { FaultKind::Truncated } else { FaultKind::Decode };
        (kind, format!("the answer is no JSON: {error}"))
    })?;
    let Value::Object(mut answer) = answer else {
        return Err((FaultKind::UnknownKeys, "the answer is no JSON object".to_owned()));
    };
    let state = field(&mut answer, "state")?;
    let users: f64 = field(&mut answer, "user_count")?;
    let (p50_ms, p95_ms) = percentiles(&answer)?;
    Ok(Report {
        state,
        users,
        p50_ms,
        p95_ms,
        fail_ratio: optional(&mut answer, "fail_ratio")?,
        stats: optional(&mut answer, "stats")?,
        errors: optional(&mut answer, "errors")?,
        workers: optional(&mut answer, "workers")?,
    })
}

/// The median and the p95 of the last seconds, by whichever names this version has.
fn percentiles(
    answer: &Map<String, Value>,
) -> Result<(Option<f64>, Option<f64>), (FaultKind, String)> {
    // The numbered names are the charts' first and second percentile, which a
    // locustfile can change there too, but no answer says to what.
    for (p50, p95) in [
        ("current_response_time_percentile_50", "current_response_time_percentile_95"),
        ("current_response_time_percentile_1", "current_response_time_percentile_2"),
    ] {
        if let Some(value) = answer.get(p95) {
            return Ok((number(p50, answer.get(p50))?, number(p95, Some(value))?));
        }
    }
    let name = "current_response_time_percentiles";
    let Some(Value::Object(by_share)) = answer.get(name) else {
        return Err(unknown(answer, "the p95 latency"));
    };
    // Before the first request the object may be there without any key.
    if by_share.is_empty() {
        return Ok((None, None));
    }
    let share = |share| by_share.get(&format!("response_time_percentile_{share}"));
    let Some(p95) = share("0.95") else {
        let known: Vec<&str> = by_share.keys().map(String::as_str).collect();
        return Err((
            FaultKind::UnknownKeys,
            format!(
                "`{name}` has {} but no 0.95; the locustfile's PERCENTILES_TO_CHART has to hold 0.95",
                known.join(", ")
            ),
        ));
    };
    Ok((number(name, share("0.5"))?, number(name, Some(p95))?))
}

/// A number, or none where it is null or absent. Locust writes a zero in the second before the
/// first latency is known: no request takes no time.
fn number(name: &str, value: Option<&Value>) -> Result<Option<f64>, (FaultKind, String)> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number).filter(|&number| number != 0.0)),
            None => Err((FaultKind::Decode, format!("`{name}` holds {value}, no number"))),
        },
    }
}

fn field<T: serde::de::DeserializeOwned>(
    answer: &mut Map<String, Value>,
    name: &str,
) -> Result<T, (FaultKind, String)> {
    let Some(value) = answer.get_mut(name).map(Value::take) else {
        return Err(unknown(answer, &format!("`{name}`")));
    };
    decode(name, value)
}

fn optional<T: serde::de::DeserializeOwned + Default>(
    answer: &mut Map<String, Value>,
    name: &str,
) -> Result<T, (FaultKind, String)> {
    match answer.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => decode(name, value),
    }
}

fn decode<T: serde::de::DeserializeOwned>(
    name: &str,
    value: Value,
) -> Result<T, (FaultKind, String)> {
    serde_json::from_value(value).map_err(|error| (FaultKind::Decode, format!("`{name}`: {error}")))
}

fn unknown(answer: &Map<String, Value>, what: &str) -> (FaultKind, String) {
    let known: Vec<&str> = answer.keys().map(String::as_str).collect();
    let text = format!(
        "no field known by Locust {KNOWN_VERSIONS} holds {what}; the answer has {}",
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    );
    (FaultKind::UnknownKeys, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> Report {
        let path = format!("{}/tests/data/locust/{name}.json", env!("CARGO_MANIFEST_DIR"));
        parse(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn every_version_is_read() {
        for (version, p95_ms) in
            [("2.8.6", 33.0), ("2.17.0", 30.0), ("2.20.0", 33.0), ("2.47.0", 41.0)]
        {
            let report = recorded(&format!("{version}-running"));
            assert_eq!((report.state, report.users), (State::Running, 5.0), "{version}");
            assert_eq!(report.p95_ms, Some(p95_ms), "{version}");
            assert!(matches!(report.p50_ms, Some(23.0 | 24.0)), "{version}");
            let names: Vec<&str> = report.stats.iter().map(|stats| stats.name.as_str()).collect();
            assert_eq!(names, ["/fails", "/page", "Aggregated"], "{version}");
            let aggregates: Vec<bool> = report.stats.iter().map(Stats::is_aggregate).collect();
            assert_eq!(aggregates, [false, false, true], "{version}");
            assert!(report.errors[0].occurrences > 0.0 && report.fail_ratio > 0.0, "{version}");
            let ready = recorded(&format!("{version}-ready"));
            assert_eq!((ready.state, ready.users, ready.p95_ms), (State::Ready, 0.0, None));
            let stopped = recorded(&format!("{version}-stopped"));
            assert_eq!((stopped.state, stopped.users), (State::Stopped, 0.0), "{version}");
        }
    }

    #[test]
    fn workers_are_counted() {
        let master = recorded("master-running");
        assert_eq!(master.workers.len(), 1);
        assert_eq!(
            (master.workers[0].state.as_str(), master.workers[0].user_count),
            ("running", 4.0)
        );
        assert!(!master.workers_missing());
        assert!(recorded("master-missing").workers_missing());
    }

    #[test]
    fn what_is_not_locusts_is_told_apart() {
        let kind_of = |text: &str| parse(text.as_bytes()).unwrap_err();
        let (kind, text) = kind_of(r#"{"state": "running", "user_count": 3, "p95": 4}"#);
        assert_eq!(kind, FaultKind::UnknownKeys);
        assert!(text.contains("2.8 to 2.47") && text.contains("state, user_count, p95"), "{text}");
        let (kind, text) = kind_of(
            r#"{"state": "running", "user_count": 3,
                "current_response_time_percentiles": {"response_time_percentile_0.99": 4}}"#,
        );
        assert_eq!(kind, FaultKind::UnknownKeys);
        assert!(text.contains("PERCENTILES_TO_CHART"), "{text}");
        assert_eq!(kind_of("[]").0, FaultKind::UnknownKeys);
        assert_eq!(kind_of("{}").0, FaultKind::UnknownKeys);
        assert_eq!(kind_of("<html>").0, FaultKind::Decode);
        assert_eq!(kind_of(r#"{"state": "run"#).0, FaultKind::Truncated);
        assert_eq!(kind_of(r#"{"state": "dancing", "user_count": 3}"#).0, FaultKind::Decode);
        assert_eq!(
            kind_of(r#"{"state": "running", "user_count": 3, "current_response_time_percentile_95": "x"}"#).0,
            FaultKind::Decode
        );
    }
}
