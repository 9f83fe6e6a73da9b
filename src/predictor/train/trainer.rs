//! The training loop.

use std::path::Path;

use rand::seq::SliceRandom;

use super::plan::TrainingPlan;
use super::saved::{Identity, SavedTraining};
use super::state::{Stopped, TrainingRecord, TrainingState};
use super::{Learner, saved};
use crate::error::{Error, Result};
use crate::nn::{Adam, AdamConfig, TensorFile};
use crate::predictor::folder::replace;
use crate::rng::Streams;

/// Whoever looks on while a training runs.
pub trait Watch {
    /// Whether to stop after this update.
    fn interrupted(&self) -> bool;

    /// An update was made; `done` windows of all epochs so far.
    fn update(&mut self, done: u64);

    /// An epoch is over.
    ///
    /// # Errors
    /// When what is done then fails.
    fn epoch(&mut self, trainer: &Trainer<'_>) -> Result<()>;
}

/// A training in progress.
pub struct Trainer<'a> {
    learner: &'a dyn Learner,
    plan: TrainingPlan,
    adam: Adam,
    state: TrainingState,
    best: Option<TensorFile>,
    order: Vec<u32>,
}

impl<'a> Trainer<'a> {
    /// A training from the learner's weights.
    ///
    /// # Errors
    /// [`Error::Failed`] when a tensor operation fails or the first validation loss is not finite.
    pub fn new(learner: &'a dyn Learner, plan: TrainingPlan) -> Result<Self> {
        let mut trainer = Self::bare(learner, plan);
        if plan.judge_start {
            trainer.judge(None)?;
        }
        Ok(trainer)
    }

    /// A training that goes on from where it was saved in `place`.
    ///
    /// # Errors
    /// [`Error::Input`] when what was saved belongs to another network or is damaged.
    pub fn resume(
        learner: &'a dyn Learner,
        plan: TrainingPlan,
        saved: SavedTraining,
        place: &Path,
    ) -> Result<Self> {
        let mut trainer = Self::bare(learner, plan);
        learner.params().set(&saved.weights, place)?;
        trainer.adam.set_state(&saved.optimiser, place)?;
        let shapes = || learner.params().iter().map(|(name, var)| (name, var.dims()));
        match &saved.best {
            Some(best) => best.check(shapes(), place)?,
            None if plan.restore_best && saved.state.best.is_some() => {
                return Err(Error::input(
                    place.display(),
                    "the best weights are missing",
                    "the folder is damaged: begin anew in another one",
                ));
            }
            None => {}
        }
        if saved.state.position > learner.windows() {
            return Err(Error::input(
                place.display(),
                format!(
                    "{} windows of the epoch are done, there are {}",
                    saved.state.position,
                    learner.windows()
                ),
                "the folder is damaged: begin anew in another one",
            ));
        }
        (trainer.state, trainer.best) = (saved.state, saved.best);
        Ok(trainer)
    }

    fn bare(learner: &'a dyn Learner, plan: TrainingPlan) -> Self {
        Self {
            learner,
            plan,
            adam: Adam::new(learner.params(), plan.adam),
            state: TrainingState::default(),
            best: None,
            order: Vec::new(),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> &TrainingState {
        &self.state
    }

    /// How it is trained.
    pub fn plan(&self) -> &TrainingPlan {
        &self.plan
    }

    /// Windows of an epoch.
    pub fn windows(&self) -> usize {
        self.learner.windows()
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.adam.steps()
    }

    /// Why it is over; `None` while it is not.
    pub fn stopped(&self) -> Option<Stopped> {
        self.state.stopped(self.plan.epochs, self.plan.patience)
    }

    /// Trains to the end, or until `watch` interrupts; `None` is that.
    ///
    /// # Errors
    /// [`Error::Failed`] naming the update and the tensor when a loss, a gradient or a weight is no
    /// finite number, and what `watch` fails with.
    pub fn run(&mut self, watch: &mut dyn Watch) -> Result<Option<Stopped>> {
        let windows = self.learner.windows();
        while self.stopped().is_none() {
            self.shuffle();
            let factor = self.plan.decay.powi(self.state.epoch as i32);
            let learning_rate = self.plan.adam.learning_rate * factor;
            self.adam.config = AdamConfig { learning_rate, ..self.plan.adam };
            while self.state.position < windows {
                if watch.interrupted() {
                    return Ok(None);
                }
                self.update()?;
                let done = u64::from(self.state.epoch) * windows as u64;
                watch.update(done + self.state.position as u64);
            }
            let train = self.state.loss_sum / windows as f64;
            self.state.epoch += 1;
            (self.state.position, self.state.loss_sum) = (0, 0.0);
            self.judge(Some(train))?;
            watch.epoch(self)?;
        }
        Ok(self.stopped())
    }

    /// The order of the windows in this epoch, from its own random stream.
    fn shuffle(&mut self) {
        self.order.clear();
        self.order.extend(0..self.learner.windows() as u32);
        let mut rng =
            Streams::new(self.plan.seed).open_indexed("predictor-order", self.state.epoch.into());
        self.order.shuffle(&mut rng);
    }

    fn update(&mut self) -> Result<()> {
        let from = self.state.position;
        let to = (from + self.plan.batch).min(self.order.len());
        let (loss, gradients) = self.learner.gradients(&self.order[from..to])?;
        if !loss.is_finite() {
            return Err(self.diverged(&format!("the loss is {loss}")));
        }
        self.adam
            .step(&gradients, self.plan.clip)
            .map_err(|error| self.diverged(&error.to_string()))?;
        self.state.loss_sum += loss * (to - from) as f64;
        self.state.position = to;
        Ok(())
    }

    fn judge(&mut self, train: Option<f64>) -> Result<()> {
        let validation = self.learner.validation_loss()?;
        if !validation.is_finite() {
            return Err(self.diverged(&format!("the validation loss is {validation}")));
        }
        if self.state.judge(train, validation) && self.plan.restore_best {
            self.best = Some(self.learner.params().values()?);
        }
        Ok(())
    }

    /// The error of numbers that are none, with the update and the first weights that are not finite.
    fn diverged(&self, what: &str) -> Error {
        let spoiled = self.learner.params().iter().find_map(|(name, var)| {
            let values = var.as_tensor().flatten_all().and_then(|all| all.to_vec1::<f32>());
            let spoiled = values.is_ok_and(|values| !values.iter().all(|value| value.is_finite()));
            spoiled.then(|| format!("; {name} holds numbers that are not finite"))
        });
        let kept = if self.state.losses.iter().any(|loss| loss.epoch > 0) {
            "the folder keeps the predictor of the last whole epoch"
        } else {
            "no epoch was completed"
        };
        Error::Failed(format!(
            "training stopped at update {}: {what}{}; {kept}",
            self.adam.steps() + 1,
            spoiled.unwrap_or_default()
        ))
    }

    /// The weights that the predictor is to have.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn weights(&self) -> Result<TensorFile> {
        match &self.best {
            Some(best) if self.plan.restore_best => Ok(best.clone()),
            _ => self.learner.params().values(),
        }
    }

    /// How the predictor came about so far, completing `record`.
    pub fn record(&self, record: TrainingRecord) -> TrainingRecord {
        let last = self.state.losses.last().map(|loss| loss.validation);
        let best = self.state.best.map(|best| best.loss);
        TrainingRecord {
            seed: self.plan.seed,
            epochs: self.state.epoch,
            updates: self.adam.steps(),
            best_epoch: self.state.best.map(|best| best.epoch),
            validation_loss: if self.plan.restore_best { best } else { last },
            stopped: self.stopped(),
            ..record
        }
    }

    /// All that it takes to go on.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn saved(&self) -> Result<SavedTraining> {
        Ok(SavedTraining {
            state: self.state.clone(),
            weights: self.learner.params().values()?,
            optimiser: self.adam.state(),
            best: self.best.clone(),
        })
    }

