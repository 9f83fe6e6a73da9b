//! `train --agent fitted-value`: value functions by backward induction.

use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;

use super::train::{Args, check_place, remove_training, write_scenario};
use super::{Common, interrupt, print_json, print_line, progress};
use crate::agent::checkpoint::LAST;
use crate::agent::fitted_value::{
    Evaluation, FittedValueSettings, KIND, StageRecord, Trainer, Watch,
};
use crate::error::{Error, Result, read_input};
use crate::scenario::Scenario;

/// What is printed with `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    out: String,
    agent: &'a str,
    scenario: &'a str,
    seed: u64,
    steps: u64,
    stages: &'a [StageRecord],
    evaluation: Option<Evaluation>,
    seconds: f64,
}

pub(super) fn run(args: &Args, scenario: &Scenario, common: Common) -> anyhow::Result<()> {
    let started = Instant::now();
    let settings = settings(args)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(format!("train-{KIND}-{}", scenario.name())));
    check_place(&out, args)?;
    let place = out.join(LAST);
    let mut trainer = if args.resume {
        Trainer::resume(scenario, &settings, args.seed, &place)?
    } else {
        Trainer::new(scenario, settings, args.seed)?
    };
    interrupt::catch();
    let bar = progress::bar(common, trainer.steps(), "");
    let result = trainer.run(&mut Observer {
        bar: &bar,
        out: &out,
        scenario,
        replaces: args.force,
        begun: args.resume,
    });
    bar.finish_and_clear();
    result.map_err(|error| match error {
        Error::Interrupted { saved } if trainer.stages().is_empty() => {
            Error::Interrupted { saved: format!("{saved}, so nothing is saved") }
        }
        Error::Interrupted { saved } => Error::Interrupted {
            saved: format!("{saved} and saved in {}; go on with --resume", out.display()),
        },
        other => other,
    })?;
    report(scenario, &trainer, &out, started.elapsed().as_secs_f64(), common)
}

fn settings(args: &Args) -> Result<FittedValueSettings> {
    for (given, flag) in [
        (args.observation.is_some(), "--observation"),
        (args.hints.is_some(), "--hints"),
        (args.head.is_some(), "--head"),
    ] {
        if given {
            return Err(Error::input(
                flag,
                "the agent fitted-value sees the exact state and knows the rewards",
                "leave it out",
            ));
        }
    }
    let mut settings = FittedValueSettings::default();
    let mut place = "the settings".to_owned();
    if let Some(file) = &args.config {
        place = file.display().to_string();
        settings = toml::from_str(&read_input(file)?).map_err(|error| {
            Error::input(&place, error, "see docs/agents.md for the keys and their values")
        })?;
    }
    if let Some(steps) = args.steps {
        settings.training.set_steps(steps);
    }
    settings.training.check(&place)?;
    Ok(settings)
}

/// Shows progress and saves what is fitted.
struct Observer<'a> {
    bar: &'a ProgressBar,
    out: &'a Path,
    scenario: &'a Scenario,
    /// Whether an older training is to go.
    replaces: bool,
    /// Whether the folder is this training's. Before there is anything to save it is left as it was.
    begun: bool,
}

impl Watch for Observer<'_> {
    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }

    fn collected(&mut self, states: u64) {
        self.bar.set_position(states);
    }

    fn stage(&mut self, trainer: &Trainer<'_>) -> Result<()> {
        if let Some(stage) = trainer.stages().last() {
            self.bar.set_message(format!(
                "{} of {} value functions, residual {:.0}",
                stage.remaining,
                trainer.horizon(),
                stage.residual
            ));
        }
        if !self.begun {
            if self.replaces {
                remove_training(self.out)?;
            }
            write_scenario(self.out, self.scenario)?;
            self.begun = true;
        }
        trainer.save(&self.out.join(LAST))
    }
}

fn report(
    scenario: &Scenario,
    trainer: &Trainer<'_>,
    out: &Path,
    seconds: f64,
    common: Common,
) -> anyhow::Result<()> {
    let (seed, evaluation) = (trainer.seed(), trainer.evaluation());
    if common.json {
        return print_json(&Summary {
            out: out.display().to_string(),
            agent: KIND,
            scenario: scenario.name(),
            seed,
            steps: trainer.steps(),
            stages: trainer.stages(),
            evaluation,
            seconds,
        });
    }
    print_line(format!(
        "{KIND} on {}, seed {seed}: {} value functions from {} states in {seconds:.1} s",
        scenario.name(),
        trainer.stages().len(),
        trainer.steps(),
    ))?;
    if let Some(evaluation) = evaluation {
        print_line(format!(
            "reward {:.1} on {} held-out episodes of training traffic (greedy {:.1})",
            evaluation.reward, evaluation.episodes, evaluation.greedy
        ))?;
    }
    print_line(format!("results  {}", out.display()))
}
