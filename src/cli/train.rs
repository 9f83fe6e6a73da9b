//! `train`: an agent, into a folder that goes wherever a policy's name goes.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use rand::Rng as _;
use serde::Serialize;
use serde_json::Value;

use super::{Common, ScenarioArgs, interrupt, print_json, print_line, progress};
use crate::agent::checkpoint::{BEST, LAST};
use crate::agent::log::{LOG, LogRow};
use crate::agent::settings::{PpoKind, PpoSettings};
use crate::agent::trainer::{Evaluation, Judge, Outcome, Trainer, Watch};
use crate::agent::{Agent, AgentConfig, AgentShape, Head, Ppo};
use crate::env::Environments;
use crate::env::observation::{HintKind, LayoutKind};
use crate::env::paper;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::nn::{Checkpoint, Metadata};
use crate::report;
use crate::rng::Streams;
use crate::scenario::{EnvironmentKind, Scenario};

/// Episodes of random traffic whose exact optimum is computed, for the share of it that an agent
/// reaches while it is trained.
const OPTIMA: u64 = 8;

/// Arguments of `train`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// The agent; its settings are the recipe for the scenario unless said otherwise.
    #[arg(long, value_enum, value_name = "A", default_value = "recurrent-ppo")]
    agent: AgentName,
    /// Settings in place of the recipe's: TOML with tables environment, network and training.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Environment steps of the whole training.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// What the agent sees: nine, opt, full, feat or knative, each also with _t.
    #[arg(long, value_name = "L")]
    observation: Option<LayoutKind>,
    /// What it is told of the rewards.
    #[arg(long, value_enum, value_name = "H")]
    hints: Option<HintsName>,
    /// One distribution a service, or one over all combinations.
    #[arg(long, value_enum, value_name = "H")]
    head: Option<HeadName>,
    /// Master seed: initial weights, actions, training traffic.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the training; default runs/train-AGENT-SCENARIO.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the training in the folder, bit for bit.
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the training in the folder.
    #[arg(long)]
    force: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum AgentName {
    RecurrentPpo,
    Ppo,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum HintsName {
    None,
    Greedy,
    Priced,
    Keep,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum HeadName {
    Factored,
    Joint,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    out: String,
    agent: &'a str,
    scenario: &'a str,
    seed: u64,
    steps: u64,
    updates: u64,
    parameters: usize,
    last: Option<Evaluation>,
    best: Option<Evaluation>,
    seconds: f64,
    steps_per_s: f64,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let kind = match args.agent {
        AgentName::RecurrentPpo => PpoKind::Recurrent,
        AgentName::Ppo => PpoKind::FeedForward,
    };
    let scenario = args.scenario.load()?;
    let mut settings = settings(args, kind, &scenario)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(format!("train-{kind}-{}", scenario.name())));
    check_place(&out, args)?;
    let environments = settings.environment.prepare(&scenario, args.seed)?;
    refuse_infinite_rewards(&scenario, &environments, settings.training.environments as u64)?;
    let agent = agent(kind, &scenario, &settings, &environments, args.seed)?;
    if args.resume {
        check_same_training(&out, &agent)?;
    }
    // Held out: episodes of another master seed, so of no training and of no evaluation.
    let held_out = Streams::new(args.seed).open("held-out-traffic").next_u64();
    let judged = settings.environment.clone().prepare(&scenario, held_out)?;
    let judge = Judge {
        make: &|range, total| judged.make(range, total),
        environments: if judged.repeats() { 1 } else { settings.training.evaluation_episodes },
        optima: optima(&scenario, &judged)?,
    };
    let ppo = Ppo::new(settings.training, agent, &|range, total| environments.make(range, total))?;
    if args.force {
        remove_training(&out)?;
    }
    let mut trainer = begin(ppo, judge, &out, args.resume, &scenario)?;

    interrupt::catch();
    let bar = progress::bar_with_report(common, trainer.ppo().config.steps);
    bar.set_position(trainer.ppo().steps);
    let outcome = trainer.run(&mut Observer { bar: &bar });
    bar.finish_and_clear();
    let outcome = outcome?;
    let title = format!("Training of {kind} on {}, seed {}", scenario.name(), args.seed);
    let figures = report::draw_training(&title, trainer.rows(), &out.join("figures"))?;
    if !outcome.done {
        return Err(Error::Interrupted {
            saved: format!(
                "the training is saved in {} after step {}; go on with --resume",
                out.display(),
                trainer.ppo().steps
            ),
        }
        .into());
    }
    report(kind, &scenario, args, &out, &trainer, &outcome, &figures, common)
}

fn settings(args: &Args, kind: PpoKind, scenario: &Scenario) -> Result<PpoSettings> {
    let mut settings = PpoSettings::recipe(kind, scenario)?;
    let mut place = "the settings".to_owned();
    if let Some(file) = &args.config {
        settings = settings.overlaid(file)?;
        place = file.display().to_string();
    }
    if let Some(steps) = args.steps {
        settings.training.steps = steps;
    }
    if let Some(layout) = args.observation {
        settings.environment.observation.layout = layout;
    }
    if let Some(hints) = args.hints {
        settings.environment.observation.hints = match hints {
            HintsName::None => HintKind::None,
            HintsName::Greedy => HintKind::Greedy,
            HintsName::Priced => HintKind::Priced,
            HintsName::Keep => HintKind::Keep,
        };
    }
    if let Some(head) = args.head {
        settings.network.head = match head {
            HeadName::Factored => Head::Factored,
            HeadName::Joint => Head::Joint,
        };
    }
    settings.settle(kind, &place)?;
    Ok(settings)
}

fn agent(
    kind: PpoKind,
    scenario: &Scenario,
    settings: &PpoSettings,
    environments: &Environments,
    seed: u64,
) -> Result<Agent> {
    let observer = environments.observer();
    let shape = AgentShape {
        inputs: observer.len() - observer.hints(),
        hints: observer.hints(),
        options: observer.actions().heads().to_vec(),
    };
    let training = serde_json::to_value(&settings.training)
        .map_err(|error| Error::Failed(format!("cannot write the settings: {error}")))?;
    let config = AgentConfig {
        shape,
        environment: settings.environment.clone(),
        network: settings.network.clone(),
        training,
    };
    let metadata =
        Metadata { scenario_hash: Some(scenario.hash()?), ..Metadata::new(kind.name(), seed, 0) };
    Agent::new(metadata, config, observer.to_json())
}

fn begin<'a>(
    ppo: Ppo,
    judge: Judge<'a>,
    out: &'a Path,
    resume: bool,
    scenario: &Scenario,
) -> Result<Trainer<'a>> {
    if !resume {
        write_atomically(&out.join("scenario.toml"), |writer| {
            writer.write_all(scenario.to_toml().as_bytes())
        })?;
    }
    let evaluations = ppo.config.evaluations;
    Trainer::new(ppo, judge, out, evaluations, resume)
}

