//! The network outside candle: an LSTM over the steps of a window, a layer that joins its last output
//! with the summary and what the lines expect, and the outputs.

use super::checkpoint::QuantileConfig;
use super::view::{STEP_INPUTS, STEPS};
use crate::nn::TensorFile;
use crate::predictor::original::activation::tanh;
use crate::predictor::original::network::{Direction, padded};
use crate::predictor::original::panels::{Lane, Panels, WIDTH};

/// The network, ready to predict.
#[derive(Clone, Debug)]
pub struct QuantileNetwork {
    units: usize,
    hidden: usize,
    body: Direction,
    head: Dense,
    out: Dense,
}

/// Memory that predictions use again and again.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    gates: Vec<Lane>,
    cell: Vec<f32>,
    /// The LSTM's output, then the summary, then what the lines expect.
    joined: Vec<f32>,
    head: Vec<Lane>,
    out: Vec<Lane>,
}

#[derive(Clone, Debug)]
struct Dense {
    weights: Panels,
    bias: Vec<Lane>,
}

impl Dense {
    fn new(file: &TensorFile, name: &str) -> Self {
        let tensor = |part: &str| &file.tensors[&format!("{name}.{part}")];
        let weights = tensor("weights");
        Self {
            weights: Panels::pack(&weights.values, weights.shape[0]),
            bias: tensor("bias").values.chunks(WIDTH).map(padded).collect(),
        }
    }

    fn run(&self, input: &[f32], sums: &mut Vec<Lane>) {
        sums.clear();
        sums.extend_from_slice(&self.bias);
        self.weights.add_product(input, sums);
    }
}

impl QuantileNetwork {
    /// Lays checked weights out for prediction.
    pub fn new(config: &QuantileConfig, weights: &TensorFile) -> Self {
        let (units, columns) = (config.units, 4 * config.units);
        let packed = &weights.tensors["body.weights"].values;
        let (kernel, rest) = packed.split_at(STEP_INPUTS * columns);
        let (recurrent, bias) = rest.split_at(units * columns);
        Self {
            units,
            hidden: config.hidden,
            body: Direction::new([kernel, recurrent, bias], [STEP_INPUTS, units], false),
            head: Dense::new(weights, "head"),
            out: Dense::new(weights, "out"),
        }
    }

    /// The outputs for every row ahead, from what the network sees at each step and once. Allocates
    /// nothing in a workspace that has served a network of this size.
    pub fn run<'a>(&self, steps: &[f32], once: &[f32], workspace: &'a mut Workspace) -> &'a [f32] {
        let Workspace { gates, cell, joined, head, out } = workspace;
        gates.resize(STEPS * self.body.lanes(), [0.0; WIDTH]);
        cell.resize(self.units, 0.0);
        joined.resize(self.units + once.len(), 0.0);
        let (last, rest) = joined.split_at_mut(self.units);
        self.body.run(steps, gates, cell, last, |_, _| ());
        rest.copy_from_slice(once);
        self.head.run(joined, head);
        let hidden = &mut head.as_flattened_mut()[..self.hidden];
        for value in &mut *hidden {
            *value = tanh(*value);
        }
        self.out.run(hidden, out);
        out.as_flattened()
    }
}
