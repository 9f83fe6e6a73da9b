//! Our own folder of the original predictor: `model.safetensors`, `scaler.json`, `config.json` and
//! `metadata.json`. It is there whole or not at all.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::scaler::MinMaxScaler;
use super::weights::{OriginalWeights, RawTensor, TENSORS};
use super::{OriginalPredictor, WINDOW};
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
pub use crate::predictor::folder::Source;
use crate::predictor::folder::{
    CONFIG_FILE, Head, METADATA_FILE, MODEL_FILE, head, predictor_head, read_json, replace,
    unusable,
};
use crate::predictor::train::TrainingRecord;

/// What `metadata.json` calls a folder of the original predictor.
pub const KIND: &str = "predictor-original";
/// Changes when a folder of an older program can no longer be read as it is.
const FORMAT: u32 = 1;
/// What `config.json` calls the network.
const ARCHITECTURE: &str = "bilstm-bilstm-dense";

const SCALER_FILE: &str = "scaler.json";

/// Everything in a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginalCheckpoint {
    /// The weights.
    pub weights: OriginalWeights,
    /// The scaler.
    pub scaler: MinMaxScaler,
    /// The program that wrote it, as `--version` has it.
    pub version: String,
    /// Where the weights come from.
    pub source: Source,
    /// How they were trained, if it was here.
    pub training: Option<TrainingRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    kind: String,
    format: u32,
    version: String,
    parameters: usize,
    source: Source,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training: Option<TrainingRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    architecture: String,
    window: usize,
    units: usize,
}

impl OriginalCheckpoint {
    /// The predictor of these weights.
    pub fn predictor(&self) -> OriginalPredictor {
        OriginalPredictor::new(self.scaler, &self.weights)
    }

    /// Writes the folder `path`. One that holds the same is left as it is; another one is replaced
    /// only with `force`, and only if it is a predictor's.
    ///
    /// # Errors
    /// [`Error::Input`] when `path` cannot be written or holds something else, [`Error::Io`] when
    /// writing fails.
    pub fn save(&self, path: &Path, force: bool) -> Result<()> {
        if self.is_occupied(path, force)? {
            return Ok(());
        }
        replace(path, |folder| self.write_files(folder))
    }

    /// Writes the files of the predictor into `folder`.
    pub(in crate::predictor) fn write_files(&self, folder: &Path) -> Result<()> {
        let tensors = self.weights.iter().map(|(name, shape, values)| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, shape, bytes)
        });
        let tensors: Vec<_> = tensors.collect();
        let views: std::result::Result<Vec<_>, _> = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (*name, view))
            })
            .collect();
        let model = views.and_then(|views| serialize(views, None)).map_err(|error| {
            Error::Failed(format!("cannot put the weights into safetensors: {error}"))
        })?;
        let config = Config {
            architecture: ARCHITECTURE.to_owned(),
            window: WINDOW,
            units: self.weights.units(),
        };
        write_atomically(&folder.join(MODEL_FILE), |writer| writer.write_all(&model))?;
        write_json(&folder.join(SCALER_FILE), &self.scaler)?;
        write_json(&folder.join(CONFIG_FILE), &config)?;
        write_json(&folder.join(METADATA_FILE), &self.metadata())
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: KIND.to_owned(),
            format: FORMAT,
            version: self.version.clone(),
            parameters: self.weights.parameters(),
            source: self.source.clone(),
            training: self.training.clone(),
        }
    }

    /// Whether `path` already holds the same; an error where it holds what may not be replaced.
    fn is_occupied(&self, path: &Path, force: bool) -> Result<bool> {
        let entries = match fs::read_dir(path) {
            Ok(mut entries) => entries.next(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(unusable(path, &source)),
        };
        if entries.is_none() {
            return Ok(false);
        }
        let Some(head) = head(path)?.filter(Head::is_predictor) else {
            return Err(Error::input(
                path.display(),
                "the folder is not empty and holds no predictor",
                "name another with --out",
            ));
        };
        let found = if head.kind == KIND { Self::load(path) } else { Err(wrong_kind(path, &head)) };
        match found {
            Ok(found) if found == *self => Ok(true),
            _ if force => Ok(false),
            Ok(found) => Err(Error::input(
                path.display(),
                format!("the folder holds {}, this is {}", found.origin(), self.origin()),
                "name another with --out, or replace it with --force",
            )),
            Err(error) => Err(Error::input(
                path.display(),
                format!("the folder holds another predictor ({error})"),
                "name another with --out, or replace it with --force",
            )),
        }
    }

    /// What tells two folders apart, for messages.
    fn origin(&self) -> String {
        let Source { file, sha256, .. } = &self.source;
        let hash = sha256.get(..12).unwrap_or(sha256);
        let [low, high] = self.scaler.data_range();
        format!("{file} ({hash}), users {low} to {high}, imported by version {}", self.version)
    }

    /// Reads the folder `path`.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no folder of the original predictor or a file in it is damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let head = predictor_head(path)?;
        if head.kind != KIND {
            return Err(wrong_kind(path, &head));
        }
        if head.format != FORMAT {
            return Err(Error::input(
                path.join(METADATA_FILE).display(),
                format!("format {}, this program reads {FORMAT}", head.format),
                "import the predictor again with this version",
            ));
        }
        let metadata: Metadata = read_json(&path.join(METADATA_FILE))?;
        let config_file = path.join(CONFIG_FILE);
        let config: Config = read_json(&config_file)?;
        if (config.architecture.as_str(), config.window) != (ARCHITECTURE, WINDOW) {
            return Err(Error::input(
                config_file.display(),
                format!(
                    "expected {ARCHITECTURE} with a window of {WINDOW}, found {} with {}",
                    config.architecture, config.window
                ),
                "import the predictor again",
            ));
        }
        let scaler = MinMaxScaler::read(&path.join(SCALER_FILE))?;
        let weights = read_weights(&path.join(MODEL_FILE), config.units)?;
        Ok(Self {
            weights,
            scaler,
            version: metadata.version,
            source: metadata.source,
            training: metadata.training,
        })
    }
}

