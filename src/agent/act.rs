//! An agent acting step by step, with all that can be known of each step.

use super::checkpoint::Agent;
use super::network::ActSpace;
use super::tower::StepSpace;

/// An agent with its memory.
pub struct Actor<'a> {
    agent: &'a Agent,
    state: Vec<f32>,
    value_state: Vec<f32>,
    observation: Vec<f32>,
    values: Vec<f32>,
    act_space: ActSpace,
    space: StepSpace,
    /// Logits of the last step: A, or J with a joint head; hints included.
    pub logits: Vec<f32>,
    /// The most likely option of each service.
    pub actions: Vec<u32>,
    /// Value of the last observation, in the unit of the training's rewards.
    pub value: f32,
}

impl<'a> Actor<'a> {
    /// At the start of an episode.
    pub fn new(agent: &'a Agent) -> Self {
        let network = &agent.network;
        Self {
            agent,
            state: vec![0.0; network.actor_state(1)],
            value_state: vec![0.0; network.value_state(1)],
            observation: Vec::new(),
            values: vec![0.0; network.value_tower().0.outputs()],
            act_space: ActSpace::default(),
            space: StepSpace::default(),
            logits: vec![0.0; network.distribution().width()],
            actions: vec![0; network.shape().options.len()],
            value: 0.0,
        }
    }

    /// Forgets everything: an episode begins.
    pub fn begin(&mut self) {
        self.state.fill(0.0);
        self.value_state.fill(0.0);
    }

    /// Takes in an observation (hints included, nothing normalised).
    ///
    /// # Panics
    /// When it is not as long as the agent's observations.
    pub fn step(&mut self, observation: &[f32]) {
        let network = &self.agent.network;
        let features = network.shape().features();
        assert_eq!(observation.len(), features, "numbers of an observation");
        self.observation.clear();
        self.observation.extend_from_slice(observation);
        if let Some(normaliser) = &self.agent.normaliser {
            normaliser.apply(&mut self.observation, features);
        }
        let parameters = &self.agent.parameters.values;
        network.act(
            parameters,
            &self.observation,
            None,
            &mut self.state,
            &mut self.act_space,
            &mut self.logits,
        );
        network.distribution().mode(&self.logits, &mut self.actions);
        let (tower, column) = network.value_tower();
        tower.step(
            &parameters[tower.span()],
            &self.observation[..network.shape().inputs],
            &mut self.value_state,
            &mut self.space,
            &mut self.values,
        );
        self.value = self.values[column];
    }
}
