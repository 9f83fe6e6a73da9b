//! The network of the original predictor: two bidirectional LSTM layers and a dense one, in f32.
//!
//! Keras's conventions: the four blocks of gates are input, forget, candidate and output, with one
//! bias; the backward direction reads the window from its end; a layer that returns the sequence
//! turns its backward outputs round again, one that does not gives each direction's last state.
//! The products with the input of all steps are taken first, then the recurrent ones step by step.

use super::WINDOW;
use super::activation::{sigmoid, tanh};
use super::panels::{Lane, Panels, WIDTH};
use super::weights::OriginalWeights;

/// Gates of an LSTM cell.
const GATES: usize = 4;

/// The network, ready to predict.
#[derive(Clone, Debug)]
pub struct OriginalNetwork {
    units: usize,
    layers: [[Direction; 2]; 2],
    dense_kernel: Vec<f32>,
    dense_bias: f32,
}

/// One direction of a bidirectional layer, or a layer that has only one.
#[derive(Clone, Debug)]
pub(in crate::predictor) struct Direction {
    kernel: Panels,
    recurrent: Panels,
    bias: Vec<Lane>,
    backward: bool,
}

/// Memory that predictions use again and again. The values inside the network of the last
/// prediction can be read from it.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// Sums of the gates, step by step.
    gates: Vec<Lane>,
    cell: Vec<f32>,
    hidden: Vec<f32>,
    layer1: Vec<f32>,
    layer2: Vec<f32>,
}

impl Workspace {
    /// Output of the first layer: at each step the forward units, then the backward ones.
    pub fn layer1(&self) -> &[f32] {
        &self.layer1
    }

    /// Output of the second layer: the forward units, then the backward ones.
    pub fn layer2(&self) -> &[f32] {
        &self.layer2
    }

    fn fit(&mut self, units: usize) {
        let lanes = WINDOW * (GATES * units).div_ceil(WIDTH);
        if self.hidden.len() != units || self.gates.len() != lanes {
            self.gates = vec![[0.0; WIDTH]; lanes];
            self.cell = vec![0.0; units];
            self.hidden = vec![0.0; units];
            self.layer1 = vec![0.0; WINDOW * 2 * units];
            self.layer2 = vec![0.0; 2 * units];
        }
    }
}

impl OriginalNetwork {
    /// Lays the weights out for prediction.
    pub fn new(weights: &OriginalWeights) -> Self {
        let units = weights.units();
        let direction = |layer: usize, backward: bool| {
            let [kernel, recurrent, bias] = weights.direction(layer, backward);
            let inputs = if layer == 0 { 1 } else { 2 * units };
            Direction::new([kernel, recurrent, bias], [inputs, units], backward)
        };
        let (dense_kernel, dense_bias) = weights.dense();
        Self {
            units,
            layers: [0, 1].map(|layer| [false, true].map(|backward| direction(layer, backward))),
            dense_kernel: dense_kernel.to_vec(),
            dense_bias,
        }
    }

    /// Units of each direction.
    pub fn units(&self) -> usize {
        self.units
    }

    /// The scaled value that follows a scaled window, oldest first. Allocates nothing in a workspace
    /// that has served a network of this size.
    pub fn predict(&self, window: &[f32; WINDOW], workspace: &mut Workspace) -> f32 {
        workspace.fit(self.units);
        let Workspace { gates, cell, hidden, layer1, layer2 } = workspace;
        let width = 2 * self.units;
        for (direction, offset) in self.layers[0].iter().zip([0, self.units]) {
            direction.run(window, gates, cell, hidden, |step, hidden| {
                let start = step * width + offset;
                layer1[start..start + hidden.len()].copy_from_slice(hidden);
            });
        }
        for (direction, last) in self.layers[1].iter().zip(layer2.chunks_exact_mut(self.units)) {
            direction.run(layer1, gates, cell, hidden, |_, _| ());
            last.copy_from_slice(hidden);
        }
        let products = layer2.iter().zip(&self.dense_kernel).map(|(value, weight)| value * weight);
        products.sum::<f32>() + self.dense_bias
    }
}

impl Direction {
    /// From kernel, recurrent kernel and bias, row after row, and the numbers of inputs and units.
    pub fn new(
        [kernel, recurrent, bias]: [&[f32]; 3],
        [inputs, units]: [usize; 2],
        backward: bool,
    ) -> Self {
        Self {
            kernel: Panels::pack(kernel, inputs),
            recurrent: Panels::pack(recurrent, units),
            bias: bias.chunks(WIDTH).map(padded).collect(),
            backward,
        }
    }

    /// Lanes of the gates of one step.
    pub fn lanes(&self) -> usize {
        self.bias.len()
    }

    /// Runs over the steps of `inputs` in this direction and tells `output` the state after each;
    /// the last stays in `hidden`. `gates` holds the lanes of every step.
    #[inline(always)]
    pub fn run(
        &self,
        inputs: &[f32],
        gates: &mut [Lane],
        cell: &mut [f32],
        hidden: &mut [f32],
        mut output: impl FnMut(usize, &[f32]),
    ) {
        let lanes = self.bias.len();
        for step in gates.chunks_exact_mut(lanes) {
            step.copy_from_slice(&self.bias);
        }
        self.kernel.add_products(inputs, gates);
        cell.fill(0.0);
        hidden.fill(0.0);
        let steps = gates.len() / lanes;
        for position in 0..steps {
            let step = if self.backward { steps - 1 - position } else { position };
            let gates = &mut gates[step * lanes..][..lanes];
            self.recurrent.add_product(hidden, gates);
            advance(gates.as_flattened(), cell, hidden);
            output(step, hidden);
        }
    }
}

/// One step of the cells, from the sums of their gates.
#[inline(always)]
fn advance(gates: &[f32], cell: &mut [f32], hidden: &mut [f32]) {
    let units = cell.len();
    let hidden = &mut hidden[..units];
    let (input, rest) = gates.split_at(units);
    let (forget, rest) = rest.split_at(units);
    let (candidate, rest) = rest.split_at(units);
    let exit = &rest[..units];
    for unit in 0..units {
        let kept = sigmoid(forget[unit]) * cell[unit];
        let state = kept + sigmoid(input[unit]) * tanh(candidate[unit]);
        cell[unit] = state;
        hidden[unit] = sigmoid(exit[unit]) * tanh(state);
    }
}

/// A lane that begins with `part` and goes on with zeros.
pub(in crate::predictor) fn padded(part: &[f32]) -> Lane {
    let mut lane = [0.0; WIDTH];
    lane[..part.len()].copy_from_slice(part);
    lane
}
