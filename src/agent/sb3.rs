//! Agents of Stable-Baselines3, read without Python.
//!
//! Its zip holds `data` (JSON: settings and spaces in clear, Python objects as base64 pickles, which are
//! not looked at) and `policy.pth`, a zip of PyTorch's with the weights. Read are actor-critic agents
//! (TRPO, PPO) with multi-layer perceptrons that share nothing, on the nine whole numbers of the
//! original environment and one categorical head a service. Weights are [out, in] there and
//! [in + 1, out] here, the bias being the last row.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use candle_core::DType;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::checkpoint::{Agent, AgentConfig};
use super::network::{AgentShape, Critic, NetworkConfig};
use crate::env::observation::{Features, LayoutKind, ObservationConfig, Observer};
use crate::env::{ActionConfig, ActionSpace, EnvironmentConfig};
use crate::error::{Error, Result};
use crate::nn::{Activation, Metadata, TensorFile, TensorValues};
use crate::scenario::Scenario;

/// Members larger than this are no agent's that could be used here.
const MOST_BYTES: u64 = 256 << 20;

/// Settings that are kept, by the names that Stable-Baselines3 gives them.
const SETTINGS: [&str; 20] = [
    "batch_size",
    "cg_damping",
    "cg_max_steps",
    "clip_range",
    "ent_coef",
    "gae_lambda",
    "gamma",
    "learning_rate",
    "line_search_max_iter",
    "line_search_shrinking_factor",
    "max_grad_norm",
    "n_critic_updates",
    "n_envs",
    "n_epochs",
    "n_steps",
    "normalize_advantage",
    "num_timesteps",
    "seed",
    "sub_sampling_factor",
    "target_kl",
];

/// Reads the agent in `file`.
///
/// # Errors
/// [`Error::Input`] naming the file and what is not as it has to be: no zip of Stable-Baselines3's,
/// another algorithm, other spaces, another network, heads that do not fit the action space.
pub fn read(file: &Path) -> Result<Agent> {
    let archive = Archive::open(file)?;
    archive.agent()
}

