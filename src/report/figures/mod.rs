//! Figures as SVG, PNG and PDF: titled, with units on the axes, in colours that colour-blind readers can
//! tell apart, legible in print at the width of a page.
//!
//! [`draw_timeline`] shows one run, [`draw_comparison`] policies over seeds, [`draw_forecast`]
//! forecasters on a trace, [`draw_losses`] the training of a predictor, [`draw_training`] that of an
//! agent; a [`Picture`] can go to a page instead. The same input gives the same bytes.

mod axes;
mod canvas;
mod comparison;
mod curves;
mod font;
mod forecast;
mod keys;
mod latency;
mod losses;
mod metric;
mod pdf;
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

/// A figure: to be written, or shown on a page that has the figures' font.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture(Canvas);

impl Picture {
    /// The picture as SVG, for a page that has the figures' font.
    ///
    /// # Errors
    /// [`Error::Failed`] when it cannot be drawn.
    pub fn to_svg(&self) -> Result<String> {
        self.0.to_svg()
    }

    /// What is written in it.
    pub fn letters(&self) -> String {
        self.0.letters(false) + &self.0.letters(true)
    }

    /// Writes the picture into `dir`, which is made if need be, as `NAME.svg`, `NAME.png` and `NAME.pdf`;
    /// `title` goes into the properties of the PDF. Gives the files.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Failed`] when a file cannot be written.
    pub fn write(&self, dir: &Path, name: &str, title: &str) -> Result<Vec<PathBuf>> {
        if !dir.as_os_str().is_empty() {
            fs::create_dir_all(dir).map_err(|source| Error::io("make", dir, source))?;
        }
        let name = file_name(name);
        let [svg, png, pdf] =
            ["svg", "png", "pdf"].map(|ending| dir.join(format!("{name}.{ending}")));
        let text = self.with_font()?;
        write_atomically(&svg, |writer| writer.write_all(text.as_bytes()))?;
        self.write_png(&png)?;
        let document = pdf::document(&self.0, title)?;
        write_atomically(&pdf, |writer| writer.write_all(&document))?;
        Ok(vec![svg, png, pdf])
    }

    /// As SVG that brings its letters along, so that it looks the same where the font is not installed.
    fn with_font(&self) -> Result<String> {
        let svg = self.to_svg()?;
        let style = font_face(&self.letters())?;
        Ok(match svg.find('>') {
            Some(end) => format!("{}\n<style>{style}</style>{}", &svg[..=end], &svg[end + 1..]),
            None => svg,
        })
    }

