//! `trace`: list, show, import, export, generate.

use clap::Subcommand;
use serde_json::json;

use super::trace_output::summaries;
use super::{Common, print_json, print_line, trace_export, trace_generate, trace_import};
use crate::trace::builtin::BUILTIN;
use crate::trace::{DEFAULT_STAGE_S, ServiceTrace, Trace};

/// Widest sparkline, characters.
const SPARKLINE_WIDTH: usize = 60;

/// What to do with traces.
#[derive(Subcommand)]
pub enum Verb {
    /// List the built-in traces.
    List,
    /// Show the services of a trace, their users and how these go.
    Show(Show),
    /// Make a trace from request counts or from what Locust recorded.
    Import(Box<trace_import::Args>),
    /// Write a trace as CSV or as a locustfile.
    Export(trace_export::Args),
    /// Draw a synthetic trace.
    #[command(long_about = trace_generate::LONG_ABOUT)]
    Generate(trace_generate::Args),
}

/// Which trace, and how it is read.
#[derive(clap::Args)]
pub struct Input {
    /// A built-in name, with a column if only that is wanted (paper, paper/house), or a CSV file.
    #[arg(value_name = "NAME")]
    name: String,
    /// Only these columns (interval form) or services (stage form).
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    column: Vec<String>,
    /// Length of a row of the interval form, seconds; the stage form says it itself.
    #[arg(long, value_name = "S", default_value_t = DEFAULT_STAGE_S, value_parser = clap::value_parser!(u32).range(1..))]
    stage_s: u32,
}

impl Input {
    /// Reads the trace.
    pub(super) fn load(&self) -> crate::Result<Trace> {
        let columns: Vec<&str> = self.column.iter().map(String::as_str).collect();
        Trace::load(&self.name, self.stage_s, &columns)
    }
}

/// Arguments of `trace show`.
#[derive(clap::Args)]
pub struct Show {
    #[command(flatten)]
    input: Input,
}

pub(super) fn run(verb: Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::List => list(common),
        Verb::Show(args) => show(&args, common),
        Verb::Import(args) => trace_import::run(&args, common),
        Verb::Export(args) => trace_export::run(&args, common),
        Verb::Generate(args) => trace_generate::run(&args, common),
    }
}

fn list(common: Common) -> anyhow::Result<()> {
    let mut traces = Vec::new();
    for builtin in &BUILTIN {
        if common.json {
            let trace = Trace::load(builtin.name, DEFAULT_STAGE_S, &[])?;
            traces.push(json!({
                "name": builtin.name,
                "about": builtin.about,
                "services": summaries(&trace),
            }));
        } else {
            print_line(format!("{:10} {}", builtin.name, builtin.about))?;
        }
    }
    if common.json { print_json(&json!({ "traces": traces })) } else { Ok(()) }
}

fn show(args: &Show, common: Common) -> anyhow::Result<()> {
    let trace = args.input.load()?;
    if common.json {
        let mut services = summaries(&trace);
        for (summary, service) in services.iter_mut().zip(&trace.services) {
            let stages = service.stages.iter().map(|stage| {
                json!({
                    "duration_s": stage.duration_s,
                    "users": stage.users,
                    "spawn_rate": stage.spawn_rate,
                })
            });
            summary["trace"] = stages.collect();
        }
        return print_json(&json!({ "trace": args.input.name, "services": services }));
    }
    let width = trace.services.iter().map(|service| service.service.chars().count()).max();
    let width = width.unwrap_or(0).max("service".len());
    print_line(format!(
        "{:width$} {:>7} {:>10} {:>8} {:>8} {:>8}  users over time",
        "service", "stages", "duration_s", "min", "mean", "max"
    ))?;
    for service in &trace.services {
        let users = service.users_summary();
        print_line(format!(
            "{:width$} {:>7} {:>10} {:>8} {:>8} {:>8}  {}",
            service.service,
            service.stages.len(),
            service.duration_s(),
            short(users.min),
            short(users.mean),
            short(users.max),
            sparkline(service)
        ))?;
    }
    Ok(())
}

/// A number with at most two decimals.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The service's users over time as a row of bars, the highest for the most users. Each bar is the
/// mean over its part of the time.
fn sparkline(service: &ServiceTrace) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = service.stages.len().min(SPARKLINE_WIDTH);
    let bar_s = f64::from(service.duration_s()) / width as f64;
    let mut sums = vec![0.0; width];
    let mut from_s = 0.0;
    for stage in &service.stages {
        let to_s = from_s + f64::from(stage.duration_s);
        let first = ((from_s / bar_s) as usize).min(width - 1);
        let last = ((to_s / bar_s) as usize).min(width - 1);
        for (bar, sum) in sums.iter_mut().enumerate().take(last + 1).skip(first) {
            let overlap_s = to_s.min((bar + 1) as f64 * bar_s) - from_s.max(bar as f64 * bar_s);
            *sum += stage.users * overlap_s.max(0.0);
        }
        from_s = to_s;
    }
    let most = sums.iter().copied().fold(0.0, f64::max);
    let scale = if most > 0.0 { (BARS.len() - 1) as f64 / most } else { 0.0 };
    sums.iter().map(|sum| BARS[(sum * scale).round() as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Stage;

    #[test]
    fn a_sparkline_shows_time_not_stages() {
        let rows: Vec<f64> = (0..8).map(f64::from).collect();
        assert_eq!(sparkline(&ServiceTrace::from_rows("a", &rows, 120)), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&ServiceTrace::from_rows("a", &[0.0, 0.0], 120)), "▁▁");
        let stage = |duration_s, users| Stage { duration_s, users, spawn_rate: 1.0 };
        let stages = vec![stage(30, 7.0), stage(5, 0.0), stage(5, 0.0)];
        assert_eq!(sparkline(&ServiceTrace { service: "a".to_owned(), stages }), "██▃");
        let long = ServiceTrace::from_rows("a", &[3.0; 1000], 1);
        assert_eq!(sparkline(&long).chars().filter(|&bar| bar == '█').count(), SPARKLINE_WIDTH);
    }
}
