//! A trained agent as a policy.

use serde::{Deserialize, Serialize};

use super::{Episode, Explanation, Policy, PolicyState};
use crate::agent::{ActSpace, Agent};
use crate::env::observation::{Expected, Features, ObservationMemory, Observer, ObserverScratch};
use crate::error::{Error, Result};
use crate::nn::checkpoint::layout_hash;
use crate::predictor::Forecast;
use crate::scenario::Scenario;
use crate::snapshot::{Decision, Signal, Snapshot};

/// How many of an agent's best choices are told.
const TOLD: usize = 3;

/// Takes the agent's most likely action.
pub struct Neural {
    name: String,
    fingerprint: String,
    agent: Agent,
    observer: Observer,
}

/// What an agent remembers between decisions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NeuralState {
    /// The recurrent state, [2, H].
    recurrent: Vec<f32>,
    /// What its observations need of earlier decisions.
    memory: ObservationMemory,
    /// Space, not memory.
    #[serde(skip)]
    space: NeuralSpace,
}

#[derive(Clone, Debug, Default)]
struct NeuralSpace {
    observation: Vec<f32>,
    logits: Vec<f32>,
    actions: Vec<u32>,
    act: ActSpace,
    observer: ObserverScratch,
}

impl Neural {
    /// The policy called `name`, of an agent that came from `place`, on `scenario`.
    ///
    /// # Errors
    /// [`Error::Input`] when the agent was trained for other services, options or features.
    pub fn new(name: &str, agent: Agent, scenario: &Scenario, place: &str) -> Result<Self> {
        let observer = agent.config.environment.observer(scenario)?;
        let heads = observer.actions().heads();
        let expected = &agent.config.shape.options;
        if heads != expected.as_slice() {
            return Err(Error::input(
                format!("policy {place}"),
                format!(
                    "the agent chooses among {expected:?} options of its services, scenario {} has {heads:?}",
                    scenario.name()
                ),
                "use the scenario that it was trained on, or train an agent on this one",
            ));
        }
        let (found, wanted) = (layout_hash(&agent.layout), layout_hash(&observer.to_json()));
        if found != wanted {
            return Err(Error::input(
                format!("policy {place}"),
                format!(
                    "the agent expects {} features (layout {found:.12}), scenario {} gives {} that are not the same \
                     (layout {wanted:.12})",
                    agent.config.shape.features(),
                    scenario.name(),
                    observer.len(),
                ),
                "use the scenario and settings that it was trained with, or train again",
            ));
        }
        let fingerprint = agent.to_checkpoint()?.fingerprint()?;
        Ok(Self { name: name.to_owned(), fingerprint, agent, observer })
    }

    fn decide_with(
        &self,
        snapshot: &Snapshot,
        expected: Expected<'_>,
        state: &mut PolicyState,
    ) -> Result<Decision> {
        let PolicyState::Neural(state) = state else {
            return Err(Error::Failed(format!("{}: started without its memory", self.name)));
        };
        let NeuralState { recurrent, memory, space } = state.as_mut();
        let network = &self.agent.network;
        let shape = network.shape();
        if recurrent.len() != network.actor_state(1) {
            return Err(Error::Failed(format!(
                "{}: a memory of {} numbers where the agent has {}",
                self.name,
                recurrent.len(),
                network.actor_state(1)
            )));
        }
        space.observation.resize(shape.features(), 0.0);
        space.logits.resize(network.distribution().width(), 0.0);
        space.actions.resize(shape.options.len(), 0);
        let observation = &mut space.observation;
        self.observer.write(snapshot, expected, memory, &mut space.observer, observation)?;
        if let Some(normaliser) = &self.agent.normaliser {
            normaliser.apply(observation, shape.features());
        }
        network.act(
            &self.agent.parameters.values,
            observation,
            None,
            recurrent,
            &mut space.act,
            &mut space.logits,
        );
        if let Some(index) = space.logits.iter().position(|logit| logit.is_nan()) {
            return Err(Error::Failed(format!("{}: logit {index} is not a number", self.name)));
        }
        network.distribution().mode(&space.logits, &mut space.actions);
        let mut decision = Decision { services: Vec::new(), reason: "most likely".to_owned() };
        let users = |service: usize| expected.users(service);
        self.observer.actions().decide(&space.actions, users, &mut decision)?;
        memory.remember(&decision);
        Ok(decision)
    }
}

impl Policy for Neural {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> Option<&str> {
        Some(&self.fingerprint)
    }

    fn start(&self, _episode: &Episode<'_>) -> Result<PolicyState> {
        let recurrent = vec![0.0; self.agent.network.actor_state(1)];
        Ok(PolicyState::Neural(Box::new(NeuralState { recurrent, ..NeuralState::default() })))
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        state: &mut PolicyState,
    ) -> Result<Decision> {
        self.decide_with(snapshot, Expected::Users(forecast), state)
    }

    fn decide_on(
        &self,
        snapshot: &Snapshot,
        forecast: &Forecast,
        state: &mut PolicyState,
    ) -> Result<Decision> {
        self.decide_with(snapshot, Expected::Forecast(forecast), state)
    }

    fn signals(&self) -> &'static [Signal] {
        match self.agent.config.environment.observation.layout.features {
            // CPU and latency follow from the option in force, as in the original.
            Features::NineRaw | Features::Nine | Features::Opt => &[Signal::Users],
            Features::Full | Features::Feat => {
                &[Signal::Users, Signal::CpuCores, Signal::PodsReady]
            }
            Features::Knative | Features::KnativeNoQuota => &Signal::ALL,
        }
    }

    fn explain(&self, state: &PolicyState) -> Option<Explanation> {
        let PolicyState::Neural(state) = state else { return None };
        let distribution = self.agent.network.distribution();
        let logits = &state.space.logits;
        if logits.len() != distribution.width() {
            return None;
        }
        let best = |(service, probabilities): (usize, Vec<f32>)| {
            let mut order: Vec<u32> = (0..probabilities.len() as u32).collect();
            order.sort_by(|&a, &b| probabilities[b as usize].total_cmp(&probabilities[a as usize]));
            let told = order.into_iter().take(TOLD);
            told.map(|choice| {
                let words = self.observer.actions().describe(service, choice);
                (words, probabilities[choice as usize])
            })
            .collect()
        };
        let marginals = distribution.marginals(logits);
        Some(Explanation { choices: marginals.into_iter().enumerate().map(best).collect() })
    }
}
