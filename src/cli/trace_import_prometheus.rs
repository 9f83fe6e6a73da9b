//! `trace import --kind prometheus`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::live::past_traffic::{PastTraffic, error_of};
use crate::live::prometheus::{Prometheus, Steps};
use crate::live::query::promql_duration;
use crate::live::signal_config::PrometheusConfig;
use crate::live::span::Span;
use crate::trace::{Trace, check_length, parse_iso};

/// Longest answer that is read, bytes: a hundred series of 10,000 points.
const MAX_BODY_BYTES: usize = 64 << 20;

/// What only range queries have.
#[derive(clap::Args)]
#[command(next_help_heading = "Prometheus")]
pub struct RangeQuery {
    /// PromQL whose series are the services: 'sum by (service) (locust_users)'.
    #[arg(long, value_name = "PROMQL")]
    query: Option<String>,
    /// First row: unix time, 2026-11-24T08:00:00Z, now or now-6h.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Last row, in the same words [default: now].
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Length of a row, as 120, 120s or 2m [default: 120s].
    #[arg(long, value_name = "DURATION")]
    step: Option<String>,
    /// The label that names the services [default: one that tells the series apart].
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// How long the whole import may take [default: 30s].
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// A file with a bearer token.
    #[arg(long, value_name = "FILE")]
    bearer_token_file: Option<PathBuf>,
    /// A file with one line user:password.
    #[arg(long, value_name = "FILE")]
    basic_auth_file: Option<PathBuf>,
    /// A file of PEM certificates that are trusted instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl RangeQuery {
    /// The options that are given.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        [
            ("--query", self.query.is_some()),
            ("--from", self.from.is_some()),
            ("--to", self.to.is_some()),
            ("--step", self.step.is_some()),
            ("--label", self.label.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--bearer-token-file", self.bearer_token_file.is_some()),
            ("--basic-auth-file", self.basic_auth_file.is_some()),
            ("--ca-file", self.ca_file.is_some()),
        ]
        .into_iter()
        .filter_map(|(option, given)| given.then_some(option))
    }

    /// Asks the Prometheus at `url`; `rule` lacks the label.
    pub(super) fn import(&self, url: &str, rule: PastTraffic) -> Result<Trace> {
        let Some(query) = &self.query else {
            return Err(Error::input("trace import", "there is no query", "give one with --query"));
        };
        let steps = self.steps()?;
        let timeout = match &self.timeout {
            None => Span::from_secs(30),
            Some(text) => {
                Span::parse(text).ok_or_else(|| not_a("--timeout", text, "a duration, as 30s"))?
            }
        };
        let config = PrometheusConfig {
            max_body_bytes: MAX_BODY_BYTES,
            bearer_token_file: self.bearer_token_file.clone().unwrap_or_default(),
            basic_auth_file: self.basic_auth_file.clone().unwrap_or_default(),
            ca_file: self.ca_file.clone().unwrap_or_default(),
            ..PrometheusConfig::at(url)
        };
        let server = Prometheus::new(&config).map_err(|problem| {
            Error::input("URL", problem, "name a Prometheus, as http://HOST:9090")
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Failed(format!("no runtime can be started: {error}")))?;
        let range = runtime
            .block_on(async {
                let session = server.session()?;
                server.range(&session, query, steps, Instant::now() + timeout.0).await
            })
            .map_err(|fault| error_of(&fault))?;
        for warning in &range.warnings {
            eprintln!("warning: {}: {warning}", server.shown());
        }
        let rule = PastTraffic { label: self.label.clone(), ..rule };
        rule.trace(&format!("--query {query}"), &range, steps)
    }

    fn steps(&self) -> Result<Steps> {
        let step = self.step.as_deref().unwrap_or("120s");
        let step_s = step.parse().ok().or_else(|| Some(promql_duration(step)?.as_secs_f64()));
        let step_s: f64 = step_s
            .filter(|step_s: &f64| {
                *step_s >= 1.0 && step_s.fract() == 0.0 && *step_s <= f64::from(u32::MAX)
            })
            .ok_or_else(|| not_a("--step", step, "whole seconds, as 120, 120s or 2m"))?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let instant = |option: &str, text: &str| {
            parse_instant(text, now_s.floor()).ok_or_else(|| {
                not_a(option, text, "a time, as 2026-11-24T08:00:00Z, unix seconds or now-6h")
            })
        };
        let Some(from) = &self.from else {
            return Err(Error::input(
                "trace import",
                "no time is given",
                "give the first row with --from",
            ));
        };
        let from_s = instant("--from", from)?;
        let to = self.to.as_deref().unwrap_or("now");
        let to_s = instant("--to", to)?;
        if to_s < from_s {
            return Err(Error::input(
                format!("--to {to}"),
                format!("it lies before --from {from}"),
                "give the earlier time with --from",
            ));
        }
        // Times are rarely exact in binary; a thousandth of a step is no step.
        let points = ((to_s - from_s) / step_s + 1e-3).floor() as usize + 1;
        check_length(&|| "--from".to_owned(), points, step_s as u32)?;
        Ok(Steps { from_s, step_s, points })
    }
}

fn not_a(option: &str, text: &str, what: &str) -> Error {
    Error::input(option, format!("`{text}` is not understood"), format!("write {what}"))
}

/// Unix time of a number, an ISO 8601 instant, `now` or a time before now.
fn parse_instant(text: &str, now_s: f64) -> Option<f64> {
    if let Some(rest) = text.strip_prefix("now") {
        if rest.is_empty() {
            return Some(now_s);
        }
        return Some(now_s - promql_duration(rest.strip_prefix('-')?)?.as_secs_f64());
    }
    let number: Option<f64> = text.parse().ok();
    number.filter(|number| number.is_finite() && *number >= 0.0).or_else(|| parse_iso(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_several_notations() {
        let now_s = 1000.0;
        assert_eq!(parse_instant("now", now_s), Some(1000.0));
        assert_eq!(parse_instant("now-10m", now_s), Some(400.0));
        assert_eq!(parse_instant("1795552100.5", now_s), Some(1_795_552_100.5));
        assert_eq!(parse_instant("1970-01-01T00:02:00Z", now_s), Some(120.0));
        for text in ["", "now+1m", "now-", "yesterday", "-5", "inf"] {
            assert_eq!(parse_instant(text, now_s), None, "{text}");
        }
    }
}
