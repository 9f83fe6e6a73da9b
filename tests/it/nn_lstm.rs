//! The fused LSTM against a plain loop, finite differences and candle-nn's LSTM.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::rnn::{LSTM, LSTMConfig, LSTMState, RNN};
use candle_nn::{VarBuilder, VarMap};
use quotascale::nn::{
    Activation, Adam, AdamConfig, BiLstm, Clip, Dense, DenseInit, Lstm, LstmScratch,
    LstmState as State, Mlp, MlpScratch, ParamStore, Returns, SequenceOptions, init::Kernel,
};
use quotascale::rng::{Rng, Streams};
use rand::RngExt;

fn numbers(rng: &mut Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= tolerance * scale, "{what}, {k}: {found} instead of {expected}");
    }
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    steps: usize,
    batch: usize,
    inputs: usize,
    units: usize,
}

/// One case: sizes, and which options apply.
struct Case {
    sizes: Sizes,
    resets: Option<Vec<bool>>,
    lengths: Option<Vec<usize>>,
    reverse: bool,
}

impl Case {
    fn options(&self) -> SequenceOptions<'_> {
        SequenceOptions {
            resets: self.resets.as_deref(),
            lengths: self.lengths.as_deref(),
            reverse: self.reverse,
        }
    }

    fn name(&self) -> String {
        let (resets, lengths) = (self.resets.is_some(), self.lengths.is_some());
        format!("{:?}, resets {resets}, lengths {lengths}, reverse {}", self.sizes, self.reverse)
    }
}

fn cases(rng: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for (steps, batch, inputs, units) in [(1, 1, 5, 3), (4, 3, 2, 5), (3, 2, 1, 17), (5, 1, 3, 16)]
    {
        for options in 0..8 {
            let resets = (0..steps * batch).map(|_| rng.random_bool(0.3)).collect();
            let lengths = (0..batch).map(|_| rng.random_range(0..=steps)).collect();
            cases.push(Case {
                sizes: Sizes { steps, batch, inputs, units },
                resets: (options & 1 != 0).then_some(resets),
                lengths: (options & 2 != 0).then_some(lengths),
                reverse: options & 4 != 0,
            });
        }
    }
    cases
}

/// The layer as a plain loop over numbers: outputs [T, B, H] and final state [2, B, H].
fn plain(case: &Case, x: &[f64], packed: &[f64], state: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Sizes { steps, batch, inputs, units } = case.sizes;
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let mut out = vec![0.0; steps * batch * units];
    let mut last = state.to_vec();
    for row in 0..batch {
        let at = |part: usize| (part * batch + row) * units..(part * batch + row + 1) * units;
        let (mut h, mut c) = (state[at(0)].to_vec(), state[at(1)].to_vec());
        for order in 0..steps {
            let step = if case.reverse { steps - 1 - order } else { order };
            if case.lengths.as_ref().is_none_or(|lengths| step < lengths[row]) {
                if case.resets.as_ref().is_some_and(|resets| resets[step * batch + row]) {
                    h.fill(0.0);
                    c.fill(0.0);
                }
                let z: Vec<f64> = (0..4 * units)
                    .map(|column| {
                        let weight = |line: usize| packed[line * 4 * units + column];
                        let from_x: f64 = (0..inputs)
                            .map(|k| x[(step * batch + row) * inputs + k] * weight(k))
                            .sum();
                        let from_h: f64 = (0..units).map(|k| h[k] * weight(inputs + k)).sum();
                        from_x + from_h + weight(inputs + units)
                    })
                    .collect();
                for k in 0..units {
                    let (i, f) = (sigmoid(z[k]), sigmoid(z[units + k]));
                    let (g, o) = (z[2 * units + k].tanh(), sigmoid(z[3 * units + k]));
                    c[k] = f * c[k] + i * g;
                    h[k] = o * c[k].tanh();
                }
            }
            out[(step * batch + row) * units..(step * batch + row + 1) * units].copy_from_slice(&h);
        }
        last[at(0)].copy_from_slice(&h);
        last[at(1)].copy_from_slice(&c);
    }
    (out, last)
}

