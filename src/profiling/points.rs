//! What load tests measured: the p95 latency of a pod at a CPU size and a load.
//!
//! Three kinds of file are read:
//!
//! - a table of points: columns `cpu_m`, `users`, `p95_ms`, and `pods` where it was not 1;
//! - a table of files: columns `file` (relative to the table), `cpu_m`, `users` and `pods` as above; `users`
//!   may be left out for a history;
//! - Locust's `*_stats.csv` (one run at one user count) or `*_stats_history.csv` (one run, any number of
//!   counts), whose name says the rest: `house-cpu2000m-users30_stats.csv`, `pods2` where there were two.
//!
//! Of Locust's files the row `Aggregated` counts. Its history holds percentiles over the 10 s before: every
//! stretch of one user count gives one point, the median of the p95 from 15 s after it began.

use std::path::Path;

use csv::StringRecord;
use serde::Serialize;

use crate::error::{Error, Result, read_input};
use crate::trace::table::Table;

/// A measured p95.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// CPU of the pod, millicores.
    pub cpu_m: u64,
    /// Users a pod: requests that it holds at once.
    pub users: f64,
    /// 95th percentile of the latency, ms.
    pub p95_ms: f64,
}

/// Name that Locust gives to all requests together.
const AGGREGATED: &str = "Aggregated";
/// The ramp's own requests leave Locust's window of 10 s after this.
const SETTLED_S: f64 = 15.0;
/// Fewest seconds of a settled stretch that count.
const LEAST_SAMPLES: usize = 5;
/// A run with more failed requests measures the failures.
const MOST_FAILURES: f64 = 0.05;

const REMEDY: &str = "name the file as house-cpu2000m-users30_stats.csv, or list it in a table with the \
                      columns file,cpu_m,users";

/// What is known of a run beside its file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Setting {
    cpu_m: Option<u64>,
    users: Option<f64>,
    pods: Option<f64>,
}

/// The points of a file of any kind.
///
/// # Errors
/// [`Error::Input`] naming file, line and remedy.
pub fn read(path: &Path) -> Result<Vec<Point>> {
    let text = read_input(path)?;
    let name = path.display().to_string();
    let table = Table::open(&name, &text)?;
    let has = |column: &str| table.header().iter().any(|name| name == column);
    if has("file") {
        return read_list(path, table);
    }
    if has("cpu_m") {
        return read_points(table);
    }
    if has("95%") {
        return read_locust(table, setting_of_name(path));
    }
    Err(Error::input(
        &name,
        format!("no load test: the columns are {}", table.header().join(", ")),
        "give Locust's *_stats.csv or *_stats_history.csv, or a table with the columns cpu_m,users,p95_ms",
    ))
}

fn read_points(mut table: Table<'_>) -> Result<Vec<Point>> {
    let columns = [table.column("cpu_m")?, table.column("users")?, table.column("p95_ms")?];
    let pods_column = table.header().iter().position(|name| name == "pods");
    let mut points = Vec::new();
    let mut record = StringRecord::new();
    while table.next(&mut record)? {
        let cpu_m = whole(&table, &record, columns[0])?;
        let users = positive(&table, &record, columns[1])?;
        let p95_ms = positive(&table, &record, columns[2])?;
        let pods = pods_column.map_or(Ok(1.0), |column| positive(&table, &record, column))?;
        points.push(Point { cpu_m, users: users / pods, p95_ms });
    }
    Ok(points)
}

fn read_list(path: &Path, mut table: Table<'_>) -> Result<Vec<Point>> {
    let file_column = table.column("file")?;
    let cpu_column = table.column("cpu_m")?;
    let find = |name: &str| table.header().iter().position(|known| known == name);
    let (users_column, pods_column) = (find("users"), find("pods"));
    let mut points = Vec::new();
    let mut record = StringRecord::new();
    while table.next(&mut record)? {
        let cell = |column: Option<usize>| -> Result<Option<f64>> {
            match column.filter(|&column| !record[column].is_empty()) {
                Some(column) => positive(&table, &record, column).map(Some),
                None => Ok(None),
            }
        };
        let setting = Setting {
            cpu_m: Some(whole(&table, &record, cpu_column)?),
            users: cell(users_column)?,
            pods: cell(pods_column)?,
        };
        let file = path.parent().unwrap_or(Path::new("")).join(&record[file_column]);
        let text = read_input(&file).map_err(|error| match error {
            Error::Input { problem, .. } => {
                table.complaint(&record, file_column, &problem, "paths are relative to the table")
            }
            other => other,
        })?;
        let name = file.display().to_string();
        points.extend(read_locust(Table::open(&name, &text)?, setting)?);
    }
    Ok(points)
}

