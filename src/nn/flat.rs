//! Layers on plain slices, forward and backward.
//!
//! Reinforcement learning alternates between acting, one step at a time, and short updates, so it
//! keeps all parameters of a network in one vector and works on parts of it: no graph is built, no
//! tensor allocated, and a network's gradient is one vector as well.
//!
//! Shapes as in [`crate::nn`]: sequences [T, B, ..] with steps outermost, LSTM weights
//! [I + H + 1, 4H], dense weights [I, O] with the bias as one more row: [I + 1, O].

use super::adam::{AdamConfig, scalars};
use super::gates::Forward;
use super::kernel::{
    Level, Matrix, activate, activation_gradient, adam, lstm_forward, multiply, relu_sums,
    sum_of_squares,
};
use super::lstm::{SequenceOptions, plan};
use super::pointwise::Activation;
use super::pool::Pool;
use super::real::Real;
use super::sequence::{self, Initial, OutputGradient, Plan, Saved, Sizes, Weights};
use crate::error::Result;

/// An LSTM over a sequence: its buffers, and between a forward and a backward pass what the latter
/// needs.
#[derive(Debug, Default)]
pub struct LstmPass<T> {
    pool: Pool<T>,
    plan: Plan,
    sizes: Option<Sizes>,
    saved: Option<Saved<T>>,
    h: Vec<T>,
}

/// Sizes of a sequence through an LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceSizes {
    /// T.
    pub steps: usize,
    /// B.
    pub rows: usize,
    /// I.
    pub inputs: usize,
    /// H.
    pub units: usize,
}

impl<T: Real> LstmPass<T> {
    /// Runs `x` [T, B, I] from `state` [2, B, H] with the packed `weights`. `resets` [T, B]: where
    /// set, the state is zero before that step.
    ///
    /// # Errors
    /// When the number of reset flags does not fit.
    pub fn forward(
        &mut self,
        weights: &[T],
        x: &[T],
        state: &[T],
        resets: Option<&[bool]>,
        sizes: SequenceSizes,
    ) -> Result<()> {
        let SequenceSizes { steps, rows, inputs, units } = sizes;
        let sizes = Sizes { steps, batch: rows, inputs, units };
        self.plan = plan(sizes, SequenceOptions { resets, ..SequenceOptions::default() })?;
        // Given back before the same buffers are asked for again.
        self.saved = None;
        self.h.resize(steps * sizes.cells(), T::ZERO);
        let weights = Weights::new(weights, sizes);
        let initial = Initial::new(state);
        let saved =
            sequence::forward(sizes, &self.plan, &self.pool, x, weights, initial, &mut self.h);
        self.saved = Some(saved);
        self.sizes = Some(sizes);
        Ok(())
    }

    /// Outputs of the last forward pass, [T, B, H].
    pub fn h(&self) -> &[T] {
        &self.h
    }

    /// Cell states after each step of the last forward pass, [T, B, H]; empty before one and after
    /// a backward pass.
    pub fn c(&self) -> &[T] {
        self.saved.as_ref().map_or(&[], Saved::cells)
    }

    /// Writes the gradient of the weights for `dh` [T, B, H], with the arguments of the forward pass.
    /// Nothing flows to `state`. A forward pass serves one backward pass.
    pub fn backward(&mut self, weights: &[T], x: &[T], state: &[T], dh: &[T], dweights: &mut [T]) {
        let (Some(sizes), Some(mut saved)) = (self.sizes, self.saved.take()) else { return };
        sequence::backward(
            sizes,
            &self.plan,
            &self.pool,
            x,
            Weights::new(weights, sizes),
            Initial::new(state),
            &self.h,
            &mut saved,
            OutputGradient { values: dh, stride: sizes.units, offset: 0, last_only: false },
            dweights,
            None,
        );
    }
}

