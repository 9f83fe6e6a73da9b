//! The LSTM over a sequence, forward and with gradients: ours, candle-nn's (its own automatic
//! differentiation), and the matrix products alone (the same calls and nothing else), which no
//! implementation on this product can beat. One thread.

use std::hint::black_box;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::rnn::{LSTM, LSTMConfig, RNN};
use candle_nn::{VarBuilder, VarMap};
use criterion::{Criterion, criterion_group, criterion_main};
use quotascale::nn::{BiLstm, Lstm, ParamStore, Returns, SequenceOptions, init::Kernel};
use quotascale::rng::Streams;
use rand::RngExt;

#[derive(Clone, Copy)]
struct Shape {
    steps: usize,
    batch: usize,
    inputs: usize,
    units: usize,
    /// Whether the inputs want a gradient: not where they are data.
    input_gradient: bool,
}

const SHAPES: [(&str, Shape); 3] = [
    ("predictor 1", Shape { steps: 7, batch: 128, inputs: 1, units: 100, input_gradient: false }),
    ("predictor 2", Shape { steps: 7, batch: 128, inputs: 200, units: 100, input_gradient: true }),
    ("agent", Shape { steps: 128, batch: 16, inputs: 37, units: 128, input_gradient: false }),
];

fn numbers(count: usize) -> Vec<f32> {
    let mut rng = Streams::new(1).open("bench");
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn input(shape: Shape, dims: [usize; 3]) -> Tensor {
    let x = Tensor::from_vec(numbers(dims.iter().product()), &dims, &Device::Cpu).unwrap();
    if shape.input_gradient { Var::from_tensor(&x).unwrap().as_tensor().clone() } else { x }
}

fn ours(shape: Shape) -> (Tensor, Lstm) {
    let mut rng = Streams::new(1).open("init");
    let layer = ParamStore::new().lstm("l", shape.inputs, shape.units, Kernel::Glorot, &mut rng);
    (input(shape, [shape.steps, shape.batch, shape.inputs]), layer.unwrap())
}

fn candle(shape: Shape) -> (Tensor, LSTM, VarMap) {
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let layer = LSTM::new(shape.inputs, shape.units, LSTMConfig::default(), builder).unwrap();
    (input(shape, [shape.batch, shape.steps, shape.inputs]), layer, map)
}

/// `out` [m, n] (+)= left [m, k] right [k, n], strides of rows and columns given for the factors.
#[allow(unsafe_code)]
fn product(
    out: &mut [f32],
    [m, n, k]: [usize; 3],
    accumulate: bool,
    (left, left_rows, left_columns): (&[f32], usize, usize),
    (right, right_rows, right_columns): (&[f32], usize, usize),
) {
    assert!(out.len() >= m * n && left.len() >= m * k && right.len() >= k * n);
    // SAFETY: the slices are as long as the product needs, just checked.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            left.as_ptr(),
            left_columns as isize,
            left_rows as isize,
            right.as_ptr(),
            right_columns as isize,
            right_rows as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The products of one pass, on buffers that are kept.
struct Products {
    shape: Shape,
    x: Vec<f32>,
    kernel: Vec<f32>,
    recurrent: Vec<f32>,
    h: Vec<f32>,
    gates: Vec<f32>,
    dh: Vec<f32>,
    dx: Vec<f32>,
}

impl Products {
    fn new(shape: Shape) -> Self {
        let rows = shape.steps * shape.batch;
        Self {
            shape,
            x: numbers(rows * shape.inputs),
            kernel: numbers(shape.inputs * 4 * shape.units),
            recurrent: numbers(shape.units * 4 * shape.units),
            h: numbers(rows * shape.units),
            gates: numbers(rows * 4 * shape.units),
            dh: numbers(shape.batch * shape.units),
            dx: numbers(rows * shape.inputs),
        }
    }

    fn forward(&mut self) {
        let Shape { steps, batch, inputs, units, .. } = self.shape;
        let (rows, columns) = (steps * batch, 4 * units);
        let (x, kernel) = ((&*self.x, inputs, 1), (&*self.kernel, columns, 1));
        product(&mut self.gates, [rows, columns, inputs], false, x, kernel);
        for step in 1..steps {
            let h = (&self.h[(step - 1) * batch * units..], units, 1);
            let gates = &mut self.gates[step * batch * columns..];
            product(gates, [batch, columns, units], true, h, (&self.recurrent, columns, 1));
        }
    }

    fn backward(&mut self) {
        let Shape { steps, batch, inputs, units, .. } = self.shape;
        let (rows, columns) = (steps * batch, 4 * units);
        for step in (1..steps).rev() {
            let gates = (&self.gates[step * batch * columns..], columns, 1);
            // The transposed recurrent kernel is [4H, H]; its values do not matter here.
            product(
                &mut self.dh,
                [batch, units, columns],
                false,
                gates,
                (&self.recurrent, units, 1),
            );
        }
        let gates = (&*self.gates, columns, 1);
        product(&mut self.kernel, [inputs, columns, rows], false, (&self.x, 1, inputs), gates);
        let later = (&self.gates[batch * columns..], columns, 1);
        let earlier = (&*self.h, 1, units);
        product(&mut self.recurrent, [units, columns, rows - batch], false, earlier, later);
        if self.shape.input_gradient {
            let kernel = (&*self.kernel, 1, columns);
            product(&mut self.dx, [rows, inputs, columns], false, gates, kernel);
        }
    }
}

fn sequences(criterion: &mut Criterion) {
    for (name, shape) in SHAPES {
        let mut group = criterion.benchmark_group(format!("lstm {name}"));
        group.bench_function("forward, ours", |bencher| {
            let (x, layer) = ours(shape);
            bencher
                .iter(|| layer.forward(black_box(&x), None, SequenceOptions::default()).unwrap());
        });
        group.bench_function("forward, candle-nn", |bencher| {
            let (x, layer, _map) = candle(shape);
            bencher.iter(|| layer.states_to_tensor(&layer.seq(black_box(&x)).unwrap()).unwrap());
        });
        group.bench_function("forward, products alone", |bencher| {
            let mut products = Products::new(shape);
            bencher.iter(|| products.forward());
        });
        group.bench_function("with gradients, ours", |bencher| {
            let (x, layer) = ours(shape);
            bencher.iter(|| {
                let out = layer.forward(black_box(&x), None, SequenceOptions::default()).unwrap();
                out.h.backward().unwrap()
            });
        });
        group.bench_function("with gradients, candle-nn", |bencher| {
            let (x, layer, _map) = candle(shape);
            bencher.iter(|| {
                let states = layer.seq(black_box(&x)).unwrap();
                layer.states_to_tensor(&states).unwrap().backward().unwrap()
            });
        });
        group.bench_function("with gradients, products alone", |bencher| {
            let mut products = Products::new(shape);
            bencher.iter(|| {
                products.forward();
                products.backward();
            });
        });
        group.finish();
    }
}

fn bidirectional(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bilstm predictor 2");
    let (_, shape) = SHAPES[1];
    let mut rng = Streams::new(1).open("init");
    let layer: BiLstm =
        ParamStore::new().bilstm("l", shape.inputs, shape.units, Kernel::Glorot, &mut rng).unwrap();
    let x = input(shape, [shape.steps, shape.batch, shape.inputs]);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        group.bench_function(format!("with gradients, {threads} threads"), |bencher| {
            pool.install(|| {
                bencher.iter(|| {
                    layer.forward(black_box(&x), Returns::Last).unwrap().backward().unwrap()
                });
            });
        });
    }
    group.finish();
}

fn acting(criterion: &mut Criterion) {
    use quotascale::nn::{LstmScratch, LstmState};
    let mut group = criterion.benchmark_group("lstm step");
    for batch in [1, 64] {
        let mut rng = Streams::new(1).open("init");
        let layer = ParamStore::new().lstm("l", 37, 128, Kernel::Glorot, &mut rng).unwrap();
        let x = numbers(batch * 37);
        let (mut state, mut scratch) = (LstmState::zero(batch, 128), LstmScratch::default());
        group.bench_function(format!("{batch} rows"), |bencher| {
            bencher.iter(|| layer.step(black_box(&x), &mut state, &mut scratch).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, sequences, bidirectional, acting);
criterion_main!(benches);