/// Central differences of `f` at `x`.
fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|k| {
            let middle = x[k];
            x[k] = middle + H;
            let above = f(&x);
            x[k] = middle - H;
            let below = f(&x);
            x[k] = middle;
            (above - below) / (2.0 * H)
        })
        .collect()
}

fn weighted(out: &[f64], by: &[f64]) -> f64 {
    out.iter().zip(by).map(|(out, by)| out * by).sum()
}

#[test]
fn outputs_and_gradients_agree_with_a_plain_loop_and_its_differences() {
    let mut rng = Streams::new(1).open("cases");
    for case in cases(&mut rng) {
        let Sizes { steps, batch, inputs, units } = case.sizes;
        let name = case.name();
        let x_values = numbers(&mut rng, steps * batch * inputs);
        let packed_values = numbers(&mut rng, (inputs + units + 1) * 4 * units);
        let state_values = numbers(&mut rng, 2 * batch * units);
        let slopes = numbers(&mut rng, steps * batch * units);
        let var =
            |values: &[f64], shape: &[usize]| Var::from_tensor(&tensor(values, shape)).unwrap();
        let x = var(&x_values, &[steps, batch, inputs]);
        let packed = var(&packed_values, &[inputs + units + 1, 4 * units]);
        let state = var(&state_values, &[2, batch, units]);

        let layer = Lstm::new(&packed, inputs).unwrap();
        let out = layer.forward(&x, Some(&state), case.options()).unwrap();
        let (h, last) = plain(&case, &x_values, &packed_values, &state_values);
        assert_close(&values(&out.h), &h, 1e-12, &name);
        assert_close(&values(&out.state), &last, 1e-12, &name);
        assert!(!out.state.track_op(), "the final state is detached");

        let slopes_tensor = tensor(&slopes, &[steps, batch, units]);
        let loss = (&out.h * &slopes_tensor).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let of = |var: &Var| values(gradients.get(var).unwrap());
        let loss = |x: &[f64], packed: &[f64], state: &[f64]| {
            weighted(&plain(&case, x, packed, state).0, &slopes)
        };
        let dx = differences(&x_values, |x| loss(x, &packed_values, &state_values));
        assert_close(&of(&x), &dx, 1e-8, &format!("dx: {name}"));
        let dweights = differences(&packed_values, |packed| loss(&x_values, packed, &state_values));
        assert_close(&of(&packed), &dweights, 1e-8, &format!("dweights: {name}"));
        let dstate = differences(&state_values, |state| loss(&x_values, &packed_values, state));
        assert_close(&of(&state), &dstate, 1e-8, &format!("dstate: {name}"));

        // From no state, with fixed inputs: the cases in which products are left out.
        let fixed = x.as_detached_tensor();
        let out = layer.forward(&fixed, None, case.options()).unwrap();
        let gradients = (&out.h * &slopes_tensor).unwrap().sum_all().unwrap().backward().unwrap();
        let zero = vec![0.0; state_values.len()];
        let dweights = differences(&packed_values, |packed| loss(&x_values, packed, &zero));
        let found = values(gradients.get(&packed).unwrap());
        assert_close(&found, &dweights, 1e-8, &format!("dweights from zero: {name}"));
    }
}

