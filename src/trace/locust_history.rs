//! A trace from what Locust recorded: the user counts in `*_stats_history.csv`.
//!
//! Read are the rows of all requests together (`Aggregated`), whose columns are the same in
//! Locust 2.8.6 and 2.47.0. The trace begins with the first second that has users and ends with
//! the last one: rows without users before and after belong to starting and stopping Locust. A
//! second that Locust skipped keeps the count before it. Recordings of several services are not
//! aligned: each begins with its own first second.
//!
//! From counts to stages there are two rules:
//!
//! - *Ramps*: a stage begins whenever the count begins to move after it has stood still, or turns
//!   round; it lasts until the next one begins. Its users are the count at its end, its spawn rate
//!   is the mean over the ramp or over all but its last second, whichever is greater. Played back,
//!   it gives the recorded counts, but for what happened within one second.
//! - *Rows* of `stage_s` seconds: the users are the count in the last second of each, the spawn
//!   rate is that of the interval form. A part of a row at the end is a row if it is at least half.

use csv::StringRecord;

use super::table::Table;
use super::{ServiceTrace, Stage, check_length};
use crate::error::{Error, Result};

/// Name that Locust gives to all requests together.
const AGGREGATED: &str = "Aggregated";

/// Longest recording, seconds (a year): beyond it a time stamp is taken to be damaged.
const MAX_DURATION_S: f64 = 366.0 * 86_400.0;

/// Reads one recording of one service; `file` is its name in messages. Without `stage_s` the
/// stages follow the ramps.
///
/// # Errors
/// [`Error::Input`] naming file, line and remedy.
pub fn import(file: &str, text: &str, service: &str, stage_s: Option<u32>) -> Result<ServiceTrace> {
    let counts = users_by_second(file, text)?;
    let stages = match stage_s {
        None => by_ramps(&counts),
        Some(stage_s) => {
            check_length(&|| file.to_owned(), counts.len() / stage_s.max(1) as usize + 1, stage_s)?;
            by_rows(&counts, stage_s)
        }
    };
    if stages.is_empty() {
        return Err(Error::input(
            file,
            format!("{} s with users do not make one row", counts.len()),
            "give a smaller --stage-s",
        ));
    }
    Ok(ServiceTrace { service: service.to_owned(), stages })
}

/// The user count of every second from the first to the last that has users.
fn users_by_second(file: &str, text: &str) -> Result<Vec<f64>> {
    let mut table = Table::open(file, text)?;
    let time_column = table.column("Timestamp")?;
    let users_column = table.column("User Count")?;
    let name_column = table.column("Name")?;
    let mut record = StringRecord::new();
    let mut counts: Vec<f64> = Vec::new();
    let mut first_s = None;
    let mut rows = 0;
    while table.next(&mut record)? {
        if &record[name_column] != AGGREGATED {
            continue;
        }
        rows += 1;
        let time = table.number(&record, time_column)?;
        let users = table.number(&record, users_column)?;
        if users < 0.0 || users.fract() != 0.0 {
            return Err(table.complaint(
                &record,
                users_column,
                "this is no count of users",
                "take the file as Locust wrote it",
            ));
        }
        if first_s.is_none() && users == 0.0 {
            continue;
        }
        let second = (time - *first_s.get_or_insert(time)).floor();
        if second + 1.0 < counts.len() as f64 || second > MAX_DURATION_S {
            return Err(table.complaint(
                &record,
                time_column,
                "the time does not follow the row before",
                "one file holds one run; take the rows of one",
            ));
        }
        let held = counts.last().copied().unwrap_or(0.0);
        counts.resize(second as usize + 1, held);
        // Two rows of one second: the later one counts.
        counts[second as usize] = users;
    }
    if rows == 0 {
        return Err(Error::input(
            file,
            format!("there is no row called `{AGGREGATED}`"),
            "take the file *_stats_history.csv, not *_stats.csv or *_failures.csv",
        ));
    }
    while counts.last() == Some(&0.0) {
        counts.pop();
    }
    if counts.is_empty() {
        return Err(Error::input(
            file,
            format!("none of the {rows} rows has users"),
            "Locust 2.8 without its web page writes the history only at the end: run it with \
             --autostart instead of --headless, or use a current Locust",
        ));
    }
    Ok(counts)
}

fn by_ramps(counts: &[f64]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let (mut before, mut last_change) = (0.0, 0.0_f64);
    // Of the ramp that the current stage began with: the count before it and its length.
    let (mut ramp_from, mut ramp_s) = (0.0, 0.0);
    for &users in counts {
        let change: f64 = users - before;
        let turns = change.signum() != last_change.signum();
        let begins = change != 0.0 && (last_change == 0.0 || turns);
        match stages.last_mut() {
            Some(stage) if !begins => {
                stage.duration_s += 1;
                stage.users = users;
                if change != 0.0 {
                    // The last second of a ramp is rarely full.
                    let but_the_last = f64::abs(before - ramp_from) / ramp_s;
                    ramp_s += 1.0;
                    stage.spawn_rate = but_the_last.max(f64::abs(users - ramp_from) / ramp_s);
                }
            }
            _ => {
                stages.push(Stage { duration_s: 1, users, spawn_rate: change.abs() });
                (ramp_from, ramp_s) = (before, 1.0);
            }
        }
        before = users;
        last_change = change;
    }
    stages
}

fn by_rows(counts: &[f64], stage_s: u32) -> Vec<Stage> {
    counts
        .chunks(stage_s as usize)
        .filter(|chunk| chunk.len() * 2 >= stage_s as usize)
        .filter_map(|chunk| chunk.last())
        .map(|&users| Stage::of_interval(stage_s, users))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(rows: &[(u32, u32)]) -> String {
        let mut text = "Timestamp,User Count,Type,Name,Requests/s\n".to_owned();
        for (time, users) in rows {
            text += &format!("{time},{users},GET,\"/a,b\",1.0\n{time},{users},,Aggregated,1.0\n");
        }
        text
    }

    #[test]
    fn ramps_and_holds_become_stages() {
        // 0 at the start, 2 users a second up to 5, held; a second skipped; down to 1; 0 at the stop.
        let rows = [
            (100, 0),
            (101, 2),
            (102, 4),
            (103, 5),
            (104, 5),
            (106, 5),
            (107, 3),
            (108, 1),
            (108, 1),
            (109, 1),
            (110, 0),
        ];
        let trace = import("h.csv", &history(&rows), "house", None).unwrap();
        assert_eq!(
            trace.stages,
            [
                Stage { duration_s: 6, users: 5.0, spawn_rate: 2.0 },
                Stage { duration_s: 3, users: 1.0, spawn_rate: 2.0 },
            ]
        );
        let trace = import("h.csv", &history(&rows), "house", Some(3)).unwrap();
        assert_eq!(trace, ServiceTrace::from_rows("house", &[5.0, 5.0, 1.0], 3));
    }

    #[test]
    fn what_is_no_history_is_refused() {
        let cases = [
            (history(&[]), "there is no row called `Aggregated`"),
            (history(&[(5, 0), (6, 0)]), "none of the 2 rows has users"),
            (history(&[(5, 1), (4, 1)]), "Timestamp = 4: the time does not follow"),
            (history(&[(5, 1)]).replace(",1,", ",1.5,"), "User Count = 1.5"),
            (history(&[(5, 1)]).replace("User Count", "Users"), "there is no column `User Count`"),
        ];
        for (text, expected) in cases {
            let error = import("h.csv", &text, "house", None).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
