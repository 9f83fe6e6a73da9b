//! The fourteen tensors of the original predictor, as Keras lays them out.

use crate::error::{Error, Result};

/// Most units that are taken for real; more speaks of a damaged file.
const MAX_UNITS: usize = 1 << 14;

/// Names of the tensors in our files, in the order of [`OriginalWeights`]: for each layer and
/// direction kernel, recurrent kernel and bias, then those of the dense layer.
pub const TENSORS: [&str; 14] = [
    "bilstm1.forward.kernel",
    "bilstm1.forward.recurrent_kernel",
    "bilstm1.forward.bias",
    "bilstm1.backward.kernel",
    "bilstm1.backward.recurrent_kernel",
    "bilstm1.backward.bias",
    "bilstm2.forward.kernel",
    "bilstm2.forward.recurrent_kernel",
    "bilstm2.forward.bias",
    "bilstm2.backward.kernel",
    "bilstm2.backward.recurrent_kernel",
    "bilstm2.backward.bias",
    "dense.kernel",
    "dense.bias",
];

/// Weights of two bidirectional LSTM layers of equal size and a dense layer with one output. A
/// kernel is `[input, 4 units]`, a recurrent kernel `[units, 4 units]`, a bias `[4 units]`, row
/// after row; the four blocks are the input, forget, candidate and output gates.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginalWeights {
    units: usize,
    tensors: Vec<Vec<f32>>,
}

/// A tensor as a file gives it.
#[derive(Clone, Debug)]
pub struct RawTensor {
    /// Where it is in the file, for messages.
    pub place: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row after row.
    pub values: Vec<f32>,
}

impl OriginalWeights {
    /// Puts the weights together from the tensors that `read` gives for an index of [`TENSORS`] and
    /// the shape that it has to have.
    ///
    /// # Errors
    /// [`Error::Input`] from `read`, for a shape that is not as expected, and for a value that is no
    /// finite number.
    pub fn build(
        file: &str,
        units: usize,
        mut read: impl FnMut(usize, &[usize]) -> Result<RawTensor>,
    ) -> Result<Self> {
        if !(1..=MAX_UNITS).contains(&units) {
            return Err(Error::input(
                file,
                format!("{units} units"),
                format!("an LSTM layer has 1 to {MAX_UNITS} units; the file may be damaged"),
            ));
        }
        let tensors = (0..TENSORS.len()).map(|index| {
            let expected = shape(index, units);
            let tensor = read(index, &expected)?;
            if tensor.shape != expected {
                return Err(Error::input(
                    format!("{file}: {}", tensor.place),
                    format!("expected shape {expected:?}, found {:?}", tensor.shape),
                    format!("{} of {units} units has to have that shape", TENSORS[index]),
                ));
            }
            if tensor.values.len() != expected.iter().product::<usize>() {
                return Err(Error::input(
                    format!("{file}: {}", tensor.place),
                    format!("{} values for shape {expected:?}", tensor.values.len()),
                    "the file is damaged: copy it again",
                ));
            }
            if let Some(value) = tensor.values.iter().find(|value| !value.is_finite()) {
                return Err(Error::input(
                    format!("{file}: {}", tensor.place),
                    format!("one of the weights is {value}"),
                    "the file is damaged or its training diverged: take another",
                ));
            }
            Ok(tensor.values)
        });
        Ok(Self { units, tensors: tensors.collect::<Result<_>>()? })
    }

    /// Units of each direction of each layer.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(Vec::len).sum()
    }

    /// Name, shape and values of every tensor, in the order of [`TENSORS`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Vec<usize>, &[f32])> {
        let tensors = self.tensors.iter().enumerate();
        tensors.map(|(index, values)| (TENSORS[index], shape(index, self.units), &values[..]))
    }

    /// Kernel, recurrent kernel and bias of a direction of a layer (0 or 1).
    pub(super) fn direction(&self, layer: usize, backward: bool) -> [&[f32]; 3] {
        let first = layer * 6 + usize::from(backward) * 3;
        [0, 1, 2].map(|part| &self.tensors[first + part][..])
    }

    /// Kernel and bias of the dense layer.
    pub(super) fn dense(&self) -> (&[f32], f32) {
        (&self.tensors[12], self.tensors[13][0])
    }
}

/// The shape of a tensor of [`TENSORS`] in a network of `units` units.
fn shape(index: usize, units: usize) -> Vec<usize> {
    match (index, index % 3) {
        (12, _) => vec![2 * units, 1],
        (13, _) => vec![1],
        (0 | 3, _) => vec![1, 4 * units],
        (_, 0) => vec![2 * units, 4 * units],
        (_, 1) => vec![units, 4 * units],
        _ => vec![4 * units],
    }
}