    /// Writes the predictor and the training into the folder `path`, whole or not at all; `more` adds
    /// files of the caller's.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(
        &self,
        path: &Path,
        identity: &Identity,
        record: &TrainingRecord,
        more: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let record = self.record(record.clone());
        let saved: saved::SavedTraining = self.saved()?;
        let weights = self.weights()?;
        replace(path, |folder| {
            self.learner.write(&weights, &record, folder)?;
            saved.write(identity, folder)?;
            more(folder)
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::backprop::GradStore;

    use super::*;
    use crate::nn::ParamStore;

    /// Learns w = 3 until some update, from which on its loss or its gradient is spoiled.
    struct Spoiled {
        params: ParamStore,
        updates: std::cell::Cell<u32>,
        from: u32,
        gradient: bool,
    }

    impl Learner for Spoiled {
        fn params(&self) -> &ParamStore {
            &self.params
        }
        fn windows(&self) -> usize {
            10
        }
        fn gradients(&self, windows: &[u32]) -> Result<(f64, GradStore)> {
            assert!(windows.len() == 4 || windows.len() == 2, "the last batch is smaller");
            self.updates.set(self.updates.get() + 1);
            let spoiled = self.updates.get() >= self.from;
            let factor = if spoiled && self.gradient { f64::NAN } else { 1.0 };
            let weights = self.params.get("w").unwrap().as_tensor();
            let loss = ((weights - 3.0)?.sqr()?.sum_all()? * factor)?;
            let value = f64::from(loss.to_scalar::<f32>()?);
            let value = if !spoiled {
                value
            } else if self.gradient {
                1.0
            } else {
                f64::INFINITY
            };
            Ok((value, loss.backward()?))
        }
        fn validation_loss(&self) -> Result<f64> {
            Ok(1.0)
        }
        fn write(&self, _: &TensorFile, _: &TrainingRecord, _: &Path) -> Result<()> {
            Ok(())
        }
    }

    struct Count(u32);

    impl Watch for Count {
        fn interrupted(&self) -> bool {
            false
        }
        fn update(&mut self, _done: u64) {}
        fn epoch(&mut self, _trainer: &Trainer<'_>) -> Result<()> {
            self.0 += 1;
            Ok(())
        }
    }

    #[test]
    fn what_is_not_finite_ends_it_with_the_update_and_the_tensor() {
        for (gradient, expected) in [(false, "the loss is inf"), (true, "the gradient of w")] {
            let mut params = ParamStore::new();
            params.insert("w", &[2], vec![0.0; 2]).unwrap();
            let learner = Spoiled { params, updates: Default::default(), from: 5, gradient };
            let plan = TrainingPlan { batch: 4, ..TrainingPlan::original(0) };
            let mut trainer = Trainer::new(&learner, plan).unwrap();
            let mut watch = Count(0);
            let error = trainer.run(&mut watch).unwrap_err();
            assert_eq!((error.exit_code(), watch.0), (1, 1), "the first epoch was saved");
            let text = error.to_string();
            assert!(text.contains("update 5") && text.contains(expected), "{text}");
            assert!(text.contains("last whole epoch"), "{text}");
        }
    }
}
