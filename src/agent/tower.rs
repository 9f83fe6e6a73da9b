//! A network of one purpose: an LSTM (or none), dense layers, and a linear head.
//!
//! Its parameters are one part of the agent's vector; the ranges here count from that part's start.

use std::ops::Range;

use super::parameters::Parameters;
use crate::error::Result;
use crate::nn::flat::{LstmPass, SequenceSizes, dense, dense_gradient, dense_tangent, lstm_step};
use crate::nn::{Activation, init};
use crate::rng::Rng;

/// The structure of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tower {
    inputs: usize,
    lstm: Option<Recurrent>,
    layers: Vec<Layer>,
    /// Its part of the agent's parameters.
    span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Recurrent {
    units: usize,
    span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Layer {
    inputs: usize,
    outputs: usize,
    activation: Activation,
    span: Range<usize>,
}

/// What a tower is built from.
#[derive(Clone, Debug)]
pub struct TowerPlan<'a> {
    /// Behind which its tensors are named.
    pub name: &'a str,
    /// I.
    pub inputs: usize,
    /// Units of the LSTM, if any.
    pub lstm: Option<usize>,
    /// Widths of the dense layers between.
    pub hidden: &'a [usize],
    /// Their activation.
    pub activation: Activation,
    /// Groups of outputs with the gain of their orthogonal initial weights.
    pub heads: &'a [(usize, f64)],
}

impl Tower {
    /// Adds the tensors to `parameters`, with initial weights: orthogonal, gain sqrt 2 in hidden layers;
    /// biases 0, but 1 for the LSTM's forget gate. Names: NAME.lstm [I + H + 1, 4H], NAME.hidden0 and so on and
    /// NAME.head, [I + 1, O] with the bias in the last row.
    pub fn new(plan: &TowerPlan<'_>, parameters: &mut Parameters, rng: &mut Rng) -> Self {
        let start = parameters.values.len();
        let local = |span: Range<usize>| span.start - start..span.end - start;
        let name = plan.name;
        let lstm = plan.lstm.map(|units| {
            let values = init::lstm(plan.inputs, units, init::Kernel::Orthogonal, rng);
            let shape = [plan.inputs + units + 1, 4 * units];
            let span = local(parameters.push(&format!("{name}.lstm"), &shape, &values));
            Recurrent { units, span }
        });
        let mut inputs = plan.lstm.unwrap_or(plan.inputs);
        let mut layers = Vec::new();
        for (index, &outputs) in plan.hidden.iter().enumerate() {
            let mut values = init::orthogonal(inputs, outputs, 2.0_f64.sqrt(), rng);
            values.resize((inputs + 1) * outputs, 0.0);
            let name = format!("{name}.hidden{index}");
            let span = local(parameters.push(&name, &[inputs + 1, outputs], &values));
            layers.push(Layer { inputs, outputs, activation: plan.activation, span });
            inputs = outputs;
        }
        let outputs: usize = plan.heads.iter().map(|&(outputs, _)| outputs).sum();
        let mut values = vec![0.0; (inputs + 1) * outputs];
        let mut column = 0;
        for &(width, gain) in plan.heads {
            let head = init::orthogonal(inputs, width, gain, rng);
            for (row, head) in values.chunks_exact_mut(outputs).zip(head.chunks_exact(width)) {
                row[column..column + width].copy_from_slice(head);
            }
            column += width;
        }
        let shape = [inputs + 1, outputs];
        let span = local(parameters.push(&format!("{name}.head"), &shape, &values));
        layers.push(Layer { inputs, outputs, activation: Activation::Linear, span });
        Self { inputs: plan.inputs, lstm, layers, span: start..parameters.values.len() }
    }

    /// Numbers of one input, I.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers of one output, O.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Units of the LSTM; 0 without one.
    pub fn units(&self) -> usize {
        self.lstm.as_ref().map_or(0, |lstm| lstm.units)
    }

