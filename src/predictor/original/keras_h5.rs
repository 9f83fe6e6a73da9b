//! Reading the file that Keras saves a whole model in (HDF5), without Python.
//!
//! Weights are found by walking: `/model_weights` names its layers, each layer its weights. The
//! numbers in these names change from one run of Keras to the next and mean nothing.

use std::collections::HashMap;
use std::path::Path;

use hdf5_pure::{AttrValue, DType, Dataset, File, Group};
use sha2::{Digest, Sha256};

use super::keras_config;
use super::weights::{OriginalWeights, RawTensor};
use crate::error::{Error, Result};

/// A model as Keras saved it.
#[derive(Clone, Debug)]
pub struct KerasModel {
    /// Its weights.
    pub weights: OriginalWeights,
    /// The version of Keras, where the file says it.
    pub keras_version: Option<String>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// The group of the weights.
const ROOT: &str = "/model_weights";
/// The remedy for files that lack something.
const REMEDY: &str = "save the whole model with Keras 2 as `model.save(\"FILE.h5\")`, or copy the \
                      file again if it is damaged";

/// Reads `path`.
///
/// # Errors
/// [`Error::Input`] naming file and place: a file that cannot be read, is damaged or cut off, or
/// holds another network.
pub fn read(path: &Path) -> Result<KerasModel> {
    let bytes = std::fs::read(path).map_err(|source| {
        Error::input(path.display(), format!("cannot read the file: {source}"), "check the path")
    })?;
    parse(&path.display().to_string(), bytes)
}

/// Reads the content of a file; `file` is its name in messages.
///
/// # Errors
/// As [`read`].
pub fn parse(file: &str, bytes: Vec<u8>) -> Result<KerasModel> {
    let (sha256, length) = (format!("{:x}", Sha256::digest(&bytes)), bytes.len() as u64);
    let hdf5 = File::from_bytes(bytes).map_err(|error| {
        Error::input(
            file,
            format!("not an HDF5 file, or its beginning is damaged: {error}"),
            "name the .h5 file that Keras saved",
        )
    })?;
    // What is missing at the end may be nothing that is read; the file is not the one that was
    // written all the same.
    let stated = hdf5.superblock().eof_address;
    if stated > length {
        return Err(Error::input(
            file,
            format!("cut off: the file has {length} bytes and says that it has {stated}"),
            "copy the file again",
        ));
    }
    let reader = Reader { file };
    let root_attributes = reader.attributes("/", &hdf5.root())?;
    let config =
        root_attributes.get("model_config").and_then(AttrValue::as_str).ok_or_else(|| {
            reader.error(
                "/",
                "there is no attribute model_config, which describes the layers",
                REMEDY,
            )
        })?;
    let description = keras_config::read(file, config)?;
    let root = hdf5.group(ROOT).map_err(|error| reader.damaged(ROOT, &error))?;
    let layer_names = reader.names(ROOT, &reader.attributes(ROOT, &root)?, "layer_names")?;
    let mut tensors = Vec::new();
    for (layer, parts) in
        description.layers.iter().zip([&DIRECTIONS[..], &DIRECTIONS[..], &[None][..]])
    {
        if !layer_names.contains(layer) {
            return Err(reader.error(
                ROOT,
                format!("layer_names is {} and lacks {layer}", layer_names.join(", ")),
                REMEDY,
            ));
        }
        let group = root.group(layer).map_err(|error| reader.damaged(&at(layer), &error))?;
        let attributes = reader.attributes(&at(layer), &group)?;
        let weights = reader.names(&at(layer), &attributes, "weight_names")?;
        for &direction in parts {
            let kinds = if direction.is_some() { &LSTM_KINDS[..] } else { &DENSE_KINDS[..] };
            for kind in kinds {
                let name = reader.find(layer, &weights, direction, kind)?;
                let path = format!("{}/{name}", at(layer));
                let dataset = group.dataset(name).map_err(|error| reader.damaged(&path, &error))?;
                tensors.push((path, dataset));
            }
        }
    }
    let weights = OriginalWeights::build(file, description.units, |index, expected| {
        let (path, dataset) = &tensors[index];
        reader.tensor(path, dataset, expected)
    })?;
    let keras_version =
        root_attributes.get("keras_version").and_then(AttrValue::as_str).map(str::to_owned);
    Ok(KerasModel { weights, keras_version, sha256 })
}

/// How Keras begins the names of a bidirectional layer's parts.
const DIRECTIONS: [Option<&str>; 2] = [Some("forward_"), Some("backward_")];
/// Weights of an LSTM cell.
const LSTM_KINDS: [&str; 3] = ["kernel", "recurrent_kernel", "bias"];
/// Weights of the dense layer.
const DENSE_KINDS: [&str; 2] = ["kernel", "bias"];

fn at(layer: &str) -> String {
    format!("{ROOT}/{layer}")
}

/// Reads with messages that name the file.
struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn error(
        &self,
        path: &str,
        problem: impl std::fmt::Display,
        remedy: impl std::fmt::Display,
    ) -> Error {
        Error::input(format!("{}: {path}", self.file), problem, remedy)
    }

