//! Users from request counts, such as those of the 1998 World Cup site.
//!
//! Counts say nothing of users, so a rule has to: with `x` the sum of `sum` consecutive counts, and
//! `x_min`, `x_max` its least and greatest value over the rows used,
//!
//! ```text
//! users = users_min + (users_max - users_min) * (x - x_min) / (x_max - x_min)
//! ```
//!
//! rounded half up (unless fractions are wanted), each column by itself. Sums are taken from the
//! first row on; rows at the end that do not fill one are left out and reported.
//!
//! A column of times, if there is one, gives the length of a row and shows gaps. Gaps are never
//! closed silently: they are refused, or filled in a stated way and reported.

use csv::StringRecord;

use super::table::Table;
use super::time::parse_iso;
use super::{DEFAULT_STAGE_S, MAX_USERS, ServiceTrace, Trace, check_length, round_half_up};
use crate::error::{Error, Result};

/// Gaps that are named one by one; further ones are only counted.
const MAX_NAMED_GAPS: usize = 20;

/// How counts become users.
#[derive(Clone, Debug)]
pub struct CountsRule {
    /// Columns of counts; empty: the only one that is no time.
    pub columns: Vec<String>,
    /// Names of the services, one a column; empty: the columns' names.
    pub services: Vec<String>,
    /// The column of times; `None`: the first whose name says so, if any.
    pub time_column: Option<String>,
    /// Rows of the file to leave out at its start.
    pub skip_rows: usize,
    /// Rows of the file to use after that; `None`: all.
    pub rows: Option<usize>,
    /// Consecutive rows to add up.
    pub sum: usize,
    /// Users at the least sum.
    pub users_min: f64,
    /// Users at the greatest sum.
    pub users_max: f64,
    /// Whether fractions of users are kept.
    pub fractional: bool,
    /// What happens to gaps.
    pub gaps: Gaps,
    /// Length of a row of the trace, seconds; `None`: from the times, else [`DEFAULT_STAGE_S`].
    pub stage_s: Option<u32>,
}

impl Default for CountsRule {
    /// Every row by itself, onto 1 to 100 whole users, without gaps.
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            services: Vec::new(),
            time_column: None,
            skip_rows: 0,
            rows: None,
            sum: 1,
            users_min: 1.0,
            users_max: 100.0,
            fractional: false,
            gaps: Gaps::Refuse,
            stage_s: None,
        }
    }
}

/// What happens to rows that the times show to be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// They are an error.
    #[default]
    Refuse,
    /// They count as zero requests.
    Zero,
    /// They repeat the row before them.
    Hold,
}

/// A trace and what was done to get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The trace.
    pub trace: Trace,
    /// What the user should know: gaps filled, rows left out.
    pub warnings: Vec<String>,
}

