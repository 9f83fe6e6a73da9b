//! One round of questions: all signals of all services at once, before one deadline.
//!
//! A [`Reading`] is a value, or nothing to measure (no request was completed), or the fault that
//! stands in its way; what to do about a fault is the guard's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fault::{Fault, FaultKind, FaultSource};
use super::http::Session;
use super::locust::{Locust, Report};
use super::prometheus::{Prometheus, Sample, Steps};
use super::query::{Words, fill_in, is_selector, scale_windows};
use super::signal_config::{
    LocustConfig, PrometheusConfig, Signal, SignalConfig, SignalSource, SignalsConfig,
};
use crate::error::{Error, Result};
use crate::scenario::did_you_mean;

/// Most questions under way at once: Prometheus works on twenty.
const AT_ONCE: usize = 20;

/// A service to read the signals of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in the scenario.
    pub service: String,
    /// Its name in Kubernetes.
    pub target: String,
}

/// What [`Signals::new`] needs.
#[derive(Clone, Copy)]
pub struct SignalsSetup<'a> {
    /// `[signals]`.
    pub signals: &'a SignalsConfig,
    /// `[prometheus]`.
    pub prometheus: Option<&'a PrometheusConfig>,
    /// `[locust]`.
    pub locust: Option<&'a LocustConfig>,
    /// The services, in the scenario's order.
    pub targets: &'a [Target],
    /// The Kubernetes namespace.
    pub namespace: &'a str,
    /// The signals that are read; [`Signal::Users`] always is.
    pub needed: &'a [Signal],
    /// How much faster than wall time the clock goes (rehearsal only): windows of queries are so
    /// much shorter, and a sample so much older.
    pub speed: f64,
    /// The place of a key of live.toml, for messages.
    pub place: &'a dyn Fn(&str) -> String,
}

/// The signals of all services, ready to be read.
#[derive(Debug)]
pub struct Signals {
    prometheus: Option<Arc<Prometheus>>,
    services: Vec<ServicePlan>,
    speed: f64,
}

#[derive(Debug)]
struct ServicePlan {
    locust: Option<Arc<Locust>>,
    /// By number of signal.
    signals: [Option<SignalPlan>; Signal::ALL.len()],
}

#[derive(Clone, Debug)]
enum SignalPlan {
    Locust,
    Prometheus { query: String, age_query: Option<String>, max_age: Duration },
}

/// What one round of questions brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// One entry a service, in the scenario's order.
    pub services: Vec<ServiceObservation>,
}

impl Observation {
    /// All faults: those in the way of a value and those that are only to be told.
    pub fn faults(&self) -> impl Iterator<Item = (usize, Signal, &Fault)> {
        self.services.iter().enumerate().flat_map(|(index, service)| {
            Signal::ALL.into_iter().flat_map(move |signal| {
                let reading = service.reading(signal);
                let faults = reading.into_iter().flat_map(|reading| {
                    reading.value.as_ref().err().into_iter().chain(&reading.notes)
                });
                faults.map(move |fault| (index, signal, fault))
            })
        })
    }
}

/// What was read of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceObservation {
    /// By number of signal.
    readings: [Option<Reading>; Signal::ALL.len()],
}

impl ServiceObservation {
    /// What was read of a signal, if it was asked for.
    pub fn reading(&self, signal: Signal) -> Option<&Reading> {
        self.readings[signal as usize].as_ref()
    }

    /// The value of a signal: `None` if it was not asked for, is at fault, or has nothing to measure.
    pub fn value(&self, signal: Signal) -> Option<f64> {
        self.reading(signal).and_then(|reading| reading.value.as_ref().ok().copied().flatten())
    }
}

/// One signal of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The value, finite and not negative; `None` where there is nothing to measure: the latency
    /// without requests.
    pub value: std::result::Result<Option<f64>, Fault>,
    /// How old the sample is on the controller's clock, seconds; `None` where nothing says it.
    pub age_s: Option<f64>,
    /// What is to be counted and told though the value stands: warnings, a Locust that is stopped.
    pub notes: Vec<Fault>,
}

/// Past users of one service, oldest first.
pub type PastUsers = std::result::Result<Vec<f64>, Fault>;

