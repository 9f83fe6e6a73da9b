//! Decisions from a file.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Episode, Policy, PolicyState, Schedule};
use crate::error::{Error, Result, read_input};
use crate::scenario::{PodRule, Profile, Scenario};
use crate::snapshot::{Decision, ServiceDecision, Snapshot};

/// Replays a CSV: `t_s,service,cpu_m,concurrency,pods` (any second, any pods) or `a0,a1,a2,…` (an option
/// per service, one row a step).
#[derive(Clone, Debug)]
pub struct Replay {
    name: String,
    /// SHA-256 of the file.
    fingerprint: String,
    steps: Steps,
    profiles: Vec<Profile>,
    rule: PodRule,
}

#[derive(Clone, Debug)]
enum Steps {
    /// One list of options a step.
    Options(Vec<Vec<u32>>),
    /// Instants and decisions.
    Timed(Vec<(u32, Decision)>),
}

impl Replay {
    /// Reads `path` for `scenario`.
    ///
    /// # Errors
    /// [`Error::Input`] naming file and line.
    pub fn read(path: &Path, scenario: &Scenario) -> Result<Self> {
        let text = read_input(path)?;
        let file = path.display().to_string();
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let headers = reader
            .headers()
            .map_err(|error| Error::input(&file, error, "the file has to be CSV with a header"))?
            .clone();
        let columns: Vec<&str> = headers.iter().collect();
        let mut records = Vec::new();
        for record in reader.records() {
            let record =
                record.map_err(|error| Error::input(&file, error, "give every row all columns"))?;
            let line = record.position().map_or(0, csv::Position::line);
            records.push((line, record));
        }
        if records.is_empty() {
            return Err(Error::input(&file, "no rows", "give at least one row after the header"));
        }
        let steps = if columns.contains(&"a0") {
            Steps::Options(read_options(&file, &columns, &records, scenario)?)
        } else {
            Steps::Timed(read_timed(&file, &columns, &records, scenario)?)
        };
        // The file's name, not its path: results do not depend on where it lies.
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: format!("replay:{stem}"),
            fingerprint: Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect(),
            steps,
            profiles: scenario.profiles.clone(),
            rule: scenario.pod_rule(),
        })
    }
}

fn read_options(
    file: &str,
    columns: &[&str],
    records: &[(u64, csv::StringRecord)],
    scenario: &Scenario,
) -> Result<Vec<Vec<u32>>> {
    let services = scenario.profiles.len();
    let expected: Vec<String> = (0..services).map(|index| format!("a{index}")).collect();
    // Other columns may be there: a table of steps says more of them than the options.
    let place_of = |name: &String| columns.iter().position(|column| column == name);
    let places: Option<Vec<usize>> = expected.iter().map(place_of).collect();
    let Some(places) = places.filter(|_| place_of(&format!("a{services}")).is_none()) else {
        return Err(Error::input(
            format!("{file}:1"),
            format!("columns {} for {services} services", columns.join(",")),
            format!("the header has to name {}", expected.join(",")),
        ));
    };
    records
        .iter()
        .map(|(line, record)| {
            let list = places.iter().map(|&place| &record[place]).collect::<Vec<_>>().join("/");
            let counts: Vec<usize> =
                scenario.profiles.iter().map(|profile| profile.options.len()).collect();
            crate::scenario::parse_options(&format!("{file}:{line}"), &list, &counts)
        })
        .collect()
}

