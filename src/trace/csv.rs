//! Traces as CSV, in two forms that are told apart by their header.
//!
//! *Interval form*: the header names the services, every row is one interval with the users of
//! each. The length of an interval is not in the file (it is the scenario's `interval_s` unless
//! something else is asked for), and the spawn rate is the number of users, at least 1.
//!
//! *Stage form*: `service,duration_s,users,spawn_rate`, one row a stage, in the order in which a
//! service plays them; services may be interleaved and may differ in length.
//!
//! Numbers are written in the shortest form that reads back as the same number.

use std::io::{self, Write};

use csv::StringRecord;

use super::table::Table;
use super::{MAX_USERS, ServiceTrace, Stage, Trace};
use crate::error::{Error, Result};
use crate::scenario::did_you_mean;

/// The columns of the stage form.
const STAGE_COLUMNS: [&str; 4] = ["service", "duration_s", "users", "spawn_rate"];

/// The form of a trace file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A column a service, a row an interval.
    Interval,
    /// A row a stage.
    Stages,
}

/// The form of `text`; `file` is its name in messages.
///
/// # Errors
/// [`Error::Input`] when there is no usable header.
pub fn form_of(file: &str, text: &str) -> Result<Form> {
    Ok(form_of_header(Table::open(file, text)?.header()))
}

/// Two names of the stage form are no accident: the file is then read as such, so that a missing
/// or misspelt third is named.
fn form_of_header(header: &[String]) -> Form {
    let known = header.iter().filter(|name| STAGE_COLUMNS.contains(&name.as_str())).count();
    if known >= 2 { Form::Stages } else { Form::Interval }
}

/// Reads a trace of either form. `stage_s` is the length of a row of the interval form; `columns`
/// picks columns (interval form) or services (stage form), all of them if empty.
///
/// # Errors
/// [`Error::Input`] naming file, line and remedy.
pub fn read(file: &str, text: &str, stage_s: u32, columns: &[&str]) -> Result<Trace> {
    let table = Table::open(file, text)?;
    match form_of_header(table.header()) {
        Form::Interval => read_intervals(file, table, stage_s, columns),
        Form::Stages => read_stages(file, table, columns),
    }
}

fn read_intervals(
    file: &str,
    mut table: Table<'_>,
    stage_s: u32,
    columns: &[&str],
) -> Result<Trace> {
    let picked: Vec<usize> = if columns.is_empty() {
        (0..table.header().len()).collect()
    } else {
        columns.iter().map(|name| table.column(name)).collect::<Result<_>>()?
    };
    let mut services: Vec<ServiceTrace> = picked
        .iter()
        .map(|&column| ServiceTrace { service: table.header()[column].clone(), stages: Vec::new() })
        .collect();
    let mut record = StringRecord::new();
    let mut total_s = 0_u32;
    while table.next(&mut record)? {
        total_s = total_s.checked_add(stage_s).ok_or_else(|| too_long(&table.place(&record)))?;
        for (service, &column) in services.iter_mut().zip(&picked) {
            let users = read_users(&table, &record, column)?;
            service.stages.push(Stage::of_interval(stage_s, users));
        }
    }
    if total_s == 0 {
        return Err(no_rows(file));
    }
    Ok(Trace { services })
}

fn read_stages(file: &str, mut table: Table<'_>, columns: &[&str]) -> Result<Trace> {
    let mut indices = [0; 4];
    for (index, name) in indices.iter_mut().zip(STAGE_COLUMNS) {
        *index = table.column(name)?;
    }
    let [service_column, duration_column, users_column, rate_column] = indices;
    let mut services: Vec<ServiceTrace> = Vec::new();
    let mut totals_s: Vec<u32> = Vec::new();
    let mut record = StringRecord::new();
    while table.next(&mut record)? {
        let name = &record[service_column];
        if name.is_empty() {
            return Err(Error::input(
                table.place(&record),
                "the cell of `service` is empty",
                "name the service that the stage belongs to",
            ));
        }
        let duration = table.number(&record, duration_column)?;
        if duration.fract() != 0.0 || duration < 1.0 || duration > f64::from(u32::MAX) {
            return Err(table.complaint(
                &record,
                duration_column,
                "a duration is a whole number of seconds, at least 1",
                "round it to whole seconds",
            ));
        }
        let users = read_users(&table, &record, users_column)?;
        let spawn_rate = table.number(&record, rate_column)?;
        if spawn_rate <= 0.0 {
            return Err(table.complaint(
                &record,
                rate_column,
                "a spawn rate is above zero",
                "write the users to add or remove per second; the number of users makes a step",
            ));
        }
        let index = services.iter().position(|known| known.service == name).unwrap_or_else(|| {
            services.push(ServiceTrace { service: name.to_owned(), stages: Vec::new() });
            totals_s.push(0);
            services.len() - 1
        });
        totals_s[index] = totals_s[index]
            .checked_add(duration as u32)
            .ok_or_else(|| too_long(&table.place(&record)))?;
        services[index].stages.push(Stage { duration_s: duration as u32, users, spawn_rate });
    }
    if services.is_empty() {
        return Err(no_rows(file));
    }
    if !columns.is_empty() {
        services = pick(file, &services, columns)?;
    }
    Ok(Trace { services })
}

