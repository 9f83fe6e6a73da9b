//! What a timeline shows, taken from the tables of a run: from its ticks where it has them, else
//! from its intervals, else from its decisions.

use std::collections::BTreeMap;

use crate::run::{ALL_SERVICES, DecisionRow, IntervalRow, Run, TickRow};
use crate::scenario::Scenario;

/// Around an overlap of revisions at least so long, with at least such margins, and at most so long.
const LEAST_WINDOW_S: f64 = 60.0;
const LEAST_MARGIN_S: f64 = 15.0;
const MOST_WINDOW_S: f64 = 600.0;

/// A value that holds from an instant until the next.
pub type Step = (f64, f64);

/// Pods of a service from an instant until the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pods {
    pub from_s: f64,
    pub ready: f64,
    pub starting: f64,
    pub terminating: f64,
    /// Denied by the quota, or pending for want of a node.
    pub refused: f64,
}

impl Pods {
    pub fn total(&self) -> f64 {
        self.ready + self.starting + self.terminating + self.refused
    }
}

/// CPU of a service from an instant until the next, cores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    pub from_s: f64,
    pub total: f64,
    /// Of that, revisions other than the serving one.
    pub overlap: f64,
}

/// The measured p95 of one interval, as a share of the SLO; `None` without completions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct P95 {
    pub from_s: f64,
    pub to_s: f64,
    pub share: Option<f64>,
}

/// One service.
#[derive(Clone, Debug, Default)]
pub struct ServiceLine {
    pub name: String,
    pub users: Vec<Step>,
    /// From, to and the users expected there.
    pub forecasts: Vec<(f64, f64, f64)>,
    pub pods: Vec<Pods>,
    /// When revisions were created.
    pub revisions_s: Vec<f64>,
    pub cpu: Vec<Cpu>,
    pub p95: Vec<P95>,
}

/// A run as a timeline.
#[derive(Clone, Debug, Default)]
pub struct TimelineData {
    pub services: Vec<ServiceLine>,
    pub start_s: f64,
    pub end_s: f64,
    pub quota_cores: f64,
    /// Whether pods and CPU are known second by second; else they are means of intervals.
    pub by_tick: bool,
    /// What the pods are: ready ones, their mean over an interval, or those decided.
    pub pods_are: &'static str,
    /// What the CPU is, where it is not known by tick.
    pub cpu_is: &'static str,
}

impl TimelineData {
    /// The services of the scenario first, in its order, then any that only the run knows.
    pub fn new(run: &Run, scenario: &Scenario) -> Self {
        let mut names: Vec<String> =
            scenario.service_names().into_iter().map(str::to_owned).collect();
        let told = run.decisions.iter().map(|row| &row.service);
        let told = told.chain(run.intervals.iter().map(|row| &row.service));
        for name in told.chain(run.ticks.iter().map(|row| &row.service)) {
            if name != ALL_SERVICES && !names.contains(name) {
                names.push(name.clone());
            }
        }
        let (start_s, end_s) = span(run, scenario);
        let mut ticks: BTreeMap<&str, Vec<&TickRow>> = BTreeMap::new();
        for row in &run.ticks {
            ticks.entry(&row.service).or_default().push(row);
        }
        let services = names
            .into_iter()
            .map(|name| {
                let slo_p95_ms = scenario
                    .spec
                    .service
                    .iter()
                    .find(|service| service.name == name)
                    .map(|service| service.slo_p95_ms);
                service_line(run, ticks.remove(name.as_str()), name, slo_p95_ms, end_s)
            })
            .collect();
        Self {
            services,
            start_s,
            end_s,
            quota_cores: scenario.spec.quota.cpu_m.cores(),
            by_tick: !run.ticks.is_empty(),
            pods_are: if !run.ticks.is_empty() {
                "ready"
            } else if run.intervals.iter().any(|row| row.ready_pod_seconds.is_some()) {
                "ready, mean of the interval"
            } else {
                "decided"
            },
            cpu_is: if run.intervals.is_empty() { "decided" } else { "mean of the interval" },
        }
    }
}

