//! Adam with the clipping of the gradient's norm, one pass over each tensor, in place.
//!
//! candle-nn's optimisers have neither clipping nor a state that can be saved, and know one of the
//! two places where epsilon is added. The moments are ours; the parameter is updated where it lies,
//! so every layer built on it sees the update.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::kernel::{Level, adam, sum_of_squares};
use super::params::{ParamStore, TensorFile, TensorValues};
use super::pointwise::AdamScalars;
use super::storage::{slice, slice_of};
use crate::error::{Error, Result};

/// Where epsilon is added. With b1, b2 the decays and t the number of the update:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpsilonForm {
    /// w -= lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps): before the bias correction.
    Keras,
    /// w -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps): after it.
    Torch,
}

/// Adam's settings; they may change between updates (learning rate schedules).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the quotient finite.
    pub epsilon: f64,
    /// Where epsilon is added.
    pub form: EpsilonForm,
}

impl AdamConfig {
    /// Keras's defaults.
    pub fn keras() -> Self {
        let (beta1, beta2) = (0.9, 0.999);
        Self { learning_rate: 1e-3, beta1, beta2, epsilon: 1e-7, form: EpsilonForm::Keras }
    }

    /// PyTorch's form with the epsilon usual with PPO.
    pub fn ppo(learning_rate: f64) -> Self {
        let (beta1, beta2) = (0.9, 0.999);
        Self { learning_rate, beta1, beta2, epsilon: 1e-5, form: EpsilonForm::Torch }
    }
}

/// Whether and how gradients are clipped: groups of parameters whose common norm is above the bound
/// are scaled down to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Not at all.
    Off,
    /// One bound for each group's L2 norm.
    Norm(f64),
}

/// L2 norms of the gradients before clipping.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientNorms {
    /// Of each group.
    pub groups: Vec<f64>,
}

impl GradientNorms {
    /// Of all parameters together.
    pub fn total(&self) -> f64 {
        self.groups.iter().map(|norm| norm * norm).sum::<f64>().sqrt()
    }
}

/// One parameter with its moments.
#[derive(Debug)]
struct Moments {
    name: String,
    var: Var,
    group: usize,
    first: Vec<f32>,
    second: Vec<f32>,
}

/// The optimiser of a set of parameters.
#[derive(Debug)]
pub struct Adam {
    /// Its settings.
    pub config: AdamConfig,
    /// Sorted by name.
    parameters: Vec<Moments>,
    groups: usize,
    steps: u64,
}

impl Adam {
    /// For all parameters of `store`, clipped together.
    pub fn new(store: &ParamStore, config: AdamConfig) -> Self {
        Self::with_groups(store, config, |_| 0)
    }

    /// For all parameters of `store`; those for whose name `group` gives the same number (from 0)
    /// are clipped together.
    pub fn with_groups(
        store: &ParamStore,
        config: AdamConfig,
        group: impl Fn(&str) -> usize,
    ) -> Self {
        let parameters: Vec<Moments> = store
            .iter()
            .map(|(name, var)| Moments {
                name: name.to_owned(),
                var: var.clone(),
                group: group(name),
                first: vec![0.0; var.elem_count()],
                second: vec![0.0; var.elem_count()],
            })
            .collect();
        let groups = parameters.iter().map(|parameter| parameter.group + 1).max().unwrap_or(1);
        Self { config, parameters, groups, steps: 0 }
    }

    /// Updates so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One update from the gradients of `loss`, a single number.
    ///
    /// # Errors
    /// When the loss or a gradient is not finite (naming the tensor); then nothing was changed.
    pub fn minimise(&mut self, loss: &Tensor, clip: Clip) -> Result<GradientNorms> {
        let value = loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        if !value.is_finite() {
            return Err(Error::Failed(format!(
                "the loss is {value} before update {}",
                self.steps + 1
            )));
        }
        self.step(&loss.backward()?, clip)
    }