/// Exact optima of held-out episodes, where they can be computed.
fn optima(scenario: &Scenario, judged: &Environments) -> Result<Vec<f64>> {
    if scenario.environment() != EnvironmentKind::Paper {
        return Ok(Vec::new());
    }
    let mut optima = Vec::new();
    for episode in 0..if judged.repeats() { 1 } else { OPTIMA } {
        match paper::oracle(scenario, &judged.traffic_of(episode)?) {
            Ok(optimum) => optima.push(optimum.total),
            // Out of reach: then the agent is judged by its reward alone.
            Err(Error::Input { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    Ok(optima)
}

/// Without any users the `paper` environment can pay an infinite reward, from which nothing is
/// learned.
fn refuse_infinite_rewards(
    scenario: &Scenario,
    environments: &Environments,
    episodes: u64,
) -> Result<()> {
    if scenario.environment() != EnvironmentKind::Paper || scenario.corrections.min_one_pod {
        return Ok(());
    }
    for episode in 0..if environments.repeats() { 1 } else { episodes } {
        let trace = environments.traffic_of(episode)?;
        let rows = trace.services.iter().map(|service| service.stages.len()).min().unwrap_or(0);
        // The last row of a trace that ends the episode is still shown, but served by none.
        let empty = |row: usize| trace.services.iter().all(|of| of.stages[row].users < 0.5);
        if let Some(row) = (0..rows).find(|&row| empty(row)) {
            return Err(Error::input(
                "the training traffic",
                format!("row {} has no users at all: its reward is infinite", row + 1),
                "switch the correction min_one_pod on (--corrections min_one_pod), or change the traffic",
            ));
        }
    }
    Ok(())
}

/// Refuses a folder that is in use, before any work is done.
fn check_place(out: &Path, args: &Args) -> Result<()> {
    if args.resume {
        return Ok(());
    }
    let mut entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Error::input(
                out.display(),
                format!("the folder cannot be used: {error}"),
                "name another with --out",
            ));
        }
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let is_training = Checkpoint::exists(&out.join(LAST));
    if is_training && args.force {
        return Ok(());
    }
    let (problem, remedy) = if is_training {
        (
            "the folder holds a training",
            "go on with --resume, start anew with --force, or name another with --out",
        )
    } else {
        ("the folder is not empty and holds no training", "name another with --out")
    };
    Err(Error::input(out.display(), problem, remedy))
}

fn remove_training(out: &Path) -> Result<()> {
    for name in [BEST, LAST, LOG, "tensorboard", "figures", "scenario.toml"] {
        let path = out.join(name);
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Goes on only with the training that would begin: its scenario, seed and settings.
fn check_same_training(out: &Path, wanted: &Agent) -> Result<()> {
    let place = out.join(LAST);
    let found = Checkpoint::load(&place, &[&wanted.metadata.kind], Some(&wanted.layout))?;
    let different = |what: String| {
        Err(Error::input(
            out.display(),
            format!("the training there is another one: {what}"),
            "give the same scenario, seed and settings to go on, or start anew with --force",
        ))
    };
    if found.metadata.seed != wanted.metadata.seed {
        return different(format!("seed {}, not {}", found.metadata.seed, wanted.metadata.seed));
    }
    if found.metadata.scenario_hash != wanted.metadata.scenario_hash {
        return different("it belongs to another scenario".to_owned());
    }
    let config = serde_json::to_value(&wanted.config)
        .map_err(|error| Error::Failed(format!("cannot write the settings: {error}")))?;
    match difference("", &found.config, &config) {
        Some(difference) => different(difference),
        None => Ok(()),
    }
}

/// The first key whose values differ.
fn difference(key: &str, found: &Value, wanted: &Value) -> Option<String> {
    if let (Value::Object(found), Value::Object(wanted)) = (found, wanted) {
        let keys = found.keys().chain(wanted.keys().filter(|&key| !found.contains_key(key)));
        return keys.into_iter().find_map(|name| {
            let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let get =
                |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
            difference(&inner, &get(found), &get(wanted))
        });
    }
    (found != wanted).then(|| format!("{key} = {found}, not {wanted}"))
}

/// Shows progress.
struct Observer<'a> {
    bar: &'a ProgressBar,
}

impl Watch for Observer<'_> {
    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }

    fn iteration(&mut self, row: &LogRow) {
        let mut text = format!("{:.1} k steps/s", row.steps_per_s / 1000.0);
        if let Some(reward) = row.episode_reward {
            text.push_str(&format!(", reward {reward:.1}"));
        }
        if let Some(share) = row.episode_share {
            text.push_str(&format!(" ({:.1} % of the optimum)", 100.0 * share));
        }
        text.push_str(&format!(
            ", entropy {:.2}, KL {:.4}, clipped {:.0} %, explained {:.2}, env/act/learn {:.0}/{:.0}/{:.0} %",
            row.entropy,
            row.kl,
            100.0 * row.clip_fraction,
            row.explained_variance,
            100.0 * row.env_share,
            100.0 * row.act_share,
            100.0 * row.learn_share
        ));
        self.bar.set_message(text);
        self.bar.set_position(row.steps);
    }
}

#[expect(clippy::too_many_arguments, reason = "all that is said at the end")]
fn report(
    kind: PpoKind,
    scenario: &Scenario,
    args: &Args,
    out: &Path,
    trainer: &Trainer<'_>,
    outcome: &Outcome,
    figures: &[PathBuf],
    common: Common,
) -> anyhow::Result<()> {
    let ppo = trainer.ppo();
    if common.json {
        return print_json(&Summary {
            out: out.display().to_string(),
            agent: kind.name(),
            scenario: scenario.name(),
            seed: args.seed,
            steps: ppo.steps,
            updates: ppo.updates,
            parameters: ppo.agent.parameters.values.len(),
            last: outcome.last,
            best: outcome.best,
            seconds: outcome.seconds,
            steps_per_s: ppo.steps as f64 / outcome.seconds,
        });
    }
    print_line(format!(
        "{kind} on {}, seed {}: {} steps, {} updates of {} parameters in {:.1} s ({:.1} k steps/s)",
        scenario.name(),
        args.seed,
        ppo.steps,
        ppo.updates,
        ppo.agent.parameters.values.len(),
        outcome.seconds,
        ppo.steps as f64 / outcome.seconds / 1000.0
    ))?;
    for (name, evaluation) in [("last", outcome.last), ("best", outcome.best)] {
        let Some(evaluation) = evaluation else { continue };
        let share = evaluation
            .share
            .map_or_else(String::new, |share| format!(", {:.2} % of the optimum", 100.0 * share));
        print_line(format!(
            "{name:8} reward {:.3}{share}, after step {}",
            evaluation.reward, evaluation.steps
        ))?;
    }
    print_line(format!("results  {}", out.display()))?;
    for figure in figures {
        print_line(format!("figure   {}", figure.display()))?;
    }
    Ok(())
}
