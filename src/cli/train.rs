//! `train`: an agent, into a folder that goes wherever a policy's name goes.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use rand::Rng as _;
use serde::Serialize;
use serde_json::Value;

use super::{
    Common, ScenarioArgs, interrupt, memory, out_folder, print_json, print_line, progress,
    train_fitted_value,
};
use crate::agent::checkpoint::{BEST, LAST};
use crate::agent::log::{LOG, LogRow};
use crate::agent::settings::{PpoKind, PpoSettings, TrpoSettings};
use crate::agent::trainer::{Evaluation, Judge, Outcome, Trainer, Watch};
use crate::agent::{Agent, AgentConfig, AgentShape, Head, NetworkConfig, Ppo};
use crate::env::observation::{HintKind, LayoutKind};
use crate::env::paper;
use crate::env::{EnvironmentConfig, Environments, MakeEnvironments};
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
    pub(super) scenario: ScenarioArgs,
    /// The agent; its settings are the recipe for the scenario unless said otherwise.
    #[arg(long, value_enum, value_name = "A", default_value = "recurrent-ppo")]
    pub(super) agent: AgentName,
    /// Settings in place of the recipe's: TOML with tables environment, network and training.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Environment steps of the whole training.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) steps: Option<u64>,
    /// What the agent sees: nine_raw, nine, opt, full, feat, knative or knative_no_quota, each also with _t.
    #[arg(long, value_name = "L")]
    pub(super) observation: Option<LayoutKind>,
    /// What it is told of the rewards.
    #[arg(long, value_enum, value_name = "H")]
    pub(super) hints: Option<HintsName>,
    /// One distribution a service, or one over all combinations.
    #[arg(long, value_enum, value_name = "H")]
    pub(super) head: Option<HeadName>,
    /// Master seed: initial weights, actions, training traffic.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// Folder of the training; default runs/train-AGENT-SCENARIO.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Go on with the training in the folder, bit for bit.
    #[arg(long, conflicts_with = "force")]
    pub(super) resume: bool,
    /// Replace the training in the folder.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentName {
    RecurrentPpo,
    Ppo,
    Trpo,
    FittedValue,
}

/// An agent of actor and critic with all its settings.
enum Plan {
    Ppo(PpoKind, PpoSettings),
    Trpo(TrpoSettings),
}

