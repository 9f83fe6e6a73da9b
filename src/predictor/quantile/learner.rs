//! The quantile model in training: its windows, and the network in candle.

use std::ops::Range;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};

use super::OUTPUTS;
use super::checkpoint::{QuantileCheckpoint, QuantileConfig};
use super::loss::{PinballOperation, Targets, pinball, softplus, softplus_inverse};
use super::network::{QuantileNetwork, Workspace};
use super::view::{LEAST_ROWS, STEP_INPUTS, STEPS};
use super::windows::{Parts, TimeOfDay, Windows};
use crate::error::{Error, Result};
use crate::nn::init::Kernel;
use crate::nn::{Activation, Dense, DenseInit, Lstm, ParamStore, SequenceOptions, TensorFile};
use crate::predictor::QUANTILES;
use crate::predictor::dataset::Fractions;
use crate::predictor::folder::Source;
use crate::predictor::train::original::constant;
use crate::predictor::train::{Learner, TrainingRecord};
use crate::rng::Streams;
use crate::trace::series::Series;

/// Units of the LSTM.
pub const UNITS: usize = 32;
/// Units of the layer after it.
pub const HIDDEN: usize = 32;
/// Rows ahead.
pub const HORIZON: usize = 5;
/// Parts that a batch is cut into, one thread each. Fixed, so that sums do not depend on threads.
const PARTS: usize = 2;
/// Windows of the validation part that go through the network at a time.
const CHUNK: usize = 1024;
/// Least distance of a quantile from the median at the start, in units of the scale.
const LEAST_DISTANCE: f64 = 0.02;
/// Windows of the validation part at most that the widths of the bands are taken from.
const MOST_CALIBRATED: usize = 1000;
/// As many windows of the validation part count half.
const TRUSTED: f64 = 200.0;
/// Bounds of what the distances are multiplied by.
const LEAST_WIDTH: f64 = 0.5;
const MOST_WIDTH: f64 = 2.0;

/// The network and its windows.
pub struct QuantileLearner {
    params: ParamStore,
    body: Lstm,
    head: Dense,
    out: Dense,
    config: QuantileConfig,
    train: Windows,
    validation: Windows,
    /// The service of each series.
    names: Vec<String>,
    source: Source,
    version: String,
}

impl QuantileLearner {
    /// A fresh network for `horizon` rows ahead, and the windows of `series`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no window to fit on or to stop by, or all rows are the same.
    pub fn new(
        series: &[Series],
        fractions: Fractions,
        horizon: usize,
        time_of_day: TimeOfDay,
        seed: u64,
        source: Source,
        version: &str,
    ) -> Result<Self> {
        let parts = Parts::new(series, fractions, horizon, time_of_day);
        for (part, count) in ["training", "validation"].into_iter().zip(parts.counts()) {
            if count == 0 {
                return Err(Error::input(
                    &source.file,
                    format!("no window of {} rows in the {part} part", LEAST_ROWS + horizon),
                    "give longer series, another --split, or mask less",
                ));
            }
        }
        if let (false, Some(users)) = (parts.changes, parts.first_users()) {
            return Err(constant(&source.file, users));
        }
        let (shared, own) = parts.lines();
        let (names, calendar) = (parts.names().to_vec(), parts.calendar);
        let [train, validation] = parts.windows(&shared, &own);
        let offsets = (0..horizon).map(|ahead| offsets(&train.targets.residuals, horizon, ahead));
        let offsets: Vec<[f64; 2]> = offsets.collect();
        let config = QuantileConfig {
            calendar,
            services: own,
            ..QuantileConfig::new(UNITS, HIDDEN, shared, offsets)
        };

        let mut rng = Streams::new(seed).open("predictor-init");
        let mut params = ParamStore::new();
        let body = params.lstm("body", STEP_INPUTS, UNITS, Kernel::Glorot, &mut rng)?;
        let head = params.dense(
            "head",
            [UNITS + train.once_size, HIDDEN],
            Activation::Tanh,
            DenseInit::Glorot,
            &mut rng,
        )?;
        // Zero, so that training starts at the lines.
        let columns = OUTPUTS * horizon;
        let weights =
            params.insert("out.weights", &[HIDDEN, columns], vec![0.0; HIDDEN * columns])?;
        let bias = params.insert("out.bias", &[columns], vec![0.0; columns])?;
        let out = Dense::new(&weights, &bias, Activation::Linear)?;
        let version = version.to_owned();
        Ok(Self { params, body, head, out, config, train, validation, names, source, version })
    }