/// `cpu2000m`, `users30` and `pods2` in the name of a file, in any order.
fn setting_of_name(path: &Path) -> Setting {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let after = |word: &str| -> Option<f64> {
        name.match_indices(word).find_map(|(at, _)| {
            let rest = name[at + word.len()..].trim_start_matches(['-', '_', '=']);
            let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse().ok()
        })
    };
    Setting {
        cpu_m: after("cpu").map(|cpu| cpu as u64),
        users: after("users"),
        pods: after("pods"),
    }
}

fn read_locust(table: Table<'_>, setting: Setting) -> Result<Vec<Point>> {
    let file = table.file().to_owned();
    let missing = |what: &str| Error::input(&file, format!("{what} is not known"), REMEDY);
    let cpu_m = setting.cpu_m.filter(|&cpu| cpu > 0).ok_or_else(|| missing("the pod's CPU"))?;
    let pods = setting.pods.unwrap_or(1.0);
    let point = |(users, p95_ms): (f64, f64)| Point { cpu_m, users: users / pods, p95_ms };
    if table.header().iter().any(|name| name == "User Count") {
        return Ok(read_history(table)?.into_iter().map(point).collect());
    }
    let users =
        setting.users.filter(|&users| users > 0.0).ok_or_else(|| missing("the number of users"))?;
    Ok(vec![point((users, read_stats(table)?))])
}

/// The p95 of a `*_stats.csv`.
fn read_stats(mut table: Table<'_>) -> Result<f64> {
    let name_column = table.column("Name")?;
    let p95_column = table.column("95%")?;
    let requests_column = table.column("Request Count")?;
    let failures_column = table.column("Failure Count")?;
    let mut record = StringRecord::new();
    while table.next(&mut record)? {
        if &record[name_column] != AGGREGATED {
            continue;
        }
        let requests = table.number(&record, requests_column)?;
        if requests <= 0.0 {
            return Err(table.complaint(
                &record,
                requests_column,
                "no request was completed",
                "leave the file out, or measure again",
            ));
        }
        check_failures(&table, &record, table.number(&record, failures_column)? / requests)?;
        return positive(&table, &record, p95_column);
    }
    Err(no_aggregate(table.file()))
}

/// Users and p95 of every settled stretch of a `*_stats_history.csv`.
fn read_history(mut table: Table<'_>) -> Result<Vec<(f64, f64)>> {
    let time_column = table.column("Timestamp")?;
    let users_column = table.column("User Count")?;
    let name_column = table.column("Name")?;
    let p95_column = table.column("95%")?;
    let requests_column = table.column("Requests/s")?;
    let failures_column = table.column("Failures/s")?;
    let mut points = Vec::new();
    let mut stretch: Option<(f64, f64, Vec<f64>)> = None;
    let mut close = |stretch: Option<(f64, f64, Vec<f64>)>| {
        if let Some((users, _, mut samples)) = stretch
            && samples.len() >= LEAST_SAMPLES
            && users > 0.0
        {
            samples.sort_by(f64::total_cmp);
            points.push((users, samples[samples.len() / 2]));
        }
    };
    let mut any = false;
    let mut record = StringRecord::new();
    while table.next(&mut record)? {
        if &record[name_column] != AGGREGATED {
            continue;
        }
        any = true;
        let time = table.number(&record, time_column)?;
        let users = table.number(&record, users_column)?;
        if stretch.as_ref().is_none_or(|(held, ..)| *held != users) {
            close(stretch.replace((users, time, Vec::new())));
        }
        let Some((_, since, samples)) = &mut stretch else { continue };
        // `N/A` and 0 stand where nothing was completed.
        let p95 = record[p95_column].parse::<f64>().unwrap_or(0.0);
        if time - *since >= SETTLED_S && p95 > 0.0 {
            let rate = table.number(&record, requests_column)?;
            let failed = table.number(&record, failures_column)?;
            check_failures(&table, &record, if rate > 0.0 { failed / rate } else { 0.0 })?;
            samples.push(p95);
        }
    }
    close(stretch);
    if !any {
        return Err(no_aggregate(table.file()));
    }
    if points.is_empty() {
        return Err(Error::input(
            table.file(),
            format!("no user count was held for {:.0} s", SETTLED_S + LEAST_SAMPLES as f64),
            "hold every user count for a minute or more",
        ));
    }
    Ok(points)
}

fn check_failures(table: &Table<'_>, record: &StringRecord, share: f64) -> Result<()> {
    if share <= MOST_FAILURES {
        return Ok(());
    }
    Err(Error::input(
        table.place(record),
        format!("{:.0} % of the requests failed", share * 100.0),
        "failures are fast or time out, so their latency says nothing: mend the service or leave the run out",
    ))
}

fn no_aggregate(file: &str) -> Error {
    Error::input(
        file,
        format!("there is no row called `{AGGREGATED}`"),
        "take the file as Locust wrote it: *_stats.csv or *_stats_history.csv",
    )
}