#[test]
fn a_bidirectional_layer_is_two_layers_side_by_side() {
    let mut rng = Streams::new(2).open("cases");
    for (steps, batch, inputs, units) in [(1, 1, 2, 3), (4, 3, 2, 5), (7, 2, 1, 20)] {
        let x = Var::from_tensor(&tensor(
            &numbers(&mut rng, steps * batch * inputs),
            &[steps, batch, inputs],
        ))
        .unwrap();
        let shape = [inputs + units + 1, 4 * units];
        let mut weights =
            || Var::from_tensor(&tensor(&numbers(&mut rng, shape[0] * shape[1]), &shape)).unwrap();
        let (one, other) = (weights(), weights());
        let (ahead, back) = (Lstm::new(&one, inputs).unwrap(), Lstm::new(&other, inputs).unwrap());
        let both = BiLstm::new(ahead.clone(), back.clone()).unwrap();
        let forward = || ahead.forward(&x, None, SequenceOptions::default()).unwrap().h;
        let options = SequenceOptions { reverse: true, ..SequenceOptions::default() };
        let backward = || back.forward(&x, None, options).unwrap().h;
        let sequence = Tensor::cat(&[forward(), backward()], 2).unwrap();
        let last = [forward().get(steps - 1).unwrap(), backward().get(0).unwrap()];
        let last = Tensor::cat(&last, 1).unwrap();
        for (returns, expected) in [(Returns::Sequence, sequence), (Returns::Last, last)] {
            let found = both.forward(&x, returns).unwrap();
            assert_eq!(found.dims(), expected.dims());
            assert_close(&values(&found), &values(&expected), 1e-14, "outputs");
            let slopes = tensor(&numbers(&mut rng, found.elem_count()), found.dims());
            let gradients =
                |out: &Tensor| (out * &slopes).unwrap().sum_all().unwrap().backward().unwrap();
            let (found, expected) = (gradients(&found), gradients(&expected));
            for (what, var) in [("x", &x), ("forward", &one), ("backward", &other)] {
                let of = |gradients: &candle_core::backprop::GradStore| {
                    values(gradients.get(var).unwrap())
                };
                assert_close(&of(&found), &of(&expected), 1e-13, what);
            }
        }
    }
}

/// f32 against candle-nn's LSTM: outputs within 1e-6, gradients within 2e-6 of the largest.
#[test]
fn outputs_and_gradients_agree_with_candle_nn() {
    let (steps, batch, inputs, units) = (6, 4, 5, 12);
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let reference = LSTM::new(inputs, units, LSTMConfig::default(), builder).unwrap();
    let mut rng = Streams::new(3).open("weights");
    let var = |name: &str| map.data().lock().unwrap()[name].clone();
    let (w_ih, w_hh) = (var("weight_ih_l0"), var("weight_hh_l0"));
    let (b_ih, b_hh) = (var("bias_ih_l0"), var("bias_hh_l0"));
    for var in [&w_ih, &w_hh, &b_ih, &b_hh] {
        let fresh = tensor(&numbers(&mut rng, var.elem_count()), var.dims());
        var.set(&fresh.to_dtype(DType::F32).unwrap()).unwrap();
    }
    let bias = (b_ih.as_tensor() + b_hh.as_tensor()).unwrap();
    let (kernel, recurrent) = (w_ih.t().unwrap(), w_hh.t().unwrap());
    let packed = Tensor::cat(&[kernel, recurrent, bias.unsqueeze(0).unwrap()], 0).unwrap();
    let packed = Var::from_tensor(&packed).unwrap();
    let single = |count: usize, shape: &[usize], rng: &mut Rng| {
        tensor(&numbers(rng, count), shape).to_dtype(DType::F32).unwrap()
    };
    let x = single(steps * batch * inputs, &[steps, batch, inputs], &mut rng);
    let x = Var::from_tensor(&x).unwrap();
    let state = single(2 * batch * units, &[2, batch, units], &mut rng);
    let slopes = single(steps * batch * units, &[steps, batch, units], &mut rng);

    let layer = Lstm::new(&packed, inputs).unwrap();
    let ours = layer.forward(&x, Some(&state), SequenceOptions::default()).unwrap();
    let start = LSTMState::new(state.get(0).unwrap(), state.get(1).unwrap());
    let states =
        reference.seq_init(&x.transpose(0, 1).unwrap().contiguous().unwrap(), &start).unwrap();
    let theirs = reference.states_to_tensor(&states).unwrap().transpose(0, 1).unwrap();
    assert_close(&values(&ours.h), &values(&theirs), 1e-6, "outputs");
    let last_c = values(&ours.state.get(1).unwrap());
    assert_close(&last_c, &values(states[steps - 1].c()), 1e-6, "cells");

    let gradients = |h: &Tensor| (h * &slopes).unwrap().sum_all().unwrap().backward().unwrap();
    let (ours, theirs) = (gradients(&ours.h), gradients(&theirs));
    let dpacked = ours.get(&packed).unwrap();
    let part = |from: usize, rows: usize| values(&dpacked.narrow(0, from, rows).unwrap());
    let reference = |var: &Var| theirs.get(var).unwrap().clone();
    let turned = |var: &Var| values(&reference(var).t().unwrap().contiguous().unwrap());
    assert_close(&part(0, inputs), &turned(&w_ih), 2e-6, "kernel");
    assert_close(&part(inputs, units), &turned(&w_hh), 2e-6, "recurrent kernel");
    assert_close(&part(inputs + units, 1), &values(&reference(&b_ih)), 2e-6, "bias");
    assert_close(&values(ours.get(&x).unwrap()), &values(&reference(&x)), 2e-6, "inputs");
}

