//! The arithmetic of one LSTM time step between the matrix products, forward and backward.
//!
//! Bodies only: `kernel` compiles each for several instruction sets. A row (one sequence of the
//! batch) is worked through in chunks of [`LANES`] units held in local arrays, whose loops become
//! vector instructions whatever the number of units. The last chunk of a row that is no multiple of
//! them overlaps the one before: it is computed first, from the same inputs, and so gives the
//! overlapping units the same values. Rows shorter than a chunk are padded.

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

/// The units of one chunk.
type Chunk<T> = [T; LANES];

#[inline(always)]
fn load<T: Real>(from: &[T], start: usize, length: usize) -> Chunk<T> {
    let mut lanes = [T::ZERO; LANES];
    if length == LANES {
        lanes.copy_from_slice(&from[start..start + LANES]);
    } else {
        lanes[..length].copy_from_slice(&from[start..start + length]);
    }
    lanes
}

#[inline(always)]
fn store<T: Real>(lanes: &Chunk<T>, to: &mut [T], start: usize, length: usize) {
    if length == LANES {
        to[start..start + LANES].copy_from_slice(lanes);
    } else {
        to[start..start + length].copy_from_slice(&lanes[..length]);
    }
}

/// The same chunk of each of the four gates.
#[inline(always)]
fn load_gates<T: Real>(from: &[T], units: usize, start: usize, length: usize) -> [Chunk<T>; 4] {
    [
        load(from, start, length),
        load(from, units + start, length),
        load(from, 2 * units + start, length),
        load(from, 3 * units + start, length),
    ]
}

#[inline(always)]
fn store_gates<T: Real>(
    gates: &[Chunk<T>; 4],
    to: &mut [T],
    units: usize,
    start: usize,
    length: usize,
) {
    store(&gates[0], to, start, length);
    store(&gates[1], to, units + start, length);
    store(&gates[2], to, 2 * units + start, length);
    store(&gates[3], to, 3 * units + start, length);
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
        let mut row = ForwardRow {
            units,
            bias: step.bias,
            c_before,
            gates: &mut step.gates[4 * cells.start..4 * cells.end],
            c: &mut step.c[cells.clone()],
            h: &mut step.h[cells],
        };
        if units < LANES {
            let short = row.compute(0, units);
            row.store(&short, 0, units);
        } else if units.is_multiple_of(LANES) {
            row.whole_chunks();
        } else {
            let last = row.compute(units - LANES, LANES);
            row.whole_chunks();
            row.store(&last, units - LANES, LANES);
        }
    }
}

/// One row of a step forward; the fields of [`Forward`].
struct ForwardRow<'a, T> {
    units: usize,
    bias: &'a [T],
    c_before: &'a [T],
    gates: &'a mut [T],
    c: &'a mut [T],
    h: &'a mut [T],
}

/// Activations, cell state and output of a chunk.
struct ForwardChunk<T> {
    gates: [Chunk<T>; 4],
    c: Chunk<T>,
    h: Chunk<T>,
}

