//! Sections of comparisons, of single runs and of trainings.

use super::{Figure, Section, Table};
use crate::agent::log::LogRow;
use crate::error::{Error, Result};
use crate::nn::Metadata;
use crate::report::comparison::Comparison;
use crate::report::export::comparison_rows;
use crate::report::rows::{Row, write_csv};
use crate::report::{figures, table};
use crate::run::{Run, Summary};
use crate::scenario::Scenario;

/// Where results come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The command that made them, without the program's name and what the results say themselves.
    pub command: String,
    /// Version and commit of the program.
    pub version: String,
    /// The resolved scenario.
    pub scenario: String,
    /// Its hash.
    pub scenario_hash: String,
}

impl Origin {
    /// Facts and texts of a section: `command` again whole.
    fn describe(&self, section: &mut Section, seeds: String, command: String) {
        let facts = [
            ("Seeds", seeds),
            ("Command", command),
            ("Version", self.version.clone()),
            ("Scenario hash", self.scenario_hash.clone()),
        ];
        section.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
        section.texts.push(("Scenario (scenario.toml)".to_owned(), self.scenario.clone()));
    }

    /// The options after the verb.
    fn options(&self) -> &str {
        self.command.split_once(' ').map_or("", |(_, options)| options)
    }
}

/// Policies against each other.
///
/// # Errors
/// [`Error::Failed`] when the figure cannot be drawn.
pub fn of_comparison(comparison: &Comparison, origin: &Origin) -> Result<Section> {
    let seeds = seeds_text(&comparison.seeds);
    let mut section = Section {
        title: format!("Policies on {}", comparison.scenario),
        tables: vec![summary_table(comparison)],
        figures: vec![comparison_figure(comparison)?],
        ..Section::default()
    };
    let names: Vec<&str> = comparison.policies.iter().map(|policy| policy.name.as_str()).collect();
    let command = format!(
        "quotascale evaluate scenario.toml --policies {} --seeds {seeds} --reference {} {}",
        names.join(","),
        comparison.reference,
        origin.options()
    );
    origin.describe(&mut section, seeds, command);
    Ok(section)
}

/// The figure of a comparison with its numbers.
///
/// # Errors
/// [`Error::Failed`] when it cannot be drawn.
pub fn comparison_figure(comparison: &Comparison) -> Result<Figure> {
    let best = comparison.by_reward().first().map(|policy| policy.name.clone()).unwrap_or_default();
    Ok(Figure {
        title: format!("Policies on {}", comparison.scenario),
        description: format!(
            "{}, the highest reward on top ({best}); the dashed line is the reference, {}.",
            match comparison.seeds.as_slice() {
                [seed] => format!("Seed {seed}"),
                seeds => format!("Means over {} seeds with 95 % bootstrap intervals", seeds.len()),
            },
            comparison.reference
        ),
        picture: figures::comparison_picture(comparison),
        numbers: vec![rows_table(
            "Every metric of every policy: mean over seeds, 95 % bootstrap interval, interquartile mean, paired \
             difference to the reference with its corrected p-value (Holm)",
            &comparison_rows(comparison),
        )?],
    })
}

/// The comparison as it is printed in a terminal.
pub fn summary_table(comparison: &Comparison) -> Table {
    let (header, rows, legend) = table::cells(comparison);
    Table { caption: legend, header, rows }
}

/// One run.
///
/// # Errors
/// [`Error::Failed`] when the figure cannot be drawn.
pub fn of_run(run: &Run, scenario: &Scenario, origin: &Origin) -> Result<Section> {
    let summary = &run.summary;
    let mut section = Section {
        title: run_title(summary),
        paragraphs: summary.warnings.iter().map(|warning| format!("Warning: {warning}")).collect(),
        figures: vec![run_figure(run, scenario)?],
        ..Section::default()
    };
    let command = format!(
        "quotascale simulate scenario.toml --policy {} --seed {} {}",
        summary.policy,
        summary.seed,
        origin.options()
    );
    origin.describe(&mut section, summary.seed.to_string(), command);
    Ok(section)
}

/// A training of an agent.
///
/// # Errors
/// [`Error::Failed`] when a row of its log cannot be written, or the scenario has no hash.
pub fn of_training(metadata: &Metadata, scenario: &Scenario, rows: &[LogRow]) -> Result<Section> {
    let title =
        format!("Training of {} on {}, seed {}", metadata.kind, scenario.name(), metadata.seed);
    let evaluated: Vec<Vec<String>> = rows
        .iter()
        .filter_map(|row| {
            let reward = row.evaluation_reward?;
            let share = row.evaluation_share.map(|share| format!("{:.2}", 100.0 * share));
            Some(vec![
                row.steps.to_string(),
                row.updates.to_string(),
                short(&reward.to_string()),
                share.unwrap_or_else(|| "-".to_owned()),
                format!("{:.3}", row.entropy),
            ])
        })
        .collect();
    let header = ["steps", "updates", "reward", "% of the optimum", "entropy, nats"];
    let figure = Figure {
        description: "Rewards of the training's episodes, and of the most likely actions on held-out traffic, \
                      over environment steps; below them the entropy of the policy."
            .to_owned(),
        picture: figures::training_picture(&title, rows),
        title: title.clone(),
        numbers: vec![Table {
            caption: "What the most likely actions earn on held-out traffic; log.csv has every iteration"
                .to_owned(),
            header: header.map(str::to_owned).into(),
            rows: evaluated,
        }],
    };
    let command = format!(
        "quotascale train scenario.toml --agent {} --seed {} (settings: last/config.json)",
        metadata.kind, metadata.seed
    );
    let mut section = Section { title, figures: vec![figure], ..Section::default() };
    let origin = Origin {
        version: format!("{} ({})", metadata.version, metadata.commit),
        scenario: scenario.to_toml(),
        scenario_hash: scenario.hash()?,
        ..Origin::default()
    };
    origin.describe(&mut section, metadata.seed.to_string(), command);
    Ok(section)
}

