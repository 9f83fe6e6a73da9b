//! `profile fit`: load-test results to a profile's options.

use std::fmt::Write;
use std::path::PathBuf;

use super::{Common, VERSION, print_json, print_line};
use crate::error::{Error, Result};
use crate::files::{check_output, write_atomically};
use crate::profiling::{FittedProfile, Wishes, fit_profile, points};
use crate::report;

/// What `profile` can do.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Fit latency curves to load tests and choose a profile's options on them.
    Fit(FitArgs),
}

/// Arguments of `profile fit`.
#[derive(clap::Args)]
pub struct FitArgs {
    /// Locust's *_stats.csv or *_stats_history.csv named as house-cpu2000m-users30_stats.csv, a table of such files
    /// (file,cpu_m,users[,pods]), or a table of points (cpu_m,users,p95_ms[,pods]).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The options in the scenario's format (TOML); the figure goes beside it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Only options whose p95 is at most this, ms.
    #[arg(long, value_name = "MS")]
    slo_p95_ms: Option<f64>,
    /// Concurrencies are multiples of this.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    step: u32,
    /// Most options of one CPU size.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..))]
    per_cpu: u16,
    /// Replace the file.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(verb: &Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::Fit(args) => fit(args, common),
    }
}

fn fit(args: &FitArgs, common: Common) -> anyhow::Result<()> {
    check_output(&args.out, args.force)?;
    let slo_p95_ms = args.slo_p95_ms.map(checked_slo).transpose()?;
    let mut measured = Vec::new();
    for file in &args.files {
        measured.extend(points::read(file)?);
    }
    let wishes = Wishes { slo_p95_ms, step: args.step, per_cpu: usize::from(args.per_cpu) };
    let profile = fit_profile(&measured, &wishes)?;
    for warning in &profile.warnings {
        eprintln!("warning: {warning}");
    }
    let text = options_text(&profile, slo_p95_ms);
    write_atomically(&args.out, |writer| writer.write_all(text.as_bytes()))?;
    let figures = report::draw_profile(&profile, slo_p95_ms, &args.out)?;
    if common.json {
        return print_json(&serde_json::json!({
            "out": args.out, "figures": figures, "curves": profile.curves,
            "options": profile.options, "points": profile.points, "warnings": profile.warnings,
        }));
    }
    for line in curve_lines(&profile) {
        print_line(line)?;
    }
    print_line(format!("\noptions  {} in {}", profile.options.len(), args.out.display()))?;
    for figure in figures {
        print_line(format!("figure   {}", figure.display()))?;
    }
    Ok(())
}

fn checked_slo(slo: f64) -> Result<f64> {
    if slo.is_finite() && slo > 0.0 {
        return Ok(slo);
    }
    Err(Error::input(format!("--slo-p95-ms {slo}"), "no latency", "give milliseconds above 0"))
}

/// One line a CPU size: its curve and how well it fits.
fn curve_lines(profile: &FittedProfile) -> Vec<String> {
    let lines = profile.curves.iter().map(|curve| {
        let law = format!("{:.4} + {:.4} * users", curve.base_ms, curve.slope_ms);
        let law = match curve.floor_ms {
            Some(floor) => format!("max({floor:.4}, {law})"),
            None => law,
        };
        format!(
            "{}m: p95 = {law} ms for {} to {} users a pod; {} points, error {:.1} % (largest {:.1} %)",
            curve.cpu_m,
            curve.loads[0],
            curve.loads[1],
            curve.points,
            curve.rms_error * 100.0,
            curve.largest_error * 100.0
        )
    });
    lines.collect()
}

/// The `option` key of a `[[service]]`, with how it came about.
fn options_text(profile: &FittedProfile, slo_p95_ms: Option<f64>) -> String {
    let mut text =
        format!("# Fitted by quotascale {VERSION} to {} load-test points", profile.points.len());
    if let Some(slo) = slo_p95_ms {
        let _ = write!(text, ", p95 at most {slo} ms");
    }
    text += ". Put it into a [[service]].\n";
    for line in curve_lines(profile) {
        let _ = writeln!(text, "# {line}");
    }
    text += "option = [\n";
    for (index, option) in profile.options.iter().enumerate() {
        let _ = writeln!(
            text,
            "  {{ cpu_m = {}, concurrency = {}, p95_ms = {} }}, # {index}",
            option.cpu_m, option.concurrency, option.p95_ms
        );
    }
    text + "]\n"
}