impl Signals {
    /// Prepares the questions.
    ///
    /// # Errors
    /// [`Error::Input`] at the key that is wrong or missing.
    pub fn new(setup: &SignalsSetup<'_>) -> Result<Self> {
        let mut services = Vec::new();
        let mut asks_prometheus = false;
        for target in setup.targets {
            let mut plan = ServicePlan { locust: None, signals: Default::default() };
            for signal in Signal::ALL {
                if signal != Signal::Users && !setup.needed.contains(&signal) {
                    continue;
                }
                let config = setup.signals.of(signal);
                plan.signals[signal as usize] = Some(match config.source {
                    SignalSource::Prometheus => {
                        asks_prometheus = true;
                        setup.prometheus_plan(signal, config, target)?
                    }
                    SignalSource::Locust => {
                        if plan.locust.is_none() {
                            plan.locust = Some(Arc::new(setup.locust_of(signal, target)?));
                        }
                        SignalPlan::Locust
                    }
                });
            }
            services.push(plan);
        }
        setup.check_by_service()?;
        let prometheus = match (asks_prometheus, setup.prometheus) {
            (false, _) => None,
            (true, Some(config)) => Some(Arc::new(Prometheus::new(config).map_err(|problem| {
                let remedy = "name the server as http://prometheus:9090";
                Error::input((setup.place)("prometheus.url"), problem, remedy)
            })?)),
            (true, None) => {
                return Err(Error::input(
                    (setup.place)("prometheus"),
                    "signals come from Prometheus, but no server is named",
                    "add a table [prometheus] with its url",
                ));
            }
        };
        Ok(Self { prometheus, services, speed: setup.speed })
    }

    /// Asks for all signals and waits for all answers, at most until `deadline`.
    pub async fn read(&self, deadline: Instant) -> Observation {
        let mut questions = JoinSet::new();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let prometheus = self.prometheus.as_ref().map(|server| (server, server.session()));
        for (service, plan) in self.services.iter().enumerate() {
            if let Some(locust) = plan.locust.clone() {
                questions.spawn(async move {
                    let report = match locust.session() {
                        Ok(session) => locust.read(&session, deadline).await,
                        Err(fault) => Err(fault),
                    };
                    (service, Answer::Locust(locust, report))
                });
            }
            for signal in Signal::ALL {
                let Some(SignalPlan::Prometheus { query, age_query, .. }) =
                    &plan.signals[signal as usize]
                else {
                    continue;
                };
                let Some((server, session)) = &prometheus else { continue };
                for (is_age, query) in [(false, Some(query)), (true, age_query.as_ref())] {
                    let Some(query) = query.cloned() else { continue };
                    let (server, session) = (Arc::clone(server), session.clone());
                    let places = Arc::clone(&places);
                    questions.spawn(async move {
                        let _place = places.acquire_owned().await;
                        let sample = match session {
                            Ok(session) => server.instant(&session, &query, deadline).await,
                            Err(fault) => Err(fault),
                        };
                        (service, Answer::Prometheus { signal, is_age, sample })
                    });
                }
            }
        }
        let mut answers: Vec<Answers> = self.services.iter().map(|_| Answers::default()).collect();
        while let Some(answer) = questions.join_next().await {
            // A question is never cancelled, and none panics.
            let Ok((service, answer)) = answer else { continue };
            match answer {
                Answer::Locust(locust, report) => answers[service].locust = Some((locust, report)),
                Answer::Prometheus { signal, is_age, sample } => {
                    let slot = &mut answers[service].prometheus[signal as usize];
                    let slot = if is_age { &mut slot.1 } else { &mut slot.0 };
                    *slot = Some(sample);
                }
            }
        }
        let services = self.services.iter().zip(answers);
        Observation {
            services: services.map(|(plan, answers)| self.judge(plan, answers)).collect(),
        }
    }

    /// The users of every service at `steps` (wall time), for the forecaster: not a number where
    /// Prometheus has no sample. Locust keeps no past, so of it there are none.
    pub async fn history(&self, steps: Steps, deadline: Instant) -> Vec<PastUsers> {
        let mut past: Vec<PastUsers> = self.services.iter().map(|_| Ok(Vec::new())).collect();
        let Some(server) = &self.prometheus else { return past };
        let session = server.session();
        let mut questions = JoinSet::new();
        for (service, plan) in self.services.iter().enumerate() {
            let Some(SignalPlan::Prometheus { query, .. }) = &plan.signals[Signal::Users as usize]
            else {
                continue;
            };
            let (server, session, query) = (Arc::clone(server), session.clone(), query.clone());
            questions.spawn(async move {
                let users = match session {
                    Ok(session) => past_users(&server, &session, &query, steps, deadline).await,
                    Err(fault) => Err(fault),
                };
                (service, users)
            });
        }
        while let Some(Ok((service, users))) = questions.join_next().await {
            past[service] = users;
        }
        past
    }