impl Plan {
    /// The agent's name, which is the kind of its checkpoints.
    fn name(&self) -> &'static str {
        match self {
            Self::Ppo(kind, _) => kind.name(),
            Self::Trpo(_) => "trpo",
        }
    }

    fn environment(&self) -> &EnvironmentConfig {
        match self {
            Self::Ppo(_, settings) => &settings.environment,
            Self::Trpo(settings) => &settings.environment,
        }
    }

    fn parts_mut(&mut self) -> (&mut EnvironmentConfig, &mut NetworkConfig, &mut u64) {
        match self {
            Self::Ppo(_, settings) => {
                (&mut settings.environment, &mut settings.network, &mut settings.training.steps)
            }
            Self::Trpo(settings) => {
                (&mut settings.environment, &mut settings.network, &mut settings.training.steps)
            }
        }
    }

    fn network(&self) -> &NetworkConfig {
        match self {
            Self::Ppo(_, settings) => &settings.network,
            Self::Trpo(settings) => &settings.network,
        }
    }

    /// Environments that are stepped together.
    fn environments(&self) -> usize {
        match self {
            Self::Ppo(_, settings) => settings.training.environments,
            Self::Trpo(settings) => settings.training.n_envs,
        }
    }

    /// Episodes of an evaluation.
    fn evaluation_episodes(&self) -> usize {
        match self {
            Self::Ppo(_, settings) => settings.training.evaluation_episodes,
            Self::Trpo(settings) => settings.training.evaluation_episodes,
        }
    }

    /// The settings of the training as a checkpoint keeps them.
    fn training(&self) -> Result<Value> {
        match self {
            Self::Ppo(_, settings) => serde_json::to_value(&settings.training),
            Self::Trpo(settings) => serde_json::to_value(&settings.training),
        }
        .map_err(|error| Error::Failed(format!("cannot write the settings: {error}")))
    }

    fn learner(self, agent: Agent, make: &MakeEnvironments<'_>) -> Result<Ppo> {
        match self {
            Self::Ppo(_, settings) => Ppo::new(settings.training, agent, make),
            Self::Trpo(settings) => Ppo::trpo(settings.training, agent, make),
        }
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HintsName {
    None,
    Greedy,
    Priced,
    Keep,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadName {
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
    memory::keep_freed();
    let scenario = args.scenario.load()?;
    if args.agent == AgentName::FittedValue {
        return train_fitted_value::run(args, &scenario, common);
    }
    let plan = plan(args, &scenario)?;
    let out = args.out.clone().unwrap_or_else(|| {
        PathBuf::from("runs").join(format!("train-{}-{}", plan.name(), scenario.name()))
    });
    check_place(&out, args)?;
    let bar = progress::bar_with_report(common, 0);
    let trained = train(plan, args, &scenario, &out, &Bar(&bar));
    bar.finish_and_clear();
    report(&trained?, &scenario, args, &out, common)
}

/// A training that was done to its end.
pub(super) struct Trained {
    kind: &'static str,
    steps: u64,
    updates: u64,
    parameters: usize,
    outcome: Outcome,
    figures: Vec<PathBuf>,
}

/// Trains in the folder `out`, or goes on with the training that is there, to the end; `args` are those
/// of the command that would do it by itself.
///
/// # Errors
/// As `train` on the command line; [`Error::Interrupted`] when the user stops it.
pub(super) fn train_in(
    args: &Args,
    scenario: &Scenario,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Trained> {
    memory::keep_freed();
    train(plan(args, scenario)?, args, scenario, out, progress)
}

fn train(
    mut plan: Plan,
    args: &Args,
    scenario: &Scenario,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Trained> {
    let kind = plan.name();
    let environments = plan.parts_mut().0.prepare(scenario, args.seed)?;
    refuse_infinite_rewards(scenario, &environments, plan.environments() as u64)?;
    let agent = agent(&plan, scenario, &environments, args.seed)?;
    if args.resume {
        check_same_training(out, &agent)?;
    }
    // Held out: episodes of another master seed, so of no training and of no evaluation.
    let held_out = Streams::new(args.seed).open("held-out-traffic").next_u64();
    let judged = plan.environment().clone().prepare(scenario, held_out)?;
    let judge = Judge {
        make: &|range, total| judged.make(range, total),
        environments: if judged.repeats() { 1 } else { plan.evaluation_episodes() },
        optima: optima(scenario, &judged)?,
    };
    let ppo = plan.learner(agent, &|range, total| environments.make(range, total))?;
    if args.force {
        remove_training(out)?;
    }
    let mut trainer = begin(ppo, judge, out, args.resume, scenario)?;

    interrupt::catch();
    progress.begin(trainer.ppo().steps, trainer.ppo().config.steps);
    let outcome = trainer.run(&mut Observer { progress })?;
    let title = format!("Training of {kind} on {}, seed {}", scenario.name(), args.seed);
    let figures = report::draw_training(&title, trainer.rows(), &out.join("figures"))?;
    let ppo = trainer.ppo();
    if !outcome.done {
        return Err(Error::Interrupted {
            saved: format!(
                "the training is saved in {} after step {}; go on with --resume",
                out.display(),
                ppo.steps
            ),
        });
    }
    Ok(Trained {
        kind,
        steps: ppo.steps,
        updates: ppo.updates,
        parameters: ppo.agent.parameters.values.len(),
        outcome,
        figures,
    })
}

fn plan(args: &Args, scenario: &Scenario) -> Result<Plan> {
    let file = args.config.as_deref();
    let place = file.map_or_else(|| "the settings".to_owned(), |file| file.display().to_string());
    let mut plan = match args.agent {
        AgentName::Trpo => {
            let recipe = TrpoSettings::recipe(scenario)?;
            Plan::Trpo(file.map_or(Ok(recipe.clone()), |file| recipe.overlaid(file))?)
        }
        name => {
            let kind = match name {
                AgentName::RecurrentPpo => PpoKind::Recurrent,
                _ => PpoKind::FeedForward,
            };
            let recipe = PpoSettings::recipe(kind, scenario)?;
            Plan::Ppo(kind, file.map_or(Ok(recipe.clone()), |file| recipe.overlaid(file))?)
        }
    };
    let (environment, network, steps) = plan.parts_mut();
    *steps = args.steps.unwrap_or(*steps);
    let observation = &mut environment.observation;
    observation.layout = args.observation.unwrap_or(observation.layout);
    if let Some(hints) = args.hints {
        observation.hints = match hints {
            HintsName::None => HintKind::None,
            HintsName::Greedy => HintKind::Greedy,
            HintsName::Priced => HintKind::Priced,
            HintsName::Keep => HintKind::Keep,
        };
    }
    if let Some(head) = args.head {
        network.head = match head {
            HeadName::Factored => Head::Factored,
            HeadName::Joint => Head::Joint,
        };
    }
    match &mut plan {
        Plan::Ppo(kind, settings) => settings.settle(*kind, &place)?,
        Plan::Trpo(settings) => settings.settle(&place)?,
    }
    Ok(plan)
}

fn agent(
    plan: &Plan,
    scenario: &Scenario,
    environments: &Environments,
    seed: u64,
) -> Result<Agent> {
    let observer = environments.observer();
    let shape = AgentShape {
        inputs: observer.len() - observer.hints(),
        hints: observer.hints(),
        options: observer.actions().heads().to_vec(),
    };
    let config = AgentConfig {
        shape,
        environment: plan.environment().clone(),
        network: plan.network().clone(),
        training: plan.training()?,
    };
    let metadata =
        Metadata { scenario_hash: Some(scenario.hash()?), ..Metadata::new(plan.name(), seed, 0) };
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
        write_scenario(out, scenario)?;
    }
    let evaluations = ppo.config.evaluations;
    Trainer::new(ppo, judge, out, evaluations, resume)
}

/// Writes the scenario as it was resolved.
pub(super) fn write_scenario(out: &Path, scenario: &Scenario) -> Result<()> {
    write_atomically(&out.join("scenario.toml"), |writer| {
        writer.write_all(scenario.to_toml().as_bytes())
    })
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
        // Without these corrections the first row is never served, nor the last.
        let corrections = &scenario.corrections;
        let first = usize::from(!corrections.first_users_from_trace);
        let end = rows - usize::from(!corrections.truncate_at_trace_end);
        let empty = |row: usize| trace.services.iter().all(|of| of.stages[row].users < 0.5);
        if let Some(row) = (first..end).find(|&row| empty(row)) {
            return Err(Error::input(
                "the training traffic",
                format!("row {} has no users at all: its reward is infinite", row + 1),
                "switch the correction min_one_pod on (--corrections min_one_pod), or change the traffic",
            ));
        }
    }
    Ok(())
}

/// Refuses a folder that is in use, unless the training there goes on.
pub(super) fn check_place(out: &Path, args: &Args) -> Result<()> {
    if args.resume {
        return Ok(());
    }
    out_folder::check(out, "training", |out| Checkpoint::exists(&out.join(LAST)), args.force)
}

pub(super) fn remove_training(out: &Path) -> Result<()> {
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

/// Told how far a training is.
pub(super) trait Progress {
    /// It begins, or goes on, after `done` of its `steps`.
    fn begin(&self, done: u64, steps: u64);

    /// It has done another iteration.
    fn iteration(&self, row: &LogRow);
}

/// The progress of one training on a bar of its own.
struct Bar<'a>(&'a ProgressBar);

impl Progress for Bar<'_> {
    fn begin(&self, done: u64, steps: u64) {
        self.0.set_length(steps);
        self.0.set_position(done);
        // What was done before says nothing of the time that is left.
        self.0.reset_eta();
    }

    fn iteration(&self, row: &LogRow) {
        self.0.set_message(described(row));
        self.0.set_position(row.steps);
    }
}

struct Observer<'a> {
    progress: &'a dyn Progress,
}

impl Watch for Observer<'_> {
    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }

    fn iteration(&mut self, row: &LogRow) {
        self.progress.iteration(row);
    }
}

/// An iteration in a line.
pub(super) fn described(row: &LogRow) -> String {
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
    text
}

fn report(
    trained: &Trained,
    scenario: &Scenario,
    args: &Args,
    out: &Path,
    common: Common,
) -> anyhow::Result<()> {
    let &Trained { kind, steps, updates, parameters, ref outcome, ref figures } = trained;
    let steps_per_s = steps as f64 / outcome.seconds;
    if common.json {
        return print_json(&Summary {
            out: out.display().to_string(),
            agent: kind,
            scenario: scenario.name(),
            seed: args.seed,
            steps,
            updates,
            parameters,
            last: outcome.last,
            best: outcome.best,
            seconds: outcome.seconds,
            steps_per_s,
        });
    }
    print_line(format!(
        "{kind} on {}, seed {}: {steps} steps, {updates} updates of {parameters} parameters in {:.1} s ({:.1} k steps/s)",
        scenario.name(),
        args.seed,
        outcome.seconds,
        steps_per_s / 1000.0
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
