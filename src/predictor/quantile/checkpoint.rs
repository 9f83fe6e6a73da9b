//! The folder of a quantile model: `model.safetensors`, `config.json` and `metadata.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::line::{LINE_ROWS, Lines};
use super::view::{ROWS, STEP_INPUTS};
use super::windows::once_size;
use super::{OUTPUTS, QuantileModel};
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
use crate::nn::TensorFile;
use crate::predictor::QUANTILES;
use crate::predictor::folder::{
    CONFIG_FILE, METADATA_FILE, MODEL_FILE, Source, predictor_head, read_json,
};
use crate::predictor::train::TrainingRecord;

/// What `metadata.json` calls a folder of a quantile model.
pub const KIND: &str = "predictor-quantile";
/// Changes when a folder of an older program can no longer be read as it is.
const FORMAT: u32 = 2;
/// What `config.json` calls the network.
const ARCHITECTURE: &str = "ar-lstm-quantiles";
/// Larger sizes speak of a damaged file.
const MAX_SIZE: usize = 4096;
const REMEDY: &str = "the file is damaged: train the predictor again";

/// Everything of a model but its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantileConfig {
    /// Kind of network.
    pub architecture: String,
    /// Rows of a window.
    pub rows: usize,
    /// Units of the LSTM.
    pub units: usize,
    /// Units of the layer after it.
    pub hidden: usize,
    /// The quantiles.
    pub quantiles: [f64; 3],
    /// Whether the network sees the time of day.
    pub calendar: bool,
    /// What is added to the outputs for the distances below and above the median.
    pub offsets: Vec<[f64; 2]>,
    /// The autoregression of services that have none of their own.
    pub shared: Lines,
    /// The autoregression of services that were learned from, by name.
    pub services: BTreeMap<String, Lines>,
}

impl QuantileConfig {
    /// Of a network of these sizes, without the time of day or lines of single services.
    pub fn new(units: usize, hidden: usize, shared: Lines, offsets: Vec<[f64; 2]>) -> Self {
        Self {
            architecture: ARCHITECTURE.to_owned(),
            rows: ROWS,
            units,
            hidden,
            quantiles: QUANTILES,
            calendar: false,
            offsets,
            shared,
            services: BTreeMap::new(),
        }
    }

    /// Rows ahead.
    pub fn horizon(&self) -> usize {
        self.shared.lines.len()
    }

    /// Names and shapes of the tensors.
    pub fn shapes(&self) -> [(&'static str, Vec<usize>); 5] {
        let horizon = self.horizon();
        let once = once_size(horizon, self.calendar);
        [
            ("body.weights", vec![STEP_INPUTS + self.units + 1, 4 * self.units]),
            ("head.bias", vec![self.hidden]),
            ("head.weights", vec![self.units + once, self.hidden]),
            ("out.bias", vec![OUTPUTS * horizon]),
            ("out.weights", vec![self.hidden, OUTPUTS * horizon]),
        ]
    }

    fn check(&self, place: &Path) -> Result<()> {
        let wrong = |problem: String| Err(Error::input(place.display(), problem, REMEDY));
        if self.architecture != ARCHITECTURE {
            return wrong(format!("expected {ARCHITECTURE}, found {}", self.architecture));
        }
        if (self.rows, self.quantiles) != (ROWS, QUANTILES) {
            return wrong(format!(
                "{} rows and quantiles {:?}, this program has {ROWS} and {QUANTILES:?}",
                self.rows, self.quantiles
            ));
        }
        let sizes = [self.units, self.hidden, self.horizon()];
        if !sizes.iter().all(|size| (1..=MAX_SIZE).contains(size)) {
            return wrong(format!("sizes {sizes:?} of units, hidden units and lines"));
        }
        if self.offsets.len() != self.horizon() {
            return wrong(format!("{} offsets for {} lines", self.offsets.len(), self.horizon()));
        }
        if !self.offsets.as_flattened().iter().all(|offset| offset.is_finite()) {
            return wrong("an offset is not finite".to_owned());
        }
        if let Err(problem) = self.shared.check(self.horizon()) {
            return wrong(problem);
        }
        for (name, lines) in &self.services {
            if let Err(problem) = lines.check(self.horizon()) {
                return wrong(format!("service `{name}`: {problem}"));
            }
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    kind: String,
    format: u32,
    version: String,
    parameters: usize,
    source: Source,
    training: TrainingRecord,
}

/// Everything in a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantileCheckpoint {
    /// Sizes and autoregression.
    pub config: QuantileConfig,
    /// The network's tensors.
    pub weights: TensorFile,
    /// The program that wrote it, as `--version` has it.
    pub version: String,
    /// What it was trained on.
    pub source: Source,
    /// How it was trained.
    pub training: TrainingRecord,
}

impl QuantileCheckpoint {
    /// The model.
    pub fn model(&self) -> QuantileModel {
        QuantileModel::new(&self.config, &self.weights)
    }

    /// Writes its files into `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_files(&self, folder: &Path) -> Result<()> {
        let bytes = self.weights.to_bytes()?;
        write_atomically(&folder.join(MODEL_FILE), |writer| writer.write_all(&bytes))?;
        write_json(&folder.join(CONFIG_FILE), &self.config)?;
        let metadata = Metadata {
            kind: KIND.to_owned(),
            format: FORMAT,
            version: self.version.clone(),
            parameters: self
                .weights
                .tensors
                .values()
                .map(|tensor| tensor.values.len())
                .sum::<usize>()
                + (1 + self.config.services.len()) * self.config.horizon() * (LINE_ROWS + 1),
            source: self.source.clone(),
            training: self.training.clone(),
        };
        write_json(&folder.join(METADATA_FILE), &metadata)
    }

    /// Reads the folder `path`.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no folder of a quantile model or a file in it is damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let head = predictor_head(path)?;
        if (head.kind.as_str(), head.format) != (KIND, FORMAT) {
            return Err(Error::input(
                path.join(METADATA_FILE).display(),
                format!(
                    "expected kind {KIND}, format {FORMAT}, found {}, format {}",
                    head.kind, head.format
                ),
                "name a folder that `quotascale predictor train --model quantile` of this version wrote",
            ));
        }
        let metadata: Metadata = read_json(&path.join(METADATA_FILE))?;
        let config_file = path.join(CONFIG_FILE);
        let config: QuantileConfig = read_json(&config_file)?;
        config.check(&config_file)?;
        let model_file = path.join(MODEL_FILE);
        let weights = TensorFile::read(&model_file)?;
        let shapes = config.shapes();
        weights.check(shapes.iter().map(|(name, shape)| (*name, shape.as_slice())), &model_file)?;
        for (name, tensor) in &weights.tensors {
            if let Some(value) = tensor.values.iter().find(|value| !value.is_finite()) {
                return Err(Error::input(
                    model_file.display(),
                    format!("one of the numbers of {name} is {value}"),
                    REMEDY,
                ));
            }
        }
        let Metadata { version, source, training, .. } = metadata;
        Ok(Self { config, weights, version, source, training })
    }
}