#[test]
fn acting_step_by_step_is_the_sequence() {
    let (steps, batch, inputs, units) = (5, 3, 4, 18);
    let mut rng = Streams::new(4).open("init");
    let mut store = ParamStore::new();
    let layer = store.lstm("body", inputs, units, Kernel::Orthogonal, &mut rng).unwrap();
    let init = DenseInit::Orthogonal(1.0);
    let layers =
        [([units, 7], Activation::Tanh), ([7, 6], Activation::Relu), ([6, 2], Activation::Linear)]
            .map(|(sizes, activation)| {
                store
                    .dense(&format!("head{}", sizes[0]), sizes, activation, init, &mut rng)
                    .unwrap()
            });
    let head = Mlp::new(layers.into()).unwrap();
    let x: Vec<f32> =
        numbers(&mut rng, steps * batch * inputs).into_iter().map(|x| x as f32).collect();
    let mut resets = vec![false; steps * batch];
    resets[2 * batch + 1] = true;
    let x_tensor = Tensor::from_slice(&x, (steps, batch, inputs), &Device::Cpu).unwrap();
    let options = SequenceOptions { resets: Some(&resets), ..SequenceOptions::default() };
    let expected = layer.forward(&x_tensor, None, options).unwrap();
    let expected_y = head.forward(&expected.h).unwrap();

    let (mut state, mut scratch) = (State::zero(batch, units), LstmScratch::default());
    let (mut y, mut mlp_scratch) = (vec![0.0; batch * 2], MlpScratch::default());
    for (step, x) in x.chunks_exact(batch * inputs).enumerate() {
        if step == 2 {
            state.reset(1);
        }
        layer.step(x, &mut state, &mut scratch).unwrap();
        head.infer(state.h(), &mut y, &mut mlp_scratch).unwrap();
        let close = |found: &[f32], expected: &Tensor| {
            let found: Vec<f64> = found.iter().map(|&x| f64::from(x)).collect();
            assert_close(&found, &values(expected), 1e-6, &format!("step {step}"));
        };
        close(state.h(), &expected.h.get(step).unwrap());
        close(&y, &expected_y.get(step).unwrap());
    }
    let last: Vec<f64> = state.values().iter().map(|&x| f64::from(x)).collect();
    assert_close(&last, &values(&expected.state), 1e-6, "final state");
    assert_eq!(State::from_values(batch, state.values().to_vec()).unwrap(), state);
    assert!(State::from_values(batch, vec![0.0; 7]).is_err());
}

