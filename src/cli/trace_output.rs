//! What the `trace` verbs have in common: the form of the output, where it goes, what is reported.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Common, print_json, print_line};
use crate::error::Error;
use crate::files::{check_output, write_atomically};
use crate::trace::{DEFAULT_STAGE_S, Trace, csv, locust};

/// Where a trace is written.
#[derive(clap::Args)]
pub struct Output {
    /// The file to write; without it the text goes to stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "out")]
    pub force: bool,
}

/// The form of a CSV trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CsvForm {
    /// Interval form where it says everything (rows of 120 s), else stages.
    Auto,
    /// A column a service, a row an interval; says nothing of the length of a row.
    Interval,
    /// service,duration_s,users,spawn_rate.
    Stages,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Interval form.
    Interval,
    /// Stage form.
    Stages,
    /// A locustfile.
    Locustfile,
}

impl Kind {
    /// The name of the kind, as `trace export --kind` has it.
    fn name(self) -> &'static str {
        match self {
            Self::Interval => "csv",
            Self::Stages => "stages",
            Self::Locustfile => "locustfile",
        }
    }
}

/// The kind that a trace is written as in `form`.
pub(super) fn kind_of(form: CsvForm, trace: &Trace) -> Kind {
    match form {
        CsvForm::Interval => Kind::Interval,
        CsvForm::Auto if csv::interval_s(trace) == Some(DEFAULT_STAGE_S) => Kind::Interval,
        CsvForm::Auto | CsvForm::Stages => Kind::Stages,
    }
}

impl Output {
    /// Checks, before any work is done, that the output may be written.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.out.as_deref().map_or(Ok(()), |path| check_output(path, self.force))
    }

    /// Writes `trace` and reports it.
    pub(super) fn write(&self, trace: &Trace, kind: Kind, common: Common) -> anyhow::Result<()> {
        let stage_s = csv::interval_s(trace);
        if kind == Kind::Interval && stage_s.is_none() {
            let place = self.out.as_deref().unwrap_or(Path::new("trace")).display();
            return Err(Error::input(
                place,
                "the interval form cannot hold this trace: its stages differ in length or number, \
                 or ramp at a spawn rate of their own",
                "write it in stage form",
            )
            .into());
        }
        let render = |out: &mut dyn std::io::Write| match kind {
            Kind::Interval => csv::write_intervals(trace, out),
            Kind::Stages => csv::write_stages(trace, out),
            Kind::Locustfile => locust::write_locustfile(trace, out),
        };
        let mut report = json!({
            "out": self.out.as_ref().map(|path| path.display().to_string()),
            "kind": kind.name(),
            "services": summaries(trace),
        });
        match &self.out {
            Some(path) => {
                write_atomically(path, render)?;
                if !common.json {
                    print_line(format!(
                        "{}: {} services, {}",
                        path.display(),
                        trace.services.len(),
                        kind.name()
                    ))?;
                }
            }
            None => {
                let mut text = Vec::new();
                render(&mut text)?;
                let text = String::from_utf8(text)?;
                if common.json {
                    report["text"] = Value::from(text);
                } else {
                    print_line(text.trim_end())?;
                }
            }
        }
        if common.json {
            print_json(&report)?;
        }
        if let (Kind::Interval, Some(stage_s)) = (kind, stage_s)
            && stage_s != DEFAULT_STAGE_S
            && !common.quiet
        {
            eprintln!(
                "note: the file does not say that a row is {stage_s} s; the stage form would"
            );
        }
        Ok(())
    }
}

/// A summary of every service, as the JSON outputs have it.
pub(super) fn summaries(trace: &Trace) -> Vec<Value> {
    trace
        .services
        .iter()
        .map(|service| {
            json!({
                "service": service.service,
                "stages": service.stages.len(),
                "duration_s": service.duration_s(),
                "users": service.users_summary(),
            })
        })
        .collect()
}
