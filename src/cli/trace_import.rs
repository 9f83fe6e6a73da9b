//! `trace import`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::Common;
use super::trace_generate::check_names;
use super::trace_output::{CsvForm, Output, kind_of};
use crate::error::{Error, read_input};
use crate::trace::counts::{self, CountsRule, Gaps};
use crate::trace::{Stage, Trace, locust_history, round_half_up};

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportKind {
    /// A CSV table of request counts. Sums of --sum rows are spread linearly: the least becomes
    /// --users-min, the greatest --users-max, each column by itself, rounded half up.
    Counts,
    /// Locust's *_stats_history.csv (2.8.6 to 2.47.0), one file a service: the user counts of the
    /// rows `Aggregated`, as stages that follow the ramps, or as rows of --stage-s seconds.
    LocustHistory,
    /// A range query to the Prometheus at this URL: each series is a service, each step a row.
    #[cfg(feature = "live")]
    Prometheus,
}

/// What happens to gaps between the times of counts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum GapsChoice {
    /// They are an error that names them.
    Refuse,
    /// Missing rows count as zero requests.
    Zero,
    /// Missing rows repeat the row before.
    Hold,
}

/// Arguments of `trace import`.
#[derive(clap::Args)]
pub struct Args {
    /// The file to read; locust-history takes several, one a service. prometheus: its URL.
    #[arg(required = true, value_name = "FILE|URL")]
    files: Vec<PathBuf>,
    /// What it holds.
    #[arg(long, value_enum)]
    kind: ImportKind,
    /// Most users. counts: at the greatest sum [default: 100]. locust-history and prometheus: a
    /// recording with more is scaled down to it [default: kept as it is].
    #[arg(long, value_name = "USERS")]
    users_max: Option<f64>,
    /// Names of the services [default: the columns of counts; the names of the Locust
    /// files; a label of the series].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    services: Vec<String>,
    /// Length of a row of the trace, seconds [default: counts: from the times, else 120;
    /// locust-history: stages follow the ramps].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    stage_s: Option<u32>,
    /// The form of the file written.
    #[arg(long, value_enum, default_value_t = CsvForm::Auto)]
    form: CsvForm,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    counts: Counts,
    #[cfg(feature = "live")]
    #[command(flatten)]
    prometheus: super::trace_import_prometheus::RangeQuery,
}

/// What only request counts have.
#[derive(clap::Args)]
#[command(next_help_heading = "Request counts")]
struct Counts {
    /// Columns of counts, one a service [default: the only one that is no time].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    column: Vec<String>,
    /// The column of times [default: the first whose name says so].
    #[arg(long, value_name = "NAME")]
    time_column: Option<String>,
    /// Consecutive rows to add up to one row of the trace [default: 1].
    #[arg(long, value_name = "K")]
    sum: Option<usize>,
    /// Users at the least sum [default: 1].
    #[arg(long, value_name = "USERS")]
    users_min: Option<f64>,
    /// Keep fractions of users (prometheus too).
    #[arg(long)]
    fractional: bool,
    /// What happens where rows are missing (prometheus too) [default: refuse].
    #[arg(long, value_enum)]
    gaps: Option<GapsChoice>,
    /// Rows to leave out at the start of the file [default: 0].
    #[arg(long, value_name = "N")]
    skip_rows: Option<usize>,
    /// Rows to use after that [default: all].
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
}

impl Counts {
    fn gaps(&self) -> Gaps {
        match self.gaps {
            None | Some(GapsChoice::Refuse) => Gaps::Refuse,
            Some(GapsChoice::Zero) => Gaps::Zero,
            Some(GapsChoice::Hold) => Gaps::Hold,
        }
    }
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    args.output.check()?;
    check_names("--services", &args.services)?;
    #[cfg(feature = "live")]
    let from_server = args.kind == ImportKind::Prometheus;
    #[cfg(not(feature = "live"))]
    let from_server = false;
    for file in &args.files {
        if !from_server && file.to_str().is_some_and(|name| name.contains("://")) {
            return Err(Error::input(
                file.display(),
                "this kind is read from a file",
                "download it first and name the file",
            )
            .into());
        }
    }
    #[cfg(feature = "live")]
    if !from_server && let Some(option) = args.prometheus.given().next() {
        return Err(belongs_elsewhere(args.kind, option, ImportKind::Prometheus).into());
    }
    let trace = match args.kind {
        ImportKind::Counts => import_counts(args)?,
        ImportKind::LocustHistory => import_history(args)?,
        #[cfg(feature = "live")]
        ImportKind::Prometheus => import_prometheus(args)?,
    };
    args.output.write(&trace, kind_of(args.form, &trace), common)
}

