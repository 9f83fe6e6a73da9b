//! The original's network and data, to be trained.
//!
//! Two bidirectional LSTM layers and a dense one as Keras would initialise and train them: windows of
//! seven scaled values, the mean squared error of the next. While it trains, each direction is one
//! packed tensor; the folder holds the fourteen tensors under the names of the import.

use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};

use super::Learner;
use super::state::TrainingRecord;
use crate::error::{Error, Result};
use crate::nn::init::Kernel;
use crate::nn::{Activation, BiLstm, Dense, DenseInit, ParamStore, Returns, TensorFile};
use crate::predictor::dataset::{Dataset, Fractions, Recipe, Windows};
use crate::predictor::original::checkpoint::{OriginalCheckpoint, Source};
use crate::predictor::original::{MinMaxScaler, OriginalWeights, RawTensor, TENSORS, WINDOW};
use crate::rng::Streams;
use crate::trace::series::Series;

/// Units of each direction in the original's configuration (its shipped file has 50).
pub const UNITS: usize = 100;
/// Windows of the validation part that go through the network at a time.
const CHUNK: usize = 512;
/// What the recipe of the original does that a reader of its figures has to know.
pub const LEAK: &str = "the scaler is fitted on all rows, the test part's among them, as in the original: its extremes \
     leak into training";

/// The network and its windows.
pub struct OriginalLearner {
    params: ParamStore,
    layers: [BiLstm; 2],
    dense: Dense,
    data: Dataset,
    scaler: MinMaxScaler,
    source: Source,
    version: String,
}

impl OriginalLearner {
    /// A fresh network of `units` units in each direction and the windows of `series`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no window to fit on or to stop by, or all rows are the same.
    pub fn new(
        series: &[Series],
        recipe: Recipe,
        fractions: Fractions,
        units: usize,
        seed: u64,
        source: Source,
        version: &str,
    ) -> Result<Self> {
        let data = Dataset::new(series, recipe, fractions, WINDOW, 1)?;
        if data.validation.is_empty() {
            return Err(Error::input(
                &source.file,
                format!("no window of {} rows in the validation part", WINDOW + 1),
                "give longer series, a larger validation part (--split) or mask less",
            ));
        }
        // The least and the most users that the scaler saw, from the scaler itself.
        let (low, high) = scaled_range(series, recipe, fractions);
        if low >= high {
            return Err(constant(&source.file, low));
        }
        let scaler = MinMaxScaler::new(&source.file, low, high)?;
        let mut rng = Streams::new(seed).open("predictor-init");
        let mut params = ParamStore::new();
        let first = params.bilstm("bilstm1", 1, units, Kernel::Glorot, &mut rng)?;
        let second = params.bilstm("bilstm2", 2 * units, units, Kernel::Glorot, &mut rng)?;
        let dense = params.dense(
            "dense",
            [2 * units, 1],
            Activation::Linear,
            DenseInit::Glorot,
            &mut rng,
        )?;
        let (layers, version) = ([first, second], version.to_owned());
        Ok(Self { params, layers, dense, data, scaler, source, version })
    }

    /// Windows to fit on, and to stop by.
    pub fn counts(&self) -> [usize; 2] {
        [self.data.train.len(), self.data.validation.len()]
    }

    /// Sum of the squared errors of some windows, as a tensor.
    fn squared_errors(
        &self,
        windows: &Windows,
        rows: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Result<Tensor> {
        let count = rows.len();
        let mut inputs = Vec::with_capacity(count * WINDOW);
        for step in 0..WINDOW {
            inputs.extend(rows.clone().map(|row| windows.inputs[row * WINDOW + step]));
        }
        let targets: Vec<f32> = rows.map(|row| windows.targets[row]).collect();
        let inputs = Tensor::from_vec(inputs, (WINDOW, count, 1), &Device::Cpu)?;
        let targets = Tensor::from_vec(targets, (count, 1), &Device::Cpu)?;
        let sequence = self.layers[0].forward(&inputs, Returns::Sequence)?;
        let last = self.layers[1].forward(&sequence, Returns::Last)?;
        let errors = (self.dense.forward(&last)? - targets)?;
        Ok(errors.sqr()?.sum_all()?)
    }
}

/// The range of the rows that the scaler is fitted on.
fn scaled_range(series: &[Series], recipe: Recipe, fractions: Fractions) -> (f64, f64) {
    let users = series.iter().flat_map(|series| {
        let rows = match recipe {
            Recipe::Default => fractions.split(series.len()).train,
            Recipe::Original => 0..series.len(),
        };
        rows.filter(|&row| !series.masked[row]).map(|row| series.users[row])
    });
    users.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), users| {
        (low.min(users), high.max(users))
    })
}