    fn damaged(&self, path: &str, error: &hdf5_pure::Error) -> Error {
        self.error(path, format!("missing or damaged: {error}"), REMEDY)
    }

    fn attributes(&self, path: &str, group: &Group) -> Result<HashMap<String, AttrValue>> {
        group.attrs().map_err(|error| self.damaged(path, &error))
    }

    /// A list of names in an attribute.
    fn names(
        &self,
        path: &str,
        attributes: &HashMap<String, AttrValue>,
        name: &str,
    ) -> Result<Vec<String>> {
        let list = attributes.get(name).and_then(AttrValue::as_strings);
        list.map(<[String]>::to_vec).ok_or_else(|| {
            self.error(path, format!("there is no attribute {name} with a list of names"), REMEDY)
        })
    }

    /// The one weight of a layer that is of this direction and kind.
    fn find<'n>(
        &self,
        layer: &str,
        names: &'n [String],
        direction: Option<&str>,
        kind: &str,
    ) -> Result<&'n str> {
        let fits = |name: &&String| {
            let mut parts = name.rsplit('/');
            let last = parts.next().unwrap_or_default();
            let last = last.split_once(':').map_or(last, |(last, _)| last);
            let of_direction = direction.is_none_or(|wanted| {
                let direction_of = |part: &str| {
                    DIRECTIONS.into_iter().flatten().find(|known| part.starts_with(known))
                };
                parts.find_map(direction_of) == Some(wanted)
            });
            last == kind && of_direction
        };
        let mut found = names.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name),
            (first, _) => Err(self.error(
                &at(layer),
                format!(
                    "expected one {}{kind}, found {} in weight_names: {}",
                    direction.unwrap_or_default(),
                    if first.is_some() { "several" } else { "none" },
                    names.join(", ")
                ),
                REMEDY,
            )),
        }
    }

    /// The values of a dataset, if it has the expected shape.
    fn tensor(&self, path: &str, dataset: &Dataset, expected: &[usize]) -> Result<RawTensor> {
        let shape = dataset.shape().map_err(|error| self.damaged(path, &error))?;
        let kind = dataset.dtype().map_err(|error| self.damaged(path, &error))?;
        if kind != DType::F32 {
            return Err(self.error(
                path,
                format!("expected f32, found {kind}"),
                "the original computes in f32; save the model in that precision",
            ));
        }
        if !dataset.filters().is_empty() {
            return Err(self.error(
                path,
                "the weights are compressed, which is not read here",
                "save the model as Keras does, without compression",
            ));
        }
        let shape: Vec<usize> =
            shape.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
        // A damaged shape is not worth reading, and may be larger than memory.
        let values = if shape == expected {
            dataset.read_f32().map_err(|error| self.damaged(path, &error))?
        } else {
            Vec::new()
        };
        Ok(RawTensor { place: path.to_owned(), shape, values })
    }
}