/// One LSTM step for acting: `x` [B, I], `state` (h, c) [2, B, H] becomes the state after it.
/// `space` is what the step works in; it does not allocate once that has grown.
pub fn lstm_step(
    weights: &[f32],
    x: &[f32],
    state: &mut [f32],
    units: usize,
    space: &mut Vec<f32>,
) {
    let cells = state.len() / 2;
    let rows = cells / units;
    let inputs = x.len() / rows;
    let sizes = Sizes { steps: 1, batch: rows, inputs, units };
    let weights = Weights::new(weights, sizes);
    space.resize(5 * cells + units, 0.0);
    let (gates, rest) = space.split_at_mut(4 * cells);
    let (c_before, zeros) = rest.split_at_mut(cells);
    zeros.fill(0.0);
    let (h, c) = state.split_at_mut(cells);
    c_before.copy_from_slice(c);
    let kernel = Matrix::new(weights.kernel(), inputs, 4 * units);
    multiply(gates, false, Matrix::new(x, rows, inputs), kernel);
    let recurrent = Matrix::new(weights.recurrent(), units, 4 * units);
    multiply(gates, true, Matrix::new(h, rows, units), recurrent);
    let bias = weights.bias();
    let step = Forward { units, rows: None, bias, zeros, c_before, gates, c, h };
    lstm_forward(Level::best(), step);
}

/// `y` [rows, O] = activation(`x` [rows, I] W + b), `weights` being [I + 1, O].
pub fn dense<T: Real>(
    weights: &[T],
    x: &[T],
    inputs: usize,
    outputs: usize,
    activation: Activation,
    y: &mut [T],
) {
    let (kernel, bias) = weights.split_at(inputs * outputs);
    let rows = y.len() / outputs;
    multiply(y, false, Matrix::new(x, rows, inputs), Matrix::new(kernel, inputs, outputs));
    activate(Level::best(), y, bias, activation);
}

/// The gradient of [`dense`]: `dy` [rows, O] is that of the outputs `y` and becomes that of the
/// weighted inputs; writes that of the weights and, where wanted, of the inputs.
#[expect(clippy::too_many_arguments, reason = "the whole of what a backward pass depends on")]
pub fn dense_gradient<T: Real>(
    weights: &[T],
    x: &[T],
    inputs: usize,
    outputs: usize,
    activation: Activation,
    y: &[T],
    dy: &mut [T],
    dweights: &mut [T],
    dx: Option<&mut [T]>,
) {
    let rows = y.len() / outputs;
    let (dkernel, dbias) = dweights.split_at_mut(inputs * outputs);
    dbias.fill(T::ZERO);
    activation_gradient(Level::best(), dy, y, dbias, activation);
    let dy = Matrix::new(dy, rows, outputs);
    multiply(dkernel, false, Matrix::new(x, rows, inputs).transposed(), dy);
    if let Some(dx) = dx {
        let kernel = Matrix::new(&weights[..inputs * outputs], inputs, outputs);
        multiply(dx, false, dy, kernel.transposed());
    }
}

/// `out` [rows, columns] = `left` [rows, inner] times `right` [inner, columns], or added to it.
pub fn product(
    out: &mut [f32],
    accumulate: bool,
    left: &[f32],
    right: &[f32],
    [rows, inner, columns]: [usize; 3],
) {
    let right = Matrix::new(right, inner, columns);
    multiply(out, accumulate, Matrix::new(left, rows, inner), right);
}

/// As [`product`], `left` being given transposed: [inner, rows].
pub fn product_of_transposed(
    out: &mut [f32],
    left: &[f32],
    right: &[f32],
    [rows, inner, columns]: [usize; 3],
) {
    let left = Matrix::new(left, inner, rows).transposed();
    multiply(out, false, left, Matrix::new(right, inner, columns));
}

/// How the outputs of [`dense`] change along `direction` of the weights, and along `dx` [rows, I] of the
/// inputs if given: writes `dy` [rows, O]. `y` are the outputs themselves; `unused` is space of O numbers.
#[expect(clippy::too_many_arguments, reason = "the whole of what a derivative depends on")]
pub fn dense_tangent<T: Real>(
    weights: &[T],
    direction: &[T],
    x: &[T],
    dx: Option<&[T]>,
    inputs: usize,
    outputs: usize,
    activation: Activation,
    y: &[T],
    dy: &mut [T],
    unused: &mut [T],
) {
    let rows = y.len() / outputs;
    let (kernel, bias) = direction.split_at(inputs * outputs);
    multiply(dy, false, Matrix::new(x, rows, inputs), Matrix::new(kernel, inputs, outputs));
    if let Some(dx) = dx {
        let kernel = Matrix::new(&weights[..inputs * outputs], inputs, outputs);
        multiply(dy, true, Matrix::new(dx, rows, inputs), kernel);
    }
    activate(Level::best(), dy, bias, Activation::Linear);
    // The derivative through the activation is the gradient's; its sum over the rows is not wanted.
    activation_gradient(Level::best(), dy, y, unused, activation);
}

