//! Small environments that show whether an agent learns, for tests.

use rand::RngExt;
use serde_json::{Value, json};

use super::checkpoint::{Agent, AgentConfig};
use super::config::{PpoConfig, Schedule};
use super::network::{AgentShape, NetworkConfig};
use super::ppo::Ppo;
use crate::env::{BatchEnv, EnvironmentConfig, StepResults};
use crate::error::Result;
use crate::nn::Metadata;
use crate::rng::{Rng, Streams};

/// What has to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Both services' options, which the observation shows.
    Identity,
    /// The option that the episode's first observation showed, at every later step.
    Cue,
}

/// Steps of an episode.
pub const EPISODE: u32 = 6;
/// Options of each of two services.
pub const OPTIONS: [usize; 2] = [4, 3];

/// A reward of 1 / (2 `EPISODE`) for each right answer: 1 is the most an episode can earn (with
/// [`Task::Cue`] 5/6, for the first answer cannot count).
pub struct TestEnv {
    task: Task,
    states: Vec<State>,
    finals: Vec<State>,
    /// Steps after which an episode is cut although it could go on; 0: it ends by the rules.
    truncates: bool,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct State {
    rng: Rng,
    step: u32,
    shown: [u32; 2],
}

impl State {
    fn draw(&mut self) {
        self.shown = OPTIONS.map(|count| self.rng.random_range(0..count as u32));
    }
}

impl TestEnv {
    pub fn new(task: Task, environments: std::ops::Range<usize>, truncates: bool) -> Self {
        let states: Vec<State> = environments
            .map(|index| {
                let rng = Streams::new(5).open_indexed("test-env", index as u64);
                let mut state = State { rng, step: 0, shown: [0; 2] };
                state.draw();
                state
            })
            .collect();
        Self { task, finals: states.clone(), states, truncates }
    }

    fn write(&self, state: &State, out: &mut [f32]) {
        out.fill(0.0);
        if self.task == Task::Identity || state.step == 0 {
            out[state.shown[0] as usize] = 1.0;
            out[OPTIONS[0] + state.shown[1] as usize] = 1.0;
        }
    }
}

impl BatchEnv for TestEnv {
    fn len(&self) -> usize {
        self.states.len()
    }

    fn options(&self) -> &[usize] {
        &OPTIONS
    }

    fn layout(&self) -> Value {
        json!(["shown"])
    }

    fn features(&self) -> usize {
        OPTIONS.iter().sum()
    }

    fn observe(&self, observations: &mut [f32]) {
        for (state, out) in self.states.iter().zip(observations.chunks_exact_mut(self.features())) {
            self.write(state, out);
        }
    }

    fn step(&mut self, actions: &[u32], results: StepResults<'_>) -> Result<()> {
        for index in 0..self.states.len() {
            let answers = &actions[2 * index..2 * index + 2];
            let state = &mut self.states[index];
            let counts = self.task == Task::Identity || state.step > 0;
            let right = answers.iter().zip(state.shown).filter(|&(&a, shown)| a == shown).count();
            results.rewards[index] =
                if counts { right as f64 / f64::from(2 * EPISODE) } else { 0.0 };
            results.baselines[index] = 0.0;
            state.step += 1;
            if self.task == Task::Identity {
                state.draw();
            }
            let ends = state.step == EPISODE;
            results.terminated[index] = ends && !self.truncates;
            results.truncated[index] = ends && self.truncates;
            if ends {
                self.finals[index] = state.clone();
                state.step = 0;
                state.draw();
            }
        }
        self.observe(results.observations);
        Ok(())
    }

    fn final_observation(&self, environment: usize, observation: &mut [f32]) {
        self.write(&self.finals[environment], observation);
    }

    fn save(&self) -> Value {
        json!(self.states)
    }

    fn restore(&mut self, saved: &Value) -> Result<()> {
        self.states = serde_json::from_value(saved.clone())
            .map_err(|error| crate::Error::input("states", error, "give those that were saved"))?;
        Ok(())
    }
}

/// Settings that solve the tasks within a second.
pub fn config() -> PpoConfig {
    PpoConfig {
        steps: 40_000,
        environments: 32,
        rollout: 2 * EPISODE as usize,
        minibatches: 4,
        gamma: 0.9,
        entropy: Schedule { from: 0.01, to: 0.0 },
        learning_rate: Schedule { from: 6e-3, to: 5e-4 },
        reward_scale: 10.0,
        ..PpoConfig::default()
    }
}

/// A training about to begin.
pub fn learner(task: Task, network: NetworkConfig, config: PpoConfig, seed: u64) -> Ppo {
    let shape = AgentShape { inputs: OPTIONS.iter().sum(), hints: 0, options: OPTIONS.to_vec() };
    let agent_config = AgentConfig {
        shape,
        environment: EnvironmentConfig::default(),
        network,
        training: Value::Null,
    };
    let metadata = Metadata::new("recurrent-ppo", seed, 0);
    let agent = Agent::new(metadata, agent_config, json!(["shown"])).unwrap();
    Ppo::new(config, agent, &|range, _| Ok(Box::new(TestEnv::new(task, range, false)))).unwrap()
}
