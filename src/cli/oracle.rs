//! `oracle`: the exact optimum of environment `paper`.

use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::{Common, interrupt, print_json, print_line, progress, scenario_args::ScenarioArgs};
use crate::env::paper::oracle::{Watch, search};
use crate::env::paper::{Optimum, PaperRules, PaperTrace, SERVICES};
use crate::error::Error;
use crate::scenario::{EnvironmentKind, Scenario};

/// Arguments of `oracle`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Seed of the traffic, where it is random.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let scenario = args.scenario.load()?;
    if scenario.environment() != EnvironmentKind::Paper {
        return Err(Error::input(
            format!("scenario `{}`", args.scenario.scenario),
            "an exact optimum exists for environment \"paper\" only",
            "use a scenario of that environment, as `quotascale oracle paper`",
        )
        .into());
    }
    let trace = PaperTrace::evaluation(&scenario, args.seed)?;
    let rules = PaperRules::with_rows(&scenario, trace.rows.len())?;
    interrupt::catch();
    let bar = progress::bar(common, rules.steps() as u64, "steps");
    let watch = Watch {
        stop: &interrupt::interrupted,
        progress: &|done, _| bar.set_position(done as u64),
        ..Watch::default()
    };
    let start = Instant::now();
    let result = search(&rules, &trace, &watch);
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let optimum = result?;
    if common.json {
        return print_json(&json!({
            "scenario": scenario.name(),
            "total": number(optimum.total),
            "steps": optimum.actions.len(),
            "actions": optimum.actions,
            "rewards": optimum.rewards.iter().map(|&reward| number(reward)).collect::<Vec<_>>(),
            "max_states": optimum.max_states,
            "exact": true,
            "seconds": seconds,
            "peak_bytes": optimum.peak_bytes,
        }));
    }
    print_table(&scenario, &rules, &trace, &optimum)?;
    print_line(format!(
        "total {:?} in {} steps, exact; at most {} states a step, {:.1} MiB, {seconds:.2} s",
        optimum.total,
        optimum.actions.len(),
        optimum.max_states,
        optimum.peak_bytes as f64 / f64::from(1 << 20),
    ))
}

/// JSON has no infinity.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!("inf") }
}

fn print_table(
    scenario: &Scenario,
    rules: &PaperRules,
    trace: &PaperTrace,
    optimum: &Optimum,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec!["step".to_owned()];
    for name in scenario.service_names() {
        header.extend([format!("{name} users"), "option".to_owned(), "pods".to_owned()]);
    }
    header.extend(["CPU".to_owned(), "reward".to_owned()]);
    table.set_header(header);
    let mut state = rules.reset(trace.rows[0]);
    for (index, &action) in optimum.actions.iter().enumerate() {
        let users = state.users;
        let result = rules.step(&mut state, action, trace.after(index + 1));
        let mut row = vec![(index + 1).to_string()];
        for service in 0..SERVICES {
            row.push(users[service].to_string());
            row.push(action[service].to_string());
            row.push(state.pods[service].to_string());
        }
        row.push(format!("{}", result.cpu_m as f64 / 1000.0));
        row.push(format!("{:.2}", optimum.rewards[index]));
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print_line(table)
}