    /// Windows to fit on, and to stop by.
    pub fn counts(&self) -> [usize; 2] {
        [self.train.count, self.validation.count]
    }

    /// Sizes and autoregression.
    pub fn config(&self) -> &QuantileConfig {
        &self.config
    }

    /// The outputs for some windows, [rows, OUTPUTS * horizon], and what they are compared with.
    fn outputs(
        &self,
        windows: &Windows,
        rows: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Result<(Tensor, Targets)> {
        let (count, horizon) = (rows.len(), self.config.horizon());
        let mut steps = Vec::with_capacity(count * STEPS * STEP_INPUTS);
        for step in 0..STEPS {
            for row in rows.clone() {
                let from = (row * STEPS + step) * STEP_INPUTS;
                steps.extend_from_slice(&windows.steps[from..from + STEP_INPUTS]);
            }
        }
        let size = windows.once_size;
        let mut once = Vec::with_capacity(count * size);
        let mut targets = Targets::default();
        for row in rows {
            let part = |size: usize| row * size..(row + 1) * size;
            once.extend_from_slice(&windows.once[part(size)]);
            targets.residuals.extend_from_slice(&windows.targets.residuals[part(horizon)]);
            targets.weights.extend_from_slice(&windows.targets.weights[part(horizon)]);
            targets.moved.push(windows.targets.moved[row]);
        }
        let steps = Tensor::from_vec(steps, (STEPS, count, STEP_INPUTS), &Device::Cpu)?;
        let once = Tensor::from_vec(once, (count, size), &Device::Cpu)?;
        let sequence = self.body.forward(&steps, None, SequenceOptions::default())?.h;
        let last = sequence.get(STEPS - 1)?;
        let joined = Tensor::cat(&[&last, &once], 1)?;
        Ok((self.out.forward(&self.head.forward(&joined)?)?, targets))
    }

    /// The share of a batch's loss that some of its windows make up, and its gradients.
    fn part(&self, windows: &[u32], batch: usize) -> Result<(f64, GradStore)> {
        let rows = windows.iter().map(|&window| window as usize);
        let (outputs, targets) = self.outputs(&self.train, rows)?;
        let operation =
            PinballOperation { targets, offsets: &self.config.offsets, divisor: batch as f64 };
        let loss = operation.apply(&outputs)?;
        Ok((f64::from(loss.to_scalar::<f32>()?), loss.backward()?))
    }
}

impl QuantileLearner {
    /// What makes the distances of the quantiles right on some windows of the validation part: a network
    /// is surer of the rows it was fitted on than it should be of others. For each row ahead, below and
    /// above.
    fn widths(&self, network: &QuantileNetwork, rows: Range<usize>) -> Vec<[f64; 2]> {
        let (windows, horizon) = (&self.validation, self.config.horizon());
        let mut workspace = Workspace::default();
        let stride = rows.len().div_ceil(MOST_CALIBRATED).max(1);
        let mut ratios = vec![[Vec::new(), Vec::new()]; horizon];
        for window in rows.step_by(stride) {
            let part = |size: usize| window * size..(window + 1) * size;
            let steps = &windows.steps[part(STEPS * STEP_INPUTS)];
            let once = &windows.once[part(windows.once_size)];
            let outputs = network.run(steps, once, &mut workspace);
            let moved = f64::from(u8::from(windows.targets.moved[window]));
            for (ahead, ratios) in ratios.iter_mut().enumerate() {
                let [middle, below, above] =
                    [0, 1, 2].map(|part| f64::from(outputs[ahead * OUTPUTS + part]));
                let residual = f64::from(windows.targets.residuals[window * horizon + ahead]);
                let offset = self.config.offsets[ahead];
                let error = residual - moved * middle;
                ratios[0].push(-error / softplus(below + offset[0]));
                ratios[1].push(error / softplus(above + offset[1]));
            }
        }
        let width = |ratios: &mut [f64]| {
            if ratios.is_empty() {
                return 1.0;
            }
            ratios.sort_unstable_by(f64::total_cmp);
            let at = (QUANTILES[2] * (ratios.len() - 1) as f64).round() as usize;
            // Few rows, or rows unlike the others, must not decide alone.
            let trust = ratios.len() as f64 / (ratios.len() as f64 + TRUSTED);
            1.0 + trust * (ratios[at].clamp(LEAST_WIDTH, MOST_WIDTH) - 1.0)
        };
        ratios.iter_mut().map(|[below, above]| [width(below), width(above)]).collect()
    }
}

/// What makes the quantiles at the start those of the lines' errors.
fn offsets(residuals: &[f32], horizon: usize, ahead: usize) -> [f64; 2] {
    let mut sorted: Vec<f32> = residuals.iter().skip(ahead).step_by(horizon).copied().collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| f64::from(sorted[(share * (sorted.len() - 1) as f64).round() as usize]);
    [-at(0.1), at(0.9)].map(|distance| softplus_inverse(distance.max(LEAST_DISTANCE)))
}

impl Learner for QuantileLearner {
    fn params(&self) -> &ParamStore {
        &self.params
    }

