//! Any column of numbers as a regular series: what forecasters are trained and judged on.
//!
//! A series comes from a trace in one of our forms or from any CSV file with a header. Of a plain file
//! the column `users` is taken, if there is one, else every column that is no time; a column of times
//! gives the length of a row and shows gaps.
//!
//! Nothing is filled in silently. A gap or a cell without a number is refused, unless a [`Mask`] covers
//! it: masked rows keep their place in time but are neither learned from nor judged on.

use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use ::csv::StringRecord;

use super::counts::{names_time, read_time};
use super::csv::{self, Form, form_of, no_rows, read_users};
use super::table::Table;
use super::time::parse_iso;
use super::{MAX_ROWS, Trace, builtin};
use crate::error::{Error, Result, read_input};

/// The column that is taken where none is named.
const USERS: &str = "users";

/// Users, or counts of any kind, at regular instants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The file's name without its ending; with the column where a file gives several series.
    pub name: String,
    /// What the values count: `users`, or the column's name where a plain file counts something else.
    pub unit: String,
    /// Length of a row, seconds.
    pub row_s: f64,
    /// One value a row; not a number in a masked row that has none.
    pub users: Vec<f64>,
    /// Whether a row is masked; as long as `users`.
    pub masked: Vec<bool>,
    /// The time of each row as written (empty for rows that are missing); empty without times.
    pub times: Vec<String>,
    /// The time of the first row, seconds since 1970-01-01, where the file gives dates.
    pub start_s: Option<f64>,
}

/// Rows that are neither learned from nor judged on.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// By number, the first row of data being 0; without the end.
    Rows(Range<usize>),
    /// By time, seconds as the file's times count; without the end.
    Times {
        /// The first instant.
        from_s: f64,
        /// The first instant after.
        to_s: f64,
    },
}

impl Mask {
    fn covers(&self, row: usize, time_s: Option<f64>) -> bool {
        match self {
            Self::Rows(rows) => rows.contains(&row),
            Self::Times { from_s, to_s } => {
                time_s.is_some_and(|time_s| (*from_s..*to_s).contains(&time_s))
            }
        }
    }
}

impl FromStr for Mask {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            Error::input(
                format!("--mask {text}"),
                problem,
                "write FROM..TO with row numbers (100..200 is rows 100 to 199, counted from 0) or \
                 times (1995-08-01T14:53..1995-08-03T04:36, without the end)",
            )
        };
        let (from, to) = text.split_once("..").ok_or_else(|| wrong("no `..`"))?;
        let (from, to) = (from.trim(), to.trim());
        let mask = match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) => Self::Rows(from..to),
            _ => match (parse_iso(from), parse_iso(to)) {
                (Some(from_s), Some(to_s)) => Self::Times { from_s, to_s },
                _ => return Err(wrong("the ends are neither row numbers nor times")),
            },
        };
        let empty = match &mask {
            Self::Rows(rows) => rows.is_empty(),
            Self::Times { from_s, to_s } => from_s >= to_s,
        };
        if empty { Err(wrong("the end is not after the start")) } else { Ok(mask) }
    }
}

/// How series are read.
#[derive(Clone, Debug)]
pub struct SeriesRule {
    /// Columns (or services of the stage form); empty: `users`, else all that are no time.
    pub columns: Vec<String>,
    /// Rows to mask.
    pub masks: Vec<Mask>,
    /// Length of a row where the file does not say, seconds.
    pub row_s: u32,
}