    /// The readings of a service.
    fn judge(&self, plan: &ServicePlan, mut answers: Answers) -> ServiceObservation {
        let mut observation = ServiceObservation::default();
        for signal in Signal::ALL {
            observation.readings[signal as usize] = match &plan.signals[signal as usize] {
                None => None,
                Some(SignalPlan::Locust) => {
                    let answer = answers.locust.as_ref();
                    answer.map(|(locust, report)| of_locust(signal, locust, report))
                }
                Some(SignalPlan::Prometheus { query, max_age, .. }) => {
                    let (sample, age) = std::mem::take(&mut answers.prometheus[signal as usize]);
                    self.prometheus.as_ref().zip(sample).map(|(server, sample)| {
                        self.of_prometheus(server, query, *max_age, sample, age)
                    })
                }
            };
        }
        judge_latency(&mut observation);
        observation
    }

    fn of_prometheus(
        &self,
        server: &Prometheus,
        query: &str,
        max_age: Duration,
        sample: std::result::Result<Sample, Fault>,
        age: Option<std::result::Result<Sample, Fault>>,
    ) -> Reading {
        let mut reading = Reading { value: Ok(None), age_s: None, notes: Vec::new() };
        let mut note = |warnings: &[String]| {
            for warning in warnings {
                reading.notes.push(server.fault(FaultKind::Warning, query, warning));
            }
        };
        let mut value = sample.and_then(|sample| {
            note(&sample.warnings);
            if sample.value < 0.0 {
                let text = format!("the value {} is below zero", sample.value);
                return Err(server.fault(FaultKind::Negative, query, &text));
            }
            Ok(Some(sample.value))
        });
        match age {
            None => {}
            Some(Ok(age)) => {
                // The server's clock may be a little before the scraped one's.
                let age_s = age.value.max(0.0) * self.speed;
                reading.age_s = Some(age_s);
                if value.is_ok() && age_s > max_age.as_secs_f64() {
                    let text = format!("the sample is {age_s:.1} s old, allowed are {max_age:.0?}");
                    value = Err(server.fault(FaultKind::Stale, query, &text));
                }
            }
            // Of what age nothing is known, nothing is believed.
            Some(Err(fault)) => value = value.and(Err(fault)),
        }
        reading.value = value;
        reading
    }
}

enum Answer {
    Locust(Arc<Locust>, std::result::Result<Report, Fault>),
    Prometheus { signal: Signal, is_age: bool, sample: std::result::Result<Sample, Fault> },
}

type Samples =
    (Option<std::result::Result<Sample, Fault>>, Option<std::result::Result<Sample, Fault>>);

#[derive(Default)]
struct Answers {
    locust: Option<(Arc<Locust>, std::result::Result<Report, Fault>)>,
    /// By number of signal: the value and its age.
    prometheus: [Samples; Signal::ALL.len()],
}