    fn windows(&self) -> usize {
        self.train.count
    }

    fn gradients(&self, windows: &[u32]) -> Result<(f64, GradStore)> {
        let (one, other) = windows.split_at(windows.len().div_ceil(PARTS));
        if other.is_empty() {
            return self.part(one, windows.len());
        }
        let (one, other) =
            rayon::join(|| self.part(one, windows.len()), || self.part(other, windows.len()));
        let ((loss, mut gradients), (other_loss, other)) = (one?, other?);
        for (_, var) in self.params.iter() {
            if let (Some(a), Some(b)) = (gradients.get(var), other.get(var)) {
                let sum = (a + b)?;
                gradients.insert(var, sum);
            }
        }
        Ok((loss + other_loss, gradients))
    }

    fn validation_loss(&self) -> Result<f64> {
        let (windows, mut sum) = (&self.validation, 0.0);
        for from in (0..windows.count).step_by(CHUNK) {
            let rows = from..(from + CHUNK).min(windows.count);
            let (outputs, targets) = self.outputs(windows, rows)?;
            let outputs = outputs.flatten_all()?.to_vec1::<f32>()?;
            sum += pinball(&outputs, &targets, &self.config.offsets, None);
        }
        Ok(sum / windows.count as f64)
    }

    fn write(&self, weights: &TensorFile, record: &TrainingRecord, folder: &Path) -> Result<()> {
        let mut config = self.config.clone();
        let network = QuantileNetwork::new(&self.config, weights);
        config.shared.widths = self.widths(&network, 0..self.validation.count);
        for (name, rows) in self.names.iter().zip(&self.validation.series) {
            if let Some(lines) = config.services.get_mut(name) {
                lines.widths = self.widths(&network, rows.clone());
            }
        }
        let checkpoint = QuantileCheckpoint {
            config,
            weights: weights.clone(),
            version: self.version.clone(),
            source: self.source.clone(),
            training: record.clone(),
        };
        checkpoint.write_files(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::Forecaster;
    use crate::predictor::quantile::view::View;
    use crate::predictor::train::TrainingState;
    use crate::predictor::train::{Identity, SavedTraining, Trainer, TrainingPlan, Watch};

    pub fn series(rows: i32) -> Series {
        let users = |row: i32| {
            let wave = (f64::from(row) / 9.0).sin();
            50.0 + 20.0 * wave + f64::from(row * row % 13)
        };
        Series {
            name: "t/moving".to_owned(),
            unit: "users".to_owned(),
            row_s: 120.0,
            users: (0..rows).map(users).collect(),
            masked: vec![false; rows as usize],
            times: Vec::new(),
            start_s: None,
        }
    }

    fn source() -> Source {
        Source { file: "s".to_owned(), sha256: "0123".to_owned(), keras_version: None }
    }

    fn new(series: &[Series], seed: u64) -> Result<QuantileLearner> {
        let (fractions, time) = (Fractions::default(), TimeOfDay::Auto);
        QuantileLearner::new(series, fractions, 3, time, seed, source(), "1")
    }

    fn learner(seed: u64) -> QuantileLearner {
        let still = Series { name: "t/still".to_owned(), users: vec![5.0; 300], ..series(300) };
        new(&[series(300), still], seed).unwrap()
    }

    fn plan(epochs: u32) -> TrainingPlan {
        TrainingPlan { epochs, patience: None, ..TrainingPlan::quantile(7, 300) }
    }

    /// Interrupts after some updates.
    struct After(u64, u64);

    impl Watch for After {
        fn interrupted(&self) -> bool {
            self.0 == self.1
        }
        fn update(&mut self, _done: u64) {
            self.0 += 1;
        }
        fn epoch(&mut self, _trainer: &Trainer<'_>) -> Result<()> {
            Ok(())
        }
    }

    fn trained(threads: usize) -> (TensorFile, TrainingState) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let learner = learner(7);
            let mut trainer = Trainer::new(&learner, plan(3)).unwrap();
            trainer.run(&mut After(0, u64::MAX)).unwrap().unwrap();
            (trainer.weights().unwrap(), trainer.state().clone())
        })
    }

