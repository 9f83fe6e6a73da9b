//! The training loop around PPO: log, evaluation, checkpoints.
//!
//! A training's folder holds `last` (the checkpoint to go on from), `best` (the best agent by the
//! periodic evaluation), `log.csv`, `tensorboard/` and `figures/`. Both checkpoints are whole at
//! every moment.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::checkpoint::{BEST, LAST};
use super::evaluate::evaluate;
use super::log::{Log, LogRow, read_log};
use super::ppo::{Iteration, Ppo};
use crate::env::MakeEnvironments;
use crate::error::{Error, Result};
use crate::nn::Checkpoint;

/// On what an agent is judged while it is trained: traffic that it is neither trained nor, later,
/// evaluated on (one fixed trace excepted).
pub struct Judge<'a> {
    /// Makes the environments.
    pub make: &'a MakeEnvironments<'a>,
    /// How many there are; one episode of each is played.
    pub environments: usize,
    /// Exact optimum of the first of them, as many as are known.
    pub optima: Vec<f64>,
}

/// One evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Environment steps that the agent had been trained for.
    pub steps: u64,
    /// Mean reward of an episode.
    pub reward: f64,
    /// Mean share of the exact optimum, where that is known.
    pub share: Option<f64>,
}

impl Judge<'_> {
    fn judge(&self, ppo: &Ppo) -> Result<Evaluation> {
        let sums = evaluate(&ppo.trained(), self.make, self.environments)?;
        let share = sums.iter().zip(&self.optima).map(|(sum, optimum)| sum / optimum).sum::<f64>();
        Ok(Evaluation {
            steps: ppo.steps,
            reward: sums.iter().sum::<f64>() / sums.len() as f64,
            share: (!self.optima.is_empty()).then(|| share / self.optima.len() as f64),
        })
    }
}

/// Whoever looks on while a training runs.
pub trait Watch {
    /// Whether to stop after this iteration.
    fn interrupted(&self) -> bool;

    /// An iteration is over.
    fn iteration(&mut self, row: &LogRow);
}

/// How a training ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether all steps were done; else it was interrupted.
    pub done: bool,
    /// Evaluation at the end.
    pub last: Option<Evaluation>,
    /// The best one, whose agent is in `best`.
    pub best: Option<Evaluation>,
    /// Wall time of the whole training, seconds.
    pub seconds: f64,
}

/// What the trainer keeps in a checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    iterations: u64,
    last: Option<Evaluation>,
    best: Option<Evaluation>,
}

/// A training in a folder.
pub struct Trainer<'a> {
    ppo: Ppo,
    judge: Judge<'a>,
    folder: &'a Path,
    /// Iterations between evaluations.
    every: u64,
    kept: Kept,
    log: Log,
    rows: Vec<LogRow>,
    /// Wall time before this process took over.
    earlier_s: f64,
    started: Instant,
}

impl<'a> Trainer<'a> {
    /// Begins a training in `folder` that evaluates `evaluations` times, or goes on with the one that
    /// is there.
    ///
    /// # Errors
    /// When the folder cannot be written to, or with `resume` holds no training of these settings.
    pub fn new(
        mut ppo: Ppo,
        judge: Judge<'a>,
        folder: &'a Path,
        evaluations: u64,
        resume: bool,
    ) -> Result<Self> {
        let iterations = ppo.config.steps.div_ceil(ppo.config.rollout_steps());
        let every = (iterations / evaluations.max(1)).max(1);
        let mut kept = Kept::default();
        let mut rows = Vec::new();
        if resume {
            let place = folder.join(LAST);
            let checkpoint =
                Checkpoint::load(&place, &[&ppo.agent.metadata.kind], Some(&ppo.agent.layout))?;
            let trainer = ppo.restore(&checkpoint, &place)?;
            kept = serde_json::from_value(trainer).map_err(|error| {
                let remedy = "train anew with --force";
                Error::input(place.join("rng.json").display(), error, remedy)
            })?;
            rows = read_log(folder)?;
            rows.retain(|row| row.steps <= ppo.steps);
        }
        let log = Log::create(folder, &rows)?;
        let earlier_s = rows.last().map_or(0.0, |row| row.seconds);
        let started = Instant::now();
        let trainer = Self { ppo, judge, folder, every, kept, log, rows, earlier_s, started };
        if !resume {
            // A place that cannot be written to is found now, and there is always one to go on from.
            trainer.save()?;
        }
        Ok(trainer)
    }

