//! Dense layers: y = activation(x W + b), and stacks of them.
//!
//! Product, bias and activation are one operation of candle, because candle's hyperbolic tangent is
//! scalar and every operation of its own is one more pass over memory.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Tensor};

use super::kernel::{Level, Matrix, activate, activation_gradient, multiply};
use super::pointwise::Activation;
use super::real::Real;
use super::storage::{slice, slice_of};
use crate::error::{Error, Result};

/// A dense layer. Clones share weights.
#[derive(Clone, Debug)]
pub struct Dense {
    weights: Tensor,
    bias: Tensor,
    activation: Activation,
}

impl Dense {
    /// From weights `[I, O]` and bias `[O]` (tensors of `Var`s, to be trained).
    ///
    /// # Errors
    /// When the shapes do not fit or the numbers are neither f32 nor f64.
    pub fn new(weights: &Tensor, bias: &Tensor, activation: Activation) -> Result<Self> {
        let (inputs, outputs) = weights.dims2()?;
        if inputs == 0 || outputs == 0 || bias.dims() != [outputs] {
            return Err(Error::Failed(format!(
                "dense weights of shape [{inputs}, {outputs}] with a bias of shape {:?}",
                bias.dims()
            )));
        }
        let plain = |tensor: &Tensor| {
            matches!(tensor.dtype(), DType::F32 | DType::F64) && tensor.is_contiguous()
        };
        if !plain(weights) || !plain(bias) || weights.dtype() != bias.dtype() {
            return Err(Error::Failed(
                "dense weights and bias have to be contiguous f32 or f64".to_owned(),
            ));
        }
        Ok(Self { weights: weights.clone(), bias: bias.clone(), activation })
    }

    /// Inputs, I.
    pub fn inputs(&self) -> usize {
        self.weights.dims()[0]
    }

    /// Outputs, O.
    pub fn outputs(&self) -> usize {
        self.weights.dims()[1]
    }

    /// `x` [.., I] to [.., O].
    ///
    /// # Errors
    /// When shapes or number types do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.dims().last() != Some(&self.inputs()) || x.elem_count() == 0 {
            return Err(Error::Failed(format!(
                "a dense layer's input of shape {:?} where {} columns are needed",
                x.dims(),
                self.inputs()
            )));
        }
        let operation = DenseOperation { activation: self.activation };
        Ok(x.contiguous()?.apply_op3(&self.weights, &self.bias, operation)?)
    }

    /// The same outside candle, for acting: `x` [B, I] to `y` [B, O]. Allocates nothing (but what the
    /// matrix product packs into where B is above 1).
    ///
    /// # Errors
    /// When sizes do not fit or the weights are not f32.
    pub fn infer(&self, x: &[f32], y: &mut [f32]) -> Result<()> {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let rows = x.len() / inputs;
        if x.len() != rows * inputs || y.len() != rows * outputs {
            return Err(Error::Failed(format!(
                "a dense layer of {inputs} inputs and {outputs} outputs got {} and {} numbers",
                x.len(),
                y.len()
            )));
        }
        if rows == 0 {
            return Ok(());
        }
        let (weights, weights_layout) = self.weights.storage_and_layout();
        let (bias, bias_layout) = self.bias.storage_and_layout();
        let weights = Matrix::new(slice_of(&weights, weights_layout)?, inputs, outputs);
        multiply(y, false, Matrix::new(x, rows, inputs), weights);
        activate(Level::best(), y, slice_of(&bias, bias_layout)?, self.activation);
        Ok(())
    }
}

/// Dense layers one after another.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Dense>,
}

/// Space that [`Mlp::infer`] works in.
#[derive(Clone, Debug, Default)]
pub struct MlpScratch {
    between: [Vec<f32>; 2],
}

