//! Traffic traces: users of each service over time.
//!
//! A trace is a list of *stages* per service, as Locust plays them: a duration, a number of users
//! and the rate at which the count ramps towards it. Traces come from CSV files ([`csv`]), are
//! built in ([`builtin`]), drawn from a seed ([`generate`]) or made from what others have measured:
//! a Locust run ([`locust_history`]) or request counts ([`counts`]). [`locust`] writes one as a
//! locustfile, so that a real cluster gets the very same load. [`series`] reads any column of numbers
//! for forecasters.

pub mod builtin;
pub mod counts;
pub mod csv;
mod from_spec;
pub mod generate;
pub mod locust;
pub mod locust_history;
pub mod series;
pub(crate) mod table;
mod time;

pub use from_spec::{SpecContext, from_spec};
#[cfg(feature = "live")]
pub(crate) use time::parse_iso;

use crate::error::{Error, Result};

/// Length of a row of the interval form where nothing else is said, seconds.
pub const DEFAULT_STAGE_S: u32 = 120;

/// Most users of a service. Beyond it a file is taken to be damaged.
pub const MAX_USERS: f64 = 1e9;

/// Most users of a service that the environments count: more could overflow sums of millicores, and
/// what is counted of them by load fills the memory.
pub const MOST_COUNTED_USERS: u32 = 10_000_000;

/// Most rows that are made rather than read. More would be a slip that fills the memory.
pub const MAX_ROWS: usize = 10_000_000;

/// One stage of traffic: the count of users moves to `users` at `spawn_rate` and stays there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Length, whole seconds.
    pub duration_s: u32,
    /// Users at the end of the ramp. Environments round fractions half up.
    pub users: f64,
    /// Users added or removed per second.
    pub spawn_rate: f64,
}

impl Stage {
    /// A row of the interval form: the spawn rate is the number of users (at least 1), as the
    /// original load generators have it.
    pub fn of_interval(duration_s: u32, users: f64) -> Self {
        Self { duration_s, users, spawn_rate: users.max(1.0) }
    }
}

/// The traffic of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceTrace {
    /// The service's name.
    pub service: String,
    /// Its stages, in order; the first begins at t = 0 with no users.
    pub stages: Vec<Stage>,
}

impl ServiceTrace {
    /// A trace of equal stages, one for each of `rows`.
    pub fn from_rows(service: &str, rows: &[f64], stage_s: u32) -> Self {
        let stages = rows.iter().map(|&users| Stage::of_interval(stage_s, users)).collect();
        Self { service: service.to_owned(), stages }
    }

    /// Length in seconds.
    pub fn duration_s(&self) -> u32 {
        self.stages.iter().map(|stage| stage.duration_s).sum()
    }

    /// The stages' users: fewest, mean over time, most. Ramps are not counted.
    pub fn users_summary(&self) -> UsersSummary {
        let mut summary = UsersSummary { min: f64::INFINITY, mean: 0.0, max: 0.0 };
        for stage in &self.stages {
            summary.min = summary.min.min(stage.users);
            summary.max = summary.max.max(stage.users);
            summary.mean += stage.users * f64::from(stage.duration_s);
        }
        summary.mean /= f64::from(self.duration_s());
        summary
    }
}

/// Users of a service over a whole trace.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct UsersSummary {
    /// Fewest users of a stage.
    pub min: f64,
    /// Mean over time.
    pub mean: f64,
    /// Most users of a stage.
    pub max: f64,
}

/// The traffic of several services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// One entry a service.
    pub services: Vec<ServiceTrace>,
}

impl Trace {
    /// Loads a built-in trace (`paper`, `paper/house`) or a file of either form. `stage_s` is the
    /// length of a row of the interval form, `columns` picks services (all of them if empty).
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, the line and the remedy.
    pub fn load(name_or_path: &str, stage_s: u32, columns: &[&str]) -> Result<Self> {
        let path = std::path::Path::new(name_or_path);
        // A folder may be called as a built-in trace is.
        let (name, column) = match name_or_path.split_once('/') {
            Some((name, column)) if !path.exists() => (name, Some(column)),
            _ => (name_or_path, None),
        };
        if let Some(known) = builtin::find(name) {
            if column.is_some() && !columns.is_empty() {
                return Err(Error::input(
                    format!("trace `{name_or_path}`"),
                    format!("columns are chosen twice: in the name and as {}", columns.join(",")),
                    format!("name the trace `{name}` alone"),
                ));
            }
            let columns = column.as_ref().map_or(columns, std::slice::from_ref);
            return csv::read(&format!("trace `{name}`"), known.text, stage_s, columns);
        }
        if !name_or_path.contains(['/', '\\', '.']) && !path.exists() {
            return Err(builtin::unknown(&format!("trace `{name_or_path}`"), name_or_path));
        }
        let text = crate::error::read_input(path)?;
        csv::read(name_or_path, &text, stage_s, columns)
    }
}

/// The nearest whole number, halves upwards.
pub(crate) fn round_half_up(number: f64) -> f64 {
    (number + 0.5).floor()
}

/// Checks that `rows` rows of `stage_s` seconds can be counted in seconds. The place is asked for only
/// where something is wrong: it may have to be searched for.
pub(crate) fn check_length(place: &dyn Fn() -> String, rows: usize, stage_s: u32) -> Result<()> {
    if stage_s == 0 {
        return Err(Error::input(
            place(),
            "stage_s = 0: a row has to last",
            "give whole seconds, at least 1",
        ));
    }
    if rows > MAX_ROWS {
        return Err(Error::input(
            place(),
            format!("{rows} rows are more than {MAX_ROWS}"),
            "give fewer rows",
        ));
    }
    if u32::try_from(rows).ok().and_then(|rows| rows.checked_mul(stage_s)).is_none() {
        return Err(Error::input(
            place(),
            format!("{rows} rows of {stage_s} s are longer than {} s", u32::MAX),
            "give fewer or shorter rows",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a file holds, it is read or refused.
        #[test]
        fn no_text_makes_a_reader_panic(
            header in prop::sample::select(vec![
                "house,senti",
                "time,n",
                "service,duration_s,users,spawn_rate",
                "Timestamp,User Count,Name",
            ]),
            cells in prop::collection::vec(
                prop_oneof![
                    any::<f64>().prop_map(|number| number.to_string()),
                    (0..300_u32).prop_map(|number| number.to_string()),
                    "[-0-9TZ:+.]{1,20}",
                    Just("Aggregated".to_owned()),
                    "\\PC{0,6}",
                ],
                0..24,
            ),
            columns in 1..5_usize,
        ) {
            let rows: Vec<String> = cells.chunks(columns).map(|row| row.join(",")).collect();
            let text = format!("{header}\n{}", rows.join("\n"));
            let _ = csv::read("t", &text, 120, &[]);
            let _ = locust_history::import("t", &text, "house", None);
            let _ = locust_history::import("t", &text, "house", Some(7));
            let rule = counts::CountsRule { gaps: counts::Gaps::Hold, ..counts::CountsRule::default() };
            let _ = counts::import("t", &text, &rule);
            let masks = vec![series::Mask::Rows(1..3), "1995-08-01T14:53..2030-08-03T04:36".parse().unwrap()];
            let masked = series::SeriesRule { columns: Vec::new(), masks, row_s: 60 };
            let plain = series::SeriesRule { masks: Vec::new(), ..masked.clone() };
            let _ = series::Series::read("t", "t", &text, &masked);
            let _ = series::Series::read("t", "t", &text, &plain);
        }
    }
}
