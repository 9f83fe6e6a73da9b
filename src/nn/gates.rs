//! The arithmetic of one LSTM time step between the matrix products, forward and backward.
//!
//! Bodies only: `kernel` compiles each for several instruction sets. A row (one sequence of the
//! batch) is worked through in chunks of [`LANES`] units held in local arrays, whose loops become
//! vector instructions whatever the number of units; the last chunk is padded.

use super::real::Real;

/// Units in a chunk: one AVX-512 register of f32, two of AVX2, four of SSE2.
const LANES: usize = 16;

/// What a row does at a time step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// An ordinary step.
    Run,
    /// An ordinary step from the zero state.
    Reset,
    /// Beyond the end of the sequence: the state stays.
    Carry,
}

/// One step forward. Gate order in a row of `4 * units`: i, f, g, o.
pub(super) struct Forward<'a, T> {
    /// Units of the layer, H.
    pub units: usize,
    /// What each row does (all [`Row::Run`] where `None`).
    pub rows: Option<&'a [Row]>,
    /// Bias, [4H].
    pub bias: &'a [T],
    /// As many zeros as units.
    pub zeros: &'a [T],
    /// Cell state before the step, [B, H].
    pub c_before: &'a [T],
    /// Weighted inputs without the bias, [B, 4H]; the gates' activations afterwards.
    pub gates: &'a mut [T],
    /// Cell state after the step, [B, H]. Rows that carry are left alone.
    pub c: &'a mut [T],
    /// Output, [B, H]. Rows that carry are left alone.
    pub h: &'a mut [T],
}

/// One step backward.
pub(super) struct Backward<'a, T> {
    /// Units of the layer, H.
    pub units: usize,
    /// What each row did (all [`Row::Run`] where `None`).
    pub rows: Option<&'a [Row]>,
    /// As many zeros as units.
    pub zeros: &'a [T],
    /// Cell state before the step, [B, H].
    pub c_before: &'a [T],
    /// Cell state after the step, [B, H].
    pub c: &'a [T],
    /// Gradient of the output, [B, H], all that reaches it.
    pub dh: &'a [T],
    /// Gradient of the cell state after the step that later steps sent, [B, H]; that of the state
    /// before the step afterwards.
    pub dc: &'a mut [T],
    /// Activations, [B, 4H]; gradients of the weighted inputs afterwards (zero in rows that carry).
    pub gates: &'a mut [T],
    /// Gradient of the bias, [4H]: added to.
    pub dbias: &'a mut [T],
}

#[inline(always)]
fn load<T: Real>(from: &[T], start: usize, length: usize) -> [T; LANES] {
    let mut lanes = [T::ZERO; LANES];
    if length == LANES {
        lanes.copy_from_slice(&from[start..start + LANES]);
    } else {
        lanes[..length].copy_from_slice(&from[start..start + length]);
    }
    lanes
}

#[inline(always)]
fn store<T: Real>(lanes: &[T; LANES], to: &mut [T], start: usize, length: usize) {
    if length == LANES {
        to[start..start + LANES].copy_from_slice(lanes);
    } else {
        to[start..start + length].copy_from_slice(&lanes[..length]);
    }
}

