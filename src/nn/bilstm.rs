//! Two LSTMs over the same sequence, one from each end, with the conventions of Keras's
//! `Bidirectional`.
//!
//! Outputs stand side by side, forward first. Over the whole sequence both stand at the step they
//! belong to; of the last outputs, forward's is that after the last step and backward's that after
//! the first (the step it takes last). The directions do not depend on each other and run on two
//! threads where there are two; bits do not depend on that.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Tensor};

use super::lstm::{Lstm, used_up};
use super::pool::{Buffer, Pool};
use super::real::Real;
use super::sequence::{self, Initial, OutputGradient, Plan, Saved, Sizes, Weights};
use super::storage::{slice, slice_of};
use crate::error::{Error, Result};

/// Which outputs a bidirectional layer returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// Those of every step, [T, B, 2H].
    Sequence,
    /// Those of the step that each direction takes last, [B, 2H].
    Last,
}

/// A bidirectional layer.
#[derive(Clone, Debug)]
pub struct BiLstm {
    forward: Lstm,
    backward: Lstm,
}

impl BiLstm {
    /// From a layer for each direction.
    ///
    /// # Errors
    /// When their sizes or number types differ.
    pub fn new(forward: Lstm, backward: Lstm) -> Result<Self> {
        let (one, other) = (forward.weights(), backward.weights());
        if forward.inputs() != backward.inputs()
            || one.dims() != other.dims()
            || one.dtype() != other.dtype()
        {
            return Err(Error::Failed(format!(
                "the two directions of a bidirectional LSTM differ: {:?} and {:?}",
                one.dims(),
                other.dims()
            )));
        }
        Ok(Self { forward, backward })
    }

    /// Runs `x` [T, B, I], both directions from the zero state. Gradients can be taken once.
    ///
    /// # Errors
    /// When the shape or number type of `x` does not fit.
    pub fn forward(&self, x: &Tensor, returns: Returns) -> Result<Tensor> {
        let sizes = self.forward.sizes(x)?;
        let pools = self.forward.pools();
        match self.forward.weights().dtype() {
            DType::F32 => self.run(x, sizes, returns, &pools.single),
            _ => self.run(x, sizes, returns, &pools.double),
        }
    }

    fn run<T: Real>(
        &self,
        x: &Tensor,
        sizes: Sizes,
        returns: Returns,
        pool: &Pool<T>,
    ) -> Result<Tensor> {
        let operation =
            BiLstmOperation { sizes, returns, pool: pool.clone(), saved: Mutex::new(None) };
        let (one, other) = (self.forward.weights(), self.backward.weights());
        Ok(x.contiguous()?.apply_op3(one, other, operation)?)
    }
}

/// One direction's outputs [T, B, H], and what its backward pass needs.
type Direction<T> = (Buffer<T>, Saved<T>);

/// Both directions as one operation of candle: (x, forward weights, backward weights) -> outputs.
struct BiLstmOperation<T> {
    sizes: Sizes,
    returns: Returns,
    pool: Pool<T>,
    saved: Mutex<Option<[Direction<T>; 2]>>,
}

/// Forward and backward.
fn plans() -> [Plan; 2] {
    [false, true].map(|reverse| Plan { reverse, rows: None })
}

impl<T: Real> BiLstmOperation<T> {
    fn direction(&self, plan: &Plan, x: &[T], packed: &[T], zeros: &[T]) -> Direction<T> {
        let sizes = self.sizes;
        let mut h = self.pool.take(sizes.steps * sizes.cells());
        let (weights, initial) = (Weights::new(packed, sizes), Initial::new(zeros));
        let saved = sequence::forward(sizes, plan, &self.pool, x, weights, initial, &mut h);
        (h, saved)
    }

    /// Sets the rows of both directions side by side.
    fn join(&self, [forward, backward]: [&[T]; 2]) -> Vec<T> {
        let units = self.sizes.units;
        let mut out = Vec::with_capacity(2 * forward.len());
        for (forward, backward) in forward.chunks_exact(units).zip(backward.chunks_exact(units)) {
            out.extend_from_slice(forward);
            out.extend_from_slice(backward);
        }
        out
    }
}

