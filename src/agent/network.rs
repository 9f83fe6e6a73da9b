//! Actor and critic of an agent.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::distribution::{Head, MultiCategorical};
use super::parameters::Parameters;
use super::tower::{StepSpace, Tower, TowerPlan};
use crate::error::{Error, Result};
use crate::nn::Activation;
use crate::rng::Streams;

/// Whether the critic has a body of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Critic {
    /// Two networks.
    #[default]
    Separate,
    /// One network with two heads.
    Shared,
}

/// The networks of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Units of the LSTM that comes first; 0: none, the agent has no memory.
    pub lstm: usize,
    /// Widths of the dense layers that follow.
    pub hidden: Vec<usize>,
    /// Their activation.
    pub activation: Activation,
    /// Whether the critic has a body of its own.
    pub critic: Critic,
    /// One categorical head a service, or one over all combinations.
    pub head: Head,
    /// Factor of the hints at the start (it is learned); without effect where observations carry none.
    pub hint_scale: f64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            lstm: 0,
            hidden: vec![128, 128],
            activation: Activation::Tanh,
            critic: Critic::Separate,
            head: Head::Factored,
            hint_scale: 2.0,
        }
    }
}

impl NetworkConfig {
    /// The network of recurrent PPO: an LSTM straight on the observation.
    pub fn recurrent(units: usize) -> Self {
        Self { lstm: units, hidden: Vec::new(), ..Self::default() }
    }

    /// # Errors
    /// [`Error::Input`] naming the key, in the file `place`.
    pub fn check(&self, place: &str) -> Result<()> {
        let key = |name: &str| format!("{place}: network.{name}");
        let most = self.hidden.iter().copied().max().unwrap_or(0);
        for (name, units) in [("lstm", self.lstm), ("hidden", most)] {
            if units > MOST_UNITS {
                return Err(Error::input(
                    key(name),
                    format!("{units} units"),
                    format!("give a layer at most {MOST_UNITS}"),
                ));
            }
        }
        if self.hidden.contains(&0) {
            return Err(Error::input(
                key("hidden"),
                format!("{:?}", self.hidden),
                "give every layer at least one unit",
            ));
        }
        if !(self.hint_scale > 0.0 && self.hint_scale.is_finite()) {
            return Err(Error::input(key("hint_scale"), self.hint_scale, "give a number above 0"));
        }
        Ok(())
    }
}

/// What goes in and what comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentShape {
    /// Numbers of an observation that go through the network, I.
    pub inputs: usize,
    /// Hints behind them in an observation.
    pub hints: usize,
    /// Options of each service.
    pub options: Vec<usize>,
}

impl AgentShape {
    /// Numbers of an observation.
    pub fn features(&self) -> usize {
        self.inputs + self.hints
    }
}

/// The structure of actor and critic; the numbers are in a [`Parameters`].
#[derive(Clone, Debug, PartialEq)]
pub struct ActorCritic {
    shape: AgentShape,
    distribution: MultiCategorical,
    actor: Tower,
    /// `None`: the actor's tower has one more output, the value.
    critic: Option<Tower>,
    /// Where the logarithm of the hints' scale lies, if there are any.
    log_hint_scale: Option<usize>,
    /// The actor's part of the parameters, the scale of the hints included.
    actor_span: Range<usize>,
}

/// Most units of a layer: more are a slip that fills the memory.
const MOST_UNITS: usize = 8192;

/// Gain of the initial weights of a policy's head and of a value's.
const HEAD_GAIN: f64 = 0.01;
const VALUE_GAIN: f64 = 1.0;