/// Reads counts from the CSV text `text`; `file` is its name in messages.
///
/// # Errors
/// [`Error::Input`] naming file, line and remedy.
pub fn import(file: &str, text: &str, rule: &CountsRule) -> Result<Imported> {
    check_rule(rule)?;
    let mut table = Table::open(file, text)?;
    let time = time_column(&table, rule)?;
    let columns = count_columns(file, &table, rule, time)?;
    let services = service_names(&table, rule, &columns)?;
    let mut rows = read_rows(&mut table, rule, &columns, time)?;
    let mut warnings = Vec::new();
    let row_s = match time {
        Some(_) => fill_gaps(&table, &mut rows, rule.gaps, &mut warnings)?,
        None => None,
    };
    let row_count = rows.counts.first().map_or(0, Vec::len);
    let (sums, left_over) = (row_count / rule.sum, row_count % rule.sum);
    if sums == 0 {
        return Err(Error::input(
            file,
            format!("{row_count} rows of counts do not make one sum of {}", rule.sum),
            "give more rows or add up fewer; the file may be cut off",
        ));
    }
    if left_over > 0 {
        warnings.push(format!("{file}: the last {left_over} rows do not fill a sum: left out"));
    }
    let stage_s = match (rule.stage_s, row_s) {
        (Some(stage_s), _) => stage_s,
        (None, Some(row_s)) => whole_seconds(file, row_s * rule.sum as f64)?,
        (None, None) => DEFAULT_STAGE_S,
    };
    check_length(&|| file.to_owned(), sums, stage_s)?;
    let services = services
        .into_iter()
        .zip(&rows.counts)
        .map(|(service, counts)| {
            let users = to_users(file, &service, counts, rule)?;
            Ok(ServiceTrace::from_rows(&service, &users, stage_s))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Imported { trace: Trace { services }, warnings })
}

fn check_rule(rule: &CountsRule) -> Result<()> {
    let refuse = |problem: String, remedy: &str| Err(Error::input("counts", problem, remedy));
    if rule.sum == 0 {
        return refuse("a sum of 0 rows".to_owned(), "add up at least one row");
    }
    let (low, high) = (rule.users_min, rule.users_max);
    if !(0.0 <= low && low < high && high <= MAX_USERS) {
        return refuse(
            format!("users from {low} to {high}"),
            "the fewest users are at least 0 and below the most",
        );
    }
    Ok(())
}

/// Whether a name is that of a column of times.
pub(super) fn names_time(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("time")
        || ["t", "t_s", "date", "datetime", "minute", "second"].contains(&name.as_str())
}

fn time_column(table: &Table<'_>, rule: &CountsRule) -> Result<Option<usize>> {
    match &rule.time_column {
        Some(name) => table.column(name).map(Some),
        None => Ok(table
            .header()
            .iter()
            .position(|name| names_time(name) && !rule.columns.contains(name))),
    }
}

fn count_columns(
    file: &str,
    table: &Table<'_>,
    rule: &CountsRule,
    time: Option<usize>,
) -> Result<Vec<usize>> {
    if !rule.columns.is_empty() {
        return rule.columns.iter().map(|name| table.column(name)).collect();
    }
    let candidates: Vec<usize> =
        (0..table.header().len()).filter(|&index| Some(index) != time).collect();
    if candidates.len() == 1 {
        return Ok(candidates);
    }
    let names: Vec<&str> = candidates.iter().map(|&index| table.header()[index].as_str()).collect();
    Err(Error::input(
        format!("{file}:1"),
        format!("{} columns could be counts", names.len()),
        format!("choose with --column (in settings: columns) from {}", names.join(", ")),
    ))
}

fn service_names(table: &Table<'_>, rule: &CountsRule, columns: &[usize]) -> Result<Vec<String>> {
    if rule.services.is_empty() {
        return Ok(columns.iter().map(|&column| table.header()[column].clone()).collect());
    }
    if rule.services.len() != columns.len() {
        return Err(Error::input(
            "counts",
            format!("{} services for {} columns of counts", rule.services.len(), columns.len()),
            "name one service a column",
        ));
    }
    Ok(rule.services.clone())
}

/// The rows used, column by column.
struct Rows {
    /// Where each row is in the text.
    offsets: Vec<usize>,
    /// Its time in seconds and as written; empty without a column of times.
    times: Vec<(f64, String)>,
    /// The counts of each column.
    counts: Vec<Vec<f64>>,
}

fn read_rows(
    table: &mut Table<'_>,
    rule: &CountsRule,
    columns: &[usize],
    time: Option<usize>,
) -> Result<Rows> {
    let mut rows =
        Rows { offsets: Vec::new(), times: Vec::new(), counts: vec![Vec::new(); columns.len()] };
    let mut record = StringRecord::new();
    let mut to_skip = rule.skip_rows;
    while rule.rows.is_none_or(|most| rows.offsets.len() < most) && table.next(&mut record)? {
        if to_skip > 0 {
            to_skip -= 1;
            continue;
        }
        for (counts, &column) in rows.counts.iter_mut().zip(columns) {
            let count = table.number(&record, column)?;
            if count < 0.0 {
                return Err(table.complaint(
                    &record,
                    column,
                    "the count is negative",
                    "a count of requests is 0 or more",
                ));
            }
            counts.push(count);
        }
        if let Some(column) = time {
            rows.times.push((read_time(table, &record, column)?, record[column].to_owned()));
        }
        rows.offsets.push(Table::offset(&record));
    }
    Ok(rows)
}

/// The instant in a cell, seconds.
pub(super) fn read_time(table: &Table<'_>, record: &StringRecord, column: usize) -> Result<f64> {
    if let Some(seconds) = parse_iso(&record[column]) {
        return Ok(seconds);
    }
    let number = table.number(record, column).map_err(|_| {
        table.complaint(
            record,
            column,
            "this is not a time",
            "write 1998-06-28T08:02:00Z or seconds, or choose the column with --time-column",
        )
    })?;
    // Some tables number the minutes of a day.
    Ok(if table.header()[column].starts_with("minute") { number * 60.0 } else { number })
}

/// Closes the gaps that the times show and gives the length of a row, seconds (`None` if there
/// are too few times to tell).
fn fill_gaps(
    table: &Table<'_>,
    rows: &mut Rows,
    gaps: Gaps,
    warnings: &mut Vec<String>,
) -> Result<Option<f64>> {
    let distances: Vec<f64> = rows.times.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let Some(row_s) = distances.iter().copied().reduce(f64::min) else { return Ok(None) };
    if row_s <= 0.0 {
        let at = 1 + distances.iter().position(|&distance| distance <= 0.0).unwrap_or(0);
        return Err(Error::input(
            table.place_of_offset(rows.offsets[at]),
            format!("the time {} is not after {}", rows.times[at].1, rows.times[at - 1].1),
            "sort the rows by time, one row a time",
        ));
    }
    let mut missing = Vec::with_capacity(distances.len());
    let mut complaints = Vec::new();
    let mut gap_count = 0;
    for (index, distance) in distances.iter().enumerate() {
        let steps = (distance / row_s).round();
        let place = || table.place_of_offset(rows.offsets[index + 1]);
        if (distance - steps * row_s).abs() > 1e-3 {
            return Err(Error::input(
                place(),
                format!("{distance} s after the row before is no multiple of {row_s} s"),
                "the rows have to be equally long",
            ));
        }
        if steps > 1.0 {
            gap_count += 1;
        }
        if steps > 1.0 && gap_count <= MAX_NAMED_GAPS {
            complaints.push(format!(
                "{}: {} rows are missing between {} and {}",
                place(),
                steps - 1.0,
                rows.times[index].1,
                rows.times[index + 1].1
            ));
        }
        missing.push(steps as usize - 1);
    }
    if complaints.is_empty() {
        return Ok(Some(row_s));
    }
    if gap_count > MAX_NAMED_GAPS {
        let others = gap_count - MAX_NAMED_GAPS;
        complaints.push(format!("{}: {others} more gaps", table.file()));
    }
    if gaps == Gaps::Refuse {
        let all = complaints.join("\n  ");
        return Err(Error::input(
            table.file(),
            format!("the counts have gaps\n  {all}"),
            "fill them with --gaps zero or --gaps hold, or choose rows with --skip-rows and --rows",
        ));
    }
    let filled_rows =
        missing.iter().fold(rows.offsets.len(), |sum, &more| sum.saturating_add(more));
    check_length(&|| table.file().to_owned(), filled_rows, 1)?;
    for counts in &mut rows.counts {
        let mut filled = Vec::new();
        for (&count, &missing) in counts.iter().zip(missing.iter().chain([&0])) {
            let filler = if gaps == Gaps::Hold { count } else { 0.0 };
            filled.push(count);
            filled.extend(std::iter::repeat_n(filler, missing));
        }
        *counts = filled;
    }
    let how = if gaps == Gaps::Hold { "the row before repeated" } else { "filled with 0" };
    warnings.extend(complaints.iter().map(|gap| format!("{gap}: {how}")));
    Ok(Some(row_s))
}

/// `seconds`, if a stage can be that long.
fn whole_seconds(file: &str, seconds: f64) -> Result<u32> {
    if seconds.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&seconds) {
        return Ok(seconds as u32);
    }
    Err(Error::input(
        file,
        format!("a row of {seconds} s is not a whole number of seconds"),
        "give the length of a row with --stage-s",
    ))
}