/// The body of one step forward.
#[inline(always)]
pub(super) fn forward<T: Real>(step: Forward<'_, T>) {
    let units = step.units;
    for row in 0..step.h.len() / units {
        let kind = step.rows.map_or(Row::Run, |rows| rows[row]);
        if kind == Row::Carry {
            continue;
        }
        let cells = row * units..(row + 1) * units;
        let c_before = if kind == Row::Reset { step.zeros } else { &step.c_before[cells.clone()] };
        let gates = &mut step.gates[4 * cells.start..4 * cells.end];
        let (c, h) = (&mut step.c[cells.clone()], &mut step.h[cells]);
        let whole = units - units % LANES;
        let mut start = 0;
        while start < whole {
            forward_chunk(units, step.bias, c_before, gates, c, h, start, LANES);
            start += LANES;
        }
        if start < units {
            forward_chunk(units, step.bias, c_before, gates, c, h, start, units - start);
        }
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one body, inlined twice: whole chunk and rest")]
fn forward_chunk<T: Real>(
    units: usize,
    bias: &[T],
    c_before: &[T],
    gates: &mut [T],
    c: &mut [T],
    h: &mut [T],
    start: usize,
    length: usize,
) {
    let mut i = load(gates, start, length);
    let mut f = load(gates, units + start, length);
    let mut g = load(gates, 2 * units + start, length);
    let mut o = load(gates, 3 * units + start, length);
    let bias_i = load(bias, start, length);
    let bias_f = load(bias, units + start, length);
    let bias_g = load(bias, 2 * units + start, length);
    let bias_o = load(bias, 3 * units + start, length);
    let before = load(c_before, start, length);
    let mut after = [T::ZERO; LANES];
    let mut output = [T::ZERO; LANES];
    for lane in 0..LANES {
        i[lane] = (i[lane] + bias_i[lane]).logistic();
        f[lane] = (f[lane] + bias_f[lane]).logistic();
        g[lane] = (g[lane] + bias_g[lane]).hyperbolic_tangent();
        o[lane] = (o[lane] + bias_o[lane]).logistic();
        after[lane] = f[lane] * before[lane] + i[lane] * g[lane];
        output[lane] = o[lane] * after[lane].hyperbolic_tangent();
    }
    store(&i, gates, start, length);
    store(&f, gates, units + start, length);
    store(&g, gates, 2 * units + start, length);
    store(&o, gates, 3 * units + start, length);
    store(&after, c, start, length);
    store(&output, h, start, length);
}

/// The body of one step backward.
#[inline(always)]
pub(super) fn backward<T: Real>(step: Backward<'_, T>) {
    let units = step.units;
    for row in 0..step.dh.len() / units {
        let cells = row * units..(row + 1) * units;
        let gates = &mut step.gates[4 * cells.start..4 * cells.end];
        let kind = step.rows.map_or(Row::Run, |rows| rows[row]);
        if kind == Row::Carry {
            gates.fill(T::ZERO);
            continue;
        }
        let c_before = if kind == Row::Reset { step.zeros } else { &step.c_before[cells.clone()] };
        let (c, dh) = (&step.c[cells.clone()], &step.dh[cells.clone()]);
        let (dc, dbias) = (&mut step.dc[cells], &mut *step.dbias);
        let whole = units - units % LANES;
        let mut start = 0;
        while start < whole {
            backward_chunk(units, c_before, c, dh, dc, gates, dbias, start, LANES);
            start += LANES;
        }
        if start < units {
            backward_chunk(units, c_before, c, dh, dc, gates, dbias, start, units - start);
        }
        if kind == Row::Reset {
            dc.fill(T::ZERO);
        }
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one body, inlined twice: whole chunk and rest")]
fn backward_chunk<T: Real>(
    units: usize,
    c_before: &[T],
    c: &[T],
    dh: &[T],
    dc: &mut [T],
    gates: &mut [T],
    dbias: &mut [T],
    start: usize,
    length: usize,
) {
    let mut i = load(gates, start, length);
    let mut f = load(gates, units + start, length);
    let mut g = load(gates, 2 * units + start, length);
    let mut o = load(gates, 3 * units + start, length);
    let mut bias_i = load(dbias, start, length);
    let mut bias_f = load(dbias, units + start, length);
    let mut bias_g = load(dbias, 2 * units + start, length);
    let mut bias_o = load(dbias, 3 * units + start, length);
    let before = load(c_before, start, length);
    let after = load(c, start, length);
    let output = load(dh, start, length);
    let mut cell = load(dc, start, length);
    for lane in 0..LANES {
        let squashed = after[lane].hyperbolic_tangent();
        let (input, forget, candidate, out) = (i[lane], f[lane], g[lane], o[lane]);
        let d = cell[lane] + output[lane] * out * (T::ONE - squashed * squashed);
        i[lane] = d * candidate * input * (T::ONE - input);
        f[lane] = d * before[lane] * forget * (T::ONE - forget);
        g[lane] = d * input * (T::ONE - candidate * candidate);
        o[lane] = output[lane] * squashed * out * (T::ONE - out);
        cell[lane] = d * forget;
        bias_i[lane] += i[lane];
        bias_f[lane] += f[lane];
        bias_g[lane] += g[lane];
        bias_o[lane] += o[lane];
    }
    store(&i, gates, start, length);
    store(&f, gates, units + start, length);
    store(&g, gates, 2 * units + start, length);
    store(&o, gates, 3 * units + start, length);
    store(&bias_i, dbias, start, length);
    store(&bias_f, dbias, units + start, length);
    store(&bias_g, dbias, 2 * units + start, length);
    store(&bias_o, dbias, 3 * units + start, length);
    store(&cell, dc, start, length);
}
