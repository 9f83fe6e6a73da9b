//! The Prometheus HTTP API: instant and range queries.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>. Values arrive as text ("NaN", "+Inf"
//! among them); the time beside an instant value is that of the evaluation, not of the sample.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::fault::{Fault, FaultKind};
use super::http::{Server, Session};
use super::signal_config::PrometheusConfig;

/// Most points a series that one range query may have: Prometheus refuses more than 11,000.
const MAX_POINTS: usize = 10_000;

/// A Prometheus, or what speaks its API.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
}

/// An instant query's only value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Finite.
    pub value: f64,
    /// What Prometheus (or Thanos) warned of.
    pub warnings: Vec<String>,
}

/// A range query's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// The series, in the order of the answer.
    pub series: Vec<Series>,
    /// What Prometheus (or Thanos) warned of.
    pub warnings: Vec<String>,
}

/// One series over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its labels; `__name__` is the metric's name.
    pub labels: BTreeMap<String, String>,
    /// The value at each step from the start; NaN where there is none.
    pub values: Vec<f64>,
}

/// The steps of a range query: `from_s`, `from_s + step_s`, …, so many points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// First instant, unix time.
    pub from_s: f64,
    /// Distance of two instants, seconds.
    pub step_s: f64,
    /// How many.
    pub points: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

#[derive(Deserialize)]
struct VectorElement {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

#[derive(Deserialize)]
struct MatrixElement {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl Prometheus {
    /// The server of `[prometheus]`.
    ///
    /// # Errors
    /// What is wrong with its URL or files.
    pub fn new(config: &PrometheusConfig) -> Result<Self, String> {
        Ok(Self { server: Server::prometheus(config)? })
    }

    /// The URL without user and password.
    pub fn shown(&self) -> &str {
        self.server.shown()
    }

    /// A client with the credentials that the files hold now.
    ///
    /// # Errors
    /// A fault of kind `credentials`.
    pub fn session(&self) -> Result<Session, Fault> {
        self.server.session()
    }

    /// The one value that `query` has now.
    ///
    /// # Errors
    /// A fault: no answer, no series or several, a value that is not finite, ..
    pub async fn instant(
        &self,
        session: &Session,
        query: &str,
        deadline: Instant,
    ) -> Result<Sample, Fault> {
        let body = self.server.get(session, "api/v1/query", &[("query", query)], deadline).await?;
        let (data, warnings) = self.parse(&body, query)?;
        let value = match data.result_type.as_str() {
            "vector" => {
                let elements: Vec<VectorElement> = self.decode(data.result, query)?;
                match elements.as_slice() {
                    [element] => self.number(&element.value.1, query)?,
                    [] => {
                        return Err(self.fault(FaultKind::Empty, query, "there is no such series"));
                    }
                    [first, second, ..] => {
                        let text = format!(
                            "{} series instead of one: {}, {}, ..",
                            elements.len(),
                            labels(&first.metric),
                            labels(&second.metric)
                        );
                        return Err(self.fault(FaultKind::Doubled, query, &text));
                    }
                }
            }
            "scalar" => {
                let (_, text): (f64, String) = self.decode(data.result, query)?;
                self.number(&text, query)?
            }
            other => {
                let text = format!("the result is a {other}, not a vector or scalar");
                return Err(self.fault(FaultKind::Decode, query, &text));
            }
        };
        if value.is_nan() {
            return Err(self.fault(FaultKind::NotANumber, query, "the value is NaN"));
        }
        if value.is_infinite() {
            return Err(self.fault(FaultKind::Infinite, query, "the value is infinite"));
        }
        Ok(Sample { value, warnings })
    }

    /// The values of `query` at `steps`, asked in as many parts as the server's limit needs. A series
    /// that a part lacks has no values there.
    ///
    /// # Errors
    /// A fault; values that are not finite are none.
    pub async fn range(
        &self,
        session: &Session,
        query: &str,
        steps: Steps,
        deadline: Instant,
    ) -> Result<Range, Fault> {
        let mut range = Range::default();
        let mut first = 0;
        while first < steps.points {
            let last = (first + MAX_POINTS).min(steps.points) - 1;
            let instant = |index: usize| (steps.from_s + index as f64 * steps.step_s).to_string();
            let (start, end, step) = (instant(first), instant(last), steps.step_s.to_string());
            let parameters = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
            let body =
                self.server.get(session, "api/v1/query_range", &parameters, deadline).await?;
            let (data, warnings) = self.parse(&body, query)?;
            if data.result_type != "matrix" {
                let text = format!("the result is a {}, not a matrix", data.result_type);
                return Err(self.fault(FaultKind::Decode, query, &text));
            }
            let elements: Vec<MatrixElement> = self.decode(data.result, query)?;
            for warning in warnings {
                if !range.warnings.contains(&warning) {
                    range.warnings.push(warning);
                }
            }
            for element in elements {
                let known = range.series.iter().position(|one| one.labels == element.metric);
                let index = known.unwrap_or(range.series.len());
                if known.is_none() {
                    let values = vec![f64::NAN; steps.points];
                    range.series.push(Series { labels: element.metric, values });
                }
                for (time, text) in element.values {
                    let at = ((time - steps.from_s) / steps.step_s).round();
                    let value = self.number(&text, query)?;
                    if at >= 0.0 && at < steps.points as f64 && value.is_finite() {
                        range.series[index].values[at as usize] = value;
                    }
                }
            }
            first = last + 1;
        }
        Ok(range)
    }

    fn parse(&self, body: &[u8], query: &str) -> Result<(Data, Vec<String>), Fault> {
        let answer: Answer = serde_json::from_slice(body).map_err(|error| {
            let kind = if error.is_eof() { FaultKind::Truncated } else { FaultKind::Decode };
            self.fault(kind, query, &format!("the answer is not Prometheus's: {error}"))
        })?;
        let warnings = answer.warnings.unwrap_or_default();
        match (answer.status.as_str(), answer.data) {
            ("success", Some(data)) => Ok((data, warnings)),
            ("error", _) => {
                let kind = answer.error_type.unwrap_or_default();
                let text = format!("{kind}: {}", answer.error.unwrap_or_default());
                Err(self.fault(FaultKind::ErrorAnswer, query, &text))
            }
            _ => Err(self.fault(FaultKind::Decode, query, "the answer has no data")),
        }
    }

    fn decode<T: DeserializeOwned>(&self, result: Value, query: &str) -> Result<T, Fault> {
        serde_json::from_value(result).map_err(|error| {
            self.fault(
                FaultKind::Decode,
                query,
                &format!("the result is not Prometheus's: {error}"),
            )
        })
    }

    /// A sample's text as a number, which may be NaN or infinite.
    fn number(&self, text: &str, query: &str) -> Result<f64, Fault> {
        text.parse().map_err(|_| {
            self.fault(FaultKind::Decode, query, &format!("the value `{text}` is no number"))
        })
    }

    /// A fault of a query at this server.
    pub fn fault(&self, kind: FaultKind, query: &str, text: &str) -> Fault {
        self.server.fault(kind, format!("{}: {query}: {text}", self.shown()))
    }
}

/// Labels as PromQL writes them.
fn labels(labels: &BTreeMap<String, String>) -> String {
    let parts: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", parts.join(","))
}