fn wrong_kind(path: &Path, head: &Head) -> Error {
    Error::input(
        path.join(METADATA_FILE).display(),
        format!("expected kind {KIND}, found {}", head.kind),
        "name a folder that `quotascale predictor import` wrote",
    )
}

fn read_weights(path: &Path, units: usize) -> Result<OriginalWeights> {
    const REMEDY: &str = "the file is damaged: import the predictor again";
    let file = path.display().to_string();
    let bytes = fs::read(path)
        .map_err(|source| Error::input(&file, format!("cannot read the file: {source}"), REMEDY))?;
    let model = SafeTensors::deserialize(&bytes)
        .map_err(|error| Error::input(&file, format!("not a safetensors file: {error}"), REMEDY))?;
    if let Some(name) = model.names().into_iter().find(|name| !TENSORS.contains(name)) {
        return Err(Error::input(&file, format!("tensor {name} is not the network's"), REMEDY));
    }
    OriginalWeights::build(&file, units, |index, _| {
        let name = TENSORS[index];
        let place = || format!("{file}: {name}");
        let tensor = model.tensor(name).map_err(|error| Error::input(place(), error, REMEDY))?;
        if tensor.dtype() != Dtype::F32 {
            let found = format!("expected F32, found {:?}", tensor.dtype());
            return Err(Error::input(place(), found, REMEDY));
        }
        let (values, _) = tensor.data().as_chunks();
        Ok(RawTensor {
            place: name.to_owned(),
            shape: tensor.shape().to_vec(),
            values: values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(file: &str) -> OriginalCheckpoint {
        let mut next = 0.0;
        let weights = OriginalWeights::build("here", 2, |_, shape| {
            let values = (0..shape.iter().product()).map(|_| {
                next += 0.37_f32;
                next.sin()
            });
            Ok(RawTensor { place: String::new(), shape: shape.to_vec(), values: values.collect() })
        });
        OriginalCheckpoint {
            weights: weights.unwrap(),
            scaler: MinMaxScaler::new("here", 3.0, 77.0).unwrap(),
            version: "1".to_owned(),
            source: Source {
                file: file.to_owned(),
                sha256: "0123".to_owned(),
                keras_version: None,
            },
            training: None,
        }
    }

    #[test]
    fn a_folder_is_read_as_it_was_written_and_replaced_only_when_told() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("a/b");
        let first = checkpoint("first.h5");
        first.save(&path, false).unwrap();
        assert_eq!(OriginalCheckpoint::load(&path).unwrap(), first);
        let history = [5.0, 9.0, 70.0, 30.0, 12.0, 12.0, 40.0];
        let predictor = first.predictor();
        let forecast = predictor.forecast(&history).unwrap();
        assert_eq!(predictor.forecast(&[&[1e3], &history[..]].concat()), Some(forecast));
        assert_eq!(predictor.forecast(&history[1..]), None);

        first.save(&path, false).unwrap();
        let second = checkpoint("second.h5");
        let error = second.save(&path, false).unwrap_err().to_string();
        assert!(error.contains("first.h5") && error.contains("second.h5"), "{error}");
        second.save(&path, true).unwrap();
        assert_eq!(OriginalCheckpoint::load(&path).unwrap(), second);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        let error = second.save(work.path(), true).unwrap_err().to_string();
        assert!(error.contains("holds no predictor"), "{error}");
    }

    #[test]
    fn damage_is_named() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("p");
        let whole = checkpoint("m.h5");
        whole.save(&path, false).unwrap();
        let model = fs::read(path.join(MODEL_FILE)).unwrap();
        let mut infinite = model.clone();
        let last = infinite.len() - 4;
        infinite[last..].copy_from_slice(&f32::NAN.to_le_bytes());
        let cases: [(&str, &[u8], &str); 9] = [
            (METADATA_FILE, br#"{"kind": "trained"}"#, "expected kind predictor-original"),
            (METADATA_FILE, br#"{"kind": "predictor-original", "format": 9}"#, "format 9"),
            (METADATA_FILE, b"{", "metadata.json:1"),
            (CONFIG_FILE, br#"{"architecture": "mlp", "window": 7, "units": 2}"#, "found mlp"),
            (
                CONFIG_FILE,
                br#"{"architecture": "bilstm-bilstm-dense", "window": 7, "units": 3}"#,
                "bilstm1.forward.kernel: expected shape [1, 12], found [1, 8]",
            ),
            (SCALER_FILE, b"{}", "data_min"),
            (MODEL_FILE, b"", "not a safetensors file"),
            (MODEL_FILE, &model[..model.len() - 1], "not a safetensors file"),
            (MODEL_FILE, &infinite, "NaN"),
        ];
        for (file, bytes, reason) in cases {
            let good = fs::read(path.join(file)).unwrap();
            fs::write(path.join(file), bytes).unwrap();
            let error = OriginalCheckpoint::load(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(reason), "{file}: {error}");
            fs::write(path.join(file), good).unwrap();
        }
        fs::remove_file(path.join(MODEL_FILE)).unwrap();
        assert!(OriginalCheckpoint::load(&path).unwrap_err().to_string().contains(MODEL_FILE));
        let error = OriginalCheckpoint::load(&work.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("no such folder"), "{error}");
    }
}
