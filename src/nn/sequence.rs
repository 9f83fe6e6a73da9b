//! An LSTM over a whole sequence in one direction, forward and backward, on plain slices.
//!
//! Forward: one product for the weighted inputs of all steps, then for each step one product that
//! adds the weighted state, and the gates. Backward: for each step the gates and one product for the
//! gradient of the state before; then one product over all steps for each of the two kernels.
//! The gates' activations stay in the buffer of the weighted inputs, and their gradients replace
//! them there: each step's values are still in the cache when they are needed again.
//!
//! Layouts: T steps, B rows (sequences), I inputs, H units; `[T, B, H]` means steps outermost.

use std::ops::Range;

use super::gates::{Backward, Forward, Row};
use super::kernel::{Level, Matrix, lstm_backward, lstm_forward, multiply};
use super::pool::{Buffer, Pool};
use super::real::Real;

/// The sizes of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// I.
    pub inputs: usize,
    /// H.
    pub units: usize,
}

impl Sizes {
    /// Numbers in the output or the state of one step, B H.
    pub fn cells(self) -> usize {
        self.batch * self.units
    }

    /// Columns of the packed weights, 4 H.
    pub fn columns(self) -> usize {
        4 * self.units
    }

    /// Numbers in the packed weights, (I + H + 1) 4 H.
    pub fn weights(self) -> usize {
        (self.inputs + self.units + 1) * self.columns()
    }
}

/// The order in which the steps are taken, and what each row does at each.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// From the last step to the first.
    pub reverse: bool,
    /// [T, B]; `None` where every row runs at every step.
    pub rows: Option<Vec<Row>>,
}

impl Plan {
    /// The time step taken as number `order`.
    fn step(&self, sizes: Sizes, order: usize) -> usize {
        if self.reverse { sizes.steps - 1 - order } else { order }
    }

    /// The time step whose result is the final state.
    pub fn last(&self, sizes: Sizes) -> usize {
        self.step(sizes, sizes.steps - 1)
    }

    fn rows(&self, sizes: Sizes, step: usize) -> Option<&[Row]> {
        self.rows.as_ref().map(|rows| &rows[step * sizes.batch..(step + 1) * sizes.batch])
    }
}

/// The packed weights [I + H + 1, 4H], taken apart.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a, T> {
    kernel: &'a [T],
    recurrent: &'a [T],
    bias: &'a [T],
}

impl<'a, T> Weights<'a, T> {
    /// Rows: kernel, recurrent kernel, bias.
    pub fn new(packed: &'a [T], sizes: Sizes) -> Self {
        assert_eq!(packed.len(), sizes.weights());
        let (kernel, rest) = packed.split_at(sizes.inputs * sizes.columns());
        let (recurrent, bias) = rest.split_at(sizes.units * sizes.columns());
        Self { kernel, recurrent, bias }
    }

    /// The recurrent kernel, [H, 4H].
    pub fn recurrent(&self) -> &'a [T] {
        self.recurrent
    }

    /// The bias, [4H].
    pub fn bias(&self) -> &'a [T] {
        self.bias
    }

    /// The kernel, [I, 4H].
    pub fn kernel(&self) -> &'a [T] {
        self.kernel
    }
}

/// What the backward pass needs of the forward pass, besides inputs and outputs.
#[derive(Debug)]
pub(super) struct Saved<T> {
    /// Activations, [T, B, 4H]; after the backward pass gradients of the weighted inputs.
    gates: Buffer<T>,
    /// Cell states after each step, [T, B, H].
    c: Buffer<T>,
    /// Outputs before each step with the resets applied, [T, B, H]; only where rows do not all run.
    h_before: Option<Buffer<T>>,
}

impl<T: Real> Saved<T> {
    /// Cell state after the last step, [B, H].
    pub fn final_cells(&self, sizes: Sizes, plan: &Plan) -> &[T] {
        let step = plan.last(sizes);
        &self.c[step * sizes.cells()..(step + 1) * sizes.cells()]
    }

    /// Cell states after each step, [T, B, H].
    pub fn cells(&self) -> &[T] {
        &self.c
    }

    /// Gradient of the inputs of some steps, [steps, B, I], after the backward pass.
    pub fn input_gradient(
        &self,
        sizes: Sizes,
        weights: Weights<'_, T>,
        steps: Range<usize>,
        accumulate: bool,
        out: &mut [T],
    ) {
        if steps.is_empty() {
            return;
        }
        let kernel = Matrix::new(weights.kernel, sizes.inputs, sizes.columns());
        let gates = &self.gates[4 * steps.start * sizes.cells()..4 * steps.end * sizes.cells()];
        let gates = Matrix::new(gates, steps.len() * sizes.batch, sizes.columns());
        multiply(out, accumulate, gates, kernel.transposed());
    }
}

/// The state before the first step; a zero state saves a product.
#[derive(Clone, Copy)]
pub(super) struct Initial<'a, T> {
    /// Output, [B, H].
    h: &'a [T],
    /// Cell state, [B, H].
    c: &'a [T],
    h_is_zero: bool,
}