impl Mlp {
    /// From layers in the order of the data.
    ///
    /// # Errors
    /// When there are none, or one's outputs are not the next one's inputs.
    pub fn new(layers: Vec<Dense>) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::Failed("a stack of no dense layers".to_owned()));
        }
        for pair in layers.windows(2) {
            if pair[0].outputs() != pair[1].inputs() {
                return Err(Error::Failed(format!(
                    "a dense layer of {} outputs before one of {} inputs",
                    pair[0].outputs(),
                    pair[1].inputs()
                )));
            }
        }
        Ok(Self { layers })
    }

    /// Inputs of the first layer.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs()
    }

    /// Outputs of the last layer.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs()
    }

    /// `x` [.., I] to [.., O].
    ///
    /// # Errors
    /// As [`Dense::forward`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        Ok(x)
    }

    /// The same outside candle: `x` [B, I] to `y` [B, O].
    ///
    /// # Errors
    /// As [`Dense::infer`].
    pub fn infer(&self, x: &[f32], y: &mut [f32], scratch: &mut MlpScratch) -> Result<()> {
        let rows = x.len() / self.inputs();
        let [from, to] = &mut scratch.between;
        let last = self.layers.len() - 1;
        if last == 0 {
            return self.layers[0].infer(x, y);
        }
        to.resize(rows * self.layers[0].outputs(), 0.0);
        self.layers[0].infer(x, to)?;
        for layer in &self.layers[1..last] {
            std::mem::swap(from, to);
            to.resize(rows * layer.outputs(), 0.0);
            layer.infer(from, to)?;
        }
        self.layers[last].infer(to, y)
    }
}

/// (x, weights, bias) -> outputs.
struct DenseOperation {
    activation: Activation,
}

impl DenseOperation {
    fn run<T: Real>(
        &self,
        x: &[T],
        inputs: usize,
        weights: &[T],
        bias: &[T],
    ) -> candle_core::Result<CpuStorage> {
        let (rows, outputs) = (x.len() / inputs, bias.len());
        let mut y = vec![T::ZERO; rows * outputs];
        let weights = Matrix::new(weights, inputs, outputs);
        multiply(&mut y, false, Matrix::new(x, rows, inputs), weights);
        activate(Level::best(), &mut y, bias, self.activation);
        Ok(T::to_cpu_storage_owned(y))
    }

    fn gradients<T: Real>(
        &self,
        x: &Tensor,
        weights: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let (inputs, outputs) = weights.dims2()?;
        let rows = x.elem_count() / inputs;
        let mut gradient = gradient.flatten_all()?.to_vec1::<T>()?;
        let (x_storage, x_layout) = x.storage_and_layout();
        let (weights_storage, weights_layout) = weights.storage_and_layout();
        let (y_storage, y_layout) = y.storage_and_layout();
        let mut dbias = vec![T::ZERO; outputs];
        let y = slice_of::<T>(&y_storage, y_layout)?;
        activation_gradient(Level::best(), &mut gradient, y, &mut dbias, self.activation);
        let gradient = Matrix::new(&gradient, rows, outputs);
        let mut dweights = vec![T::ZERO; inputs * outputs];
        let x_values = Matrix::new(slice_of::<T>(&x_storage, x_layout)?, rows, inputs);
        multiply(&mut dweights, false, x_values.transposed(), gradient);
        let dx = if x.track_op() {
            let mut dx = vec![T::ZERO; rows * inputs];
            let weights = slice_of::<T>(&weights_storage, weights_layout)?;
            let weights = Matrix::new(weights, inputs, outputs);
            multiply(&mut dx, false, gradient, weights.transposed());
            Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?)
        } else {
            None
        };
        let dweights = Tensor::from_vec(dweights, (inputs, outputs), &Device::Cpu)?;
        let dbias = Tensor::from_vec(dbias, outputs, &Device::Cpu)?;
        Ok([dx, Some(dweights), Some(dbias)])
    }
}

impl CustomOp3 for DenseOperation {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (inputs, outputs) = weights_layout.shape().dims2()?;
        let y = match weights {
            CpuStorage::F32(_) => self.run::<f32>(
                slice(x, x_layout)?,
                inputs,
                slice(weights, weights_layout)?,
                slice(bias, bias_layout)?,
            ),
            _ => self.run::<f64>(
                slice(x, x_layout)?,
                inputs,
                slice(weights, weights_layout)?,
                slice(bias, bias_layout)?,
            ),
        }?;
        let mut shape = x_layout.dims().to_vec();
        if let Some(columns) = shape.last_mut() {
            *columns = outputs;
        }
        Ok((y, Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        _bias: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradients = match weights.dtype() {
            DType::F32 => self.gradients::<f32>(x, weights, y, gradient),
            _ => self.gradients::<f64>(x, weights, y, gradient),
        }?;
        Ok(gradients.into())
    }
}