    fn write_png(&self, png: &Path) -> Result<()> {
        // The encoder goes by the ending, so the temporary name has it too.
        let name = png.file_stem().unwrap_or_default().to_string_lossy();
        let temporary = png.with_file_name(format!(".{name}.{}.png", std::process::id()));
        let written = self.0.write_png(&temporary).and_then(|()| {
            fs::rename(&temporary, png).map_err(|source| Error::io("rename to", png, source))
        });
        if written.is_err() {
            // Half a picture is worth nothing; that it may stay changes nothing.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// The timeline of one run.
pub fn timeline_picture(run: &Run, scenario: &Scenario) -> Picture {
    let data = timeline_data::TimelineData::new(run, scenario);
    Picture(timeline::draw(&data, &run.summary))
}

/// The name of the timeline's files.
pub fn timeline_name(run: &Run) -> String {
    format!("timeline-{}-{}", file_name(&run.summary.policy), run.summary.seed)
}

/// Draws the timeline of one run into `dir`. Gives the files written: `timeline-POLICY-SEED` and their
/// endings.
///
/// # Errors
/// As [`Picture::write`].
pub fn draw_timeline(run: &Run, scenario: &Scenario, dir: &Path) -> Result<Vec<PathBuf>> {
    let summary = &run.summary;
    let title = format!("{} on {}, seed {}", summary.policy, summary.scenario, summary.seed);
    timeline_picture(run, scenario).write(dir, &timeline_name(run), &title)
}

/// Policies against each other.
pub fn comparison_picture(comparison: &Comparison) -> Picture {
    Picture(comparison::draw(comparison))
}

/// Draws policies against each other into `dir`. Gives the files written: `comparison` and their endings.
///
/// # Errors
/// As [`Picture::write`].
pub fn draw_comparison(comparison: &Comparison, dir: &Path) -> Result<Vec<PathBuf>> {
    let title = format!("Policies on {}", comparison.scenario);
    comparison_picture(comparison).write(dir, "comparison", &title)
}

/// Users of each service over time.
pub fn traffic_picture(title: &str, trace: &Trace) -> Picture {
    Picture(traffic::draw(title, trace))
}

/// The same policies in several worlds, each with its label.
pub fn worlds_picture(title: &str, worlds: &[(String, Comparison)]) -> Picture {
    Picture(worlds::draw(title, worlds))
}

/// Courses of trainings of the same length, by their logs.
pub fn curves_picture(title: &str, logs: &[Vec<LogRow>]) -> Picture {
    Picture(curves::draw(title, logs))
}

/// Forecasters on one trace.
pub fn forecast_picture(forecasts: &[Forecasts<'_>], scores: &TraceScores) -> Picture {
    Picture(forecast::draw(forecasts, scores))
}

/// Draws forecasters on one trace into `dir`. Gives the files written: `forecast-TRACE` and their endings.
///
/// # Errors
/// As [`Picture::write`].
pub fn draw_forecast(
    forecasts: &[Forecasts<'_>],
    scores: &TraceScores,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let title = format!("Forecasts on {}", scores.name);
    let name = format!("forecast-{}", file_name(&scores.name));
    forecast_picture(forecasts, scores).write(dir, &name, &title)
}

/// Draws the losses of a training, which are of the kind `loss`, into `dir`. Gives the files written:
/// `losses` and their endings.
///
/// # Errors
/// As [`Picture::write`].
pub fn draw_losses(
    title: &str,
    state: &TrainingState,
    loss: &str,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    Picture(losses::draw(title, state, loss)).write(dir, "losses", title)
}

/// The course of an agent's training.
pub fn training_picture(title: &str, rows: &[LogRow]) -> Picture {
    Picture(training::draw(title, rows))
}

/// Draws the course of an agent's training into `dir`. Gives the files written: `training` and their
/// endings.
///
/// # Errors
/// As [`Picture::write`].
pub fn draw_training(title: &str, rows: &[LogRow], dir: &Path) -> Result<Vec<PathBuf>> {
    training_picture(title, rows).write(dir, "training", title)
}

/// Draws a fitted profile beside the file `beside`, under its name. `slo_p95_ms` is drawn where it is
/// known. Gives the files written.
///
/// # Errors
/// As [`Picture::write`].
pub fn draw_profile(
    profile: &FittedProfile,
    slo_p95_ms: Option<f64>,
    beside: &Path,
) -> Result<Vec<PathBuf>> {
    let name = beside.file_stem().unwrap_or_default().to_string_lossy();
    let dir = beside.parent().unwrap_or(Path::new(""));
    let title = format!("Latency of a pod: {name}");
    Picture(profile::draw(&title, profile, slo_p95_ms)).write(dir, &name, &title)
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
        assert_eq!(files.len(), 3);
        let svg = fs::read_to_string(&files[0]).unwrap();
        assert!(fs::read(&files[1]).unwrap().starts_with(b"\x89PNG"));
        assert!(fs::read(&files[2]).unwrap().starts_with(b"%PDF"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing else is left");
        if let Some(keep) = std::env::var_os(KEEP) {
            fs::create_dir_all(&keep).unwrap();
            for (file, ending) in files.iter().zip(["svg", "png", "pdf"]) {
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
