//! `import`: agents that other programs trained.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Common, print_json, print_line};
use crate::agent::sb3;
use crate::error::{Error, Result};
use crate::nn::Checkpoint;

/// What can be imported.
#[derive(Subcommand)]
pub enum Verb {
    /// An agent of Stable-Baselines3 (TRPO or PPO with MlpPolicy on the original environment).
    Sb3(Sb3Args),
}

/// Arguments of `import sb3`.
#[derive(clap::Args)]
pub struct Sb3Args {
    /// The zip that the agent's `save` wrote.
    #[arg(value_name = "FILE.zip")]
    file: PathBuf,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace another agent in that folder.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(verb: Verb, common: Common) -> anyhow::Result<()> {
    match verb {
        Verb::Sb3(args) => import_sb3(&args, common),
    }
}

fn import_sb3(args: &Sb3Args, common: Common) -> anyhow::Result<()> {
    check_place(args)?;
    let agent = sb3::read(&args.file)?;
    agent.save(&args.out)?;
    let config = &agent.config;
    let source = &config.training["stable_baselines3"];
    if common.json {
        return print_json(&json!({
            "out": args.out.display().to_string(),
            "kind": agent.metadata.kind,
            "steps": agent.metadata.steps,
            "observations": config.shape.inputs,
            "options": config.shape.options,
            "hidden": config.network.hidden,
            "activation": config.network.activation,
            "parameters": agent.parameters.values.len(),
            "source": source,
        }));
    }
    print_line(format!(
        "agent    {} after {} steps, saved by Stable-Baselines3 {}",
        agent.metadata.kind,
        agent.metadata.steps,
        source["version"].as_str().unwrap_or_default()
    ))?;
    print_line(format!(
        "network  {} observations, hidden layers {:?}, options {:?}, {} parameters",
        config.shape.inputs,
        config.network.hidden,
        config.shape.options,
        agent.parameters.values.len()
    ))?;
    print_line(format!("folder   {}", args.out.display()))
}

/// Fails before anything is read where another checkpoint would be replaced.
fn check_place(args: &Sb3Args) -> Result<()> {
    if Checkpoint::exists(&args.out) && !args.force {
        return Err(Error::input(
            args.out.display(),
            "holds a checkpoint already",
            "name another folder, or replace it with --force",
        ));
    }
    Ok(())
}
