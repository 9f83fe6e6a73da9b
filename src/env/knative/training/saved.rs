//! Environments as a checkpoint keeps them: the episode and what was chosen in it, which is played
//! again.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shared;
use super::env::Env;
use crate::env::batch::restored;
use crate::error::{Error, Result};

/// What is saved of an environment.
#[derive(Serialize, Deserialize)]
struct Saved {
    episode: u64,
    choices: Vec<u32>,
    last_observation: Vec<f32>,
}

/// What [`restore`] needs to go on bit for bit.
pub(super) fn save(envs: &[Env]) -> Value {
    let saved: Vec<Saved> = envs
        .iter()
        .map(|env| Saved {
            episode: env.episode,
            choices: env.choices.clone(),
            last_observation: env.last_observation.clone(),
        })
        .collect();
    serde_json::json!(saved)
}

/// Brings `envs` to where they were saved.
///
/// # Errors
/// [`Error::Input`] when `saved` is of other environments.
pub(super) fn restore(shared: &Shared, envs: &mut [Env], saved: &Value) -> Result<()> {
    let all: Vec<Saved> = restored(saved, envs.len())?;
    let services = shared.model.services.len();
    let steps = shared.instants.len();
    envs.par_iter_mut().zip(all).try_for_each(|(env, saved)| {
        if saved.last_observation.len() != shared.observer.len()
            || saved.choices.len() % services != 0
            || saved.choices.len() / services >= steps
        {
            return Err(Error::input(
                format!("saved environment {}", env.index),
                "choices of another scenario",
                "go on with the scenario that training began with",
            ));
        }
        env.episode = saved.episode;
        env.begin(shared)?;
        for choices in saved.choices.chunks_exact(services) {
            env.step(shared, choices)?;
        }
        env.last_observation = saved.last_observation;
        Ok(())
    })
}
