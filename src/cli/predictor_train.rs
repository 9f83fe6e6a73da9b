//! `predictor train`: a predictor from traces, into a folder that other commands take.

use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;

use super::predictor_evaluate::{hash, read};
use super::{Common, VERSION, interrupt, memory, out_folder, print_json, print_line, progress};
use crate::error::{Error, Result};
use crate::predictor::dataset::{Fractions, Recipe};
use crate::predictor::original::checkpoint::{self as original, Source};
use crate::predictor::quantile::checkpoint as quantile;
use crate::predictor::quantile::learner::{HORIZON, QuantileLearner};
use crate::predictor::quantile::windows::TimeOfDay;
use crate::predictor::train::original::{LEAK, OriginalLearner, UNITS};
use crate::predictor::train::{
    Identity, Learner, SavedTraining, Stopped, Trainer, TrainingPlan, TrainingRecord, Watch,
};
use crate::predictor::trained;
use crate::report;
use crate::trace::DEFAULT_STAGE_S;
use crate::trace::series::{Mask, Series, SeriesRule};

/// Arguments of `predictor train`.
#[derive(clap::Args)]
pub struct Args {
    /// Traces: CSV files of either form or with a column `users`, or built-in names (diurnal/house).
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    trace: Vec<String>,
    /// Columns or services to take; default: `users`, else all that are no time.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    column: Vec<String>,
    /// The network: the original's, or one with quantiles for several rows ahead.
    #[arg(long, value_enum, value_name = "M", default_value = "quantile")]
    model: Model,
    /// `original` (of model original, and its default): leaks and all; `default`: split by --split.
    #[arg(long, value_name = "R")]
    recipe: Option<String>,
    /// Training, validation and test part in per cent, in time; recipe default only.
    #[arg(long, value_name = "T/V/T", default_value = "64/16/20")]
    split: String,
    /// Rows neither learned from nor judged on, by number or time, without the end; repeatable.
    #[arg(long, value_name = "FROM..TO")]
    mask: Vec<String>,
    /// Length of a row where the file does not say, seconds.
    #[arg(long, value_name = "S", default_value_t = DEFAULT_STAGE_S, value_parser = clap::value_parser!(u32).range(1..))]
    stage_s: u32,
    /// Whether model quantile sees the time of day.
    #[arg(long, value_enum, value_name = "T", default_value = "auto")]
    time_of_day: Calendar,
    /// Seed of the initial weights and of the order of the windows.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Most epochs; default: 100 of the original, 60 of quantile, fewer for long series.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Do all epochs, whatever the validation loss.
    #[arg(long)]
    no_early_stopping: bool,
    /// Folder of the predictor; default runs/predictor-train-MODEL.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the training in the folder, bit for bit.
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the predictor in the folder.
    #[arg(long)]
    force: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    Original,
    Quantile,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Calendar {
    /// Where every trace gives dates and its training part has four weeks.
    Auto,
    /// Where every trace gives dates.
    Always,
    Never,
}

impl Calendar {
    fn rule(self) -> TimeOfDay {
        match self {
            Self::Auto => TimeOfDay::Auto,
            Self::Always => TimeOfDay::Always,
            Self::Never => TimeOfDay::Never,
        }
    }
}

impl Model {
    fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Quantile => "quantile",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Original => original::KIND,
            Self::Quantile => quantile::KIND,
        }
    }

    fn recipe(self, asked: Option<&str>) -> Result<Recipe> {
        let recipe = asked.map(str::parse).transpose()?;
        match (self, recipe) {
            (Self::Original, recipe) => Ok(recipe.unwrap_or(Recipe::Original)),
            (Self::Quantile, None | Some(Recipe::Default)) => Ok(Recipe::Default),
            (Self::Quantile, Some(Recipe::Original)) => Err(Error::input(
                "--recipe original",
                "the recipe is that of the original's network, not of model quantile",
                "leave it out, or give --model original",
            )),
        }
    }
}

fn recipe_name(recipe: Recipe) -> &'static str {
    match recipe {
        Recipe::Default => "default",
        Recipe::Original => "original",
    }
}