impl<'a, T: Real> Initial<'a, T> {
    /// From h and c one after another, [2, B, H].
    pub fn new(state: &'a [T]) -> Self {
        let (h, c) = state.split_at(state.len() / 2);
        Self { h, c, h_is_zero: h.iter().all(|&value| value == T::ZERO) }
    }
}

/// Runs the sequence. `x` [T, B, I]; `h` [T, B, H] is written.
pub(super) fn forward<T: Real>(
    sizes: Sizes,
    plan: &Plan,
    pool: &Pool<T>,
    x: &[T],
    weights: Weights<'_, T>,
    initial: Initial<'_, T>,
    h: &mut [T],
) -> Saved<T> {
    let level = Level::best();
    let (cells, columns) = (sizes.cells(), sizes.columns());
    let mut gates = pool.take(sizes.steps * sizes.batch * columns);
    let mut c = pool.take(sizes.steps * cells);
    let mut h_before = plan.rows.is_some().then(|| pool.take(sizes.steps * cells));
    let zeros = pool.zeros(sizes.units);
    multiply(
        &mut gates,
        false,
        Matrix::new(x, sizes.steps * sizes.batch, sizes.inputs),
        Matrix::new(weights.kernel, sizes.inputs, columns),
    );
    let recurrent = Matrix::new(weights.recurrent, sizes.units, columns);
    for order in 0..sizes.steps {
        let step = plan.step(sizes, order);
        let before = (order > 0).then(|| plan.step(sizes, order - 1));
        let (h_now, h_earlier) = current_and_earlier(h, cells, step, before);
        let (c_now, c_earlier) = current_and_earlier(&mut c, cells, step, before);
        let (h_earlier, c_earlier) =
            (h_earlier.unwrap_or(initial.h), c_earlier.unwrap_or(initial.c));
        let gates = &mut gates[4 * step * cells..4 * (step + 1) * cells];
        let rows = plan.rows(sizes, step);
        let h_used = match (rows, &mut h_before) {
            (Some(rows), Some(h_before)) => {
                let used = &mut h_before[step * cells..(step + 1) * cells];
                used.copy_from_slice(h_earlier);
                for (used, row) in used.chunks_exact_mut(sizes.units).zip(rows) {
                    if *row == Row::Reset {
                        used.fill(T::ZERO);
                    }
                }
                &*used
            }
            _ => h_earlier,
        };
        if order > 0 || !initial.h_is_zero {
            multiply(gates, true, Matrix::new(h_used, sizes.batch, sizes.units), recurrent);
        }
        lstm_forward(
            level,
            Forward {
                units: sizes.units,
                rows,
                bias: weights.bias,
                zeros: &zeros,
                c_before: c_earlier,
                gates,
                c: c_now,
                h: h_now,
            },
        );
        for (row, _) in carrying(rows) {
            let cells = row * sizes.units..(row + 1) * sizes.units;
            h_now[cells.clone()].copy_from_slice(&h_earlier[cells.clone()]);
            c_now[cells.clone()].copy_from_slice(&c_earlier[cells]);
        }
    }
    Saved { gates, c, h_before }
}

/// The gradient of the outputs, or of the last step's alone.
#[derive(Clone, Copy)]
pub(super) struct OutputGradient<'a, T> {
    /// [T, B, stride], or [B, stride] with `last_only`.
    pub values: &'a [T],
    /// Numbers in a row.
    pub stride: usize,
    /// Where this direction's units begin in a row.
    pub offset: usize,
    /// Only the outputs of the step taken last have a gradient.
    pub last_only: bool,
}

impl<T: Real> OutputGradient<'_, T> {
    /// Adds the gradient of the outputs of `step`, which is the last one taken or not, to `dh`.
    fn add(&self, sizes: Sizes, step: usize, is_last: bool, dh: &mut [T]) {
        if self.last_only && !is_last {
            return;
        }
        let first = if self.last_only { 0 } else { step * sizes.batch * self.stride };
        let rows = self.values[first..].chunks_exact(self.stride);
        for (dh, row) in dh.chunks_exact_mut(sizes.units).zip(rows) {
            let row = &row[self.offset..self.offset + sizes.units];
            for (dh, &value) in dh.iter_mut().zip(row) {
                *dh += value;
            }
        }
    }
}

