//! Episodes kept to be imitated.

use serde::{Deserialize, Serialize};

/// One episode from its start: L steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its sum of rewards.
    pub reward: f64,
    /// Features, [L, I], not normalised.
    pub inputs: Vec<f32>,
    /// Hints, [L, hints].
    pub hints: Vec<f32>,
    /// Masks, [L, A]; empty where every option could always be chosen.
    pub allowed: Vec<bool>,
    /// Options chosen, [L, S].
    pub actions: Vec<u32>,
    /// L.
    pub steps: usize,
}

impl Episode {
    /// Adds a step.
    pub fn push(
        &mut self,
        inputs: &[f32],
        hints: &[f32],
        allowed: Option<&[bool]>,
        actions: &[u32],
    ) {
        self.inputs.extend_from_slice(inputs);
        self.hints.extend_from_slice(hints);
        if let Some(allowed) = allowed {
            // Steps before the first mask had none.
            self.allowed.resize(self.steps * allowed.len(), true);
            self.allowed.extend_from_slice(allowed);
        } else if !self.allowed.is_empty() {
            let width = self.allowed.len() / self.steps;
            self.allowed.resize((self.steps + 1) * width, true);
        }
        self.actions.extend_from_slice(actions);
        self.steps += 1;
    }

    /// Forgets all steps, and keeps the space.
    pub fn clear(&mut self) {
        self.reward = 0.0;
        self.inputs.clear();
        self.hints.clear();
        self.allowed.clear();
        self.actions.clear();
        self.steps = 0;
    }
}