/// An opened zip.
struct Archive {
    path: PathBuf,
    sha256: String,
    data: Map<String, Value>,
    version: String,
    tensors: BTreeMap<String, TensorValues>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self> {
        let other = |problem: String| {
            Error::input(
                path.display(),
                format!("is no agent that Stable-Baselines3 saved: {problem}"),
                "give the zip that the agent's `save` wrote",
            )
        };
        let mut file = File::open(path).map_err(|source| {
            Error::input(
                path.display(),
                format!("cannot read the file: {source}"),
                "check the path",
            )
        })?;
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash)
            .and_then(|_| file.rewind())
            .map_err(|source| other(source.to_string()))?;
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut zip = ZipArchive::new(file).map_err(|error| other(error.to_string()))?;
        let mut member = |name: &str| member(&mut zip, name).map_err(&other);
        let data = member("data")?;
        let data: Map<String, Value> = serde_json::from_slice(&data)
            .map_err(|error| other(format!("its member data is not as expected: {error}")))?;
        let weights = member("policy.pth")?;
        let version = member("_stable_baselines3_version")
            .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
            .unwrap_or_default();
        let tensors = tensors(&weights).map_err(other)?;
        Ok(Self { path: path.to_owned(), sha256, data, version, tensors })
    }

    fn unfit(&self, problem: impl std::fmt::Display) -> Error {
        Error::input(
            self.path.display(),
            problem,
            "import TRPO or PPO agents with MlpPolicy, trained on the original environment's nine \
             observations and one option a service",
        )
    }

    fn agent(&self) -> Result<Agent> {
        let kind = self.algorithm()?;
        let hidden = self.hidden()?;
        let options = self.options()?;
        let (inputs, outputs) = self.ends(&hidden)?;
        if inputs != 9 {
            return Err(self.unfit(format!(
                "the agent sees {inputs} numbers, where the original environment shows 9"
            )));
        }
        if options.iter().sum::<usize>() != outputs {
            return Err(self.unfit(format!(
                "the action space has {options:?} options, {} in all, where the network has {outputs} \
                 logits",
                options.iter().sum::<usize>()
            )));
        }
        let network = NetworkConfig {
            hidden: hidden.clone(),
            activation: self.activation()?,
            critic: Critic::Separate,
            ..NetworkConfig::default()
        };
        let steps = self.data.get("num_timesteps").and_then(Value::as_u64).unwrap_or(0);
        let seed = self.data.get("seed").and_then(Value::as_u64).unwrap_or(0);
        let metadata = Metadata::new(kind, seed, steps);
        let shape = AgentShape { inputs, hints: 0, options: options.clone() };
        let config = AgentConfig {
            shape,
            network,
            environment: EnvironmentConfig {
                observation: observation(),
                ..EnvironmentConfig::default()
            },
            training: self.training(),
        };
        let mut agent = Agent::new(metadata, config, layout(&options)?)?;
        agent.parameters.set(&self.model(hidden.len())?, &self.path)?;
        if agent.parameters.values.iter().any(|value| !value.is_finite()) {
            return Err(self.unfit("a weight is not a finite number"));
        }
        Ok(agent)
    }

    /// By the settings that only one algorithm has.
    fn algorithm(&self) -> Result<&'static str> {
        let has = |key: &str| self.data.contains_key(key);
        if has("cg_max_steps") {
            Ok("trpo")
        } else if has("clip_range") && has("n_epochs") {
            Ok("ppo")
        } else {
            Err(self.unfit("the agent is neither TRPO's nor PPO's"))
        }
    }

    /// Widths of the hidden layers, which are those of the critic too.
    fn hidden(&self) -> Result<Vec<usize>> {
        let mut known: Vec<String> = ["action_net", "value_net"].map(str::to_owned).into();
        let mut widths = [Vec::new(), Vec::new()];
        for (net, widths) in ["policy_net", "value_net"].into_iter().zip(&mut widths) {
            // Layers and activations take turns, so layers have the even numbers.
            for layer in (0..).step_by(2) {
                let name = format!("mlp_extractor.{net}.{layer}");
                let Some(weights) = self.tensors.get(&format!("{name}.weight")) else { break };
                let &[outputs, _] = weights.shape.as_slice() else {
                    return Err(self.unfit(format!("{name}.weight has shape {:?}", weights.shape)));
                };
                widths.push(outputs);
                known.push(name);
            }
        }
        let unknown = self.tensors.keys().find(|tensor| {
            let layer =
                tensor.rsplit_once('.').filter(|(_, part)| ["weight", "bias"].contains(part));
            layer.is_none_or(|(layer, _)| !known.iter().any(|known| known == layer))
        });
        if let Some(name) = unknown {
            return Err(
                self.unfit(format!("the network has a part that is not known here: {name}"))
            );
        }
        let [actor, critic] = widths;
        if actor.is_empty() || actor != critic {
            return Err(self.unfit(format!(
                "the actor's hidden layers have {actor:?} units and the critic's {critic:?}; needed are \
                 layers, and the same for both"
            )));
        }
        Ok(actor)
    }

    /// Numbers that go into the first layer, and logits that come out of the last.
    fn ends(&self, hidden: &[usize]) -> Result<(usize, usize)> {
        let shape = |name: &str| self.tensors.get(name).map(|tensor| tensor.shape.as_slice());
        let first = shape("mlp_extractor.policy_net.0.weight");
        let last = shape("action_net.weight");
        match (first, last) {
            (Some(&[_, inputs]), Some(&[outputs, from])) if hidden.last() == Some(&from) => {
                Ok((inputs, outputs))
            }
            _ => Err(self.unfit(format!(
                "the actor's layers do not follow each other: the first is {first:?}, the head {last:?}"
            ))),
        }
    }

    /// Options of each service.
    fn options(&self) -> Result<Vec<usize>> {
        let text = self.data.get("action_space").and_then(|space| space.get("nvec"));
        let Some(text) = text.and_then(Value::as_str) else {
            return Err(
                self.unfit("the action space is no MultiDiscrete: one choice for each service")
            );
        };
        let options: Option<Vec<usize>> = text
            .trim_matches(['[', ']'])
            .split_whitespace()
            .map(|number| number.parse().ok().filter(|&count| count > 0))
            .collect();
        match options {
            Some(options) if options.len() == 3 => Ok(options),
            _ => Err(self.unfit(format!(
                "the action space is `{text}`, where the original environment has three services"
            ))),
        }
    }

    /// The hidden layers' activation: tanh unless the settings name another.
    fn activation(&self) -> Result<Activation> {
        let kwargs = self.data.get("policy_kwargs");
        let Some(function) = kwargs.and_then(|kwargs| kwargs.get("activation_fn")) else {
            return Ok(Activation::Tanh);
        };
        // A class is described by its attributes; its methods' texts name it: <function ReLU.forward ..>.
        let named = |name: &str| {
            let text = format!("<function {name}.");
            let fields = function.as_object().into_iter().flat_map(|object| object.values());
            fields.filter_map(Value::as_str).any(|field| field.starts_with(&text))
        };
        if named("Tanh") {
            Ok(Activation::Tanh)
        } else if named("ReLU") {
            Ok(Activation::Relu)
        } else {
            Err(self.unfit("the hidden layers' activation is neither tanh nor ReLU"))
        }
    }

    fn training(&self) -> Value {
        let mut settings: Map<String, Value> = SETTINGS
            .iter()
            .filter_map(|&key| Some((key.to_owned(), self.data.get(key)?.clone())))
            .filter(|(_, value)| !value.is_object())
            .collect();
        let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = json!({"file": file, "sha256": self.sha256, "version": self.version});
        settings.insert("stable_baselines3".to_owned(), source);
        Value::Object(settings)
    }

    /// The weights in our order and under our names.
    fn model(&self, layers: usize) -> Result<TensorFile> {
        let mut model = TensorFile::default();
        for (ours, body, head) in
            [("actor", "policy_net", "action_net"), ("critic", "value_net", "value_net")]
        {
            let mut put = |name: String, layer: &str| -> Result<()> {
                model.tensors.insert(name, self.layer(layer)?);
                Ok(())
            };
            for index in 0..layers {
                let layer = format!("mlp_extractor.{body}.{}", 2 * index);
                put(format!("{ours}.hidden{index}"), &layer)?;
            }
            put(format!("{ours}.head"), head)?;
        }
        Ok(model)
    }

    /// [in + 1, out] from [out, in] and [out].
    fn layer(&self, name: &str) -> Result<TensorValues> {
        let find = |part: &str| {
            let name = format!("{name}.{part}");
            self.tensors.get(&name).ok_or_else(|| self.unfit(format!("there is no tensor {name}")))
        };
        let (weights, bias) = (find("weight")?, find("bias")?);
        match (weights.shape.as_slice(), bias.shape.as_slice()) {
            (&[outputs, inputs], &[biases]) if outputs == biases => {
                let mut values = Vec::with_capacity((inputs + 1) * outputs);
                for input in 0..inputs {
                    values.extend((0..outputs).map(|out| weights.values[out * inputs + input]));
                }
                values.extend_from_slice(&bias.values);
                Ok(TensorValues { shape: vec![inputs + 1, outputs], values })
            }
            (weights, bias) => Err(self
                .unfit(format!("{name} has weights of shape {weights:?} and a bias of {bias:?}"))),
        }
    }
}