impl SignalsSetup<'_> {
    fn key(&self, signal: Signal, key: &str) -> String {
        (self.place)(&format!("signals.{}.{key}", signal.name()))
    }

    fn prometheus_plan(
        &self,
        signal: Signal,
        config: &SignalConfig,
        target: &Target,
    ) -> Result<SignalPlan> {
        let (default_query, default_age) = signal.default_queries();
        let own = config.by_service.get(&target.service);
        let key = own.map_or_else(
            || self.key(signal, "query"),
            |_| self.key(signal, &format!("by_service.{}", target.service)),
        );
        let fill = |text: &str| -> Result<String> {
            let words = Words {
                service: &target.service,
                target: &target.target,
                namespace: self.namespace,
            };
            let filled = fill_in(text, &words).map_err(|word| {
                Error::input(
                    &key,
                    format!("nothing stands for ${{{word}}}"),
                    "replaced are ${service}, ${target} and ${namespace}",
                )
            })?;
            Ok(if self.speed == 1.0 { filled } else { scale_windows(&filled, self.speed) })
        };
        let (query, own_age) = match (own, &config.query) {
            (Some(own), _) => own.texts(),
            (None, Some(query)) => (query.as_str(), config.age_query.as_deref()),
            (None, None) => {
                (default_query, Some(config.age_query.as_deref().unwrap_or(default_age)))
            }
        };
        if query.trim().is_empty() {
            return Err(Error::input(key, "the query is empty", "write PromQL, or remove the key"));
        }
        let query = fill(query)?;
        let age_query = match own_age {
            Some(text) if text.trim().is_empty() => None,
            Some(text) => Some(fill(text)?),
            None => is_selector(&query).then(|| format!("time() - min(timestamp({query}))")),
        };
        Ok(SignalPlan::Prometheus { query, age_query, max_age: config.max_age.0 })
    }

    fn locust_of(&self, signal: Signal, target: &Target) -> Result<Locust> {
        if !matches!(signal, Signal::Users | Signal::P95Ms) {
            return Err(Error::input(
                self.key(signal, "source"),
                format!("Locust knows nothing of {}", signal.name()),
                "read it from Prometheus: source = \"prometheus\"",
            ));
        }
        let key = format!("locust.urls.{}", target.service);
        let Some((config, url)) = self
            .locust
            .and_then(|config| config.urls.get(&target.service).map(|url| (config, url)))
        else {
            return Err(Error::input(
                (self.place)("locust.urls"),
                format!(
                    "{} is read from Locust, but that of {} is not named",
                    signal.name(),
                    target.service
                ),
                format!("add {key} = \"http://HOST:8089\""),
            ));
        };
        Locust::new(url, config.max_body_bytes).map_err(|problem| {
            Error::input((self.place)(&key), problem, "name Locust's web page as http://HOST:8089")
        })
    }

    /// Queries and addresses of services that there are not are mistakes.
    fn check_by_service(&self) -> Result<()> {
        for signal in Signal::ALL {
            let table = format!("signals.{}.by_service", signal.name());
            self.check_names(&table, &self.signals.of(signal).by_service)?;
        }
        self.locust.map_or(Ok(()), |locust| self.check_names("locust.urls", &locust.urls))
    }

    fn check_names<T>(&self, table: &str, by_service: &BTreeMap<String, T>) -> Result<()> {
        let known: Vec<&str> = self.targets.iter().map(|one| one.service.as_str()).collect();
        match by_service.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::input(
                (self.place)(&format!("{table}.{name}")),
                format!("there is no service `{name}`"),
                format!(
                    "{}the scenario's services are {}",
                    did_you_mean(name, &known),
                    known.join(", ")
                ),
            )),
        }
    }
}

/// What Locust says of a signal.
fn of_locust(
    signal: Signal,
    locust: &Locust,
    report: &std::result::Result<Report, Fault>,
) -> Reading {
    let report = match report {
        Ok(report) => report,
        Err(fault) => return Reading { value: Err(fault.clone()), age_s: None, notes: Vec::new() },
    };
    let value = if report.workers_missing() {
        let text = "its workers are missing, so the count of users means nothing";
        Err(locust.fault(FaultKind::WorkersMissing, text))
    } else if signal != Signal::Users {
        // After the end Locust repeats the last latency.
        Ok(report.p95_ms.filter(|_| report.state.active()))
    } else if report.users < 0.0 {
        Err(locust.fault(FaultKind::Negative, &format!("{} users", report.users)))
    } else {
        Ok(Some(report.users))
    };
    let mut notes = Vec::new();
    if value.is_ok() && !report.state.active() {
        let text = format!("its state is {}: {} users", report.state.name(), report.users);
        notes.push(locust.fault(FaultKind::Stopped, &text));
    }
    Reading { value, age_s: Some(0.0), notes }
}

/// A p95 of zero with users there is an old exporter on a newer Locust; without users, zero or no
/// series mean that there is nothing to measure.
fn judge_latency(observation: &mut ServiceObservation) {
    let users = observation.value(Signal::Users);
    let Some(reading) = &mut observation.readings[Signal::P95Ms as usize] else { return };
    match &reading.value {
        Ok(Some(0.0)) => {
            reading.value = if users == Some(0.0) {
                Ok(None)
            } else {
                Err(Fault::new(
                    FaultSource::Prometheus,
                    FaultKind::ZeroLatency,
                    "a p95 latency of 0 ms with users there: an exporter that does not know this \
                     Locust; use `quotascale exporter`",
                ))
            };
        }
        Err(fault) if fault.kind == FaultKind::Empty && users == Some(0.0) => {
            reading.value = Ok(None)
        }
        _ => {}
    }
}

async fn past_users(
    server: &Prometheus,
    session: &Session,
    query: &str,
    steps: Steps,
    deadline: Instant,
) -> PastUsers {
    let mut range = server.range(session, query, steps, deadline).await?;
    match range.series.len() {
        0 => Err(server.fault(FaultKind::Empty, query, "there is no such series in the past")),
        1 => Ok(range.series.remove(0).values),
        count => {
            let text = format!("{count} series in the past instead of one");
            Err(server.fault(FaultKind::Doubled, query, &text))
        }
    }
}
