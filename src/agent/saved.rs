//! A training as a checkpoint, to go on from bit for bit.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::average::Average;
use super::imitation::Episode;
use super::normalise::ReturnNormaliser;
use super::ppo::Ppo;
use crate::error::{Error, Result};
use crate::nn::{Checkpoint, TensorFile, TensorValues};
use crate::rng::Rng;

/// rng.json of a training: all that is neither weights nor statistics of observations.
#[derive(Serialize, Deserialize)]
struct Saved {
    updates: u64,
    shuffle: Rng,
    returns: Option<ReturnNormaliser>,
    best: Option<Episode>,
    /// Sets of parameters in the mean, where they are averaged.
    #[serde(default)]
    averaged: u64,
    parts: Vec<SavedPart>,
    /// The trainer's own.
    trainer: Value,
}

#[derive(Serialize, Deserialize)]
struct SavedPart {
    environments: Value,
    rngs: Vec<Rng>,
    sums: Vec<f64>,
    /// Whether each environment's next step begins an episode.
    starts: Vec<bool>,
    episodes: Vec<Episode>,
}

/// Prefix of the parameters that learn, where the agent is the mean of them.
const LEARNING: &str = "learning.";

/// Names of the tensors of recurrent states.
fn state_name(network: &str, part: usize) -> String {
    format!("state.{network}.{part}")
}

impl Ppo {
    /// The training between two iterations, with what its trainer wants to keep beside.
    ///
    /// # Errors
    /// When something cannot be written as JSON.
    pub fn to_checkpoint(&self, trainer: Value) -> Result<Checkpoint> {
        let json = |error| Error::Failed(format!("cannot write the state of a training: {error}"));
        let mut checkpoint = self.trained().to_checkpoint()?;
        checkpoint.metadata.steps = self.steps;
        let parameters = &self.agent.parameters;
        let mut tensors = parameters.named("m.", &self.moments[0]);
        tensors.extend(parameters.named("v.", &self.moments[1]));
        if self.average.is_some() {
            // The model is the mean: what it is the mean of goes on.
            tensors.extend(parameters.named(LEARNING, &parameters.values));
        }
        for (index, part) in self.parts.iter().enumerate() {
            for (network, state) in [("actor", &part.actor_state), ("value", &part.value_state)] {
                let tensor = TensorValues { shape: vec![state.len()], values: state.clone() };
                tensors.insert(state_name(network, index), tensor);
            }
        }
        checkpoint.optimizer = Some(TensorFile { tensors, steps: Some(self.updates) });
        let saved = Saved {
            updates: self.updates,
            shuffle: self.shuffle.clone(),
            returns: self.returns.clone(),
            best: self.best.clone(),
            averaged: self.average.as_ref().map_or(0, |average| average.count),
            parts: self
                .parts
                .iter()
                .map(|part| SavedPart {
                    environments: part.env.save(),
                    rngs: part.rngs.clone(),
                    sums: part.sums.clone(),
                    starts: part.next_starts().to_vec(),
                    episodes: part.episodes.clone(),
                })
                .collect(),
            trainer,
        };
        checkpoint.rng = Some(serde_json::to_value(&saved).map_err(json)?);
        Ok(checkpoint)
    }

    /// Goes on from a checkpoint that was read from `place`, in a training that was begun with the same
    /// settings. Gives what the trainer kept beside.
    ///
    /// # Errors
    /// [`Error::Input`] when the checkpoint is not one to go on from, or another training's.
    pub fn restore(&mut self, checkpoint: &Checkpoint, place: &Path) -> Result<Value> {
        let wrong = |file: &str, problem: String| {
            Error::input(
                place.join(file).display(),
                problem,
                "go on with the folder's own settings, or train anew with --force",
            )
        };
        let Some((state, optimizer)) = checkpoint.rng.as_ref().zip(checkpoint.optimizer.as_ref())
        else {
            let problem = "the checkpoint holds no state of a training".to_owned();
            return Err(wrong("metadata.json", problem));
        };
        let saved: Saved = serde_json::from_value(state.clone())
            .map_err(|error| wrong("rng.json", error.to_string()))?;
        let fits = saved.parts.len() == self.parts.len()
            && saved.parts.iter().zip(&self.parts).all(|(saved, part)| {
                [saved.rngs.len(), saved.sums.len(), saved.starts.len(), saved.episodes.len()]
                    == [part.len(); 4]
            });
        if !fits {
            return Err(wrong("rng.json", "other numbers of environments or parts".to_owned()));
        }
        self.agent.parameters.set(&checkpoint.model, &place.join("model.safetensors"))?;
        let restored = super::Agent::from_checkpoint(checkpoint, place)?;
        self.agent.normaliser = restored.normaliser;
        self.average = (saved.averaged > 0).then(|| Average {
            values: self.agent.parameters.values.clone(),
            count: saved.averaged,
        });
        self.restore_tensors(optimizer, &place.join("optimizer.safetensors"))?;
        self.steps = checkpoint.metadata.steps;
        self.updates = saved.updates;
        self.shuffle = saved.shuffle;
        self.returns = saved.returns;
        self.best = saved.best;
        let rollout = self.config.rollout;
        for (part, saved) in self.parts.iter_mut().zip(saved.parts) {
            part.env.restore(&saved.environments)?;
            part.rngs = saved.rngs;
            part.sums = saved.sums;
            part.episodes = saved.episodes;
            part.observe(&self.agent.network, rollout, &saved.starts);
        }
        Ok(saved.trainer)
    }

    fn restore_tensors(&mut self, file: &TensorFile, place: &Path) -> Result<()> {
        let parameters = &self.agent.parameters;
        let mut expected: Vec<(String, Vec<usize>)> = Vec::new();
        let kinds = ["m.", "v.", LEARNING];
        let kinds = if self.average.is_some() { &kinds[..] } else { &kinds[..2] };
        for kind in kinds {
            let each = parameters.iter();
            expected.extend(each.map(|(name, shape, _)| (format!("{kind}{name}"), shape.to_vec())));
        }
        for (index, part) in self.parts.iter().enumerate() {
            expected.push((state_name("actor", index), vec![part.actor_state.len()]));
            expected.push((state_name("value", index), vec![part.value_state.len()]));
        }
        let each = expected.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
        file.check(each, place)?;
        let [first, second] = &mut self.moments;
        let mut learning = parameters.values.clone();
        for (kind, numbers) in kinds.iter().zip([first, second, &mut learning]) {
            for (name, _, span) in parameters.iter() {
                let values = &file.tensors[&format!("{kind}{name}")].values;
                numbers[span].copy_from_slice(values);
            }
        }
        self.agent.parameters.values = learning;
        for (index, part) in self.parts.iter_mut().enumerate() {
            for (network, state) in
                [("actor", &mut part.actor_state), ("value", &mut part.value_state)]
            {
                state.copy_from_slice(&file.tensors[&state_name(network, index)].values);
            }
        }
        Ok(())
    }
}