    /// Trains to the end, or until the watch interrupts.
    ///
    /// # Errors
    /// When a reward, a loss or a gradient is not finite, an environment fails or a checkpoint cannot
    /// be written. The checkpoints that were written are whole.
    pub fn run(&mut self, watch: &mut dyn Watch) -> Result<Outcome> {
        let mut saved_at = self.ppo.steps;
        while !self.ppo.is_done() {
            if watch.interrupted() {
                break;
            }
            let before = self.seconds();
            let iteration = self.ppo.iterate().map_err(|error| self.stopped(error, saved_at))?;
            self.kept.iterations += 1;
            let mut row = self.row(&iteration, self.seconds() - before);
            let due = self.kept.iterations.is_multiple_of(self.every) || self.ppo.is_done();
            if due {
                let evaluation = self.judge.judge(&self.ppo)?;
                row.evaluation_reward = Some(evaluation.reward);
                row.evaluation_share = evaluation.share;
                self.keep(evaluation)?;
            }
            row.seconds = self.seconds();
            self.log.push(&row)?;
            watch.iteration(&row);
            self.rows.push(row);
            if due {
                self.save_all()?;
                saved_at = self.ppo.steps;
            }
        }
        if saved_at != self.ppo.steps {
            self.save_all()?;
        }
        Ok(Outcome {
            done: self.ppo.is_done(),
            last: self.kept.last,
            best: self.kept.best,
            seconds: self.seconds(),
        })
    }

    /// The rows of the log, those before a resumption included.
    pub fn rows(&self) -> &[LogRow] {
        &self.rows
    }

    /// The training.
    pub fn ppo(&self) -> &Ppo {
        &self.ppo
    }

    fn seconds(&self) -> f64 {
        self.earlier_s + self.started.elapsed().as_secs_f64()
    }

    /// Says where the last good checkpoint is.
    fn stopped(&self, error: Error, saved_at: u64) -> Error {
        match error {
            Error::Failed(problem) => Error::Failed(format!(
                "{problem}; the training stopped at step {}, its last good checkpoint (step {saved_at}) is {}",
                self.ppo.steps,
                self.folder.join(LAST).display()
            )),
            other => other,
        }
    }

    fn keep(&mut self, evaluation: Evaluation) -> Result<()> {
        if !evaluation.reward.is_finite() {
            return Err(Error::Failed(format!(
                "the evaluation at step {} gave a reward of {}",
                evaluation.steps, evaluation.reward
            )));
        }
        self.kept.last = Some(evaluation);
        if self.kept.best.is_none_or(|best| evaluation.reward > best.reward) {
            self.kept.best = Some(evaluation);
            let mut checkpoint = self.ppo.trained().to_checkpoint()?;
            checkpoint.metadata.steps = evaluation.steps;
            checkpoint.metadata.evaluation = Some(json!(evaluation));
            checkpoint.save(&self.folder.join(BEST))?;
        }
        Ok(())
    }

    fn save_all(&mut self) -> Result<()> {
        self.log.flush()?;
        self.save()
    }

    fn save(&self) -> Result<()> {
        let mut checkpoint = self.ppo.to_checkpoint(json!(self.kept))?;
        checkpoint.metadata.evaluation = self.kept.last.map(|last| json!(last));
        checkpoint.save(&self.folder.join(LAST))
    }

    fn row(&self, iteration: &Iteration, seconds: f64) -> LogRow {
        let share = |time: std::time::Duration| time.as_secs_f64() / seconds;
        // One fixed trace: training and judgement are the same episode.
        let optimum = match self.judge.optima.as_slice() {
            &[optimum] if self.judge.environments == 1 => Some(optimum),
            _ => None,
        };
        LogRow {
            steps: self.ppo.steps,
            updates: self.ppo.updates,
            steps_per_s: self.ppo.config.rollout_steps() as f64 / seconds,
            episode_reward: iteration.episode_reward,
            episode_share: iteration
                .episode_reward
                .zip(optimum)
                .map(|(reward, optimum)| reward / optimum),
            entropy: iteration.entropy,
            kl: iteration.kl,
            clip_fraction: iteration.clip_fraction,
            explained_variance: iteration.explained_variance,
            policy_loss: iteration.policy_loss,
            value_loss: iteration.value_loss,
            imitation_loss: iteration.imitation_loss,
            gradient_norm: iteration.gradient_norms.first().copied().unwrap_or(0.0),
            critic_gradient_norm: iteration.gradient_norms.get(1).copied(),
            learning_rate: iteration.learning_rate,
            entropy_weight: iteration.entropy_weight,
            env_share: share(iteration.env_time),
            act_share: share(iteration.act_time),
            learn_share: share(iteration.learn_time),
            ..LogRow::default()
        }
    }
}