/// A whole member of a zip, or why it cannot be had.
fn member(zip: &mut ZipArchive<File>, name: &str) -> Result<Vec<u8>, String> {
    let member = zip.by_name(name).map_err(|_| format!("it has no member {name}"))?;
    let mut bytes = Vec::new();
    member
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("its member {name} is damaged: {error}"))?;
    if bytes.len() as u64 == MOST_BYTES {
        return Err(format!("its member {name} is larger than {} MiB", MOST_BYTES >> 20));
    }
    Ok(bytes)
}

/// The tensors of a `policy.pth`.
fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, TensorValues>, String> {
    // The reader takes a path.
    let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    file.write_all(bytes).and_then(|()| file.flush()).map_err(|error| error.to_string())?;
    let read = candle_core::pickle::read_all(file.path());
    let named =
        read.map_err(|error| format!("policy.pth cannot be read: {}", Error::from(error)))?;
    if named.is_empty() {
        return Err("policy.pth holds no tensors".to_owned());
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in named {
        if tensor.dtype() != DType::F32 {
            return Err(format!("tensor {name} holds {:?}, not F32", tensor.dtype()));
        }
        let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
        let values = values.map_err(|error| format!("tensor {name}: {}", Error::from(error)))?;
        tensors.insert(name, TensorValues { shape: tensor.dims().to_vec(), values });
    }
    Ok(tensors)
}

/// The original environment's nine whole numbers.
fn observation() -> ObservationConfig {
    let layout = LayoutKind::of(Features::NineRaw);
    ObservationConfig { layout, ..ObservationConfig::default() }
}

/// The layout of an agent that sees them and has heads of these sizes.
fn layout(options: &[usize]) -> Result<Value> {
    let scenario = Scenario::load("paper", &[])?;
    let actions = ActionSpace::new(&ActionConfig::default(), &scenario)?;
    let mut layout = Observer::new(&observation(), &actions, &scenario)?.to_json();
    layout["actions"]["heads"] = json!(options);
    Ok(layout)
}
