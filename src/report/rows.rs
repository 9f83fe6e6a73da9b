//! Tables of serde rows: one description of a row type serves CSV and Parquet.
//!
//! A row type is listed once, with its columns ([`Row`]); the compiler refuses a list that misses a
//! field. CSV comes from serde; Parquet columns take the type of the field, so that a column without
//! any value still has its type.

use std::io::{Read, Write};
use std::path::Path;

use polars::prelude::{Column, DataFrame, NamedFrom, ParquetCompression, ParquetWriter, Series};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::run::{DecisionRow, IntervalRow, RevisionRow, TickRow};

/// A row of a table.
pub trait Row: Serialize + DeserializeOwned {
    /// Names of the columns, in order.
    const COLUMNS: &'static [&'static str];

    /// The rows as typed columns.
    fn columns(rows: &[Self]) -> Vec<Column>;
}

/// Implements [`Row`] for a struct and all its fields, in their order.
macro_rules! row {
    ($row:ident { $($field:ident),* $(,)? }) => {
        impl $crate::report::rows::Row for $row {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn columns(rows: &[Self]) -> Vec<polars::prelude::Column> {
                // Fails to compile when a field is missing from the list.
                let complete = |$row { $($field: _),* }: &$row| ();
                rows.iter().for_each(complete);
                vec![$($crate::report::rows::column(
                    stringify!($field),
                    rows.iter().map(|row| row.$field.clone()).collect::<Vec<_>>(),
                )),*]
            }
        }
    };
}
pub(super) use row;

/// A column of values of one type.
pub(super) fn column<T>(name: &str, values: Vec<T>) -> Column
where
    Series: NamedFrom<Vec<T>, [T]>,
{
    Series::new(name.into(), values).into()
}

row!(DecisionRow {
    t_s,
    service,
    users_seen,
    forecast,
    option,
    cpu_m,
    concurrency,
    pods,
    reason,
    reward,
});
row!(IntervalRow {
    from_s,
    to_s,
    service,
    throughput_rps,
    p95_ms,
    mean_ms,
    share_over_slo,
    user_seconds,
    waiting_user_seconds,
    ready_pod_seconds,
    cpu_seconds,
    pods_created,
    over_quota_cpu_seconds,
    denied_pod_seconds,
    memory_mib_seconds,
    over_quota_memory_mib_seconds,
});
row!(RevisionRow {
    service,
    revision,
    created_s,
    ready_s,
    deleted_s,
    gone_s,
    option,
    cpu_m,
    concurrency,
    pods,
    outcome,
});
row!(TickRow {
    t_s,
    service,
    users,
    waiting_users,
    in_flight,
    throughput_rps,
    p95_ms,
    ready_pods,
    starting_pods,
    terminating_pods,
    denied_pods,
    pending_pods,
    cpu_m,
    overlap_cpu_m,
    memory_mib,
    revision,
    quota_cpu_m,
});

/// Writes CSV: a header, also over an empty table; floats in the shortest form that reads back the
/// same; a missing value as an empty cell.
///
/// # Errors
/// The writer's.
pub fn write_csv<R: Row>(writer: impl Write, rows: &[R]) -> std::io::Result<()> {
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(writer);
    csv.write_record(R::COLUMNS)?;
    for row in rows {
        csv.serialize(row)?;
    }
    csv.flush()
}

/// Reads CSV that [`write_csv`] wrote; columns may stand in any order. `place` names the file in messages.
///
/// # Errors
/// [`Error::Input`] with the file and line.
pub fn read_csv<R: Row>(reader: impl Read, place: &Path) -> Result<Vec<R>> {
    let mut csv = csv::Reader::from_reader(reader);
    let fault = |error: csv::Error, names: &csv::StringRecord| {
        let line = error.position().map_or(1, csv::Position::line);
        let problem = match error.kind() {
            csv::ErrorKind::Deserialize { err, .. } => match err.field() {
                Some(field) => {
                    let name = usize::try_from(field).ok().and_then(|at| names.get(at));
                    format!("column {} ({}): {}", field + 1, name.unwrap_or("?"), err.kind())
                }
                None => err.kind().to_string(),
            },
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} cells where the header has {expected_len}")
            }
            _ => error.to_string(),
        };
        Error::input(
            format!("{}:{line}", place.display()),
            problem,
            format!("the columns are {}", R::COLUMNS.join(",")),
        )
    };
    let names = csv.headers().cloned().map_err(|error| fault(error, &csv::StringRecord::new()))?;
    if let Some(missing) =
        R::COLUMNS.iter().find(|name| !names.iter().any(|header| header == **name))
    {
        return Err(Error::input(
            format!("{}:1", place.display()),
            format!("column `{missing}` is missing"),
            format!("the columns are {}", R::COLUMNS.join(",")),
        ));
    }
    csv.deserialize().collect::<std::result::Result<_, _>>().map_err(|error| fault(error, &names))
}

/// Writes Parquet (zstd). The same rows give the same bytes.
///
/// # Errors
/// The writer's.
pub fn write_parquet<R: Row>(mut writer: impl Write, rows: &[R]) -> std::io::Result<()> {
    let mut frame = DataFrame::new(rows.len(), R::columns(rows)).map_err(std::io::Error::other)?;
    // By way of memory: polars reports a full disk as a damaged file.
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        // Chunks compressed side by side could be written in another order.
        .set_parallel(false)
        .finish(&mut frame)
        .map_err(std::io::Error::other)?;
    writer.write_all(&bytes)
}
