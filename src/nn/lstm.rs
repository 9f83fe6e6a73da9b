//! A long short-term memory layer: one direction, over whole sequences or step by step.
//!
//! z = x_t K + h R + b with gate order i, f, g, o (Keras writes c for g);
//! c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
//!
//! Kernel K [I, 4H], recurrent kernel R [H, 4H] and bias b [4H] are the rows of one packed tensor
//! [I + H + 1, 4H], so that the whole sequence is one custom operation of candle with three inputs,
//! its own backward pass and one gradient for the weights.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::gates::{Forward, Row};
use super::kernel::{Level, Matrix, lstm_forward, multiply};
use super::pool::Pool;
use super::real::Real;
use super::sequence::{self, Initial, OutputGradient, Plan, Saved, Sizes, Weights};
use super::storage::{slice, slice_of};
use crate::error::{Error, Result};

/// How a sequence is run through a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceOptions<'a> {
    /// [T, B] row by row: where set, the state is zero before that step, and no gradient goes from
    /// it to earlier steps.
    pub resets: Option<&'a [bool]>,
    /// `[B]`: steps from here on are padding. They leave the state as it is, repeat it as output, ignore
    /// resets, and send no gradient to weights or inputs. (What the output's gradient holds there
    /// flows to the state that is repeated.) The padding itself has to be finite numbers.
    pub lengths: Option<&'a [usize]>,
    /// Takes the steps from the last to the first. Output t still stands at t.
    pub reverse: bool,
}

/// What a layer makes of a sequence.
#[derive(Clone, Debug)]
pub struct LstmOutput {
    /// Outputs, [T, B, H].
    pub h: Tensor,
    /// State (h, c) after the step taken last, [2, B, H]. Detached: no gradient flows through it.
    pub state: Tensor,
}

/// A layer. Clones share weights and buffers.
#[derive(Clone, Debug)]
pub struct Lstm {
    weights: Tensor,
    inputs: usize,
    units: usize,
    pools: Pools,
}

/// Buffers for either number type.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pub single: Pool<f32>,
    pub double: Pool<f64>,
}

impl Lstm {
    /// A layer on packed weights [I + H + 1, 4H] (a `Var`'s tensor, to be trained).
    ///
    /// # Errors
    /// When the shape does not fit `inputs`, or the numbers are neither f32 nor f64.
    pub fn new(weights: &Tensor, inputs: usize) -> Result<Self> {
        let (rows, columns) = weights.dims2()?;
        let units = columns / 4;
        if inputs == 0 || units == 0 || columns != 4 * units || rows != inputs + units + 1 {
            return Err(Error::Failed(format!(
                "packed LSTM weights of shape [{rows}, {columns}] do not fit {inputs} inputs: the \
                 shape is [inputs + units + 1, 4 * units]"
            )));
        }
        if !matches!(weights.dtype(), DType::F32 | DType::F64) || !weights.is_contiguous() {
            return Err(Error::Failed("LSTM weights have to be contiguous f32 or f64".to_owned()));
        }
        Ok(Self { weights: weights.clone(), inputs, units, pools: Pools::default() })
    }

    /// Inputs of a step, I.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs of a step, H.
    pub fn units(&self) -> usize {
        self.units
    }

    /// The packed weights.
    pub fn weights(&self) -> &Tensor {
        &self.weights
    }

    pub(super) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Runs `x` [T, B, I] from `state` [2, B, H] (h, c; zero where `None`).
    ///
    /// Gradients go to the weights, and to `x` and `state` where these track gradients. They can be
    /// taken once for each forward pass: the backward pass works in its buffers.
    ///
    /// # Errors
    /// When shapes or number types do not fit.
    pub fn forward(
        &self,
        x: &Tensor,
        state: Option<&Tensor>,
        options: SequenceOptions<'_>,
    ) -> Result<LstmOutput> {
        let sizes = self.sizes(x)?;
        let plan = plan(sizes, options)?;
        let shape = (2, sizes.batch, sizes.units);
        let state = match state {
            Some(state) => state.contiguous()?,
            None => Tensor::zeros(shape, self.weights.dtype(), &Device::Cpu)?,
        };
        if state.dims() != [2, sizes.batch, sizes.units] {
            return Err(Error::Failed(format!(
                "an LSTM state of shape {:?} where {shape:?} (h and c, rows, units) is needed",
                state.dims()
            )));
        }
        match self.weights.dtype() {
            DType::F32 => self.run(x, &state, sizes, plan, &self.pools.single),
            _ => self.run(x, &state, sizes, plan, &self.pools.double),
        }
    }

    pub(super) fn sizes(&self, x: &Tensor) -> Result<Sizes> {
        let (steps, batch, inputs) = x.dims3()?;
        if inputs != self.inputs || steps == 0 || batch == 0 {
            return Err(Error::Failed(format!(
                "an LSTM input of shape [{steps}, {batch}, {inputs}] where [steps, rows, {}] is \
                 needed",
                self.inputs
            )));
        }
        Ok(Sizes { steps, batch, inputs, units: self.units })
    }