fn positive(table: &Table<'_>, record: &StringRecord, column: usize) -> Result<f64> {
    let number = table.number(record, column)?;
    if number > 0.0 {
        return Ok(number);
    }
    Err(table.complaint(record, column, "this has to be above 0", "leave the row out"))
}

fn whole(table: &Table<'_>, record: &StringRecord, column: usize) -> Result<u64> {
    let number = positive(table, record, column)?;
    if number.fract() == 0.0 && number < 1e9 {
        return Ok(number as u64);
    }
    Err(table.complaint(
        record,
        column,
        "no whole number of millicores",
        "write 2000 for two cores",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const STATS: &str =
        "Type,Name,Request Count,Failure Count,95%\nGET,/,90,0,400\n,Aggregated,100,1,410\n";

    fn read_text(name: &str, text: &str) -> Result<Vec<Point>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        read(&path)
    }

    fn history(rows: &[(u32, u32, &str)]) -> String {
        let mut text = "Timestamp,User Count,Name,Requests/s,Failures/s,95%\n".to_owned();
        for (time, users, p95) in rows {
            text += &format!("{time},{users},Aggregated,50,0,{p95}\n");
        }
        text
    }

    #[test]
    fn a_name_says_cpu_users_and_pods() {
        let points = read_text("house-cpu2000m-users30-pods2_stats.csv", STATS).unwrap();
        assert_eq!(points, [Point { cpu_m: 2000, users: 15.0, p95_ms: 410.0 }]);
        let points = read_text("users_8_cpu_500_stats.csv", STATS).unwrap();
        assert_eq!(points, [Point { cpu_m: 500, users: 8.0, p95_ms: 410.0 }]);
    }

    #[test]
    fn a_history_gives_a_point_for_every_count_that_was_held() {
        let mut rows: Vec<(u32, u32, &str)> = vec![(0, 5, "N/A")];
        rows.extend((1..60).map(|t| (t, 10, if t < 15 { "900" } else { "200" })));
        rows.extend((60..66).map(|t| (t, 15, "700")));
        rows.extend((66..120).map(|t| (t, 20, "410")));
        let points = read_text("cpu1000m_stats_history.csv", &history(&rows)).unwrap();
        let of = |users: f64, p95_ms: f64| Point { cpu_m: 1000, users, p95_ms };
        assert_eq!(points, [of(10.0, 200.0), of(20.0, 410.0)]);
    }

    #[test]
    fn a_table_names_files_or_points() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("runs")).unwrap();
        fs::write(folder.path().join("runs/a_stats.csv"), STATS).unwrap();
        let list = folder.path().join("list.csv");
        fs::write(&list, "file,cpu_m,users,pods\nruns/a_stats.csv,1500,12,\n").unwrap();
        assert_eq!(read(&list).unwrap(), [Point { cpu_m: 1500, users: 12.0, p95_ms: 410.0 }]);
        let points = read_text("p.csv", "cpu_m,users,pods,p95_ms\n1000,30,2,500\n").unwrap();
        assert_eq!(points, [Point { cpu_m: 1000, users: 15.0, p95_ms: 500.0 }]);
        fs::write(&list, "file,cpu_m,users\nnone.csv,1500,12\n").unwrap();
        let error = read(&list).unwrap_err().to_string();
        assert!(error.contains("list.csv:2: file = none.csv"), "{error}");
    }

    #[test]
    fn faults_say_what_mends_them() {
        let wrong = |name: &str, text: &str| {
            let error = read_text(name, text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(wrong("a_stats.csv", STATS).contains("the pod's CPU is not known"));
        assert!(wrong("cpu1000m_stats.csv", STATS).contains("the number of users is not known"));
        let failed = STATS.replace(",100,1,", ",100,40,");
        assert!(
            wrong("cpu1-users1_stats.csv", &failed).contains(":3: 40 % of the requests failed")
        );
        let none = STATS.replace(",100,1,", ",0,0,");
        assert!(wrong("cpu1-users1_stats.csv", &none).contains("no request was completed"));
        let whole = STATS.replace("Aggregated", "Total");
        assert!(wrong("cpu1-users1_stats.csv", &whole).contains("no row called `Aggregated`"));
        assert!(wrong("a.csv", "x,y\n1,2\n").contains("no load test"));
        assert!(wrong("a.csv", "cpu_m,users,p95_ms\n1000,-3,5\n").contains("a.csv:2: users = -3"));
        assert!(wrong("a.csv", "cpu_m,users,p95_ms\n0.5,3,5\n").contains("millicores"));
        let short = history(&[(0, 5, "100"), (1, 6, "100")]);
        assert!(wrong("cpu1m_stats_history.csv", &short).contains("held for 20 s"));
    }
}