impl TimelineData {
    /// CPU of all services, from an instant until the next. Every service has the same instants: the
    /// ticks', the intervals' or the decisions'.
    pub fn cpu_totals(&self) -> Vec<Step> {
        let instants = self.services.iter().map(|line| &line.cpu).max_by_key(|cpu| cpu.len());
        let instants = instants.map_or(&[][..], |cpu| cpu.as_slice());
        let at =
            |line: &ServiceLine, index: usize| line.cpu.get(index).map_or(0.0, |cpu| cpu.total);
        let total = |index: usize| self.services.iter().map(|line| at(line, index)).sum();
        instants.iter().enumerate().map(|(index, cpu)| (cpu.from_s, total(index))).collect()
    }

    /// The seconds around the overlap of revisions during which most CPU is in use, with their CPU
    /// alone; `None` where no revisions overlap or seconds are not known.
    pub fn around_overlap(&self) -> Option<Self> {
        if !self.by_tick {
            return None;
        }
        let totals = self.cpu_totals();
        let overlaps = |index: usize| {
            self.services
                .iter()
                .any(|line| line.cpu.get(index).is_some_and(|cpu| cpu.overlap > 0.0))
        };
        let peak = (0..totals.len())
            .filter(|&index| overlaps(index))
            .reduce(|most, index| if totals[index].1 > totals[most].1 { index } else { most })?;
        let from = (0..peak).rev().find(|&index| !overlaps(index)).map_or(0, |index| index + 1);
        let to = (peak..totals.len()).find(|&index| !overlaps(index)).unwrap_or(totals.len());
        let (from_s, to_s) = (totals[from].0, totals.get(to).map_or(self.end_s, |step| step.0));
        let margin_s = ((LEAST_WINDOW_S - (to_s - from_s)) / 2.0).max(LEAST_MARGIN_S).ceil();
        let start_s = (from_s - margin_s).max(self.start_s);
        let end_s = (to_s + margin_s).min(start_s + MOST_WINDOW_S).min(self.end_s);
        let within = |cpu: &&Cpu| (start_s..end_s).contains(&cpu.from_s);
        let services = self.services.iter().map(|line| ServiceLine {
            name: line.name.clone(),
            cpu: line.cpu.iter().filter(within).copied().collect(),
            ..ServiceLine::default()
        });
        Some(Self { services: services.collect(), start_s, end_s, ..*self })
    }
}

/// First and last instant that the run speaks of.
fn span(run: &Run, scenario: &Scenario) -> (f64, f64) {
    let starts = run.intervals.iter().map(|row| row.from_s);
    let starts = starts.chain(run.ticks.iter().map(|row| row.t_s));
    let start_s =
        starts.chain(run.decisions.iter().map(|row| row.t_s)).fold(f64::INFINITY, f64::min);
    let ends = run.intervals.iter().map(|row| row.to_s);
    let ends = ends.chain(run.ticks.last().map(|row| row.t_s + 1.0));
    let mut end_s = ends.fold(f64::NEG_INFINITY, f64::max);
    if !end_s.is_finite() {
        let last = run.decisions.iter().map(|row| row.t_s).fold(f64::NEG_INFINITY, f64::max);
        end_s = last + f64::from(scenario.spec.interval_s);
    }
    if start_s.is_finite() && end_s > start_s { (start_s, end_s) } else { (0.0, 1.0) }
}