/// The error of a series that has nothing to learn.
pub(in crate::predictor) fn constant(place: &str, users: f64) -> Error {
    Error::input(
        place,
        format!("all rows to learn from are the same, {users}: there is nothing to learn"),
        "give a trace whose users change; for a constant one --forecaster persistence is exact",
    )
}

impl Learner for OriginalLearner {
    fn params(&self) -> &ParamStore {
        &self.params
    }

    fn windows(&self) -> usize {
        self.data.train.len()
    }

    fn gradients(&self, windows: &[u32]) -> Result<(f64, GradStore)> {
        let rows = windows.iter().map(|&window| window as usize);
        let loss = (self.squared_errors(&self.data.train, rows)? / windows.len() as f64)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        Ok((value, loss.backward()?))
    }

    fn validation_loss(&self) -> Result<f64> {
        let (windows, mut sum) = (&self.data.validation, 0.0);
        for from in (0..windows.len()).step_by(CHUNK) {
            let rows = from..(from + CHUNK).min(windows.len());
            sum += f64::from(self.squared_errors(windows, rows)?.to_scalar::<f32>()?);
        }
        Ok(sum / windows.len() as f64)
    }

    fn write(&self, weights: &TensorFile, record: &TrainingRecord, folder: &Path) -> Result<()> {
        let checkpoint = OriginalCheckpoint {
            weights: to_keras(weights, &self.source.file)?,
            scaler: self.scaler,
            version: self.version.clone(),
            source: self.source.clone(),
            training: Some(record.clone()),
        };
        checkpoint.write_files(folder)
    }
}

/// The fourteen tensors of packed weights: `LAYER.DIRECTION.weights` [I + H + 1, 4H] holds kernel,
/// recurrent kernel and bias one under the other.
///
/// # Errors
/// [`Error::Input`] at `place` for other tensors than the network's.
pub fn to_keras(packed: &TensorFile, place: &str) -> Result<OriginalWeights> {
    let missing = |name: &str| {
        Error::input(
            place,
            format!("tensor {name} is missing"),
            "use the weights of the original's network",
        )
    };
    let tensor = |name: &str| {
        packed.tensors.get(name).map(|found| (name.to_owned(), found)).ok_or_else(|| missing(name))
    };
    let (_, dense) = tensor("dense.weights")?;
    let units = dense.shape[0] / 2;
    OriginalWeights::build(place, units, |index, shape| {
        let (prefix, part) = TENSORS[index].rsplit_once('.').unwrap_or_default();
        let (name, found) = match (prefix, part) {
            ("dense", "bias") => tensor("dense.bias")?,
            _ => tensor(&format!("{prefix}.weights"))?,
        };
        let size: usize = shape.iter().product();
        let from = match part {
            "recurrent_kernel" => found.values.len().checked_sub(size + 4 * units),
            "bias" => found.values.len().checked_sub(size),
            _ => Some(0),
        };
        let values = from.and_then(|from| found.values.get(from..from + size));
        let values = values.ok_or_else(|| missing(&name))?.to_vec();
        Ok(RawTensor { place: name, shape: shape.to_vec(), values })
    })
}