#[cfg(feature = "live")]
fn import_prometheus(args: &Args) -> crate::Result<Trace> {
    refuse_counts_options(args.kind, &args.counts, &["--fractional", "--gaps"])?;
    if args.stage_s.is_some() {
        return Err(Error::input(
            "--stage-s",
            "a row lasts one step",
            "give its length with --step",
        ));
    }
    let [url] = args.files.as_slice() else {
        let remedy = "name one, and all services in one query";
        return Err(Error::input(
            args.files[1].display(),
            "traffic comes from one Prometheus",
            remedy,
        ));
    };
    let rule = crate::live::past_traffic::PastTraffic {
        services: args.services.clone(),
        label: None,
        fractional: args.counts.fractional,
        gaps: args.counts.gaps(),
    };
    let mut trace = args.prometheus.import(&url.to_string_lossy(), rule)?;
    if let Some(users_max) = args.users_max {
        scale_down(&mut trace, users_max)?;
    }
    Ok(trace)
}

fn import_counts(args: &Args) -> crate::Result<Trace> {
    let [file] = args.files.as_slice() else {
        return Err(Error::input(
            args.files[1].display(),
            "request counts come from one file",
            "name one file; --column takes several columns of it",
        ));
    };
    let default = CountsRule::default();
    let rule = CountsRule {
        columns: args.counts.column.clone(),
        services: args.services.clone(),
        time_column: args.counts.time_column.clone(),
        skip_rows: args.counts.skip_rows.unwrap_or(default.skip_rows),
        rows: args.counts.rows,
        sum: args.counts.sum.unwrap_or(default.sum),
        users_min: args.counts.users_min.unwrap_or(default.users_min),
        users_max: args.users_max.unwrap_or(default.users_max),
        fractional: args.counts.fractional,
        gaps: args.counts.gaps(),
        stage_s: args.stage_s,
    };
    let imported = counts::import(&file.display().to_string(), &read_input(file)?, &rule)?;
    for warning in &imported.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(imported.trace)
}

fn import_history(args: &Args) -> crate::Result<Trace> {
    refuse_counts_options(args.kind, &args.counts, &[])?;
    let names: Vec<String> = if args.services.is_empty() {
        args.files.iter().map(|file| name_of(file)).collect()
    } else {
        args.services.clone()
    };
    if names.len() != args.files.len() {
        return Err(Error::input(
            format!("--services {}", names.join(",")),
            format!("{} services for {} files", names.len(), args.files.len()),
            "name one service a file",
        ));
    }
    check_names("services", &names)?;
    let mut services = Vec::new();
    for (file, name) in args.files.iter().zip(&names) {
        let text = read_input(file)?;
        services.push(locust_history::import(
            &file.display().to_string(),
            &text,
            name,
            args.stage_s,
        )?);
    }
    let mut trace = Trace { services };
    if let Some(users_max) = args.users_max {
        scale_down(&mut trace, users_max)?;
    }
    Ok(trace)
}

/// The first option given that belongs to request counts is refused, unless it is `allowed`.
fn refuse_counts_options(kind: ImportKind, counts: &Counts, allowed: &[&str]) -> crate::Result<()> {
    let given = [
        ("--column", !counts.column.is_empty()),
        ("--time-column", counts.time_column.is_some()),
        ("--sum", counts.sum.is_some()),
        ("--users-min", counts.users_min.is_some()),
        ("--fractional", counts.fractional),
        ("--gaps", counts.gaps.is_some()),
        ("--skip-rows", counts.skip_rows.is_some()),
        ("--rows", counts.rows.is_some()),
    ];
    match given.iter().find(|(option, given)| *given && !allowed.contains(option)) {
        Some((option, _)) => Err(belongs_elsewhere(kind, option, ImportKind::Counts)),
        None => Ok(()),
    }
}

/// An option of kind `owner` given with another kind.
fn belongs_elsewhere(kind: ImportKind, option: &str, owner: ImportKind) -> Error {
    let name = |kind: ImportKind| {
        kind.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    };
    Error::input(
        format!("trace import --kind {}", name(kind)),
        format!("{option} belongs to --kind {}", name(owner)),
        format!("remove {option}"),
    )
}

/// The name of a service from that of its recording: `house_stats_history.csv` gives `house`.
fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".csv").unwrap_or(&name);
    name.strip_suffix("_stats_history").unwrap_or(name).to_owned()
}

/// Scales users and spawn rates so that no stage has more than `users_max`; a trace that has no
/// more stays as it is.
fn scale_down(trace: &mut Trace, users_max: f64) -> crate::Result<()> {
    if !(users_max > 0.0 && users_max.is_finite()) {
        return Err(Error::input(
            format!("--users-max {users_max}"),
            "the most users are above zero",
            "give a number of users, as 100",
        ));
    }
    for service in &mut trace.services {
        let most = service.users_summary().max;
        if most > users_max {
            for stage in &mut service.stages {
                let plain = *stage == Stage::of_interval(stage.duration_s, stage.users);
                stage.users = round_half_up(stage.users * users_max / most);
                stage.spawn_rate *= users_max / most;
                if plain {
                    *stage = Stage::of_interval(stage.duration_s, stage.users);
                }
            }
        }
    }
    Ok(())
}