/// Outputs of a hidden layer of H ReLU units with one output, for J inputs that share all but `inputs`
/// (H rows of J): `sums` (J) = `weights` (H) times the positive part of `shifts` (H) + `inputs`, the units
/// being added one after another.
pub fn relu_unit_sums(sums: &mut [f32], inputs: &[f32], shifts: &[f32], weights: &[f32]) {
    relu_sums(Level::best(), sums, inputs, shifts, weights);
}

/// Sum of squares, in f64 and in a fixed order.
pub fn squares(values: &[f32]) -> f64 {
    let mut total = 0.0;
    sum_of_squares(Level::best(), values, &mut total);
    total
}

/// One update of Adam, number `steps` (from 1), of parameters and their moments. The gradient is
/// multiplied by `scale` first.
pub fn adam_update(
    config: &AdamConfig,
    steps: u64,
    scale: f64,
    weights: &mut [f32],
    gradient: &[f32],
    [first, second]: [&mut [f32]; 2],
) {
    let scalars = scalars(config, steps, scale);
    adam(Level::best(), weights, gradient, first, second, scalars);
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::rng::Streams;

    fn numbers(name: &str, count: usize) -> Vec<f64> {
        let mut rng = Streams::new(7).open(name);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Both layers in a row, against finite differences in f64.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        let sizes = SequenceSizes { steps: 5, rows: 3, inputs: 4, units: 6 };
        let (lstm, outputs) = ((4 + 6 + 1) * 24, 2);
        let weights = numbers("weights", lstm + 7 * outputs);
        let (x, state) = (numbers("x", 60), numbers("state", 36));
        let wanted = numbers("wanted", 30);
        let mut resets = vec![false; 15];
        resets[7] = true;
        resets[0] = true;
        let loss = |weights: &[f64]| {
            let mut pass = LstmPass::default();
            pass.forward(&weights[..lstm], &x, &state, Some(&resets), sizes).unwrap();
            let mut y = vec![0.0; 30];
            dense(&weights[lstm..], pass.h(), 6, outputs, Activation::Tanh, &mut y);
            y.iter().zip(&wanted).map(|(y, w)| y * w).sum::<f64>()
        };
        let mut pass = LstmPass::default();
        pass.forward(&weights[..lstm], &x, &state, Some(&resets), sizes).unwrap();
        let mut y = vec![0.0; 30];
        dense(&weights[lstm..], pass.h(), 6, outputs, Activation::Tanh, &mut y);
        let mut gradient = vec![0.0; weights.len()];
        let (mut dy, mut dh) = (wanted.clone(), vec![0.0; 90]);
        let (dlstm, ddense) = gradient.split_at_mut(lstm);
        let h = pass.h().to_vec();
        dense_gradient(
            &weights[lstm..],
            &h,
            6,
            outputs,
            Activation::Tanh,
            &y,
            &mut dy,
            ddense,
            Some(&mut dh),
        );
        pass.backward(&weights[..lstm], &x, &state, &dh, dlstm);
        for k in 0..weights.len() {
            let mut moved = weights.clone();
            moved[k] += 1e-5;
            let above = loss(&moved);
            moved[k] -= 2e-5;
            let slope = (above - loss(&moved)) / 2e-5;
            assert!((slope - gradient[k]).abs() < 1e-7, "{k}: {slope} {}", gradient[k]);
        }
    }

    #[test]
    fn acting_step_by_step_is_the_sequence() {
        let sizes = SequenceSizes { steps: 4, rows: 2, inputs: 3, units: 20 };
        let single = |name: &str, count: usize| -> Vec<f32> {
            numbers(name, count).into_iter().map(|value| value as f32).collect()
        };
        let (weights, x) = (single("weights", 24 * 80), single("x", 24));
        let mut state = single("state", 80);
        let mut pass = LstmPass::default();
        pass.forward(&weights, &x, &state, None, sizes).unwrap();
        let mut space = Vec::new();
        for step in 0..4 {
            lstm_step(&weights, &x[step * 6..][..6], &mut state, 20, &mut space);
            for (one, other) in state
                .iter()
                .zip(pass.h()[step * 40..][..40].iter().chain(&pass.c()[step * 40..][..40]))
            {
                assert!((one - other).abs() < 1e-6);
            }
        }
    }
}