impl<T: Real> CustomOp3 for BiLstmOperation<T> {
    fn name(&self) -> &'static str {
        "bilstm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        forward: &CpuStorage,
        forward_layout: &Layout,
        backward: &CpuStorage,
        backward_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let sizes = self.sizes;
        let x = slice::<T>(x, x_layout)?;
        let forward = slice::<T>(forward, forward_layout)?;
        let backward = slice::<T>(backward, backward_layout)?;
        let zeros = self.pool.zeros(2 * sizes.cells());
        let [ahead, back] = plans();
        let directions: [Direction<T>; 2] = rayon::join(
            || self.direction(&ahead, x, forward, &zeros),
            || self.direction(&back, x, backward, &zeros),
        )
        .into();
        let [(ahead, _), (back, _)] = &directions;
        let (out, shape) = match self.returns {
            Returns::Sequence => {
                let shape = Shape::from((sizes.steps, sizes.batch, 2 * sizes.units));
                (self.join([ahead, back]), shape)
            }
            Returns::Last => {
                let cells = sizes.cells();
                let last = [&ahead[ahead.len() - cells..], &back[..cells]];
                (self.join(last), Shape::from((sizes.batch, 2 * sizes.units)))
            }
        };
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(directions);
        Ok((T::to_cpu_storage_owned(out), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        forward: &Tensor,
        backward: &Tensor,
        _outputs: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = self.sizes;
        let [(h_ahead, mut ahead), (h_back, mut back)] =
            self.saved.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(used_up)?;
        let gradient = gradient.contiguous()?;
        let (x_storage, x_layout) = x.storage_and_layout();
        let (forward_storage, forward_layout) = forward.storage_and_layout();
        let (backward_storage, backward_layout) = backward.storage_and_layout();
        let (gradient_storage, gradient_layout) = gradient.storage_and_layout();
        let x_values = slice_of::<T>(&x_storage, x_layout)?;
        let weights = [
            Weights::new(slice_of::<T>(&forward_storage, forward_layout)?, sizes),
            Weights::new(slice_of::<T>(&backward_storage, backward_layout)?, sizes),
        ];
        let gradient = slice_of::<T>(&gradient_storage, gradient_layout)?;
        let zeros = self.pool.zeros(2 * sizes.cells());
        let plans = plans();
        let run = |direction: usize, h: &[T], saved: &mut Saved<T>| {
            let mut dweights = vec![T::ZERO; sizes.weights()];
            sequence::backward(
                sizes,
                &plans[direction],
                &self.pool,
                x_values,
                weights[direction],
                Initial::new(&zeros),
                h,
                saved,
                OutputGradient {
                    values: gradient,
                    stride: 2 * sizes.units,
                    offset: direction * sizes.units,
                    last_only: self.returns == Returns::Last,
                },
                &mut dweights,
                None,
            );
            dweights
        };
        let (dforward, dbackward) =
            rayon::join(|| run(0, &h_ahead, &mut ahead), || run(1, &h_back, &mut back));
        let dx = x.track_op().then(|| {
            let mut dx = vec![T::ZERO; x_values.len()];
            // Two halves whatever the number of threads: each number is summed in one of them.
            let half = sizes.steps / 2;
            let (early, late) = dx.split_at_mut(half * sizes.batch * sizes.inputs);
            let fill = |steps: std::ops::Range<usize>, dx: &mut [T]| {
                ahead.input_gradient(sizes, weights[0], steps.clone(), false, dx);
                back.input_gradient(sizes, weights[1], steps, true, dx);
            };
            rayon::join(|| fill(0..half, early), || fill(half..sizes.steps, late));
            Tensor::from_vec(dx, x.shape(), &Device::Cpu)
        });
        let dforward = Tensor::from_vec(dforward, forward.shape(), &Device::Cpu)?;
        let dbackward = Tensor::from_vec(dbackward, backward.shape(), &Device::Cpu)?;
        Ok((dx.transpose()?, Some(dforward), Some(dbackward)))
    }
}