    #[test]
    fn threads_and_interruptions_change_no_bit_and_it_learns() {
        let (weights, state) = trained(1);
        assert_eq!((&weights, &state), (&trained(2).0, &trained(2).1));
        let [start, end] = [0, 3].map(|epoch: usize| state.losses[epoch].validation);
        assert!(end < start, "{start} {end}");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        let identity = Identity {
            model: "quantile".to_owned(),
            recipe: "default".to_owned(),
            seed: 7,
            inputs: "0123".to_owned(),
            version: "1".to_owned(),
        };
        let record = TrainingRecord::default();
        {
            let learner = learner(7);
            let mut trainer = Trainer::new(&learner, plan(3)).unwrap();
            assert_eq!(trainer.run(&mut After(0, 16)).unwrap(), None, "in the second epoch");
            assert!(trainer.state().position > 0 && trainer.state().epoch == 1);
            trainer.save(&path, &identity, &record, |_| Ok(())).unwrap();
        }
        let early = QuantileCheckpoint::load(&path).unwrap();
        assert_eq!((early.training.epochs, early.training.stopped), (1, None));
        let learner = learner(7);
        let saved = SavedTraining::read(&path, super::super::checkpoint::KIND, &identity).unwrap();
        let mut trainer = Trainer::resume(&learner, plan(3), saved, &path).unwrap();
        trainer.run(&mut After(0, u64::MAX)).unwrap().unwrap();
        assert_eq!((trainer.weights().unwrap(), trainer.state().clone()), (weights, state));

        let other = Identity { seed: 8, ..identity };
        let error = SavedTraining::read(&path, super::super::checkpoint::KIND, &other).unwrap_err();
        assert!(error.to_string().contains("has seed 7, this one 8"), "{error}");
    }

    #[test]
    fn a_trained_model_forecasts_what_the_training_saw() {
        let learner = learner(3);
        let mut trainer = Trainer::new(&learner, plan(2)).unwrap();
        trainer.run(&mut After(0, u64::MAX)).unwrap().unwrap();
        let now = learner.params().values().unwrap();
        let model = super::super::QuantileModel::new(&learner.config, &now);
        let model = model.for_services(["moving"]);
        let lines = &learner.config.services["moving"];
        // The 40th window of the first series ends at row 45.
        let (row, rows) = (40, series(300).users);
        let (outputs, targets) = learner.outputs(&learner.train, std::iter::once(row)).unwrap();
        let outputs = outputs.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let history = &rows[..row + LEAST_ROWS];
        let view = View::of(history);
        let mut forecast = crate::predictor::Forecast::default();
        model.forecast(&model.start(&[history]), 3, &mut forecast);
        for (ahead, users) in forecast.users(0).iter().enumerate() {
            let came = rows[row + LEAST_ROWS + ahead];
            let error = f64::from(targets.residuals[ahead] - outputs[ahead * OUTPUTS]);
            let expected = came - error * lines.errors[ahead] * view.scale();
            assert!((users - expected).abs() < 1e-3, "{users} {expected}");
        }
    }

    #[test]
    fn what_cannot_be_learned_from_is_bad_input() {
        let problem = |series: &[Series]| new(series, 0).err().unwrap().to_string();
        let constant = Series { users: vec![5.0; 90], ..series(90) };
        assert!(problem(&[constant]).contains("are the same, 5"));
        assert!(problem(&[series(12)]).contains("no window of 10 rows in the training part"));
        assert!(problem(&[series(40)]).contains("in the validation part"));
    }
}