/// The packed weights of the fourteen tensors.
pub fn from_keras(weights: &OriginalWeights) -> TensorFile {
    let mut file = TensorFile::default();
    for (name, shape, values) in weights.iter() {
        let (prefix, part) = name.rsplit_once('.').unwrap_or_default();
        if (prefix, part) == ("dense", "bias") {
            let tensor = crate::nn::TensorValues { shape, values: values.to_vec() };
            file.tensors.insert(name.to_owned(), tensor);
            continue;
        }
        // Kernel, recurrent kernel and bias come in this order, which is that of the packed rows.
        let packed = file.tensors.entry(format!("{prefix}.weights")).or_insert_with(|| {
            let columns = shape.last().copied().unwrap_or_default();
            crate::nn::TensorValues { shape: vec![0, columns], values: Vec::new() }
        });
        packed.values.extend_from_slice(values);
        packed.shape[0] = packed.values.len() / packed.shape[1].max(1);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Adam, AdamConfig, Clip};
    use crate::predictor::original::Workspace;

    fn learner(units: usize, seed: u64) -> OriginalLearner {
        let users: Vec<f64> = (0..1960).map(|row| f64::from(8 + row * row % 93)).collect();
        let series = Series {
            name: "s".to_owned(),
            unit: "users".to_owned(),
            row_s: 120.0,
            masked: vec![false; users.len()],
            users,
            times: Vec::new(),
            start_s: None,
        };
        let source = Source { file: "s".to_owned(), sha256: String::new(), keras_version: None };
        let recipe = Recipe::Original;
        OriginalLearner::new(&[series], recipe, Fractions::default(), units, seed, source, "1")
            .unwrap()
    }

    #[test]
    fn sizes_counts_and_initial_weights_are_the_originals() {
        let learner = learner(UNITS, 1);
        assert_eq!((learner.params.numbers(), learner.counts()), (322_601, [1248, 313]));
        let weights = to_keras(&learner.params.values().unwrap(), "s").unwrap();
        assert_eq!(weights.parameters(), 322_601);
        for (name, shape, values) in weights.iter() {
            let limit = |fan: usize| (6.0 / fan as f32).sqrt();
            match name.rsplit_once('.').unwrap() {
                ("dense", "bias") => assert_eq!(values, [0.0]),
                (_, "bias") => {
                    assert!((0..400).all(|k| values[k] == f32::from((100..200).contains(&k))));
                }
                (_, "kernel") => {
                    let limit = limit(shape[0] + shape[1]);
                    let most = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                    assert!(most <= limit && most > 0.9 * limit, "{name}");
                }
                _ => {
                    let norm: f32 = values[..400].iter().map(|value| value * value).sum();
                    assert!((norm - 1.0).abs() < 1e-5, "{name}: rows are orthonormal");
                }
            }
        }
    }

    #[test]
    fn the_folders_network_is_the_trained_one() {
        let learner = learner(5, 2);
        let packed = learner.params.values().unwrap();
        let weights = to_keras(&packed, "s").unwrap();
        assert_eq!(from_keras(&weights), packed);
        let network = crate::predictor::original::OriginalNetwork::new(&weights);
        let train = &learner.data.train;
        for row in [0, 77] {
            let window = train.inputs[row * WINDOW..].first_chunk().unwrap();
            let error = network.predict(window, &mut Workspace::default()) - train.targets[row];
            let squared = learner.squared_errors(train, std::iter::once(row)).unwrap();
            let squared = squared.to_scalar::<f32>().unwrap();
            assert!((error * error - squared).abs() < 1e-6, "{error} {squared}");
        }
    }

    /// Ten updates from the original's weights, as Keras does them.
    #[test]
    fn updates_are_those_of_keras() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
        let golden = shared.join("golden/predictor/train_steps.json");
        let model = shared.join("data/predictor/demo-model.safetensors");
        if !golden.exists() || !model.exists() {
            eprintln!("SKIPPED: needs the shared data folder, which is not here");
            return;
        }
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
        let numbers = |key: &str| -> Vec<f64> {
            let list = golden[key].as_array().unwrap();
            list.iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let mut learner = learner(50, 0);
        let file = TensorFile::read(&model).unwrap();
        let weights = OriginalWeights::build("demo", 50, |index, _| {
            let found = &file.tensors[TENSORS[index]];
            let (shape, values) = (found.shape.clone(), found.values.clone());
            Ok(RawTensor { place: String::new(), shape, values })
        });
        learner.params.set(&from_keras(&weights.unwrap()), &model).unwrap();
        let train = &mut learner.data.train;
        (train.inputs, train.targets) = (Vec::new(), Vec::new());
        for trace in golden["traces"].as_array().unwrap() {
            let users: Vec<f64> =
                trace.as_array().unwrap().iter().map(|users| users.as_f64().unwrap()).collect();
            for rows in users.windows(WINDOW + 1) {
                let scaled = |users: &f64| ((users - 8.0) / 92.0) as f32;
                train.inputs.extend(rows[..WINDOW].iter().map(scaled));
                train.targets.push(scaled(&rows[WINDOW]));
            }
        }
        assert_eq!(train.len(), 39);
        let all: Vec<u32> = (0..39).collect();
        let mut adam = Adam::new(&learner.params, AdamConfig::keras());
        for expected in numbers("loss_before_step") {
            let (loss, gradients) = learner.gradients(&all).unwrap();
            assert!((loss / expected - 1.0).abs() < 2e-3, "{loss} {expected}");
            adam.step(&gradients, Clip::Off).unwrap();
        }
    }
}