impl<T: Real> ForwardRow<'_, T> {
    #[inline(always)]
    fn whole_chunks(&mut self) {
        let mut start = 0;
        while start + LANES <= self.units {
            let chunk = self.compute(start, LANES);
            self.store(&chunk, start, LANES);
            start += LANES;
        }
    }

    #[inline(always)]
    fn compute(&self, start: usize, length: usize) -> ForwardChunk<T> {
        let mut gates = load_gates(self.gates, self.units, start, length);
        let bias = load_gates(self.bias, self.units, start, length);
        let before = load(self.c_before, start, length);
        let mut c = [T::ZERO; LANES];
        let mut h = [T::ZERO; LANES];
        for lane in 0..LANES {
            let i = (gates[0][lane] + bias[0][lane]).logistic();
            let f = (gates[1][lane] + bias[1][lane]).logistic();
            let g = (gates[2][lane] + bias[2][lane]).hyperbolic_tangent();
            let o = (gates[3][lane] + bias[3][lane]).logistic();
            c[lane] = f * before[lane] + i * g;
            h[lane] = o * c[lane].hyperbolic_tangent();
            gates[0][lane] = i;
            gates[1][lane] = f;
            gates[2][lane] = g;
            gates[3][lane] = o;
        }
        ForwardChunk { gates, c, h }
    }

    #[inline(always)]
    fn store(&mut self, chunk: &ForwardChunk<T>, start: usize, length: usize) {
        store_gates(&chunk.gates, self.gates, self.units, start, length);
        store(&chunk.c, self.c, start, length);
        store(&chunk.h, self.h, start, length);
    }
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
        let mut row = BackwardRow {
            units,
            c_before,
            c: &step.c[cells.clone()],
            dh: &step.dh[cells.clone()],
            dc: &mut step.dc[cells],
            gates,
            dbias: &mut *step.dbias,
        };
        if units < LANES {
            let short = row.compute(0, units);
            row.store(&short, 0, units, 0);
        } else if units.is_multiple_of(LANES) {
            row.whole_chunks();
        } else {
            let last = row.compute(units - LANES, LANES);
            row.whole_chunks();
            row.store(&last, units - LANES, LANES, LANES - units % LANES);
        }
        if kind == Row::Reset {
            row.dc.fill(T::ZERO);
        }
    }
}

/// One row of a step backward; the fields of [`Backward`].
struct BackwardRow<'a, T> {
    units: usize,
    c_before: &'a [T],
    c: &'a [T],
    dh: &'a [T],
    dc: &'a mut [T],
    gates: &'a mut [T],
    dbias: &'a mut [T],
}

/// Gradients of the weighted inputs and of the cell state before, of a chunk.
struct BackwardChunk<T> {
    gates: [Chunk<T>; 4],
    dc: Chunk<T>,
}

impl<T: Real> BackwardRow<'_, T> {
    #[inline(always)]
    fn whole_chunks(&mut self) {
        let mut start = 0;
        while start + LANES <= self.units {
            let chunk = self.compute(start, LANES);
            self.store(&chunk, start, LANES, 0);
            start += LANES;
        }
    }

    #[inline(always)]
    fn compute(&self, start: usize, length: usize) -> BackwardChunk<T> {
        let mut gates = load_gates(self.gates, self.units, start, length);
        let before = load(self.c_before, start, length);
        let after = load(self.c, start, length);
        let dh = load(self.dh, start, length);
        let mut dc = load(self.dc, start, length);
        for lane in 0..LANES {
            let squashed = after[lane].hyperbolic_tangent();
            let (i, f, g, o) = (gates[0][lane], gates[1][lane], gates[2][lane], gates[3][lane]);
            let d = dc[lane] + dh[lane] * o * (T::ONE - squashed * squashed);
            gates[0][lane] = d * g * i * (T::ONE - i);
            gates[1][lane] = d * before[lane] * f * (T::ONE - f);
            gates[2][lane] = d * i * (T::ONE - g * g);
            gates[3][lane] = dh[lane] * squashed * o * (T::ONE - o);
            dc[lane] = d * f;
        }
        BackwardChunk { gates, dc }
    }

    /// The first `counted` lanes are in the bias's gradient already.
    #[inline(always)]
    fn store(&mut self, chunk: &BackwardChunk<T>, start: usize, length: usize, counted: usize) {
        store_gates(&chunk.gates, self.gates, self.units, start, length);
        store(&chunk.dc, self.dc, start, length);
        let mut dbias = load_gates(self.dbias, self.units, start, length);
        for (sums, gate) in dbias.iter_mut().zip(&chunk.gates) {
            for lane in 0..LANES {
                let counts = lane >= counted;
                sums[lane] += if counts { gate[lane] } else { T::ZERO };
            }
        }
        store_gates(&dbias, self.dbias, self.units, start, length);
    }
}