    /// Its part of the agent's parameters.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn sizes(&self, steps: usize, rows: usize) -> SequenceSizes {
        SequenceSizes { steps, rows, inputs: self.inputs, units: self.units() }
    }

    /// Runs `x` [T, B, I] from `state` [2, B, H] (empty without an LSTM), zero before every step whose
    /// reset flag [T, B] is set. The outputs [T, B, O] are then in `pass`.
    ///
    /// # Errors
    /// When the number of reset flags does not fit.
    pub fn forward(
        &self,
        parameters: &[f32],
        batch: &Batch<'_>,
        pass: &mut TowerPass,
    ) -> Result<()> {
        let count = batch.steps * batch.rows;
        if let Some(lstm) = &self.lstm {
            let sizes = self.sizes(batch.steps, batch.rows);
            let weights = &parameters[lstm.span.clone()];
            pass.lstm.forward(weights, batch.x, batch.state, batch.resets, sizes)?;
        }
        pass.layers.resize_with(self.layers.len(), Vec::new);
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, rest) = pass.layers.split_at_mut(index);
            let x = match before.last() {
                Some(before) => before,
                None if self.lstm.is_some() => pass.lstm.h(),
                None => batch.x,
            };
            rest[0].resize(count * layer.outputs, 0.0);
            let weights = &parameters[layer.span.clone()];
            dense(weights, x, layer.inputs, layer.outputs, layer.activation, &mut rest[0]);
        }
        Ok(())
    }

    /// Writes the gradient of the tower's parameters for `doutputs` [T, B, O] (which is used up), after
    /// [`Self::forward`] with the same arguments.
    pub fn backward(
        &self,
        parameters: &[f32],
        batch: &Batch<'_>,
        pass: &mut TowerPass,
        doutputs: &mut Vec<f32>,
        gradient: &mut [f32],
    ) {
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let bottom = index == 0 && self.lstm.is_none();
            let x: &[f32] = match index {
                0 if self.lstm.is_some() => pass.lstm.h(),
                0 => batch.x,
                _ => &pass.layers[index - 1],
            };
            let rows = batch.steps * batch.rows;
            if !bottom {
                pass.dx.resize(rows * layer.inputs, 0.0);
            }
            dense_gradient(
                &parameters[layer.span.clone()],
                x,
                layer.inputs,
                layer.outputs,
                layer.activation,
                &pass.layers[index],
                doutputs,
                &mut gradient[layer.span.clone()],
                if bottom { None } else { Some(&mut pass.dx) },
            );
            if !bottom {
                std::mem::swap(doutputs, &mut pass.dx);
            }
        }
        if let Some(lstm) = &self.lstm {
            let weights = &parameters[lstm.span.clone()];
            let dweights = &mut gradient[lstm.span.clone()];
            pass.lstm.backward(weights, batch.x, batch.state, doutputs, dweights);
        }
    }

    /// How the outputs of the last [forward pass](Self::forward) change along `direction` of the tower's
    /// parameters: writes `doutputs` [B, O]. For towers without an LSTM. `space` is kept from one call to
    /// the next.
    pub fn tangent(
        &self,
        parameters: &[f32],
        batch: &Batch<'_>,
        pass: &TowerPass,
        direction: &[f32],
        space: &mut TangentSpace,
        doutputs: &mut [f32],
    ) {
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let TangentSpace { from, to, unused } = space;
            let out = if index == last {
                &mut *doutputs
            } else {
                to.resize(batch.rows * layer.outputs, 0.0);
                to
            };
            unused.resize(layer.outputs, 0.0);
            let (x, dx) = match index {
                0 => (batch.x, None),
                _ => (pass.layers[index - 1].as_slice(), Some(from.as_slice())),
            };
            dense_tangent(
                &parameters[layer.span.clone()],
                &direction[layer.span.clone()],
                x,
                dx,
                layer.inputs,
                layer.outputs,
                layer.activation,
                &pass.layers[index],
                out,
                unused,
            );
            if index != last {
                std::mem::swap(&mut space.from, &mut space.to);
            }
        }
    }

    /// One step for acting: `x` [B, I] to `outputs` [B, O]; `state` [2, B, H] becomes the one after it.
    pub fn step(
        &self,
        parameters: &[f32],
        x: &[f32],
        state: &mut [f32],
        space: &mut StepSpace,
        outputs: &mut [f32],
    ) {
        let rows = x.len() / self.inputs;
        if let Some(lstm) = &self.lstm {
            let weights = &parameters[lstm.span.clone()];
            lstm_step(weights, x, state, lstm.units, &mut space.lstm);
        }
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let weights = &parameters[layer.span.clone()];
            let StepSpace { from, to, .. } = space;
            let x: &[f32] = match index {
                0 if self.lstm.is_some() => &state[..state.len() / 2],
                0 => x,
                _ => from,
            };
            if index == last {
                dense(weights, x, layer.inputs, layer.outputs, layer.activation, outputs);
            } else {
                to.resize(rows * layer.outputs, 0.0);
                dense(weights, x, layer.inputs, layer.outputs, layer.activation, to);
                std::mem::swap(from, to);
            }
        }
    }
}

/// Sequences of one length.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// T (1 without an LSTM: any rows in any order).
    pub steps: usize,
    /// B.
    pub rows: usize,
    /// [T, B, I].
    pub x: &'a [f32],
    /// State before the first step, [2, B, H].
    pub state: &'a [f32],
    /// [T, B]: where set, the state is zero before the step.
    pub resets: Option<&'a [bool]>,
}

/// Space of a pass over sequences, kept from one to the next.
#[derive(Debug, Default)]
pub struct TowerPass {
    lstm: LstmPass<f32>,
    layers: Vec<Vec<f32>>,
    dx: Vec<f32>,
}

impl TowerPass {
    /// Outputs of the last forward pass, [T, B, O].
    pub fn outputs(&self) -> &[f32] {
        self.layers.last().map_or(&[], Vec::as_slice)
    }

    /// Outputs of the LSTM in the last forward pass, [T, B, H].
    pub fn h(&self) -> &[f32] {
        self.lstm.h()
    }

    /// Cell states after each step of the last forward pass, [T, B, H].
    pub fn c(&self) -> &[f32] {
        self.lstm.c()
    }
}

/// Space of derivatives along a direction, kept from one to the next.
#[derive(Debug, Default)]
pub struct TangentSpace {
    from: Vec<f32>,
    to: Vec<f32>,
    unused: Vec<f32>,
}

/// Space of acting, kept from one step to the next.
#[derive(Clone, Debug, Default)]
pub struct StepSpace {
    lstm: Vec<f32>,
    from: Vec<f32>,
    to: Vec<f32>,
}
