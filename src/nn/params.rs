//! Named parameters, and files of named tensors.
//!
//! Names are kept sorted: whatever sums over parameters, draws numbers for them or lists them does it
//! in the same order in every process. Files are safetensors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::bilstm::BiLstm;
use super::dense::Dense;
use super::init::{self, Kernel};
use super::lstm::Lstm;
use super::pointwise::Activation;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// The parameters of a network, by name.
#[derive(Clone, Debug, Default)]
pub struct ParamStore {
    vars: BTreeMap<String, Var>,
}

/// How a dense layer's weights begin. Its bias begins at 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DenseInit {
    /// Glorot uniform, as in Keras.
    Glorot,
    /// Orthogonal with this gain, as usual with PPO.
    Orthogonal(f64),
}

impl ParamStore {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter and gives its tensor, which follows the parameter's updates.
    ///
    /// # Errors
    /// When the name is taken, or the values do not fill the shape.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Result<Tensor> {
        if self.vars.contains_key(name) {
            return Err(Error::Failed(format!("two parameters are called {name}")));
        }
        let var = Var::from_vec(values, shape, &Device::Cpu)?;
        let tensor = var.as_tensor().clone();
        self.vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    /// Adds an LSTM: `NAME.weights` [I + H + 1, 4H].
    ///
    /// # Errors
    /// When the name is taken.
    pub fn lstm(
        &mut self,
        name: &str,
        inputs: usize,
        units: usize,
        kernel: Kernel,
        rng: &mut Rng,
    ) -> Result<Lstm> {
        let values = init::lstm(inputs, units, kernel, rng);
        let shape = [inputs + units + 1, 4 * units];
        Lstm::new(&self.insert(&format!("{name}.weights"), &shape, values)?, inputs)
    }