fn run_title(summary: &Summary) -> String {
    format!("{} on {}, seed {}", summary.policy, summary.scenario, summary.seed)
}

/// The timeline of a run with its decisions and intervals.
///
/// # Errors
/// [`Error::Failed`] when it cannot be drawn.
pub fn run_figure(run: &Run, scenario: &Scenario) -> Result<Figure> {
    let summary = &run.summary;
    let services = scenario.service_names().join(", ");
    Ok(Figure {
        title: run_title(summary),
        description: format!(
            "Users and pods of {services}; the CPU in use against the quota of {} cores, with the overlap of \
             revisions; the p95 latency against the SLO. {} CPU-seconds over the quota, reward {}.",
            scenario.spec.quota.cpu_m.cores(),
            table::mean_text(summary.over_quota_cpu_seconds, None, 1.0),
            table::mean_text(summary.reward, None, 1.0),
        ),
        picture: figures::timeline_picture(run, scenario),
        numbers: vec![
            rows_table("Decisions, a row a service", &run.decisions)?,
            rows_table("What was measured in each interval", &run.intervals)?,
        ],
    })
}

/// A table of the columns and cells of the CSV file.
///
/// # Errors
/// [`Error::Failed`] when a row cannot be written.
pub fn rows_table<R: Row>(caption: &str, rows: &[R]) -> Result<Table> {
    let failed = |error: &dyn std::fmt::Display| Error::Failed(format!("cannot tabulate: {error}"));
    let mut bytes = Vec::new();
    write_csv(&mut bytes, rows).map_err(|error| failed(&error))?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header: Vec<String> =
        reader.headers().map_err(|error| failed(&error))?.iter().map(str::to_owned).collect();
    let mut cells: Vec<Vec<String>> = Vec::with_capacity(rows.len());
    for record in reader.records() {
        let record = record.map_err(|error| failed(&error))?;
        cells.push(record.iter().map(short).collect());
    }
    Ok(Table { caption: caption.to_owned(), header, rows: cells })
}

/// A number with at most six digits that count; the files hold all of them.
fn short(cell: &str) -> String {
    let fraction = cell.split_once('.').map_or("", |(_, fraction)| fraction);
    match cell.parse::<f64>() {
        Ok(value) if fraction.len() > 3 && value.is_finite() && value != 0.0 => {
            let digits = (5 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
            let text = format!("{value:.digits$}");
            if digits == 0 {
                text
            } else {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
        _ => cell.to_owned(),
    }
}

/// `0..10` for seeds in a row, else a list.
pub fn seeds_text(seeds: &[u64]) -> String {
    match seeds {
        [first, .., last] if last - first + 1 == seeds.len() as u64 => {
            format!("{first}..{}", last + 1)
        }
        _ => seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;
    use crate::report::html::Page;

    #[test]
    fn sections_hold_numbers_commands_and_the_scenario() {
        let origin = Origin {
            command: "evaluate --forecaster ar".into(),
            version: "0.1.0 (abc)".into(),
            scenario: "name = \"x\"".into(),
            scenario_hash: "ffff".into(),
        };
        let comparison = fixtures::comparison(&["kpa-latency", "hybrid"], 3);
        let section = of_comparison(&comparison, &origin).unwrap();
        let scenario = Scenario::load("paper-knative", &[]).unwrap();
        let run = fixtures::knative_run(&["house", "senti", "numbr"], 4);
        let single = of_run(&run, &scenario, &origin).unwrap();
        let page = Page { title: "R".into(), sections: vec![section, single], ..Page::default() };
        let html = page.to_html().unwrap();
        for text in [
            "--policies kpa-latency,hybrid --seeds 0..3 --reference kpa-latency --forecaster ar",
            "simulate scenario.toml --policy hybrid --seed 3",
            "ci95_low",
            "users_seen",
            "0.1.0 (abc)",
        ] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(seeds_text(&[3]), "3");
        assert_eq!(seeds_text(&[1, 4]), "1,4");
        assert_eq!(short("-0.123456789"), "-0.123457");
        assert_eq!(short("61234.5678"), "61234.6");
        assert_eq!(short("120.0"), "120.0");
    }
}