    /// One update. A parameter without a gradient is left alone, as are its moments.
    ///
    /// # Errors
    /// When a gradient is not finite (naming the tensor); then nothing was changed.
    pub fn step(&mut self, gradients: &GradStore, clip: Clip) -> Result<GradientNorms> {
        let level = Level::best();
        let mut groups = vec![0.0; self.groups];
        let mut found = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let Some(gradient) = gradients.get(parameter.var.as_tensor()) else {
                found.push(None);
                continue;
            };
            let gradient = gradient.contiguous()?;
            let mut squares = 0.0;
            {
                let (storage, layout) = gradient.storage_and_layout();
                sum_of_squares(level, slice_of(&storage, layout)?, &mut squares);
            }
            if !squares.is_finite() {
                return Err(Error::Failed(format!(
                    "the gradient of {} is not finite at update {}",
                    parameter.name,
                    self.steps + 1
                )));
            }
            groups[parameter.group] += squares;
            found.push(Some(gradient));
        }
        let norms = GradientNorms { groups: groups.iter().map(|sum: &f64| sum.sqrt()).collect() };
        self.steps += 1;
        for (parameter, gradient) in self.parameters.iter_mut().zip(found) {
            let Some(gradient) = gradient else { continue };
            let scale = match clip {
                Clip::Off => 1.0,
                // As torch.nn.utils.clip_grad_norm_.
                Clip::Norm(bound) => (bound / (norms.groups[parameter.group] + 1e-6)).min(1.0),
            };
            let scalars = scalars(&self.config, self.steps, scale);
            let moments = RefCell::new((&mut *parameter.first, &mut *parameter.second));
            let update = Update { level, moments, scalars };
            parameter.var.as_tensor().inplace_op2(&gradient, &update)?;
        }
        Ok(norms)
    }

    /// A copy of the moments and the number of updates: `m.NAME` and `v.NAME`.
    pub fn state(&self) -> TensorFile {
        let mut tensors = BTreeMap::new();
        for parameter in &self.parameters {
            for (kind, values) in [("m", &parameter.first), ("v", &parameter.second)] {
                let shape = parameter.var.dims().to_vec();
                let tensor = TensorValues { shape, values: values.clone() };
                tensors.insert(format!("{kind}.{}", parameter.name), tensor);
            }
        }
        TensorFile { tensors, steps: Some(self.steps) }
    }

    /// Goes on from a saved state, which came from `place`. Nothing changes on an error.
    ///
    /// # Errors
    /// [`Error::Input`] naming `place` when it belongs to other parameters.
    pub fn set_state(&mut self, state: &TensorFile, place: &Path) -> Result<()> {
        let names: Vec<(String, &[usize])> = self
            .parameters
            .iter()
            .flat_map(|parameter| {
                ["m", "v"].map(|kind| (format!("{kind}.{}", parameter.name), parameter.var.dims()))
            })
            .collect();
        state.check(names.iter().map(|(name, shape)| (name.as_str(), *shape)), place)?;
        let Some(steps) = state.steps else {
            return Err(Error::input(
                place.display(),
                "does not say how many updates were made",
                "use the optimizer.safetensors of a checkpoint",
            ));
        };
        for parameter in &mut self.parameters {
            let values = |kind: &str| &state.tensors[&format!("{kind}.{}", parameter.name)].values;
            parameter.first.copy_from_slice(values("m"));
            parameter.second.copy_from_slice(values("v"));
        }
        self.steps = steps;
        Ok(())
    }
}

/// The scalars of update number `steps`, computed in f64 and rounded once.
pub(super) fn scalars(config: &AdamConfig, steps: u64, scale: f64) -> AdamScalars {
    let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
    let (first, second) = (correction(config.beta1), correction(config.beta2));
    let (root_scale, step) = match config.form {
        EpsilonForm::Keras => (1.0, config.learning_rate * second.sqrt() / first),
        EpsilonForm::Torch => (1.0 / second.sqrt(), config.learning_rate / first),
    };
    AdamScalars {
        scale: scale as f32,
        beta1: config.beta1 as f32,
        one_minus_beta1: (1.0 - config.beta1) as f32,
        beta2: config.beta2 as f32,
        one_minus_beta2: (1.0 - config.beta2) as f32,
        root_scale: root_scale as f32,
        epsilon: config.epsilon as f32,
        step: step as f32,
    }
}