fn service_line(
    run: &Run,
    ticks: Option<Vec<&TickRow>>,
    name: String,
    slo_p95_ms: Option<f64>,
    end_s: f64,
) -> ServiceLine {
    let intervals: Vec<&IntervalRow> =
        run.intervals.iter().filter(|row| row.service == name && row.to_s > row.from_s).collect();
    let decisions: Vec<&DecisionRow> =
        run.decisions.iter().filter(|row| row.service == name).collect();
    let mut line = ServiceLine {
        forecasts: forecasts(&decisions, &intervals, end_s),
        revisions_s: run
            .revisions
            .iter()
            .filter(|row| row.service == name && row.created_s > 0.0)
            .map(|row| row.created_s)
            .collect(),
        p95: p95(&intervals, ticks.as_deref(), slo_p95_ms),
        name,
        ..ServiceLine::default()
    };
    if let Some(ticks) = ticks {
        line.users = ticks.iter().map(|row| (row.t_s, f64::from(row.users))).collect();
        line.pods = ticks.iter().map(|row| pods_of_tick(row)).collect();
        line.cpu = ticks
            .iter()
            .map(|row| Cpu {
                from_s: row.t_s,
                total: row.cpu_m as f64 / 1000.0,
                overlap: row.overlap_cpu_m.min(row.cpu_m) as f64 / 1000.0,
            })
            .collect();
        return line;
    }
    let length = |row: &IntervalRow| row.to_s - row.from_s;
    line.users = means(&intervals, |row| row.user_seconds.map(|sum| sum / length(row)))
        .unwrap_or_else(|| decisions.iter().map(|row| (row.t_s, row.users_seen)).collect());
    let ready = means(&intervals, |row| row.ready_pod_seconds.map(|sum| sum / length(row)))
        .unwrap_or_else(|| decisions.iter().map(|row| (row.t_s, f64::from(row.pods))).collect());
    line.pods = ready
        .into_iter()
        .map(|(from_s, ready)| Pods { from_s, ready, ..Pods::default() })
        .collect();
    line.cpu = if intervals.is_empty() {
        decisions
            .iter()
            .map(|row| Cpu {
                from_s: row.t_s,
                total: f64::from(row.pods) * row.cpu_m as f64 / 1000.0,
                overlap: 0.0,
            })
            .collect()
    } else {
        intervals
            .iter()
            .map(|row| Cpu {
                from_s: row.from_s,
                total: row.cpu_seconds / length(row),
                overlap: 0.0,
            })
            .collect()
    };
    line
}

fn pods_of_tick(row: &TickRow) -> Pods {
    Pods {
        from_s: row.t_s,
        ready: f64::from(row.ready_pods),
        starting: f64::from(row.starting_pods),
        terminating: f64::from(row.terminating_pods),
        refused: f64::from(row.denied_pods) + f64::from(row.pending_pods),
    }
}

/// One value an interval; `None` where any interval has none.
fn means(
    intervals: &[&IntervalRow],
    value: impl Fn(&IntervalRow) -> Option<f64>,
) -> Option<Vec<Step>> {
    let steps: Option<Vec<Step>> =
        intervals.iter().map(|row| Some((row.from_s, value(row)?))).collect();
    steps.filter(|steps| !steps.is_empty())
}

/// Each forecast over the stage that it was made for: the first interval that begins with the
/// decision or later; without intervals, until the next decision.
fn forecasts(
    decisions: &[&DecisionRow],
    intervals: &[&IntervalRow],
    end_s: f64,
) -> Vec<(f64, f64, f64)> {
    decisions
        .iter()
        .enumerate()
        .filter_map(|(index, row)| {
            let (from_s, to_s) = if intervals.is_empty() {
                (row.t_s, decisions.get(index + 1).map_or(end_s, |next| next.t_s))
            } else {
                let stage = intervals.iter().find(|interval| interval.from_s >= row.t_s)?;
                (stage.from_s, stage.to_s)
            };
            (row.forecast.is_finite() && to_s > from_s).then_some((from_s, to_s, row.forecast))
        })
        .collect()
}

/// Seconds of ticks that a p95 is taken from where there are no intervals.
const P95_WINDOW: usize = 10;

fn p95(
    intervals: &[&IntervalRow],
    ticks: Option<&[&TickRow]>,
    slo_p95_ms: Option<f64>,
) -> Vec<P95> {
    let Some(slo_p95_ms) = slo_p95_ms.filter(|slo| *slo > 0.0) else { return Vec::new() };
    let share = |p95_ms: f64| p95_ms / slo_p95_ms;
    if !intervals.is_empty() {
        let of = |row: &&IntervalRow| P95 {
            from_s: row.from_s,
            to_s: row.to_s,
            share: row.p95_ms.map(share),
        };
        return intervals.iter().map(of).collect();
    }
    ticks
        .unwrap_or_default()
        .chunks(P95_WINDOW)
        .map(|window| {
            let known: Vec<f64> = window.iter().filter_map(|row| row.p95_ms).collect();
            P95 {
                from_s: window[0].t_s,
                to_s: window[window.len() - 1].t_s + 1.0,
                share: crate::report::stats::mean(&known).map(share),
            }
        })
        .collect()
}
