//! A trace from past traffic: the answer to a range query as users over time.
//!
//! Each step of the query is one row, which lasts until the next step.

use super::fault::Fault;
use super::prometheus::{Range, Series, Steps};
use crate::error::{Error, Result};
use crate::trace::counts::Gaps;
use crate::trace::{MAX_USERS, ServiceTrace, Trace, round_half_up};

/// Labels that name a service, the best first, where several would tell the series apart.
const LABELS: [&str; 5] = ["service", "name", "job", "instance", "pod"];

/// The name of a lone series without a label that names it.
const LONE: &str = "users";

/// How a range becomes a trace.
#[derive(Clone, Debug, Default)]
pub struct PastTraffic {
    /// Names of the services, in the order of the series; empty: from a label.
    pub services: Vec<String>,
    /// The label that names the services; default: one that tells them apart.
    pub label: Option<String>,
    /// Whether fractions of users stay.
    pub fractional: bool,
    /// What happens where a series has no value.
    pub gaps: Gaps,
}

impl PastTraffic {
    /// The trace of `range`; `place` names the query in messages.
    ///
    /// # Errors
    /// [`Error::Input`] for no series, series that no label tells apart, gaps and what is no number
    /// of users.
    pub fn trace(&self, place: &str, range: &Range, steps: Steps) -> Result<Trace> {
        if range.series.is_empty() {
            return Err(Error::input(
                place,
                "the query has no series between these times",
                "try it on Prometheus's own page; --from and --to are UTC",
            ));
        }
        let stage_s = steps.step_s as u32;
        let names = self.names(place, &range.series)?;
        let mut services = Vec::new();
        for (series, name) in range.series.iter().zip(&names) {
            let users = self.users(&format!("{place}: {name}"), series, steps)?;
            services.push(ServiceTrace::from_rows(name, &users, stage_s));
        }
        Ok(Trace { services })
    }

    fn names(&self, place: &str, series: &[Series]) -> Result<Vec<String>> {
        if !self.services.is_empty() {
            if self.services.len() != series.len() {
                return Err(Error::input(
                    format!("--services {}", self.services.join(",")),
                    format!("{} services for {} series", self.services.len(), series.len()),
                    "name one service a series, in the order of their labels, or use --label",
                ));
            }
            return Ok(self.services.clone());
        }
        let known: Vec<&str> = series
            .iter()
            .flat_map(|one| one.labels.keys())
            .map(String::as_str)
            .filter(|&label| label != "__name__")
            .collect();
        let label = match &self.label {
            Some(label) => Some(label.as_str()),
            None => LABELS
                .into_iter()
                .chain(known.iter().copied())
                .find(|label| distinct(series, label).is_some()),
        };
        match label.and_then(|label| distinct(series, label)) {
            Some(names) => Ok(names),
            None if self.label.is_none() && series.len() == 1 => Ok(vec![LONE.to_owned()]),
            None => Err(Error::input(
                place,
                format!(
                    "the {} series are not told apart by {}",
                    series.len(),
                    label.map_or("any one label".to_owned(), |label| format!("the label {label}"))
                ),
                "sum by (LABEL) in the query, or name them with --services",
            )),
        }
    }

    fn users(&self, place: &str, series: &Series, steps: Steps) -> Result<Vec<f64>> {
        let missing = series.values.iter().filter(|users| users.is_nan()).count();
        let mut before = None;
        let mut rows = Vec::with_capacity(series.values.len());
        for (index, &users) in series.values.iter().enumerate() {
            let t_s = steps.from_s + index as f64 * steps.step_s;
            if !users.is_nan() && !(0.0..=MAX_USERS).contains(&users) {
                return Err(Error::input(
                    place,
                    format!("{users} users at {t_s}"),
                    "the query has to give numbers of users",
                ));
            }
            let users = match self.gaps {
                _ if !users.is_nan() => users,
                Gaps::Zero => 0.0,
                Gaps::Hold if before.is_some() => before.unwrap_or_default(),
                Gaps::Hold | Gaps::Refuse => {
                    return Err(Error::input(
                        place,
                        format!(
                            "no value at {t_s}; {missing} of {} rows have none",
                            series.values.len()
                        ),
                        "take times that have values, or fill the gaps: --gaps zero, or --gaps hold \
                         after a first value",
                    ));
                }
            };
            before = Some(users);
            rows.push(if self.fractional { users } else { round_half_up(users) });
        }
        Ok(rows)
    }
}

/// The values of a label if every series has one of its own.
fn distinct(series: &[Series], label: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for one in series {
        let name = one.labels.get(label).filter(|name| !name.trim().is_empty())?;
        if names.contains(name) {
            return None;
        }
        names.push(name.clone());
    }
    Some(names)
}

/// A fault of an import as an error: what the user wrote, or what is not to be reached now.
pub fn error_of(fault: &Fault) -> Error {
    use super::fault::FaultKind as K;
    match fault.kind {
        K::ErrorAnswer => {
            Error::input("--query", &fault.text, "try the query on Prometheus's own page")
        }
        K::Redirect | K::ContentType | K::Decode | K::Status => {
            Error::input("URL", &fault.text, "name a Prometheus, as http://HOST:9090")
        }
        K::Credentials => Error::input("credentials", &fault.text, "check the file"),
        _ => Error::Failed(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps { from_s: 1000.0, step_s: 60.0, points: 3 };

    fn series(labels: &[(&str, &str)], values: [f64; 3]) -> Series {
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Series { labels: labels.collect(), values: values.to_vec() }
    }

    #[test]
    fn a_label_that_tells_them_apart_names_the_services() {
        let range = Range {
            series: vec![
                series(&[("__name__", "u"), ("job", "x"), ("zone", "a")], [1.0, 2.4, 2.5]),
                series(&[("__name__", "u"), ("job", "x"), ("zone", "b")], [4.0, 5.0, 6.0]),
            ],
            warnings: Vec::new(),
        };
        let rule = PastTraffic::default();
        let trace = rule.trace("q", &range, STEPS).unwrap();
        let found: Vec<(&str, Vec<f64>)> = trace
            .services
            .iter()
            .map(|one| (one.service.as_str(), one.stages.iter().map(|stage| stage.users).collect()))
            .collect();
        assert_eq!(found, [("a", vec![1.0, 2.0, 3.0]), ("b", vec![4.0, 5.0, 6.0])]);
        assert_eq!(trace.services[0].duration_s(), 180);
        let by_job = PastTraffic { label: Some("job".to_owned()), ..rule };
        assert_eq!(by_job.trace("q", &range, STEPS).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn gaps_are_refused_or_filled() {
        let range = Range { series: vec![series(&[], [7.0, f64::NAN, 9.5])], warnings: Vec::new() };
        let rows = |gaps| {
            let rule = PastTraffic { gaps, fractional: true, ..PastTraffic::default() };
            rule.trace("q", &range, STEPS).map(|trace| {
                assert_eq!(trace.services[0].service, "users");
                trace.services[0].stages.iter().map(|stage| stage.users).collect::<Vec<_>>()
            })
        };
        assert!(rows(Gaps::Refuse).unwrap_err().to_string().contains("no value at 1060"));
        assert_eq!(rows(Gaps::Zero).unwrap(), [7.0, 0.0, 9.5]);
        assert_eq!(rows(Gaps::Hold).unwrap(), [7.0, 7.0, 9.5]);
    }
}