/// The recipe with all its options that are not the default.
fn identity_of(recipe: Recipe, args: &Args) -> String {
    let time_of_day = match args.time_of_day {
        Calendar::Auto => "",
        Calendar::Always => ", time of day always",
        Calendar::Never => ", time of day never",
    };
    match recipe {
        Recipe::Original => recipe_name(recipe).to_owned(),
        Recipe::Default => format!("{} {}{time_of_day}", recipe_name(recipe), args.split),
    }
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    out: String,
    model: &'a str,
    kind: &'a str,
    #[serde(flatten)]
    record: TrainingRecord,
    train_loss: Option<f64>,
    parameters: usize,
    seconds: f64,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    memory::keep_freed();
    let started = Instant::now();
    let recipe = args.model.recipe(args.recipe.as_deref())?;
    let fractions: Fractions = args.split.parse()?;
    let masks: Vec<Mask> = args.mask.iter().map(|mask| mask.parse()).collect::<Result<_>>()?;
    let rule = SeriesRule { columns: args.column.clone(), masks, row_s: args.stage_s };
    let out = args.out.clone().unwrap_or_else(|| {
        PathBuf::from("runs").join(format!("predictor-train-{}", args.model.name()))
    });
    if !args.resume {
        out_folder::check(&out, "predictor", trained::is_predictor, args.force)?;
    }
    let series = read(&args.trace, &rule)?;
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let source = Source { file: names.join(", "), sha256: hash(&series), keras_version: None };
    let (learner, windows) = learner(args, &series, recipe, fractions, source)?;
    let plan = plan(args, recipe, windows[0]);
    let identity = Identity {
        model: args.model.name().to_owned(),
        recipe: identity_of(recipe, args),
        seed: args.seed,
        inputs: hash(&series),
        version: VERSION.to_owned(),
    };
    let mut trainer = if args.resume {
        let saved = SavedTraining::read(&out, args.model.kind(), &identity)?;
        Trainer::resume(learner.as_ref(), plan, saved, &out)?
    } else {
        Trainer::new(learner.as_ref(), plan)?
    };
    let notes = if recipe == Recipe::Original { vec![LEAK.to_owned()] } else { Vec::new() };
    let record = TrainingRecord {
        recipe: recipe_name(recipe).to_owned(),
        windows,
        notes,
        ..TrainingRecord::default()
    };

    interrupt::catch();
    let total = u64::from(plan.epochs) * trainer.windows() as u64;
    let bar = progress::bar(common, total, "epoch 1");
    let mut observer = Observer { bar: &bar, out: &out, identity: &identity, record: &record };
    let outcome = trainer.run(&mut observer);
    bar.finish_and_clear();
    let outcome = outcome?;
    let title = format!("Training of model {} on {}", args.model.name(), names.join(", "));
    trainer.save(&out, &identity, &record, |folder| {
        report::draw_losses(&title, trainer.state(), args.model.loss(), &folder.join("figures"))
            .map(|_| ())
    })?;
    if outcome.is_none() {
        return Err(Error::Interrupted {
            saved: format!(
                "the training is saved in {} after epoch {}; go on with --resume",
                out.display(),
                trainer.state().epoch
            ),
        }
        .into());
    }
    let record = trainer.record(record);
    let summary = Summary {
        out: out.display().to_string(),
        model: args.model.name(),
        kind: args.model.kind(),
        train_loss: trainer.state().losses.last().and_then(|loss| loss.train),
        parameters: learner.params().numbers(),
        record,
        seconds: started.elapsed().as_secs_f64(),
    };
    if common.json { print_json(&summary) } else { print_summary(&summary, &out) }
}

impl Model {
    /// What the loss is, for the figure.
    fn loss(self) -> &'static str {
        match self {
            Self::Original => "mean squared error, scaled",
            Self::Quantile => "pinball loss over mean change",
        }
    }
}

fn plan(args: &Args, recipe: Recipe, windows: usize) -> TrainingPlan {
    let mut plan = match (args.model, recipe) {
        (Model::Original, Recipe::Original) => TrainingPlan::original(args.seed),
        (Model::Original, Recipe::Default) => TrainingPlan::original_network(args.seed),
        (Model::Quantile, _) => TrainingPlan::quantile(args.seed, windows),
    };
    plan.epochs = args.epochs.unwrap_or(plan.epochs);
    if args.no_early_stopping {
        plan.patience = None;
    }
    plan
}

/// The network with its windows, and how many there are to fit on and to stop by.
fn learner(
    args: &Args,
    series: &[Series],
    recipe: Recipe,
    fractions: Fractions,
    source: Source,
) -> Result<(Box<dyn Learner>, [usize; 2])> {
    match args.model {
        Model::Original => {
            let learner =
                OriginalLearner::new(series, recipe, fractions, UNITS, args.seed, source, VERSION)?;
            let windows = learner.counts();
            Ok((Box::new(learner), windows))
        }
        Model::Quantile => {
            let learner = QuantileLearner::new(
                series,
                fractions,
                HORIZON,
                args.time_of_day.rule(),
                args.seed,
                source,
                VERSION,
            )?;
            let windows = learner.counts();
            Ok((Box::new(learner), windows))
        }
    }
}

/// Shows progress and saves after every epoch.
struct Observer<'a> {
    bar: &'a ProgressBar,
    out: &'a Path,
    identity: &'a Identity,
    record: &'a TrainingRecord,
}

impl Watch for Observer<'_> {
    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }

    fn update(&mut self, done: u64) {
        self.bar.set_position(done);
    }

    fn epoch(&mut self, trainer: &Trainer<'_>) -> Result<()> {
        if let Some(loss) = trainer.state().losses.last() {
            let epoch = loss.epoch + 1;
            self.bar.set_message(format!("epoch {epoch}, validation loss {:.5}", loss.validation));
        }
        trainer.save(self.out, self.identity, self.record, |_| Ok(()))
    }
}

fn print_summary(summary: &Summary<'_>, out: &Path) -> anyhow::Result<()> {
    let record = &summary.record;
    let ended = match record.stopped {
        Some(Stopped::Early) => "stopped early",
        Some(Stopped::Epochs) | None => "all epochs done",
    };
    print_line(format!(
        "model {}, recipe {}, seed {}: {} parameters, {} windows to fit on and {} to stop by",
        summary.model,
        record.recipe,
        record.seed,
        summary.parameters,
        record.windows[0],
        record.windows[1]
    ))?;
    print_line(format!(
        "{} epochs, {} updates, {ended} after {:.1} s; lowest validation loss in epoch {}, \
         {:.6} in the folder",
        record.epochs,
        record.updates,
        summary.seconds,
        record.best_epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
        record.validation_loss.unwrap_or(f64::NAN)
    ))?;
    for note in &record.notes {
        print_line(format!("note     {note}"))?;
    }
    print_line(format!("results  {}", out.display()))?;
    print_line(format!("figure   {}", out.join("figures/losses.svg").display()))
}
