//! How good an agent is: its most likely actions, one episode in each of many environments.

use rayon::prelude::*;

use super::checkpoint::Agent;
use super::tower::StepSpace;
use crate::env::{BatchEnv, MakeEnvironments, StepResults};
use crate::error::Result;

/// Environments in one part: their number does not depend on the threads.
const PART: usize = 16;

/// Plays the first episode of each of `environments` environments with the most likely actions, and
/// gives the sums of their rewards.
///
/// # Errors
/// When an environment cannot be made or stepped.
pub fn evaluate(
    agent: &Agent,
    make: &MakeEnvironments<'_>,
    environments: usize,
) -> Result<Vec<f64>> {
    let parts: Vec<Result<Vec<f64>>> = (0..environments.div_ceil(PART))
        .into_par_iter()
        .map(|part| {
            let range = part * PART..((part + 1) * PART).min(environments);
            play(agent, make(range, environments)?.as_mut())
        })
        .collect();
    let mut sums = Vec::with_capacity(environments);
    for part in parts {
        sums.extend(part?);
    }
    Ok(sums)
}

fn play(agent: &Agent, env: &mut dyn BatchEnv) -> Result<Vec<f64>> {
    let (network, shape) = (&agent.network, agent.network.shape());
    let distribution = network.distribution();
    let (n, features, inputs) = (env.len(), shape.features(), shape.inputs);
    let (options, services) = (distribution.heads(), shape.options.len());
    let actor = network.actor();
    let weights = &agent.parameters.values[actor.span()];
    let scale = network.hint_scale(&agent.parameters.values);
    let mut observations = vec![0.0; n * features];
    let mut x = vec![0.0; n * inputs];
    let mut state = vec![0.0; network.actor_state(n)];
    let mut heads = vec![0.0; n * actor.outputs()];
    let mut allowed = vec![true; n * options];
    let mut logits = vec![0.0; distribution.width()];
    let mut actions = vec![0; n * services];
    let (mut rewards, mut baselines) = (vec![0.0; n], vec![0.0; n]);
    let (mut terminated, mut truncated) = (vec![false; n], vec![false; n]);
    let (mut sums, mut running) = (vec![0.0; n], vec![true; n]);
    let mut space = StepSpace::default();
    env.observe(&mut observations);
    while running.contains(&true) {
        for (x, row) in x.chunks_exact_mut(inputs).zip(observations.chunks_exact(features)) {
            x.copy_from_slice(&row[..inputs]);
        }
        if let Some(normaliser) = &agent.normaliser {
            normaliser.apply(&mut x, inputs);
        }
        actor.step(weights, &x, &mut state, &mut space, &mut heads);
        let masked = env.mask(&mut allowed);
        for row in 0..n {
            let hints = &observations[row * features + inputs..(row + 1) * features];
            let allowed = masked.then(|| &allowed[row * options..][..options]);
            let heads = &heads[row * actor.outputs()..][..options];
            distribution.logits(heads, hints, scale, allowed, &mut logits);
            distribution.mode(&logits, &mut actions[row * services..][..services]);
        }
        env.step(
            &actions,
            StepResults {
                observations: &mut observations,
                rewards: &mut rewards,
                baselines: &mut baselines,
                terminated: &mut terminated,
                truncated: &mut truncated,
            },
        )?;
        for row in 0..n {
            // Those that have ended play on beside the others; what they earn then does not count.
            if running[row] {
                sums[row] += rewards[row];
                running[row] = !(terminated[row] || truncated[row]);
            }
        }
    }
    Ok(sums)
}