fn read_timed(
    file: &str,
    columns: &[&str],
    records: &[(u64, csv::StringRecord)],
    scenario: &Scenario,
) -> Result<Vec<(u32, Decision)>> {
    const COLUMNS: [&str; 5] = ["t_s", "service", "cpu_m", "concurrency", "pods"];
    let mut places = [0; 5];
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        *place = columns.iter().position(|column| *column == name).ok_or_else(|| {
            Error::input(
                format!("{file}:1"),
                format!("no column `{name}`"),
                format!("the header has to be {} or a0,a1,…", COLUMNS.join(",")),
            )
        })?;
    }
    let names = scenario.service_names();
    let mut timed: Vec<(u32, Decision)> = Vec::new();
    for (line, record) in records {
        let place = format!("{file}:{line}");
        let number = |column: usize| -> Result<u32> {
            // The program's own decisions.csv writes whole seconds as 115.0.
            let text = record[places[column]].trim_end_matches(".0");
            text.parse().map_err(|_| {
                Error::input(
                    &place,
                    format!(
                        "{} `{}` is not a whole number of at least 0",
                        COLUMNS[column], &record[places[column]]
                    ),
                    "decisions fall on whole seconds; cpu_m is in millicores",
                )
            })
        };
        let service = &record[places[1]];
        let index = names.iter().position(|name| *name == service).ok_or_else(|| {
            Error::input(
                &place,
                format!("there is no service `{service}`"),
                format!(
                    "{}services: {}",
                    crate::scenario::did_you_mean(service, &names),
                    names.join(", ")
                ),
            )
        })?;
        let (cpu_m, concurrency) = (u64::from(number(2)?), number(3)?);
        let profile = &scenario.profiles[index];
        if concurrency == 0 {
            return Err(Error::input(&place, "a concurrency of 0", "give at least 1"));
        }
        if !profile.options.iter().any(|option| option.cpu.0 == cpu_m) {
            return Err(Error::input(
                &place,
                format!("no option of {service} has {cpu_m}m of CPU"),
                "use a CPU size of the profile (concurrency and pods are free)",
            ));
        }
        let decision = ServiceDecision {
            option: profile.find(cpu_m, concurrency),
            cpu_m,
            concurrency,
            pods: number(4)?,
        };
        let time = number(0)?;
        let slot = match timed.iter().position(|(at, _)| *at == time) {
            Some(slot) => slot,
            None => {
                let services = vec![None; names.len()];
                timed.push((time, Decision { services, reason: "replay".to_owned() }));
                timed.len() - 1
            }
        };
        if timed[slot].1.services[index].replace(decision).is_some() {
            return Err(Error::input(
                &place,
                format!("a second decision for {service} at t = {time} s"),
                "give each service one row a second",
            ));
        }
    }
    timed.sort_by_key(|(time, _)| *time);
    Ok(timed)
}

impl Policy for Replay {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> Option<&str> {
        Some(&self.fingerprint)
    }

    fn schedule(&self) -> Schedule {
        match &self.steps {
            Steps::Options(_) => Schedule::EveryInterval,
            Steps::Timed(timed) => Schedule::At(timed.iter().map(|(time, _)| *time).collect()),
        }
    }

    fn start(&self, episode: &Episode<'_>) -> Result<PolicyState> {
        let paper = episode.scenario.environment() == crate::scenario::EnvironmentKind::Paper;
        if paper && matches!(self.steps, Steps::Timed(_)) {
            return Err(Error::input(
                &self.name,
                "environment \"paper\" has no time inside a step",
                "give the options by step: a0,a1,a2",
            ));
        }
        Ok(PolicyState::None)
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        _state: &mut PolicyState,
    ) -> Result<Decision> {
        let step = snapshot.step as usize;
        let missing = |have: usize| {
            Error::input(
                &self.name,
                format!(
                    "no row for decision {} (t = {} s): the file has {have}",
                    step + 1,
                    snapshot.t_s
                ),
                "give a row for every decision",
            )
        };
        match &self.steps {
            Steps::Options(options) => {
                let row = options.get(step).ok_or_else(|| missing(options.len()))?;
                Ok(super::by_options(row, &self.profiles, forecast, self.rule, "replay"))
            }
            Steps::Timed(timed) => timed
                .get(step)
                .map(|(_, decision)| decision.clone())
                .ok_or_else(|| missing(timed.len())),
        }
    }
}
