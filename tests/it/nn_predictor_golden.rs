//! The layers in the shape of the original traffic predictor, against what Keras computed
//! (`golden/predictor` of the shared data): values inside the network, and ten updates of Adam.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use quotascale::nn::{
    Activation, Adam, AdamConfig, BiLstm, Clip, Dense, EpsilonForm, Lstm, ParamStore, Returns,
    TensorFile,
};
use serde::Deserialize;

use crate::support;

const DIRECTIONS: [&str; 4] =
    ["bilstm1.forward", "bilstm1.backward", "bilstm2.forward", "bilstm2.backward"];

struct Network {
    store: ParamStore,
    one: BiLstm,
    two: BiLstm,
    dense: Dense,
}

impl Network {
    fn load(path: &Path) -> Self {
        let file = TensorFile::read(path).unwrap();
        let mut store = ParamStore::new();
        let [a, b, c, d] = DIRECTIONS.map(|name| {
            let part = |part: &str| &file.tensors[&format!("{name}.{part}")];
            let (kernel, recurrent) = (part("kernel"), part("recurrent_kernel"));
            let (inputs, units) = (kernel.shape[0], recurrent.shape[0]);
            let values = [&kernel.values[..], &recurrent.values, &part("bias").values].concat();
            let packed = store.insert(name, &[inputs + units + 1, 4 * units], values).unwrap();
            Lstm::new(&packed, inputs).unwrap()
        });
        let mut insert = |name: &str| {
            let tensor = &file.tensors[name];
            store.insert(name, &tensor.shape, tensor.values.clone()).unwrap()
        };
        let (kernel, bias) = (insert("dense.kernel"), insert("dense.bias"));
        Self {
            one: BiLstm::new(a, b).unwrap(),
            two: BiLstm::new(c, d).unwrap(),
            dense: Dense::new(&kernel, &bias, Activation::Linear).unwrap(),
            store,
        }
    }

    /// Outputs of the three layers for windows [T, B, 1].
    fn layers(&self, x: &Tensor) -> [Tensor; 3] {
        let one = self.one.forward(x, Returns::Sequence).unwrap();
        let two = self.two.forward(&one, Returns::Last).unwrap();
        let prediction = self.dense.forward(&two).unwrap();
        [one, two, prediction]
    }
}

fn golden<T: for<'a> Deserialize<'a>>(name: &str) -> Option<(Network, T)> {
    let file = support::shared(&format!("golden/predictor/{name}"))?;
    let model = support::shared("data/predictor/demo-model.safetensors")?;
    let text = std::fs::read_to_string(file).unwrap();
    Some((Network::load(&model), serde_json::from_str(&text).unwrap()))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (k, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(found) - expected).abs();
        assert!(difference <= tolerance, "{what}, {k}: {found} instead of {expected}");
    }
}

#[derive(Deserialize)]
struct Layers {
    windows: Vec<Window>,
}

#[derive(Deserialize)]
struct Window {
    id: String,
    scaled_input: Vec<f32>,
    layer1: Vec<Vec<f64>>,
    layer2: Vec<f64>,
    scaled_prediction: f64,
}

#[test]
fn every_layer_gives_what_keras_gives() {
    let Some((network, golden)) = golden::<Layers>("layers.json") else { return };
    for window in golden.windows {
        let x = Tensor::from_vec(window.scaled_input, (7, 1, 1), &Device::Cpu).unwrap();
        let [one, two, prediction] = network.layers(&x);
        assert_close(&values(&one), &window.layer1.concat(), 2e-6, &window.id);
        assert_close(&values(&two), &window.layer2, 2e-6, &window.id);
        assert_close(&values(&prediction), &[window.scaled_prediction], 2e-6, &window.id);
    }
}

#[derive(Deserialize)]
struct Training {
    traces: Vec<Vec<f64>>,
    loss_before_step: Vec<f64>,
    gradients_at_start: BTreeMap<String, Gradient>,
    predictions_after_10_steps_scaled: Vec<f64>,
}

#[derive(Deserialize)]
struct Gradient {
    l2: f64,
    first5: Vec<f64>,
}

/// Where a tensor of Keras lies in ours: name, first row and rows.
fn place(keras: &str, network: &Network) -> (&'static str, usize, usize) {
    if keras.starts_with("dense") {
        return if keras.ends_with("kernel:0") {
            ("dense.kernel", 0, 100)
        } else {
            ("dense.bias", 0, 1)
        };
    }
    let direction = 2 * usize::from(keras.starts_with("bidirectional_5"))
        + usize::from(keras.contains("backward_lstm"));
    let name = DIRECTIONS[direction];
    let rows = network.store.get(name).unwrap().dims()[0];
    let inputs = rows - 51;
    match keras.rsplit('/').next() {
        Some("kernel:0") => (name, 0, inputs),
        Some("recurrent_kernel:0") => (name, inputs, 50),
        _ => (name, rows - 1, 1),
    }
}

#[test]
fn ten_updates_are_those_of_keras() {
    let Some((network, golden)) = golden::<Training>("train_steps.json") else { return };
    let scaled = |users: f64| ((users - 8.0) / 92.0) as f32;
    let windows: Vec<&[f64]> = golden.traces.iter().flat_map(|trace| trace.windows(8)).collect();
    let x: Vec<f32> =
        (0..7).flat_map(|step| windows.iter().map(move |window| scaled(window[step]))).collect();
    let y: Vec<f32> = windows.iter().map(|window| scaled(window[7])).collect();
    let count = windows.len();
    let x = Tensor::from_vec(x, (7, count, 1), &Device::Cpu).unwrap();
    let y = Tensor::from_vec(y, (count, 1), &Device::Cpu).unwrap();
    let loss = || {
        let [.., prediction] = network.layers(&x);
        (prediction - &y).unwrap().sqr().unwrap().mean_all().unwrap()
    };

    let gradients = loss().backward().unwrap();
    for (keras, expected) in &golden.gradients_at_start {
        let (name, row, rows) = place(keras, &network);
        let gradient = gradients.get(network.store.get(name).unwrap()).unwrap();
        let found = values(&gradient.narrow(0, row, rows).unwrap());
        let norm = found.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!((norm - expected.l2).abs() <= 2e-4 * expected.l2, "{keras}: {norm}");
        let first = &found[..expected.first5.len()];
        assert_close(first, &expected.first5, 2e-4 * expected.l2, keras);
    }

    assert_eq!(AdamConfig::keras().form, EpsilonForm::Keras);
    let mut adam = Adam::new(&network.store, AdamConfig::keras());
    for (step, expected) in golden.loss_before_step.iter().enumerate() {
        let loss = loss();
        let found = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!((found - expected).abs() <= 2e-4 * expected, "step {step}: {found}, {expected}");
        adam.minimise(&loss, Clip::Off).unwrap();
    }
    let [.., prediction] = network.layers(&x);
    assert_close(&values(&prediction), &golden.predictions_after_10_steps_scaled, 1e-5, "after");
}