    fn run<T: Real>(
        &self,
        x: &Tensor,
        state: &Tensor,
        sizes: Sizes,
        plan: Plan,
        pool: &Pool<T>,
    ) -> Result<LstmOutput> {
        let final_state = Arc::new(Mutex::new(Vec::new()));
        let operation = LstmOperation {
            sizes,
            plan,
            pool: pool.clone(),
            saved: Mutex::new(None),
            final_state: Arc::clone(&final_state),
        };
        let h = x.contiguous()?.apply_op3(&self.weights, state, operation)?;
        let last = std::mem::take(&mut *final_state.lock().unwrap_or_else(PoisonError::into_inner));
        let state = Tensor::from_vec(last, (2, sizes.batch, sizes.units), &Device::Cpu)?;
        Ok(LstmOutput { h, state })
    }

    /// One step outside candle, for acting: `x` is [B, I], and `state` becomes the state after it.
    /// The arithmetic of [`forward`](Self::forward). Nothing is allocated after the scratch space's
    /// first use (the matrix product itself packs into buffers of its own where B is above 1).
    ///
    /// # Errors
    /// When sizes do not fit or the weights are not f32.
    pub fn step(&self, x: &[f32], state: &mut LstmState, scratch: &mut LstmScratch) -> Result<()> {
        let (batch, units) = (state.batch, self.units);
        if x.len() != batch * self.inputs || state.values.len() != 2 * batch * units {
            return Err(Error::Failed(format!(
                "an LSTM step of {} inputs and {} units got {} numbers for {batch} rows with a \
                 state of {}",
                self.inputs,
                units,
                x.len(),
                state.values.len()
            )));
        }
        if batch == 0 {
            return Ok(());
        }
        let sizes = Sizes { steps: 1, batch, inputs: self.inputs, units };
        let (storage, layout) = self.weights.storage_and_layout();
        let weights = Weights::new(slice_of::<f32>(&storage, layout)?, sizes);
        let (h, c) = state.values.split_at_mut(batch * units);
        scratch.gates.resize(4 * batch * units, 0.0);
        scratch.c_before.clear();
        scratch.c_before.extend_from_slice(c);
        scratch.zeros.resize(units, 0.0);
        let gates = &mut scratch.gates;
        let kernel = Matrix::new(weights.kernel(), self.inputs, 4 * units);
        multiply(gates, false, Matrix::new(x, batch, self.inputs), kernel);
        let recurrent = Matrix::new(weights.recurrent(), units, 4 * units);
        multiply(gates, true, Matrix::new(h, batch, units), recurrent);
        lstm_forward(
            Level::best(),
            Forward {
                units,
                rows: None,
                bias: weights.bias(),
                zeros: &scratch.zeros,
                c_before: &scratch.c_before,
                gates,
                c,
                h,
            },
        );
        Ok(())
    }
}

/// The recurrent state of several rows (environments, services) while acting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LstmState {
    batch: usize,
    /// h and c one after the other, [2, B, H].
    values: Vec<f32>,
}

impl LstmState {
    /// The state before anything was seen.
    pub fn zero(batch: usize, units: usize) -> Self {
        Self { batch, values: vec![0.0; 2 * batch * units] }
    }

    /// From h and c one after the other, [2, B, H]: the numbers of [`LstmOutput::state`].
    ///
    /// # Errors
    /// When they do not divide among `batch` rows.
    pub fn from_values(batch: usize, values: Vec<f32>) -> Result<Self> {
        if batch == 0 || !values.len().is_multiple_of(2 * batch) {
            let count = values.len();
            return Err(Error::Failed(format!(
                "an LSTM state of {count} numbers for {batch} rows"
            )));
        }
        Ok(Self { batch, values })
    }

    /// Rows, B.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Outputs, [B, H].
    pub fn h(&self) -> &[f32] {
        &self.values[..self.values.len() / 2]
    }

    /// h and c one after the other, [2, B, H]: what [`Lstm::forward`] takes as a tensor.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Makes the state of one row zero, at the start of an episode.
    pub fn reset(&mut self, row: usize) {
        let half = self.values.len() / 2;
        let units = half / self.batch;
        for part in self.values.chunks_exact_mut(half) {
            part[row * units..(row + 1) * units].fill(0.0);
        }
    }
}

/// Space that [`Lstm::step`] works in; one serves layers and batches of any size.
#[derive(Clone, Debug, Default)]
pub struct LstmScratch {
    gates: Vec<f32>,
    c_before: Vec<f32>,
    zeros: Vec<f32>,
}