impl ActorCritic {
    /// Networks with initial weights from stream `initial-weights` of the master seed.
    ///
    /// # Errors
    /// [`Error::Input`] when the number of hints is neither 0 nor that of the head's logits.
    pub fn new(
        shape: &AgentShape,
        config: &NetworkConfig,
        streams: Streams,
    ) -> Result<(Self, Parameters)> {
        let distribution = MultiCategorical::new(&shape.options, config.head);
        if shape.hints != 0 && shape.hints != distribution.width() {
            return Err(Error::input(
                "network.head",
                format!(
                    "{} hints in an observation, where the head has {} logits",
                    shape.hints,
                    distribution.width()
                ),
                "choose the head that the observation's hints are for, or hints = \"none\"",
            ));
        }
        let mut rng = streams.open("initial-weights");
        let mut parameters = Parameters::default();
        let mut tower = |name: &str, heads: &[(usize, f64)]| {
            let plan = TowerPlan {
                name,
                inputs: shape.inputs,
                lstm: (config.lstm > 0).then_some(config.lstm),
                hidden: &config.hidden,
                activation: config.activation,
                heads,
            };
            Tower::new(&plan, &mut parameters, &mut rng)
        };
        let policy = (distribution.heads(), HEAD_GAIN);
        let value = (1, VALUE_GAIN);
        let (actor, critic) = match config.critic {
            Critic::Separate => (tower("actor", &[policy]), Some(tower("critic", &[value]))),
            Critic::Shared => (tower("shared", &[policy, value]), None),
        };
        let log_hint_scale = (shape.hints > 0).then(|| {
            parameters.push("log_hint_scale", &[1], &[config.hint_scale.ln() as f32]).start
        });
        let actor_span = actor.span();
        let shape = shape.clone();
        let network = Self { shape, distribution, actor, critic, log_hint_scale, actor_span };
        Ok((network, parameters))
    }

    /// What goes in and what comes out.
    pub fn shape(&self) -> &AgentShape {
        &self.shape
    }

    /// The distribution over actions.
    pub fn distribution(&self) -> &MultiCategorical {
        &self.distribution
    }

    /// The network that gives the heads (A numbers), and the value after them where it is shared.
    pub fn actor(&self) -> &Tower {
        &self.actor
    }

    /// The critic's own network, if it has one.
    pub fn critic(&self) -> Option<&Tower> {
        self.critic.as_ref()
    }

    /// The network that gives values, and which of its outputs they are.
    pub fn value_tower(&self) -> (&Tower, usize) {
        match &self.critic {
            Some(critic) => (critic, 0),
            None => (&self.actor, self.distribution.heads()),
        }
    }

    /// Which number of the parameters is the logarithm of the hints' scale, if there are any.
    pub fn log_hint_scale(&self) -> Option<usize> {
        self.log_hint_scale
    }

    /// What hints are multiplied by: positive, and learned as a logarithm, so that a policy can become
    /// many times more or less certain of them within one training. 0 where there are none.
    pub fn hint_scale(&self, parameters: &[f32]) -> f32 {
        self.log_hint_scale.map_or(0.0, |index| parameters[index].exp())
    }

    /// Numbers in the actor's recurrent state of `rows` rows.
    pub fn actor_state(&self, rows: usize) -> usize {
        2 * rows * self.actor.units()
    }

    /// Numbers in the recurrent state of the network that gives values.
    pub fn value_state(&self, rows: usize) -> usize {
        2 * rows * self.value_tower().0.units()
    }

    /// Acts in one environment: `observation` (hints included) and `state` to a row of logits.
    pub fn act(
        &self,
        parameters: &[f32],
        observation: &[f32],
        allowed: Option<&[bool]>,
        state: &mut [f32],
        space: &mut ActSpace,
        logits: &mut [f32],
    ) {
        let (inputs, hints) = observation.split_at(self.shape.inputs);
        space.heads.resize(self.actor.outputs(), 0.0);
        let weights = &parameters[self.actor_span.clone()];
        self.actor.step(weights, inputs, state, &mut space.step, &mut space.heads);
        let heads = &space.heads[..self.distribution.heads()];
        let scale = self.hint_scale(parameters);
        self.distribution.logits(heads, hints, scale, allowed, logits);
    }
}

/// Space of acting, kept from one step to the next.
#[derive(Clone, Debug, Default)]
pub struct ActSpace {
    step: StepSpace,
    heads: Vec<f32>,
}