    /// Adds a bidirectional LSTM: `NAME.forward.weights` and `NAME.backward.weights`.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn bilstm(
        &mut self,
        name: &str,
        inputs: usize,
        units: usize,
        kernel: Kernel,
        rng: &mut Rng,
    ) -> Result<BiLstm> {
        let forward = self.lstm(&format!("{name}.forward"), inputs, units, kernel, rng)?;
        let backward = self.lstm(&format!("{name}.backward"), inputs, units, kernel, rng)?;
        BiLstm::new(forward, backward)
    }

    /// Adds a dense layer: `NAME.weights` `[I, O]` and `NAME.bias` `[O]`.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn dense(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        activation: Activation,
        init: DenseInit,
        rng: &mut Rng,
    ) -> Result<Dense> {
        let values = match init {
            DenseInit::Glorot => init::glorot_uniform(inputs, outputs, rng),
            DenseInit::Orthogonal(gain) => init::orthogonal(inputs, outputs, gain, rng),
        };
        let weights = self.insert(&format!("{name}.weights"), &[inputs, outputs], values)?;
        let bias = self.insert(&format!("{name}.bias"), &[outputs], vec![0.0; outputs])?;
        Dense::new(&weights, &bias, activation)
    }

    /// Names and parameters in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.vars.get(name)
    }

    /// Numbers in all parameters together.
    pub fn numbers(&self) -> usize {
        self.vars.values().map(|var| var.elem_count()).sum()
    }

    /// A copy of all values.
    ///
    /// # Errors
    /// When a parameter is not f32.
    pub fn values(&self) -> Result<TensorFile> {
        let mut tensors = BTreeMap::new();
        for (name, var) in &self.vars {
            let values = var.flatten_all()?.to_vec1::<f32>()?;
            tensors.insert(name.clone(), TensorValues { shape: var.dims().to_vec(), values });
        }
        Ok(TensorFile { tensors, steps: None })
    }

    /// Sets all parameters; layers built on them follow. Nothing changes on an error.
    ///
    /// # Errors
    /// [`Error::Input`] naming `place` when a tensor is missing, unknown or of another shape.
    pub fn set(&self, file: &TensorFile, place: &Path) -> Result<()> {
        let expected = self.vars.iter().map(|(name, var)| (name.as_str(), var.dims()));
        file.check(expected, place)?;
        for (name, var) in &self.vars {
            let values = &file.tensors[name];
            var.set(&Tensor::from_slice(&values.values, values.shape.as_slice(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorValues {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Numbers, the last dimension running fastest.
    pub values: Vec<f32>,
}

/// Named f32 tensors, as a safetensors file holds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile {
    /// By name.
    pub tensors: BTreeMap<String, TensorValues>,
    /// Updates so far, in an optimiser's file.
    pub steps: Option<u64>,
}

/// The key of [`TensorFile::steps`] in the file's metadata.
const STEPS: &str = "steps";

impl TensorFile {
    /// The bytes of the file; the same for the same tensors.
    ///
    /// # Errors
    /// When a shape does not fit its values.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let failed = |error| Error::Failed(format!("cannot serialise tensors: {error}"));
        let bytes: Vec<Vec<u8>> = self
            .tensors
            .values()
            .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = self
            .tensors
            .iter()
            .zip(&bytes)
            .map(|((name, tensor), bytes)| {
                Ok((name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let metadata =
            self.steps.map(|steps| HashMap::from([(STEPS.to_owned(), steps.to_string())]));
        safetensors::serialize(views, metadata).map_err(failed)
    }

    /// From the bytes of a file called `place`.
    ///
    /// # Errors
    /// [`Error::Input`] when they are damaged or hold other numbers than f32.
    pub fn from_bytes(bytes: &[u8], place: &Path) -> Result<Self> {
        let damaged = |error: &dyn std::fmt::Display| {
            Error::input(
                place.display(),
                format!("is no whole safetensors file: {error}"),
                "copy the file again, or take another checkpoint",
            )
        };
        let parsed = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in parsed.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(Error::input(
                    place.display(),
                    format!("tensor {name} holds {:?}, not F32", view.dtype()),
                    "convert the file to 32-bit floating point numbers",
                ));
            }
            let values = view.data().as_chunks().0.iter().map(|&four| f32::from_le_bytes(four));
            let tensor = TensorValues { shape: view.shape().to_vec(), values: values.collect() };
            tensors.insert(name.to_owned(), tensor);
        }
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error))?;
        let steps = header.metadata().as_ref().and_then(|metadata| metadata.get(STEPS));
        let steps = steps.map(|text| text.parse::<u64>()).transpose();
        Ok(Self { tensors, steps: steps.map_err(|error| damaged(&error))? })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| {
            Error::input(
                path.display(),
                format!("cannot read the file: {source}"),
                "check the path, or take another checkpoint",
            )
        })?;
        Self::from_bytes(&bytes, path)
    }

    /// Checks that the file, called `place`, holds exactly the expected names and shapes.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first tensor that is missing, unknown or of another shape, with
    /// both shapes.
    pub fn check<'a>(
        &self,
        expected: impl Iterator<Item = (&'a str, &'a [usize])>,
        place: &Path,
    ) -> Result<()> {
        let wrong = |problem: String| {
            Error::input(
                place.display(),
                problem,
                "use the file with the network (kind, sizes, inputs) that it was written for",
            )
        };
        let mut unknown: std::collections::BTreeSet<&str> =
            self.tensors.keys().map(String::as_str).collect();
        for (name, shape) in expected {
            let Some(tensor) = self.tensors.get(name) else {
                return Err(wrong(format!("tensor {name} of shape {shape:?} is missing")));
            };
            if tensor.shape != shape {
                return Err(wrong(format!(
                    "tensor {name} has shape {:?}, needed is {shape:?}",
                    tensor.shape
                )));
            }
            unknown.remove(name);
        }
        match unknown.first() {
            Some(name) => Err(wrong(format!("tensor {name} is unknown to this network"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;

    fn store() -> ParamStore {
        let mut rng = Streams::new(1).open("init");
        let mut store = ParamStore::new();
        store.lstm("body", 3, 2, Kernel::Orthogonal, &mut rng).unwrap();
        let init = DenseInit::Orthogonal(0.01);
        store.dense("actor", [2, 4], Activation::Linear, init, &mut rng).unwrap();
        store
    }

    #[test]
    fn values_go_through_a_file_and_layers_follow() {
        let store = store();
        let names: Vec<&str> = store.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["actor.bias", "actor.weights", "body.weights"]);
        assert_eq!(store.numbers(), 4 + 8 + 48);
        let layer = Lstm::new(store.get("body.weights").unwrap(), 3).unwrap();
        let mut file = store.values().unwrap();
        file.steps = Some(u64::MAX);
        let bytes = file.to_bytes().unwrap();
        assert_eq!(bytes, file.to_bytes().unwrap());
        assert_eq!(TensorFile::from_bytes(&bytes, Path::new("m")).unwrap(), file);
        file.tensors.get_mut("body.weights").unwrap().values[0] = 42.0;
        store.set(&file, Path::new("m")).unwrap();
        assert_eq!(layer.weights().flatten_all().unwrap().to_vec1::<f32>().unwrap()[0], 42.0);
    }

    #[test]
    fn a_file_of_another_network_is_named_with_the_tensor_and_both_shapes() {
        let store = store();
        let good = store.values().unwrap();
        let message = |file: &TensorFile| {
            let error = store.set(file, Path::new("model.safetensors")).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        let mut other = good.clone();
        let bias = TensorValues { shape: vec![5], values: vec![0.0; 5] };
        other.tensors.insert("actor.bias".to_owned(), bias);
        let text = message(&other);
        for part in ["model.safetensors", "actor.bias", "[5]", "[4]"] {
            assert!(text.contains(part), "{text}");
        }
        let mut other = good.clone();
        other.tensors.remove("body.weights");
        assert!(message(&other).contains("body.weights"));
        let mut other = good.clone();
        other.tensors.insert("critic".to_owned(), other.tensors["actor.bias"].clone());
        assert!(message(&other).contains("critic"));
    }

    #[test]
    fn damaged_bytes_are_bad_input() {
        let bytes = store().values().unwrap().to_bytes().unwrap();
        for length in [0, 4, 20, bytes.len() - 1] {
            let error = TensorFile::from_bytes(&bytes[..length], Path::new("x")).unwrap_err();
            assert_eq!(error.exit_code(), 2);
        }
        let mut bytes = bytes;
        bytes[0] ^= 0xff;
        assert_eq!(TensorFile::from_bytes(&bytes, Path::new("x")).unwrap_err().exit_code(), 2);
    }
}
