//! `scenario`: list, show, check, schema.

use clap::Subcommand;

use super::{Common, print_json, print_line};
use crate::scenario::{BUILTIN, Corrections, EnvironmentKind, Scenario, builtin_text, json_schema};

/// What to do with scenarios.
#[derive(Subcommand)]
pub enum Verb {
    /// List the built-in scenarios.
    List,
    /// Print a scenario: a built-in as it is written, a file with every default filled in.
    Show {
        /// A built-in name or a file.
        scenario: String,
        /// Change any key: quota.mode=enforced, service.house.slo_p95_ms=1000.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Check a scenario and say what it describes.
    Check {
        /// A built-in name or a file.
        scenario: String,
        /// Change any key first.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Print the JSON schema of the scenario file.
    Schema,
}

pub(super) fn run(verb: Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::List => list(common),
        Verb::Show { scenario, set } => match builtin_text(&scenario) {
            Some(text) if set.is_empty() && !common.json => print_line(text.trim_end()),
            _ => {
                let scenario = Scenario::load(&scenario, &set)?;
                if common.json {
                    print_json(&scenario.spec)
                } else {
                    print_line(scenario.to_toml().trim_end())
                }
            }
        },
        Verb::Check { scenario, set } => check(&scenario, &set, common),
        Verb::Schema => print_line(serde_json::to_string_pretty(&json_schema())?),
    }
}

fn list(common: Common) -> anyhow::Result<()> {
    let mut scenarios = Vec::new();
    for (name, text) in BUILTIN {
        // Each built-in says in its first line what it is.
        let about = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        if common.json {
            scenarios.push(serde_json::json!({ "name": name, "about": about }));
        } else {
            print_line(format!("{name:15} {about}"))?;
        }
    }
    if common.json {
        print_json(
            &serde_json::json!({ "scenarios": scenarios, "corrections": Corrections::NAMES }),
        )?;
    } else {
        print_line(format!(
            "\ncorrections of the paper environment: {}",
            Corrections::NAMES.join(", ")
        ))?;
    }
    Ok(())
}

fn check(name: &str, set: &[String], common: Common) -> anyhow::Result<()> {
    let scenario = Scenario::load(name, set)?;
    let hash = scenario.hash()?;
    let traffic = scenario.traffic(0)?;
    let stages: Vec<usize> = traffic.services.iter().map(|service| service.stages.len()).collect();
    if common.json {
        return print_json(&serde_json::json!({
            "scenario": scenario.name(),
            "environment": scenario.environment(),
            "hash": hash,
            "services": scenario.service_names(),
            "stages": stages,
            "duration_s": scenario.spec.duration_s,
        }));
    }
    let environment = match scenario.environment() {
        EnvironmentKind::Paper => "paper",
        EnvironmentKind::Knative => "knative",
    };
    print_line(format!("{}: ok", scenario.name()))?;
    print_line(format!(
        "environment {environment}, quota {}, hash {}",
        scenario.spec.quota.cpu_m,
        &hash[..12]
    ))?;
    for (service, stages) in scenario.spec.service.iter().zip(stages) {
        print_line(format!(
            "  {}: {} options, {stages} stages, SLO {} ms",
            service.name,
            service.option.len(),
            service.slo_p95_ms
        ))?;
    }
    Ok(())
}
