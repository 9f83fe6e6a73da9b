//! What the speed of training is measured by: one fixed training, and its matrix products alone.

use rayon::prelude::*;
use serde_json::Value;

use super::checkpoint::{Agent, AgentConfig};
use super::config::PpoConfig;
use super::network::{AgentShape, NetworkConfig};
use super::ppo::Ppo;
use crate::env::EnvironmentConfig;
use crate::env::observation::{Features, LayoutKind};
use crate::error::Result;
use crate::nn::Metadata;
use crate::nn::flat::{product, product_of_transposed};
use crate::scenario::Scenario;

/// Environments of the measured training.
pub const ENVIRONMENTS: usize = 16;
/// Steps of a rollout.
pub const ROLLOUT: usize = 128;
/// Epochs.
pub const EPOCHS: usize = 4;
/// Units of either LSTM.
pub const UNITS: usize = 128;

/// An agent with initial weights as the measurements use it: LSTM 128 and a separate critic, the nine
/// numbers of environment `paper`.
///
/// # Errors
/// When the scenario is not one of environment `paper`.
pub fn agent(scenario: &Scenario) -> Result<Agent> {
    let mut environment = EnvironmentConfig::default();
    environment.observation.layout = LayoutKind::of(Features::Nine);
    let observer = environment.observer(scenario)?;
    let shape = AgentShape {
        inputs: observer.len(),
        hints: 0,
        options: observer.actions().heads().to_vec(),
    };
    let network = NetworkConfig::recurrent(UNITS);
    let config = AgentConfig { shape, environment, network, training: Value::Null };
    Agent::new(Metadata::new("recurrent-ppo", 0, 0), config, observer.to_json())
}

/// The measured training: 16 environments x 128 steps, 4 epochs in `minibatches` minibatches each.
///
/// # Errors
/// As [`agent`].
pub fn training(scenario: &Scenario, minibatches: usize) -> Result<Ppo> {
    let agent = agent(scenario)?;
    let environments = agent.config.environment.clone().prepare(scenario, 0)?;
    let config = PpoConfig {
        steps: u64::MAX,
        environments: ENVIRONMENTS,
        rollout: ROLLOUT,
        epochs: EPOCHS,
        minibatches,
        reward_scale: 1e-3,
        ..PpoConfig::default()
    };
    Ppo::new(config, agent, &|range, total| environments.make(range, total))
}

/// The matrix products of one iteration of [`training`], and nothing else: actor and critic side by
/// side, as there.
pub struct Products {
    networks: [Network; 2],
    minibatches: usize,
}

struct Network {
    outputs: usize,
    inputs: usize,
    x: Vec<f32>,
    h: Vec<f32>,
    gates: Vec<f32>,
    y: Vec<f32>,
    kernel: Vec<f32>,
    recurrent: Vec<f32>,
    head: Vec<f32>,
    dh: Vec<f32>,
}

impl Products {
    /// Of networks with so many inputs, A outputs of the actor, and as many minibatches an epoch.
    pub fn new(inputs: usize, actions: usize, minibatches: usize) -> Self {
        let rows = ENVIRONMENTS * ROLLOUT;
        let network = |outputs: usize| Network {
            outputs,
            inputs,
            x: vec![0.1; rows * inputs],
            h: vec![0.1; rows * UNITS],
            gates: vec![0.1; rows * 4 * UNITS],
            y: vec![0.1; rows * outputs],
            kernel: vec![0.1; inputs * 4 * UNITS],
            recurrent: vec![0.1; UNITS * 4 * UNITS],
            head: vec![0.1; UNITS * outputs],
            dh: vec![0.1; rows * UNITS],
        };
        Self { networks: [network(actions), network(1)], minibatches }
    }

    /// The products of one iteration.
    pub fn run(&mut self) {
        let minibatches = self.minibatches;
        self.networks.par_iter_mut().for_each(|network| {
            // The rollout: environments in two parts, the actor step by step.
            for _ in 0..2 {
                network.forward(ENVIRONMENTS / 2);
            }
            for _ in 0..EPOCHS * minibatches {
                network.forward(ENVIRONMENTS / minibatches);
                network.backward(ENVIRONMENTS / minibatches);
            }
        });
    }
}

impl Network {
    fn forward(&mut self, batch: usize) {
        let (rows, columns) = (batch * ROLLOUT, 4 * UNITS);
        let gates = &mut self.gates[..rows * columns];
        let x = &self.x[..rows * self.inputs];
        product(gates, false, x, &self.kernel, [rows, self.inputs, columns]);
        for (gates, h) in
            gates.chunks_exact_mut(batch * columns).zip(self.h.chunks_exact(batch * UNITS))
        {
            product(gates, true, h, &self.recurrent, [batch, UNITS, columns]);
        }
        let y = &mut self.y[..rows * self.outputs];
        product(y, false, &self.h[..rows * UNITS], &self.head, [rows, UNITS, self.outputs]);
    }

    fn backward(&mut self, batch: usize) {
        let (rows, columns) = (batch * ROLLOUT, 4 * UNITS);
        let (gates, h) = (&self.gates[..rows * columns], &self.h[..rows * UNITS]);
        let (x, y) = (&self.x[..rows * self.inputs], &self.y[..rows * self.outputs]);
        product_of_transposed(&mut self.head, h, y, [UNITS, rows, self.outputs]);
        let dh = &mut self.dh[..rows * UNITS];
        product(dh, false, y, &self.head, [rows, self.outputs, UNITS]);
        for (dh, gates) in
            dh.chunks_exact_mut(batch * UNITS).zip(gates.chunks_exact(batch * columns))
        {
            product(dh, false, gates, &self.recurrent, [batch, columns, UNITS]);
        }
        product_of_transposed(&mut self.kernel, x, gates, [self.inputs, rows, columns]);
        product_of_transposed(&mut self.recurrent, h, gates, [UNITS, rows, columns]);
    }
}
