//! `act`: what an agent makes of given observations.

use std::path::PathBuf;

use serde_json::json;

use super::{Common, print_json, print_line};
use crate::agent::Agent;
use crate::agent::act::Actor;
use crate::error::{Error, Result};
use crate::files::{check_output, write_atomically};

/// Arguments of `act`.
#[derive(clap::Args)]
pub struct Args {
    /// The agent's folder: a checkpoint or a training.
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// CSV with columns obs0, obs1, …; a row a step. An agent with a memory takes the rows in their
    /// order; where a column `episode` is and changes, it forgets.
    #[arg(long, value_name = "FILE")]
    observations: PathBuf,
    /// The same table with logit0.., argmax0.. and value added.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    check_output(&args.out, args.force)?;
    let agent = Agent::load(&args.checkpoint)?;
    let (rows, bytes) = act(args, &agent)?;
    write_atomically(&args.out, |writer| writer.write_all(&bytes))?;
    if common.json {
        return print_json(&json!({
            "out": args.out.display().to_string(),
            "kind": agent.metadata.kind,
            "rows": rows,
        }));
    }
    print_line(format!("{rows} rows by {} in {}", agent.metadata.kind, args.out.display()))
}

fn act(args: &Args, agent: &Agent) -> Result<(u64, Vec<u8>)> {
    let place = args.observations.display().to_string();
    let wrong = |place: &str, problem: String| {
        Error::input(place, problem, "give a CSV file with a header and a row a step")
    };
    let csv_error = |error: csv::Error| wrong(&place, error.to_string());
    let mut reader = csv::Reader::from_path(&args.observations).map_err(csv_error)?;
    let header = reader.headers().map_err(csv_error)?.clone();
    let features = agent.network.shape().features();
    let column = |name: &str| header.iter().position(|known| known.trim() == name);
    let columns = (0..features)
        .map(|index| {
            column(&format!("obs{index}")).ok_or_else(|| {
                wrong(
                    &place,
                    format!("column obs{index} is missing: the agent sees {features} numbers"),
                )
            })
        })
        .collect::<Result<Vec<usize>>>()?;
    if column(&format!("obs{features}")).is_some() {
        let problem = format!("column obs{features}: the agent sees {features} numbers only");
        return Err(wrong(&place, problem));
    }
    let episode = column("episode");
    let mut actor = Actor::new(agent);
    let mut added: Vec<String> =
        (0..actor.logits.len()).map(|index| format!("logit{index}")).collect();
    added.extend((0..actor.actions.len()).map(|index| format!("argmax{index}")));
    added.push("value".to_owned());
    let kept: Vec<usize> = (0..header.len())
        .filter(|&index| !added.iter().any(|name| name == header[index].trim()))
        .collect();
    let failed = |error: csv::Error| Error::Failed(format!("cannot write the table: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = kept.iter().map(|&index| &header[index]).chain(added.iter().map(String::as_str));
    writer.write_record(names).map_err(failed)?;
    let mut observation = vec![0.0; features];
    let mut before: Option<String> = None;
    let mut rows = 0;
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(csv_error)?;
        let line = index + 2;
        for (number, &column) in observation.iter_mut().zip(&columns) {
            let text = record[column].trim();
            let parsed = text.parse::<f32>().ok().filter(|number| number.is_finite());
            *number = parsed.ok_or_else(|| {
                let name = &header[column];
                wrong(&format!("{place}, line {line}, {name}"), format!("`{text}` is no number"))
            })?;
        }
        if let Some(column) = episode {
            let now = record[column].trim();
            if before.as_deref().is_some_and(|before| before != now) {
                actor.begin();
            }
            before = Some(now.to_owned());
        }
        actor.step(&observation);
        let mut row: Vec<String> = kept.iter().map(|&index| record[index].to_owned()).collect();
        row.extend(actor.logits.iter().map(f32::to_string));
        row.extend(actor.actions.iter().map(u32::to_string));
        row.push(actor.value.to_string());
        writer.write_record(&row).map_err(failed)?;
        rows += 1;
    }
    let bytes =
        writer.into_inner().map_err(|error| Error::io("write", &args.out, error.into_error()))?;
    Ok((rows, bytes))
}