impl Series {
    /// Reads the series of a file or of a built-in trace (`paper`, `paper/house`).
    ///
    /// # Errors
    /// [`Error::Input`] naming file, line and remedy.
    pub fn load(name_or_path: &str, rule: &SeriesRule) -> Result<Vec<Self>> {
        let path = Path::new(name_or_path);
        let builtin_name = name_or_path.split_once('/').map_or(name_or_path, |(name, _)| name);
        let is_builtin = builtin::find(builtin_name).is_some() && !path.exists();
        let bare_name = !name_or_path.contains(['/', '\\', '.']) && !path.exists();
        if is_builtin || bare_name {
            let columns: Vec<&str> = rule.columns.iter().map(String::as_str).collect();
            let trace = Trace::load(name_or_path, rule.row_s, &columns)?;
            // One column of it is named as it was asked for.
            let name = if trace.services.len() > 1 { builtin_name } else { name_or_path };
            return from_trace(name_or_path, name, &trace, rule);
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::read(name_or_path, &stem, &read_input(path)?, rule)
    }

    /// Reads the series of the CSV text of `file`, called `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(file: &str, name: &str, text: &str, rule: &SeriesRule) -> Result<Vec<Self>> {
        match form_of(file, text)? {
            Form::Stages => {
                let columns: Vec<&str> = rule.columns.iter().map(String::as_str).collect();
                from_trace(file, name, &csv::read(file, text, rule.row_s, &columns)?, rule)
            }
            Form::Interval => from_table(file, name, text, rule),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The time of a row, seconds since 1970-01-01, where the file gives dates.
    pub fn time_s(&self, row: usize) -> Option<f64> {
        self.start_s.map(|start_s| start_s + row as f64 * self.row_s)
    }

    /// The name without its file: of a series that is one of several, the column's or the service's.
    pub fn service(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}

/// Series of a trace whose stages are equally long.
fn from_trace(file: &str, stem: &str, trace: &Trace, rule: &SeriesRule) -> Result<Vec<Series>> {
    let several = trace.services.len() > 1;
    let series = trace.services.iter().map(|service| {
        let row_s = service.stages.first().map_or(0, |stage| stage.duration_s);
        if let Some(odd) = service.stages.iter().find(|stage| stage.duration_s != row_s) {
            return Err(Error::input(
                file,
                format!(
                    "service `{}` has stages of {row_s} s and of {} s",
                    service.service, odd.duration_s
                ),
                "a forecaster needs rows of one length: cut the stages to equal lengths",
            ));
        }
        let users: Vec<f64> = service.stages.iter().map(|stage| stage.users).collect();
        let masked =
            (0..users.len()).map(|row| rule.masks.iter().any(|mask| mask.covers(row, None)));
        Ok(Series {
            name: if several { format!("{stem}/{}", service.service) } else { stem.to_owned() },
            unit: USERS.to_owned(),
            row_s: f64::from(row_s),
            masked: masked.collect(),
            users,
            times: Vec::new(),
            start_s: None,
        })
    });
    let series = series.collect::<Result<Vec<_>>>()?;
    check_masks(file, rule, false, series.iter().flat_map(|series| &series.masked))?;
    Ok(series)
}

/// The rows of a plain file, before gaps are closed.
#[derive(Default)]
struct Rows {
    offsets: Vec<usize>,
    times: Vec<(f64, String)>,
    masked: Vec<bool>,
    users: Vec<Vec<f64>>,
}

fn from_table(file: &str, stem: &str, text: &str, rule: &SeriesRule) -> Result<Vec<Series>> {
    let mut table = Table::open(file, text)?;
    let time =
        table.header().iter().position(|name| names_time(name) && !rule.columns.contains(name));
    let columns = columns(&table, rule, time)?;
    let names: Vec<String> = columns.iter().map(|&column| table.header()[column].clone()).collect();
    let mut rows = read_rows(&mut table, rule, &columns, time)?;
    if rows.masked.is_empty() {
        return Err(no_rows(file));
    }
    check_masks(file, rule, time.is_some(), &rows.masked)?;
    let row_s = match time {
        Some(_) => close_gaps(&table, &mut rows, rule)?,
        None => None,
    };
    let times: Vec<String> = rows.times.into_iter().map(|(_, text)| text).collect();
    let start_s = times.first().and_then(|time| parse_iso(time));
    let several = names.len() > 1;
    let series = names.into_iter().zip(rows.users).map(|(name, users)| Series {
        // Without times the columns are services, as in the interval form.
        unit: if time.is_some() { name.clone() } else { USERS.to_owned() },
        name: if several { format!("{stem}/{name}") } else { stem.to_owned() },
        row_s: row_s.unwrap_or(f64::from(rule.row_s)),
        users,
        masked: rows.masked.clone(),
        times: times.clone(),
        start_s,
    });
    Ok(series.collect())
}

fn columns(table: &Table<'_>, rule: &SeriesRule, time: Option<usize>) -> Result<Vec<usize>> {
    if !rule.columns.is_empty() {
        return rule.columns.iter().map(|name| table.column(name)).collect();
    }
    if let Some(users) = table.header().iter().position(|name| name == USERS) {
        return Ok(vec![users]);
    }
    let all: Vec<usize> =
        (0..table.header().len()).filter(|&column| Some(column) != time).collect();
    if all.is_empty() {
        return Err(Error::input(
            format!("{}:1", table.file()),
            "the only column holds times",
            "add a column of users",
        ));
    }
    Ok(all)
}

fn read_rows(
    table: &mut Table<'_>,
    rule: &SeriesRule,
    columns: &[usize],
    time: Option<usize>,
) -> Result<Rows> {
    let mut rows = Rows { users: vec![Vec::new(); columns.len()], ..Rows::default() };
    let mut record = StringRecord::new();
    while table.next(&mut record)? {
        let time_s = time.map(|column| read_time(table, &record, column)).transpose()?;
        let masked = rule.masks.iter().any(|mask| mask.covers(rows.masked.len(), time_s));
        for (users, &column) in rows.users.iter_mut().zip(columns) {
            users.push(if masked {
                read_users(table, &record, column).unwrap_or(f64::NAN)
            } else {
                read_users(table, &record, column)
                    .map_err(|error| with_mask(error, &rows.masked))?
            });
        }
        if let (Some(time_s), Some(column)) = (time_s, time) {
            rows.times.push((time_s, record[column].to_owned()));
        }
        rows.offsets.push(Table::offset(&record));
        rows.masked.push(masked);
    }
    Ok(rows)
}

/// The same complaint, with the mask as another remedy.
fn with_mask(error: Error, before: &[bool]) -> Error {
    match error {
        Error::Input { place, problem, remedy } => {
            let row = before.len();
            let remedy = format!("{remedy}; or leave the row out with --mask {row}..{}", row + 1);
            Error::Input { place, problem, remedy }
        }
        other => other,
    }
}

/// Fails for a mask that cannot hit anything, which is most likely a slip.
fn check_masks<'a>(
    file: &str,
    rule: &SeriesRule,
    has_times: bool,
    masked: impl IntoIterator<Item = &'a bool>,
) -> Result<()> {
    let by_time = rule.masks.iter().any(|mask| matches!(mask, Mask::Times { .. }));
    if by_time && !has_times {
        return Err(Error::input(
            file,
            "there is no column of times for a mask by time",
            "mask by row numbers: --mask 100..200",
        ));
    }
    let hit = masked.into_iter().any(|masked| *masked);
    // A mask by time may cover nothing but missing rows.
    if !rule.masks.is_empty() && !by_time && !hit {
        return Err(Error::input(
            file,
            "no row has the number of a mask",
            "rows are counted from 0, without the header",
        ));
    }
    Ok(())
}

/// Puts masked rows where the times show that rows are missing and a mask covers them. Gives the
/// length of a row, seconds; `None` for a single row.
fn close_gaps(table: &Table<'_>, rows: &mut Rows, rule: &SeriesRule) -> Result<Option<f64>> {
    let distances = rows.times.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let Some(row_s) = distances.clone().reduce(f64::min) else { return Ok(None) };
    if row_s <= 0.0 {
        let at = 1 + distances.clone().position(|distance| distance <= 0.0).unwrap_or(0);
        return Err(Error::input(
            table.place_of_offset(rows.offsets[at]),
            format!("the time {} is not after {}", rows.times[at].1, rows.times[at - 1].1),
            "sort the rows by time, one row a time",
        ));
    }
    let mut closed = Rows { users: vec![Vec::new(); rows.users.len()], ..Rows::default() };
    for row in 0..rows.times.len() {
        if row > 0 {
            let before_s = rows.times[row - 1].0;
            let distance = rows.times[row].0 - before_s;
            let steps = (distance / row_s).round();
            let place = || table.place_of_offset(rows.offsets[row]);
            if (distance - steps * row_s).abs() > 1e-3 {
                return Err(Error::input(
                    place(),
                    format!("{distance} s after the row before is no multiple of {row_s} s"),
                    "the rows have to be equally long",
                ));
            }
            if steps + closed.masked.len() as f64 > MAX_ROWS as f64 {
                return Err(Error::input(
                    place(),
                    format!("{} rows are missing before this one", steps - 1.0),
                    "split the file there",
                ));
            }
            for missing in 1..steps as usize {
                let time_s = before_s + missing as f64 * row_s;
                let covers = |mask: &Mask| {
                    matches!(mask, Mask::Times { .. }) && mask.covers(0, Some(time_s))
                };
                if !rule.masks.iter().any(covers) {
                    return Err(Error::input(
                        place(),
                        format!(
                            "{} rows are missing between {} and {}",
                            steps - 1.0,
                            rows.times[row - 1].1,
                            rows.times[row].1
                        ),
                        format!(
                            "leave the gap out with --mask {}..{}, or fill it with `trace import \
                             --gaps`",
                            rows.times[row - 1].1,
                            rows.times[row].1
                        ),
                    ));
                }
                closed.users.iter_mut().for_each(|users| users.push(f64::NAN));
                closed.masked.push(true);
                closed.times.push((time_s, String::new()));
            }
        }
        for (closed, users) in closed.users.iter_mut().zip(&rows.users) {
            closed.push(users[row]);
        }
        closed.masked.push(rows.masked[row]);
        closed.times.push(rows.times[row].clone());
    }
    *rows = closed;
    Ok(Some(row_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(columns: &[&str], masks: &[&str]) -> SeriesRule {
        SeriesRule {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            masks: masks.iter().map(|mask| mask.parse().unwrap()).collect(),
            row_s: 120,
        }
    }

    fn read(text: &str, columns: &[&str], masks: &[&str]) -> Result<Vec<Series>> {
        Series::read("t.csv", "t", text, &rule(columns, masks))
    }

    #[test]
    fn the_column_of_users_is_found_in_every_form() {
        let plain =
            "time_utc,requests_2min,users\n1998-06-28T08:00Z,15473,9\n1998-06-28T08:02Z,1,8\n";
        let series = &read(plain, &[], &[]).unwrap()[0];
        assert_eq!((series.name.as_str(), series.row_s), ("t", 120.0));
        assert_eq!(series.users, [9.0, 8.0]);
        assert_eq!(series.times[1], "1998-06-28T08:02Z");
        assert_eq!((series.time_s(1), series.service()), (Some(899_020_920.0), "t"));
        assert_eq!(series.unit, "users");
        let requests = &read(plain, &["requests_2min"], &[]).unwrap()[0];
        assert_eq!((requests.unit.as_str(), requests.users[0]), ("requests_2min", 15473.0));

        let intervals = read("house,senti\n1,2\n3,4\n", &[], &[]).unwrap();
        assert_eq!(
            (intervals[1].name.as_str(), &intervals[1].users[..]),
            ("t/senti", &[2.0, 4.0][..])
        );
        assert_eq!((intervals[1].time_s(0), intervals[1].service()), (None, "senti"));
        let stages = "service,duration_s,users,spawn_rate\na,60,1,1\nb,9,5,5\na,60,2,2\nb,9,6,6\n";
        let series = read(stages, &["b"], &[]).unwrap();
        assert_eq!((series[0].row_s, &series[0].users[..]), (9.0, &[5.0, 6.0][..]));
        let unequal = read(&stages.replace("b,9,6,6", "b,8,6,6"), &["b"], &[]).unwrap_err();
        assert!(unequal.to_string().contains("stages of 9 s and of 8 s"), "{unequal}");

        let builtin = Series::load("paper/house", &rule(&[], &[])).unwrap();
        assert_eq!((builtin[0].name.as_str(), builtin[0].len()), ("paper/house", 20));
        assert_eq!(Series::load("paper", &rule(&[], &[])).unwrap()[2].name, "paper/numbr");
        let error = Series::load("papr", &rule(&[], &[])).unwrap_err();
        assert!(error.to_string().contains("did you mean `paper`?"), "{error}");
    }

    #[test]
    fn gaps_and_missing_cells_are_refused_or_masked() {
        let gap = "time,n\n1995-07-28T13:31,5\n1995-07-28T13:32,6\n1995-07-28T13:35,7\n";
        let error = read(gap, &[], &[]).unwrap_err().to_string();
        assert!(error.contains("t.csv:4: 2 rows are missing"), "{error}");
        assert!(error.contains("--mask 1995-07-28T13:32..1995-07-28T13:35"), "{error}");
        let masked = &read(gap, &[], &["1995-07-28T13:32..1995-07-28T13:35"]).unwrap()[0];
        assert_eq!(masked.masked, [false, true, true, true, false]);
        assert_eq!((masked.users[1], masked.users[4]), (6.0, 7.0));
        assert!(masked.users[2].is_nan());
        assert!(read(gap, &[], &["1995-07-28T13:32..1995-07-28T13:34"]).is_err());

        let hole = "n\n1\nNaN\n3\n";
        let error = read(hole, &[], &[]).unwrap_err().to_string();
        assert!(error.contains("t.csv:3: `NaN` in column `n`"), "{error}");
        assert!(error.contains("--mask 1..2"), "{error}");
        let masked = &read(hole, &[], &["1..2"]).unwrap()[0];
        assert_eq!(masked.masked, [false, true, false]);
        for (text, masks, expected) in [
            ("n\n1\n", &["5..7"][..], "no row has the number of a mask"),
            ("n\n1\n", &["1995-07-28T13:32..1995-07-28T13:35"], "no column of times"),
            ("n\n-1\n", &[], "t.csv:2: n = -1"),
            ("n\n", &[], "the trace is empty"),
            ("time\n3\n", &[], "the only column holds times"),
            ("time,n\n3,1\n3,1\n", &[], "t.csv:3: the time 3 is not after 3"),
            ("time,n\n0,1\n2,1\n5,1\n", &[], "no multiple of 2 s"),
        ] {
            let error = read(text, &[], masks).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn masks_parse() {
        assert_eq!("3..9".parse::<Mask>().unwrap(), Mask::Rows(3..9));
        for text in ["3", "3..3", "9..3", "a..b", "1995-08-01T14:53..4", ""] {
            assert_eq!(text.parse::<Mask>().unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