#[test]
fn dense_gradients_agree_with_differences() {
    let mut rng = Streams::new(5).open("dense");
    for activation in [Activation::Linear, Activation::Tanh, Activation::Relu] {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 4, 5), (6, 2, 33)] {
            let all = [rows * inputs, inputs * outputs, outputs].map(|n| numbers(&mut rng, n));
            let shapes: [&[usize]; 3] = [&[rows, inputs], &[inputs, outputs], &[outputs]];
            let vars: Vec<Var> =
                (0..3).map(|k| Var::from_tensor(&tensor(&all[k], shapes[k])).unwrap()).collect();
            let slopes = tensor(&numbers(&mut rng, rows * outputs), &[rows, outputs]);
            let loss = |tensors: [&Tensor; 3]| {
                let layer = Dense::new(tensors[1], tensors[2], activation).unwrap();
                (layer.forward(tensors[0]).unwrap() * &slopes).unwrap().sum_all().unwrap()
            };
            let gradients = loss([&vars[0], &vars[1], &vars[2]]).backward().unwrap();
            for k in 0..3 {
                let expected = differences(&all[k], |changed| {
                    let changed = tensor(changed, shapes[k]);
                    let mut tensors =
                        [vars[0].as_tensor(), vars[1].as_tensor(), vars[2].as_tensor()];
                    tensors[k] = &changed;
                    loss(tensors).to_scalar().unwrap()
                });
                let found = values(gradients.get(&vars[k]).unwrap());
                assert_close(&found, &expected, 1e-8, &format!("{activation:?}, input {k}"));
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut rng = Streams::new(6).open("init");
            let mut store = ParamStore::new();
            let one = store.bilstm("one", 3, 20, Kernel::Glorot, &mut rng).unwrap();
            let two = store.bilstm("two", 40, 20, Kernel::Glorot, &mut rng).unwrap();
            let head = store
                .dense("head", [40, 1], Activation::Linear, DenseInit::Glorot, &mut rng)
                .unwrap();
            let x: Vec<f32> = numbers(&mut rng, 7 * 64 * 3).into_iter().map(|x| x as f32).collect();
            let x = Tensor::from_vec(x, (7, 64, 3), &Device::Cpu).unwrap();
            let mut adam = Adam::new(&store, AdamConfig::keras());
            for _ in 0..5 {
                let between = one.forward(&x, Returns::Sequence).unwrap();
                let y = head.forward(&two.forward(&between, Returns::Last).unwrap()).unwrap();
                let loss = (y - 0.5).unwrap().sqr().unwrap().mean_all().unwrap();
                adam.minimise(&loss, Clip::Norm(0.5)).unwrap();
            }
            store.iter().map(|(name, var)| (name.to_owned(), bits(var))).collect::<Vec<_>>()
        })
    };
    let one = train(1);
    assert_eq!(one, train(2));
    assert_eq!(one, train(3));
}

#[test]
fn misuse_is_an_error() {
    let mut rng = Streams::new(7).open("init");
    let mut store = ParamStore::new();
    let layer = store.lstm("body", 4, 3, Kernel::Glorot, &mut rng).unwrap();
    let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
    let x = ones(&[2, 3, 4]);
    let plain = SequenceOptions::default();
    let loss = layer.forward(&x, None, plain).unwrap().h.sum_all().unwrap();
    loss.backward().unwrap();
    let again = loss.backward().unwrap_err().to_string();
    assert!(again.contains("can be taken once"), "{again}");

    let text = |x: &Tensor, state: Option<&Tensor>, options: SequenceOptions<'_>| {
        layer.forward(x, state, options).unwrap_err().to_string()
    };
    assert!(text(&ones(&[2, 3, 5]), None, plain).contains("[2, 3, 5]"));
    assert!(text(&x, Some(&ones(&[2, 3, 4])), plain).contains("[2, 3, 4]"));
    let options = SequenceOptions { resets: Some(&[true; 5]), ..plain };
    assert!(text(&x, None, options).contains("5 reset flags"));
    let options = SequenceOptions { lengths: Some(&[1; 2]), ..plain };
    assert!(text(&x, None, options).contains("2 lengths"));
    assert!(layer.forward(&x.to_dtype(DType::F64).unwrap(), None, plain).is_err());
    assert!(Lstm::new(&ones(&[8, 12]), 5).is_err());
    let mut state = State::zero(3, 3);
    assert!(layer.step(&[0.0; 11], &mut state, &mut LstmScratch::default()).is_err());
}