/// What each row does at each step.
pub(super) fn plan(sizes: Sizes, options: SequenceOptions<'_>) -> Result<Plan> {
    let check = |what: &str, found: usize, wanted: usize| {
        if found == wanted {
            return Ok(());
        }
        Err(Error::Failed(format!(
            "{found} {what} for a sequence of {} steps and {} rows; {wanted} are needed",
            sizes.steps, sizes.batch
        )))
    };
    if let Some(resets) = options.resets {
        check("reset flags", resets.len(), sizes.steps * sizes.batch)?;
    }
    if let Some(lengths) = options.lengths {
        check("lengths", lengths.len(), sizes.batch)?;
    }
    let resets = options.resets.filter(|resets| resets.contains(&true));
    let lengths =
        options.lengths.filter(|lengths| lengths.iter().any(|&length| length < sizes.steps));
    let rows = (resets.is_some() || lengths.is_some()).then(|| {
        let kind = |step: usize, row: usize| {
            if lengths.is_some_and(|lengths| step >= lengths[row]) {
                Row::Carry
            } else if resets.is_some_and(|resets| resets[step * sizes.batch + row]) {
                Row::Reset
            } else {
                Row::Run
            }
        };
        (0..sizes.steps)
            .flat_map(|step| (0..sizes.batch).map(move |row| (step, row)))
            .map(|(step, row)| kind(step, row))
            .collect()
    });
    Ok(Plan { reverse: options.reverse, rows })
}

/// The error of a second backward pass.
pub(super) fn used_up() -> candle_core::Error {
    candle_core::Error::Msg(
        "gradients of an LSTM's forward pass can be taken once; run it again first".to_owned(),
    )
}

/// The layer over a sequence as an operation of candle: (x, weights, state) -> h.
struct LstmOperation<T> {
    sizes: Sizes,
    plan: Plan,
    pool: Pool<T>,
    /// Filled by the forward pass, used up by the backward pass.
    saved: Mutex<Option<Saved<T>>>,
    final_state: Arc<Mutex<Vec<T>>>,
}

impl<T: Real> CustomOp3 for LstmOperation<T> {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        state: &CpuStorage,
        state_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let sizes = self.sizes;
        let x = slice::<T>(x, x_layout)?;
        let weights = Weights::new(slice::<T>(weights, weights_layout)?, sizes);
        let initial = Initial::new(slice::<T>(state, state_layout)?);
        let mut h = vec![T::ZERO; sizes.steps * sizes.cells()];
        let saved = sequence::forward(sizes, &self.plan, &self.pool, x, weights, initial, &mut h);
        let last = self.plan.last(sizes) * sizes.cells();
        let mut state = Vec::with_capacity(2 * sizes.cells());
        state.extend_from_slice(&h[last..last + sizes.cells()]);
        state.extend_from_slice(saved.final_cells(sizes, &self.plan));
        *self.final_state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        let shape = Shape::from((sizes.steps, sizes.batch, sizes.units));
        Ok((T::to_cpu_storage_owned(h), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        state: &Tensor,
        h: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = self.sizes;
        let mut saved =
            self.saved.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(used_up)?;
        let gradient = gradient.contiguous()?;
        let (x_storage, x_layout) = x.storage_and_layout();
        let (weights_storage, weights_layout) = weights.storage_and_layout();
        let (state_storage, state_layout) = state.storage_and_layout();
        let (h_storage, h_layout) = h.storage_and_layout();
        let (gradient_storage, gradient_layout) = gradient.storage_and_layout();
        let packed = Weights::new(slice_of::<T>(&weights_storage, weights_layout)?, sizes);
        let mut dweights = vec![T::ZERO; sizes.weights()];
        let mut dstate = state.track_op().then(|| vec![T::ZERO; 2 * sizes.cells()]);
        sequence::backward(
            sizes,
            &self.plan,
            &self.pool,
            slice_of::<T>(&x_storage, x_layout)?,
            packed,
            Initial::new(slice_of::<T>(&state_storage, state_layout)?),
            slice_of::<T>(&h_storage, h_layout)?,
            &mut saved,
            OutputGradient {
                values: slice_of::<T>(&gradient_storage, gradient_layout)?,
                stride: sizes.units,
                offset: 0,
                last_only: false,
            },
            &mut dweights,
            dstate.as_deref_mut(),
        );
        let dx = x.track_op().then(|| {
            let mut dx = vec![T::ZERO; sizes.steps * sizes.batch * sizes.inputs];
            saved.input_gradient(sizes, packed, 0..sizes.steps, false, &mut dx);
            Tensor::from_vec(dx, x.shape(), &Device::Cpu)
        });
        let dweights = Tensor::from_vec(dweights, weights.shape(), &Device::Cpu)?;
        let dstate = dstate.map(|values| Tensor::from_vec(values, state.shape(), &Device::Cpu));
        Ok((dx.transpose()?, Some(dweights), dstate.transpose()?))
    }
}