/// The rule at the top, for one column.
fn to_users(file: &str, service: &str, counts: &[f64], rule: &CountsRule) -> Result<Vec<f64>> {
    let sums: Vec<f64> = counts.chunks_exact(rule.sum).map(|chunk| chunk.iter().sum()).collect();
    let least = sums.iter().copied().fold(f64::INFINITY, f64::min);
    let most = sums.iter().copied().fold(0.0, f64::max);
    if least == most {
        return Err(Error::input(
            file,
            format!(
                "all sums of `{service}` are {least}: no scale from {} to {}",
                rule.users_min, rule.users_max
            ),
            "choose a column or rows that vary",
        ));
    }
    let span = rule.users_max - rule.users_min;
    Ok(sums
        .iter()
        .map(|sum| {
            // Multiplied first: with whole numbers the quotient is then the nearest to the exact
            // one, and halves are halves.
            let users = rule.users_min + span * (sum - least) / (most - least);
            if rule.fractional { users } else { round_half_up(users) }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> CountsRule {
        CountsRule { users_max: 101.0, ..CountsRule::default() }
    }

    fn users(trace: &Trace, service: usize) -> Vec<f64> {
        trace.services[service].stages.iter().map(|stage| stage.users).collect()
    }

    const COUNTS: &str = "time,a,b\n0,0,5\n60,100,6\n120,50,7\n180,50,8\n240,9,9\n";

    #[test]
    fn sums_are_spread_linearly_and_rounded_half_up() {
        let columns = vec!["a".to_owned(), "b".to_owned()];
        let services = vec!["house".to_owned(), "senti".to_owned()];
        let imported =
            import("c.csv", COUNTS, &CountsRule { columns, services, ..rule() }).unwrap();
        assert_eq!(imported.trace.services[0].service, "house");
        assert_eq!(imported.trace.services[0].stages[0].duration_s, 60);
        assert_eq!(users(&imported.trace, 0), [1.0, 101.0, 51.0, 51.0, 10.0]);
        assert_eq!(users(&imported.trace, 1), [1.0, 26.0, 51.0, 76.0, 101.0]);
        let columns = vec!["b".to_owned()];
        let pairs = CountsRule { columns, sum: 2, users_max: 2.0, ..rule() };
        let imported = import("c.csv", COUNTS, &pairs).unwrap();
        assert_eq!(users(&imported.trace, 0), [1.0, 2.0]);
        assert_eq!(imported.trace.services[0].stages[0].duration_s, 120);
        assert!(imported.warnings[0].contains("the last 1 rows"), "{:?}", imported.warnings);
        let columns = vec!["b".to_owned()];
        let halves = CountsRule { columns, skip_rows: 1, rows: Some(3), users_max: 2.0, ..rule() };
        assert_eq!(users(&import("c.csv", COUNTS, &halves).unwrap().trace, 0), [1.0, 2.0, 2.0]);
        let kept = CountsRule { fractional: true, ..halves };
        assert_eq!(users(&import("c.csv", COUNTS, &kept).unwrap().trace, 0), [1.0, 1.5, 2.0]);
    }

    #[test]
    fn gaps_are_named_and_filled_only_on_request() {
        let text = "time_utc,n\n1998-05-08T00:00Z,4\n1998-05-08T00:01Z,6\n1998-05-08T00:04Z,5\n";
        let error = import("c.csv", text, &rule()).unwrap_err().to_string();
        let gap = "c.csv:4: 2 rows are missing between 1998-05-08T00:01Z and 1998-05-08T00:04Z";
        assert!(error.contains(gap), "{error}");
        let zero = import("c.csv", text, &CountsRule { gaps: Gaps::Zero, ..rule() }).unwrap();
        assert_eq!(users(&zero.trace, 0), [68.0, 101.0, 1.0, 1.0, 84.0]);
        assert!(zero.warnings[0].starts_with(gap), "{:?}", zero.warnings);
        let hold = import("c.csv", text, &CountsRule { gaps: Gaps::Hold, ..rule() }).unwrap();
        assert_eq!(users(&hold.trace, 0), [1.0, 101.0, 101.0, 101.0, 51.0]);
    }

    #[test]
    fn a_gap_that_would_fill_the_memory_is_refused() {
        let text = "time,n\n0,1\n1,2\n1e300,3\n";
        let error = import("c.csv", text, &CountsRule { gaps: Gaps::Zero, ..rule() }).unwrap_err();
        assert!(error.to_string().contains("are more than"), "{error}");
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let cases = [
            ("time,n\n0,1\n60,NaN\n", "c.csv:3: `NaN` in column `n` is not finite"),
            ("time,n\n0,1\n60,-1\n", "c.csv:3: n = -1: the count is negative"),
            ("time,n\n0,1\n60\n", "c.csv:3: 1 cells for 2 columns"),
            ("time,n\n0,1\n0,2\n", "c.csv:3: the time 0 is not after 0"),
            ("time,n\n0,1\nx,2\n", "c.csv:3: time = x: this is not a time"),
            ("time,n\n0,1\n60,2\n150,3\n", "c.csv:4: 90 s after the row before"),
            ("time,n\n0,1\n60,1\n", "all sums of `n` are 1"),
            ("time,n\n0,1\n1,2\n1e300,3\n", "c.csv: the counts have gaps"),
            ("time,n\n", "0 rows of counts do not make one sum"),
            ("time,n,m\n0,1,2\n", "choose with --column (in settings: columns) from n, m"),
        ];
        for (text, expected) in cases {
            let error = import("c.csv", text, &rule()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