/// Runs the sequence backward. Writes the gradient of the packed weights and, where wanted, of the
/// initial state [2, B, H]; that of the inputs can be had from `saved` afterwards.
#[expect(clippy::too_many_arguments, reason = "the whole of what a backward pass depends on")]
pub(super) fn backward<T: Real>(
    sizes: Sizes,
    plan: &Plan,
    pool: &Pool<T>,
    x: &[T],
    weights: Weights<'_, T>,
    initial: Initial<'_, T>,
    h: &[T],
    saved: &mut Saved<T>,
    gradient: OutputGradient<'_, T>,
    dweights: &mut [T],
    dstate: Option<&mut [T]>,
) {
    let level = Level::best();
    let (cells, columns) = (sizes.cells(), sizes.columns());
    let (dkernel, rest) = dweights.split_at_mut(sizes.inputs * columns);
    let (drecurrent, dbias) = rest.split_at_mut(sizes.units * columns);
    dbias.fill(T::ZERO);
    let zeros = pool.zeros(sizes.units);
    let mut dc = pool.zeros(cells);
    let mut dh = pool.zeros(cells);
    let mut dh_before = pool.take(cells);
    // Transposed once: the product of every step would else read it against its grain.
    let mut transposed = pool.take(sizes.units * columns);
    transpose(weights.recurrent, sizes.units, columns, &mut transposed);
    let recurrent = Matrix::new(&transposed, columns, sizes.units);
    for order in (0..sizes.steps).rev() {
        let step = plan.step(sizes, order);
        let c_before = match order {
            0 => initial.c,
            _ => at(&saved.c, cells, plan.step(sizes, order - 1)),
        };
        gradient.add(sizes, step, order + 1 == sizes.steps, &mut dh);
        let gates = &mut saved.gates[4 * step * cells..4 * (step + 1) * cells];
        let rows = plan.rows(sizes, step);
        lstm_backward(
            level,
            Backward {
                units: sizes.units,
                rows,
                zeros: &zeros,
                c_before,
                c: at(&saved.c, cells, step),
                dh: &dh,
                dc: &mut dc,
                gates,
                dbias,
            },
        );
        if order > 0 || dstate.is_some() {
            multiply(&mut dh_before, false, Matrix::new(gates, sizes.batch, columns), recurrent);
            for (row, kind) in rows.unwrap_or_default().iter().enumerate() {
                let cells = row * sizes.units..(row + 1) * sizes.units;
                match kind {
                    Row::Run => {}
                    Row::Reset => dh_before[cells].fill(T::ZERO),
                    Row::Carry => dh_before[cells.clone()].copy_from_slice(&dh[cells]),
                }
            }
            std::mem::swap(&mut dh, &mut dh_before);
        }
    }
    if let Some(dstate) = dstate {
        let (dh0, dc0) = dstate.split_at_mut(cells);
        dh0.copy_from_slice(&dh);
        dc0.copy_from_slice(&dc);
    }

    let rows = sizes.steps * sizes.batch;
    let gates = Matrix::new(&saved.gates, rows, columns);
    multiply(dkernel, false, Matrix::new(x, rows, sizes.inputs).transposed(), gates);
    if let Some(h_before) = &saved.h_before {
        let h_before = Matrix::new(h_before, rows, sizes.units);
        multiply(drecurrent, false, h_before.transposed(), gates);
        return;
    }
    // Without resets the outputs themselves, one step apart, are the states before.
    let later = (sizes.steps - 1) * cells;
    let (h_before, dgates) = if plan.reverse {
        (&h[cells..], &saved.gates[..4 * later])
    } else {
        (&h[..later], &saved.gates[4 * cells..])
    };
    let rows = (sizes.steps - 1) * sizes.batch;
    if rows == 0 {
        drecurrent.fill(T::ZERO);
    } else {
        let h_before = Matrix::new(h_before, rows, sizes.units);
        multiply(drecurrent, false, h_before.transposed(), Matrix::new(dgates, rows, columns));
    }
    if !initial.h_is_zero {
        let gates = at(&saved.gates, 4 * cells, plan.step(sizes, 0));
        let h_before = Matrix::new(initial.h, sizes.batch, sizes.units);
        let gates = Matrix::new(gates, sizes.batch, columns);
        multiply(drecurrent, true, h_before.transposed(), gates);
    }
}

/// The part of `values` that belongs to `step`.
fn at<T>(values: &[T], size: usize, step: usize) -> &[T] {
    &values[step * size..(step + 1) * size]
}

/// The part of `step`, to be written, and that of a neighbouring step, to be read.
fn current_and_earlier<T>(
    values: &mut [T],
    size: usize,
    step: usize,
    earlier: Option<usize>,
) -> (&mut [T], Option<&[T]>) {
    match earlier {
        None => (&mut values[step * size..(step + 1) * size], None),
        Some(earlier) if earlier < step => {
            let (head, tail) = values.split_at_mut(step * size);
            (&mut tail[..size], Some(at(head, size, earlier)))
        }
        Some(earlier) => {
            let (head, tail) = values.split_at_mut(earlier * size);
            (&mut head[step * size..], Some(&tail[..size]))
        }
    }
}

fn carrying(rows: Option<&[Row]>) -> impl Iterator<Item = (usize, &Row)> {
    rows.unwrap_or_default().iter().enumerate().filter(|(_, row)| **row == Row::Carry)
}

/// Writes the transpose of `from` [rows, columns] into `to`, block by block for the cache's sake.
fn transpose<T: Copy>(from: &[T], rows: usize, columns: usize, to: &mut [T]) {
    const BLOCK: usize = 16;
    for row_0 in (0..rows).step_by(BLOCK) {
        for column_0 in (0..columns).step_by(BLOCK) {
            for column in column_0..(column_0 + BLOCK).min(columns) {
                for row in row_0..(row_0 + BLOCK).min(rows) {
                    to[column * rows + row] = from[row * columns + column];
                }
            }
        }
    }
}