/// The services called `names`, in that order.
fn pick(place: &str, services: &[ServiceTrace], names: &[&str]) -> Result<Vec<ServiceTrace>> {
    names
        .iter()
        .map(|name| {
            services.iter().find(|known| known.service == *name).cloned().ok_or_else(|| {
                let known: Vec<&str> = services.iter().map(|s| s.service.as_str()).collect();
                Error::input(
                    place,
                    format!("there is no service `{name}`"),
                    format!("{}the services are {}", did_you_mean(name, &known), known.join(", ")),
                )
            })
        })
        .collect()
}

pub(super) fn read_users(table: &Table<'_>, record: &StringRecord, column: usize) -> Result<f64> {
    let users = table.number(record, column)?;
    if users < 0.0 {
        return Err(table.complaint(
            record,
            column,
            "the number of users is negative",
            "write 0 where there is no traffic",
        ));
    }
    if users > MAX_USERS {
        return Err(table.complaint(
            record,
            column,
            "more users than the model counts",
            &format!("at most {MAX_USERS}"),
        ));
    }
    // Without the sign of a negative zero.
    Ok(users.abs())
}

pub(super) fn no_rows(file: &str) -> Error {
    Error::input(
        file,
        "the trace is empty: a header without rows",
        "give at least one row; the file may be cut off",
    )
}

fn too_long(place: &str) -> Error {
    Error::input(
        place,
        format!("the trace is longer than {} s", u32::MAX),
        "shorten the trace or its stages",
    )
}

/// The length of a row, if `trace` can be written in interval form without losing anything but
/// that length.
pub fn interval_s(trace: &Trace) -> Option<u32> {
    let first = trace.services.first()?;
    let stage_s = first.stages.first()?.duration_s;
    trace
        .services
        .iter()
        .all(|service| {
            service.stages.len() == first.stages.len()
                && service
                    .stages
                    .iter()
                    .all(|stage| *stage == Stage::of_interval(stage_s, stage.users))
        })
        .then_some(stage_s)
}

/// Writes the interval form. See [`interval_s`] for which traces it can hold.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_intervals(trace: &Trace, out: impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(trace.services.iter().map(|service| &service.service))?;
    let rows = trace.services.iter().map(|service| service.stages.len()).min().unwrap_or(0);
    for row in 0..rows {
        for service in &trace.services {
            writer.write_field(service.stages[row].users.to_string())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}

/// Writes the stage form.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_stages(trace: &Trace, out: impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(STAGE_COLUMNS)?;
    for service in &trace.services {
        for stage in &service.stages {
            writer.write_record([
                &service.service,
                &stage.duration_s.to_string(),
                &stage.users.to_string(),
                &stage.spawn_rate.to_string(),
            ])?;
        }
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn interval_form_reads_back_as_written(
            columns in 1..4_usize,
            users in prop::collection::vec(prop_oneof![0.0..1e9, (0..200_u32).prop_map(f64::from)], 1..40),
            stage_s in 1..1000_u32,
        ) {
            let services = (0..columns)
                .map(|c| {
                    let rows: Vec<f64> = users.iter().map(|&u: &f64| u / (c + 1) as f64).collect();
                    ServiceTrace::from_rows(&format!("s{c}"), &rows, stage_s)
                })
                .collect();
            let trace = Trace { services };
            prop_assert_eq!(interval_s(&trace), Some(stage_s));
            let text = text_of(|out| write_intervals(&trace, out));
            prop_assert_eq!(form_of("t", &text).unwrap(), Form::Interval);
            prop_assert_eq!(read("t", &text, stage_s, &[]).unwrap(), trace);
        }

        #[test]
        fn stage_form_reads_back_as_written(
            lengths in prop::collection::vec(1..20_usize, 1..4),
            cells in prop::collection::vec((1..100_000_u32, 0.0..1e9, 1e-9..1e12), 20),
        ) {
            let services = lengths
                .iter()
                .enumerate()
                .map(|(index, &length)| ServiceTrace {
                    service: format!("s, {index}"),
                    stages: cells[..length]
                        .iter()
                        .map(|&(duration_s, users, spawn_rate)| Stage { duration_s, users, spawn_rate })
                        .collect(),
                })
                .collect();
            let trace = Trace { services };
            let text = text_of(|out| write_stages(&trace, out));
            prop_assert_eq!(form_of("t", &text).unwrap(), Form::Stages);
            prop_assert_eq!(read("t", &text, 7, &[]).unwrap(), trace);
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let text = "\u{feff}house,senti\r\n\r\n 1 ,2\r\n\r\n3,x\r\n";
        let error = read("t.csv", text, 120, &[]).unwrap_err().to_string();
        assert!(error.starts_with("t.csv:5: `x` in column `senti` is not a number"), "{error}");
        // Other columns may hold anything (a time, say).
        let trace = read("t.csv", text, 120, &["house"]).unwrap();
        assert_eq!(trace.services, [ServiceTrace::from_rows("house", &[1.0, 3.0], 120)]);
    }

    #[test]
    fn the_sum_of_the_durations_is_bounded() {
        let text = "service,duration_s,users,spawn_rate\na,4294967295,1,1\na,1,1,1\n";
        let error = read("t.csv", text, 120, &[]).unwrap_err().to_string();
        assert!(error.starts_with("t.csv:3: the trace is longer"), "{error}");
    }
}