/// One tensor's update: (parameter, gradient), moments beside.
struct Update<'a> {
    level: Level,
    moments: RefCell<(&'a mut [f32], &'a mut [f32])>,
    scalars: AdamScalars,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = slice::<f32>(gradient, gradient_layout)?;
        let (CpuStorage::F32(weights), Some((from, to))) =
            (weights, weights_layout.contiguous_offsets())
        else {
            candle_core::bail!("parameters have to be contiguous and f32");
        };
        let (first, second) = &mut *self.moments.borrow_mut();
        adam(self.level, &mut weights[from..to], gradient, first, second, self.scalars);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    fn quadratic(store: &ParamStore) -> Tensor {
        let weights = store.get("w").unwrap().as_tensor();
        let slopes = Tensor::new(&[1.0_f32, -10.0, 1e-6], &Device::Cpu).unwrap();
        (weights.sqr().unwrap() * slopes).unwrap().sum_all().unwrap()
    }

    fn weights(store: &ParamStore) -> Vec<f32> {
        store.get("w").unwrap().as_tensor().to_vec1().unwrap()
    }

    fn store() -> ParamStore {
        let mut store = ParamStore::new();
        store.insert("w", &[3], vec![1.0, 2.0, 3.0]).unwrap();
        store
    }

    /// The expected numbers are those of this Python in double precision (PyTorch's Adam is its
    /// second form, Keras 2's its first):
    /// ```python
    /// def run(keras, lr=0.1, b1=0.9, b2=0.999, eps=1e-4):
    ///     w, a = [1.0, 2.0, 3.0], [1.0, -10.0, 1e-6]
    ///     m, v = [0.0] * 3, [0.0] * 3
    ///     for t in range(1, 6):
    ///         c1, c2 = 1 - b1**t, 1 - b2**t
    ///         for k in range(3):
    ///             g = 2 * a[k] * w[k]
    ///             m[k] = b1 * m[k] + (1 - b1) * g
    ///             v[k] = b2 * v[k] + (1 - b2) * g * g
    ///             if keras: w[k] -= lr * c2**0.5 / c1 * m[k] / (v[k]**0.5 + eps)
    ///             else: w[k] -= lr / c1 * m[k] / ((v[k] / c2)**0.5 + eps)
    ///     return w
    /// print(run(True), run(False))
    /// ```
    #[test]
    fn both_forms_give_the_reference_numbers() {
        let keras = [0.508495921, 2.501534361, 2.998416042];
        let torch = [0.507990284, 2.501557868, 2.971753134];
        for (form, expected) in [(EpsilonForm::Keras, keras), (EpsilonForm::Torch, torch)] {
            let store = store();
            let config =
                AdamConfig { learning_rate: 0.1, epsilon: 1e-4, form, ..AdamConfig::keras() };
            let mut adam = Adam::new(&store, config);
            for _ in 0..5 {
                adam.minimise(&quadratic(&store), Clip::Off).unwrap();
            }
            for (found, expected) in weights(&store).iter().zip(expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-6,
                    "{form:?}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn groups_are_clipped_apart() {
        let mut store = ParamStore::new();
        let actor = store.insert("actor", &[2], vec![3.0, 4.0]).unwrap();
        let critic = store.insert("critic", &[1], vec![100.0]).unwrap();
        let unused = store.insert("unused", &[1], vec![5.0]).unwrap();
        let config = AdamConfig { epsilon: 1e3, ..AdamConfig::ppo(1.0) };
        let group = |name: &str| usize::from(name == "critic");
        let mut adam = Adam::with_groups(&store, config, group);
        let loss = (actor.sqr().unwrap().sum_all().unwrap()
            + critic.sqr().unwrap().sum_all().unwrap())
        .unwrap();
        let loss = (loss * 0.5).unwrap();
        let norms = adam.minimise(&loss, Clip::Norm(10.0)).unwrap();
        assert!((norms.groups[0] - 5.0).abs() < 1e-6 && (norms.groups[1] - 100.0).abs() < 1e-5);
        assert!((norms.total() - 10025.0_f64.sqrt()).abs() < 1e-5);
        // With so large an epsilon the step is gradient / epsilon: 3 of 5 unclipped, 10 of 100.
        let moved = |tensor: &Tensor, from: f32| from - tensor.to_vec1::<f32>().unwrap()[0];
        assert!((moved(&actor, 3.0) - 3.0 / 1003.0).abs() < 1e-5);
        assert!((moved(&critic, 100.0) - 10.0 / 1010.0).abs() < 1e-5);
        assert_eq!(moved(&unused, 5.0), 0.0);
    }

    #[test]
    fn going_on_from_a_saved_state_is_bit_equal() {
        let run = |stop: Option<u32>| {
            let (store, config) = (store(), AdamConfig::keras());
            let mut adam = Adam::new(&store, config);
            for step in 0..20 {
                if Some(step) == stop {
                    let bytes = adam.state().to_bytes().unwrap();
                    let place = Path::new("optimizer.safetensors");
                    adam = Adam::new(&store, config);
                    adam.set_state(&TensorFile::from_bytes(&bytes, place).unwrap(), place).unwrap();
                }
                adam.minimise(&quadratic(&store), Clip::Norm(0.5)).unwrap();
            }
            (weights(&store), adam.steps())
        };
        assert_eq!(run(None), run(Some(7)));
    }

    #[test]
    fn what_is_not_finite_is_named_and_changes_nothing() {
        let store = store();
        let mut adam = Adam::new(&store, AdamConfig::keras());
        let weights_tensor = store.get("w").unwrap().as_tensor();
        let zero = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        // sqrt has an infinite slope at 0.
        let loss = (weights_tensor * zero).unwrap().sqrt().unwrap().sum_all().unwrap();
        let error = adam.minimise(&loss, Clip::Off).unwrap_err().to_string();
        assert!(error.contains("gradient of w") && error.contains("update 1"), "{error}");
        let loss = (weights_tensor.sum_all().unwrap() * f64::INFINITY).unwrap();
        let error = adam.minimise(&loss, Clip::Off).unwrap_err().to_string();
        assert!(error.contains("loss is inf"), "{error}");
        assert_eq!((weights(&store), adam.steps()), (vec![1.0, 2.0, 3.0], 0));
    }
}
