//! Figures as SVG and PNG: titled, with units on the axes, in colours that colour-blind readers can
//! tell apart, legible in print at the width of a page.
//!
//! [`draw_timeline`] shows one run, [`draw_comparison`] policies over seeds, [`draw_forecast`]
//! forecasters on a trace, [`draw_losses`] the training of a predictor, [`draw_training`] that of an
//! agent. The same input gives the same bytes.

mod axes;
mod canvas;
mod comparison;
mod curves;
mod font;
mod forecast;
mod keys;
mod latency;
mod losses;
mod profile;
mod style;
mod timeline;
mod timeline_data;
mod traffic;
mod training;
mod worlds;

use std::fs;
use std::path::{Path, PathBuf};

use self::canvas::Canvas;
pub(super) use self::font::font_face;
use super::Comparison;
use super::forecast::{Forecasts, TraceScores};
use crate::agent::log::LogRow;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::predictor::train::TrainingState;
use crate::profiling::FittedProfile;
use crate::run::Run;
use crate::scenario::Scenario;
use crate::trace::Trace;

/// Draws the timeline of one run into `dir`, which is made if need be. Gives the files written:
/// `timeline-POLICY-SEED.svg` and `.png`.
///
/// # Errors
/// [`Error::Io`] or [`Error::Failed`] when a file cannot be written.
pub fn draw_timeline(run: &Run, scenario: &Scenario, dir: &Path) -> Result<Vec<PathBuf>> {
    let data = timeline_data::TimelineData::new(run, scenario);
    let name = format!("timeline-{}-{}", file_name(&run.summary.policy), run.summary.seed);
    write(&timeline::draw(&data, &run.summary), dir, &name)
}

/// Draws policies against each other into `dir`, which is made if need be. Gives the files written:
/// `comparison.svg` and `.png`.
///
/// # Errors
/// As [`draw_timeline`].
pub fn draw_comparison(comparison: &Comparison, dir: &Path) -> Result<Vec<PathBuf>> {
    write(&comparison::draw(comparison), dir, "comparison")
}

/// Draws forecasters on one trace into `dir`, which is made if need be. Gives the files written:
/// `forecast-TRACE.svg` and `.png`.
///
/// # Errors
/// As [`draw_timeline`].
pub fn draw_forecast(
    forecasts: &[Forecasts<'_>],
    scores: &TraceScores,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let name = format!("forecast-{}", file_name(&scores.name));
    write(&forecast::draw(forecasts, scores), dir, &name)
}

/// The timeline of one run as SVG, for a page that has the figures' font.
///
/// # Errors
/// [`Error::Failed`] when it cannot be drawn.
pub fn timeline_svg(run: &Run, scenario: &Scenario) -> Result<String> {
    let data = timeline_data::TimelineData::new(run, scenario);
    timeline::draw(&data, &run.summary).to_svg()
}

/// Policies against each other as SVG, for a page that has the figures' font.
///
/// # Errors
/// As [`timeline_svg`].
pub fn comparison_svg(comparison: &Comparison) -> Result<String> {
    comparison::draw(comparison).to_svg()
}

/// Users of each service over time as SVG, for a page that has the figures' font.
///
/// # Errors
/// As [`timeline_svg`].
pub fn traffic_svg(title: &str, trace: &Trace) -> Result<String> {
    traffic::draw(title, trace).to_svg()
}

/// The same policies in several worlds, each with its label, as SVG for a page that has the figures'
/// font.
///
/// # Errors
/// As [`timeline_svg`].
pub fn worlds_svg(title: &str, worlds: &[(String, Comparison)]) -> Result<String> {
    worlds::draw(title, worlds).to_svg()
}

/// Courses of trainings of the same length, by their logs, as SVG for a page that has the figures' font.
///
/// # Errors
/// As [`timeline_svg`].
pub fn curves_svg(title: &str, logs: &[Vec<LogRow>]) -> Result<String> {
    curves::draw(title, logs).to_svg()
}

/// Forecasters on one trace as SVG, for a page that has the figures' font.
///
/// # Errors
/// As [`timeline_svg`].
pub fn forecast_svg(forecasts: &[Forecasts<'_>], scores: &TraceScores) -> Result<String> {
    forecast::draw(forecasts, scores).to_svg()
}

/// Writes a picture as a standalone SVG file into `dir`, which is made if need be: `NAME.svg`.
///
/// # Errors
/// [`Error::Io`] or [`Error::Failed`] when a file cannot be written.
pub fn write_svg(svg: &str, dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(format!("{}.svg", file_name(name)));
    let text = with_font(svg)?;
    write_atomically(&path, |writer| writer.write_all(text.as_bytes()))?;
    Ok(path)
}

/// Draws the losses of a training, which are of the kind `loss`, into `dir`, which is made if need be.
/// Gives the files written: `losses.svg` and `.png`.
///
/// # Errors
/// As [`draw_timeline`].
pub fn draw_losses(
    title: &str,
    state: &TrainingState,
    loss: &str,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    write(&losses::draw(title, state, loss), dir, "losses")
}

/// Draws the course of an agent's training into `dir`, which is made if need be. Gives the files
/// written: `training.svg` and `.png`.
///
/// # Errors
/// As [`draw_timeline`].
pub fn draw_training(title: &str, rows: &[LogRow], dir: &Path) -> Result<Vec<PathBuf>> {
    write(&training::draw(title, rows), dir, "training")
}

/// Draws a fitted profile beside the file `beside`, under its name: `.svg` and `.png`. `slo_p95_ms` is
/// drawn where it is known.
///
/// # Errors
/// As [`draw_timeline`].
pub fn draw_profile(
    profile: &FittedProfile,
    slo_p95_ms: Option<f64>,
    beside: &Path,
) -> Result<Vec<PathBuf>> {
    let name = beside.file_stem().unwrap_or_default().to_string_lossy();
    let dir = beside.parent().unwrap_or(Path::new(""));
    let title = format!("Latency of a pod: {name}");
    write(&profile::draw(&title, profile, slo_p95_ms), dir, &file_name(&name))
}

fn write(canvas: &Canvas, dir: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    fs::create_dir_all(dir).map_err(|source| Error::io("make", dir, source))?;
    let svg = write_svg(&canvas.to_svg()?, dir, name)?;
    let png = dir.join(format!("{name}.png"));
    // The encoder goes by the ending, so the temporary name has it too.
    let temporary = dir.join(format!(".{name}.{}.png", std::process::id()));
    let written = canvas.write_png(&temporary).and_then(|()| {
        fs::rename(&temporary, &png).map_err(|source| Error::io("rename to", &png, source))
    });
    if written.is_err() {
        // Half a picture is worth nothing; that it may stay changes nothing.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    Ok(vec![svg, png])
}

/// A picture that brings its letters along, so that it looks the same where the font is not installed.
fn with_font(svg: &str) -> Result<String> {
    let style = font_face(&super::html::svg_text(svg))?;
    Ok(match svg.find('>') {
        Some(end) => format!("{}\n<style>{style}</style>{}", &svg[..=end], &svg[end + 1..]),
        None => svg.to_owned(),
    })
}

/// A policy's name with nothing in it that a file name cannot have.
fn file_name(policy: &str) -> String {
    let safe = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    policy.chars().map(|letter| if safe(letter) { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::train::EpochLoss;
    use crate::report::fixtures;

    /// Where to keep the figures of the tests for looking at them; unset, they go.
    const KEEP: &str = "QUOTASCALE_KEEP_FIGURES";

    fn scenario(services: &[&str]) -> Scenario {
        let mut scenario = Scenario::load("paper-knative", &[]).unwrap();
        let first = scenario.spec.service[0].clone();
        scenario.spec.service = services
            .iter()
            .map(|name| {
                let mut service = first.clone();
                service.name = (*name).to_owned();
                service
            })
            .collect();
        scenario
    }

    fn drawn(name: &str, draw: impl Fn(&Path) -> Result<Vec<PathBuf>>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let files = draw(dir.path()).unwrap();
        assert_eq!(files.len(), 2);
        let svg = fs::read_to_string(&files[0]).unwrap();
        let png = fs::read(&files[1]).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
        if let Some(keep) = std::env::var_os(KEEP) {
            fs::create_dir_all(&keep).unwrap();
            for (file, ending) in files.iter().zip(["svg", "png"]) {
                fs::copy(file, Path::new(&keep).join(format!("{name}.{ending}"))).unwrap();
            }
        }
        svg
    }

    #[test]
    fn a_timeline_names_all_that_it_shows() {
        let services = ["house", "senti", "numbr"];
        let run = fixtures::knative_run(&services, 8);
        let scenario = scenario(&services);
        let draw = |dir: &Path| draw_timeline(&run, &scenario, dir);
        let svg = drawn("timeline", draw);
        for text in [
            "hybrid on paper-knative, seed 3",
            "reward −0.4200",
            "time, min",
            "users",
            "forecast",
            "pods",
            "ready",
            "starting",
            "terminating",
            "CPU, cores",
            "quota",
            "overlap",
            "p95, % of SLO",
            "SLO",
            "no request completed",
            "house",
            "senti",
            "numbr",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg, drawn("timeline", draw), "the same bytes each time");
    }

    #[test]
    fn a_timeline_holds_one_service_or_twelve_with_long_names() {
        let names: Vec<String> =
            (0..12).map(|i| format!("a-service-with-quite-a-long-name-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut run = fixtures::knative_run(&names, 20);
        run.summary.policy = "my-own-agent:with a long / name".into();
        let svg = drawn("timeline-12", |dir| draw_timeline(&run, &scenario(&names), dir));
        assert!(svg.contains("my-own-agent:with a long / name"));
        let run = fixtures::knative_run(&["one"], 2);
        drawn("timeline-1", |dir| draw_timeline(&run, &scenario(&["one"]), dir));
    }

    #[test]
    fn a_timeline_needs_no_ticks() {
        let services = ["house", "senti", "numbr"];
        let run = fixtures::paper_run(&services, 19);
        let svg = drawn("timeline-paper", |dir| draw_timeline(&run, &scenario(&services), dir));
        assert!(svg.contains("mean of the interval") && !svg.contains("terminating"));
    }

    #[test]
    fn degenerate_runs_are_drawn() {
        let scenario = scenario(&["house"]);
        drawn("timeline-empty", |dir| draw_timeline(&Run::default(), &scenario, dir));
        let mut run = fixtures::knative_run(&["house", "unknown"], 2);
        run.summary.reward = f64::INFINITY;
        for row in &mut run.ticks {
            row.users = 0;
            row.cpu_m = 0;
            row.p95_ms = None;
        }
        for row in &mut run.intervals {
            row.p95_ms = row.p95_ms.map(|_| f64::INFINITY);
        }
        for row in &mut run.decisions {
            row.forecast = f64::NAN;
        }
        drawn("timeline-odd", |dir| draw_timeline(&run, &scenario, dir));
        run.intervals.clear();
        run.ticks.clear();
        drawn("timeline-decisions", |dir| draw_timeline(&run, &scenario, dir));
    }

    #[test]
    fn a_training_is_drawn_with_and_without_a_known_optimum() {
        let row = |step: u64, share: Option<f64>| LogRow {
            steps: step * 1000,
            updates: step,
            episode_reward: Some(100.0 + step as f64),
            episode_share: share,
            evaluation_reward: step.is_multiple_of(10).then_some(120.0),
            evaluation_share: share.filter(|_| step.is_multiple_of(10)),
            entropy: 7.0 / (1.0 + step as f64 / 100.0),
            ..LogRow::default()
        };
        let rows: Vec<LogRow> =
            (1..2000).map(|step| row(step, Some(1.0 - 1.0 / step as f64))).collect();
        let svg = drawn("training", |dir| draw_training("Training of an agent", &rows, dir));
        for text in ["Training of an agent", "% of the optimum", "entropy, nats", "thousands"] {
            assert!(svg.contains(text), "{text}");
        }
        let rows: Vec<LogRow> = (1..30).map(|step| row(step, None)).collect();
        let svg = drawn("training-reward", |dir| draw_training("t", &rows, dir));
        assert!(svg.contains("reward of an episode") && svg.contains("120.00"));
        drawn("training-empty", |dir| draw_training("t", &[], dir));
    }

    const POLICIES: [&str; 8] = [
        "kpa-latency",
        "kpa-resource",
        "random",
        "hybrid",
        "greedy",
        "priced-greedy",
        "recurrent-ppo",
        "my-agent-with-a-very-long-name:runs/2026-11-24/final",
    ];

    #[test]
    fn a_comparison_names_all_that_it_shows() {
        let comparison = fixtures::comparison(&POLICIES, 10);
        let svg = drawn("comparison", |dir| draw_comparison(&comparison, dir));
        for text in [
            "Policies on paper-knative",
            "mean over 10 seeds",
            "reward",
            "requests over SLO, %",
            "over quota, CPU-s",
            "allocated, CPU-s",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(POLICIES[..7].iter().all(|name| svg.contains(name)));
    }

    #[test]
    fn degenerate_comparisons_are_drawn() {
        let one = fixtures::comparison(&["hybrid"], 1);
        drawn("comparison-one", |dir| draw_comparison(&one, dir));
        let mut odd = fixtures::comparison(&POLICIES[..4], 3);
        odd.policies[0].reward = crate::report::Statistic::default();
        odd.policies[1].reward.mean = Some(f64::INFINITY);
        odd.policies[1].reward.ci95 = None;
        odd.policies[2].reward.mean = Some(f64::NEG_INFINITY);
        odd.policies[2].reward.ci95 = None;
        for policy in &mut odd.policies {
            policy.over_quota_cpu_seconds.mean = Some(0.0);
            policy.over_quota_cpu_seconds.ci95 = Some([0.0, 0.0]);
            policy.slo_violation_share.mean = None;
            policy.slo_violation_share.ci95 = None;
        }
        drawn("comparison-odd", |dir| draw_comparison(&odd, dir));
    }

    #[test]
    fn losses_are_drawn_from_none_to_many() {
        let mut state = TrainingState::default();
        drawn("losses-none", |dir| draw_losses("Training", &state, "loss", dir));
        for epoch in 0..40 {
            let loss = 1.0 / f64::from(1 + epoch) + 0.01 * f64::from(epoch % 3);
            let train = (epoch > 0).then_some(0.9 * loss);
            state.losses.push(EpochLoss { epoch, train, validation: loss });
            state.epoch = epoch;
        }
        let svg = drawn("losses", |dir| draw_losses("Training of m", &state, "a loss", dir));
        for text in ["Training of m", "a loss", "epoch", "training", "validation"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn names_of_files_are_safe() {
        assert_eq!(file_name("fixed:21/6/7"), "fixed-21-6-7");
    }
}
