//! Tests of PPO on environments of a few options.

use serde_json::json;

use super::act::Actor;
use super::config::{Imitation, PpoConfig};
use super::network::{Critic, NetworkConfig};
use super::ppo::{Iteration, Ppo};
use super::rollout::Part;
use super::testing::{Task, TestEnv, config, learner};
use crate::env::{BatchEnv, StepResults};
use crate::nn::Checkpoint;
use crate::rng::Streams;

/// Trains, and gives the mean episode reward over the last tenth, as a share of the most possible.
fn score(mut ppo: Ppo, most: f64) -> f64 {
    let mut last = Vec::new();
    while !ppo.is_done() {
        let iteration = ppo.iterate().unwrap();
        if ppo.steps * 10 > ppo.config.steps * 9 {
            last.extend(iteration.episode_reward);
        }
    }
    last.iter().sum::<f64>() / last.len() as f64 / most
}

fn small(lstm: usize) -> NetworkConfig {
    let hidden = if lstm > 0 { Vec::new() } else { vec![32] };
    NetworkConfig { lstm, hidden, ..NetworkConfig::default() }
}

#[test]
fn what_is_shown_is_learned_by_every_kind_of_network() {
    let shared = NetworkConfig { critic: Critic::Shared, ..small(24) };
    for network in [small(0), small(24), shared] {
        let score = score(learner(Task::Identity, network.clone(), config(), 1), 1.0);
        assert!(score >= 0.95, "{score} with {network:?}");
    }
}

#[test]
fn only_memory_solves_the_masked_cue() {
    let most = 5.0 / 6.0;
    let config = PpoConfig { steps: 60_000, ..config() };
    let recurrent = score(learner(Task::Cue, small(24), config.clone(), 1), most);
    assert!(recurrent >= 0.95, "{recurrent}");
    // Without memory: a quarter and a third right, by chance.
    let chance = (1.0 / 4.0 + 1.0 / 3.0) / 2.0;
    let forgetful = score(learner(Task::Cue, small(0), config, 1), most);
    assert!(forgetful < chance + 0.05, "{forgetful}");
}

/// A pool of threads of its own.
fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Every part of PPO at once: memory, stretches, both normalisers, imitation, value clipping,
/// averaging.
fn everything() -> PpoConfig {
    PpoConfig {
        environments: 12,
        minibatches: 3,
        bptt: Some(5),
        rollout: 8,
        value_clip: Some(0.5),
        normalise_observations: true,
        normalise_rewards: true,
        imitation: Imitation { weight: 0.1, from: 0.0 },
        average_from: Some(0.0),
        ..config()
    }
}

#[test]
fn weights_do_not_depend_on_threads() {
    for network in [small(24), small(0), NetworkConfig { critic: Critic::Shared, ..small(16) }] {
        let train = |threads: usize| {
            with_threads(threads, || {
                let mut ppo = learner(Task::Cue, network.clone(), everything(), 3);
                for _ in 0..8 {
                    ppo.iterate().unwrap();
                }
                ppo.agent.parameters.values
            })
        };
        assert_eq!(train(1), train(2), "{network:?}");
    }
}

#[test]
fn a_training_that_was_saved_goes_on_bit_for_bit() {
    for network in [small(24), small(0)] {
        let begin = || learner(Task::Cue, network.clone(), everything(), 3);
        let mut whole = begin();
        for _ in 0..5 {
            whole.iterate().unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("last");
        whole.to_checkpoint(json!({"log": 5})).unwrap().save(&place).unwrap();
        let mut resumed = begin();
        let checkpoint = Checkpoint::load(&place, &[], None).unwrap();
        assert_eq!(resumed.restore(&checkpoint, &place).unwrap(), json!({"log": 5}));
        for _ in 0..5 {
            assert_eq!(without_times(whole.iterate()), without_times(resumed.iterate()));
        }
        assert_eq!(whole.agent, resumed.agent);
        assert_eq!(whole.trained(), resumed.trained());
        assert_ne!(*whole.trained(), whole.agent, "the mean is not the last");
        let other = PpoConfig { environments: 6, ..everything() };
        let mut other = learner(Task::Cue, network, other, 3);
        assert_eq!(other.restore(&checkpoint, &place).unwrap_err().exit_code(), 2);
    }
}

fn without_times(iteration: crate::Result<Iteration>) -> Iteration {
    let mut iteration = iteration.unwrap();
    (iteration.env_time, iteration.act_time, iteration.learn_time) = Default::default();
    iteration
}

/// Values step by step, by another way than a rollout's: what a truncated episode is worth after its
/// end is the value of its last observation, with the memory of all of it; a terminated one nothing.
#[test]
fn what_comes_after_an_end_depends_on_its_kind() {
    let config = PpoConfig { rollout: 15, ..config() };
    for (network, truncates) in [(small(12), true), (small(12), false), (small(0), true)] {
        let agent = learner(Task::Identity, network, config.clone(), 1).agent;
        let env = TestEnv::new(Task::Identity, 0..2, truncates);
        let mut part = Part::new(0..2, Box::new(env), &agent.network, &config, Streams::new(1));
        let parameters = &agent.parameters.values;
        part.collect(&agent.network, parameters, None, &config, 10.0, None).unwrap();
        let data = &part.data;
        let mut twin = TestEnv::new(Task::Identity, 0..2, truncates);
        let features = twin.features();
        let mut observations = vec![0.0; 2 * features];
        twin.observe(&mut observations);
        let mut actors = [Actor::new(&agent), Actor::new(&agent)];
        let near = |one: f32, other: f32| assert!((one - other).abs() < 1e-5, "{one} {other}");
        let mut ends = 0;
        for step in 0..config.rollout {
            for (row, actor) in actors.iter_mut().enumerate() {
                actor.step(&observations[row * features..][..features]);
                near(actor.value, data.values[2 * step + row]);
            }
            let (mut rewards, mut baselines) = ([0.0; 2], [0.0; 2]);
            let (mut terminated, mut truncated) = ([false; 2], [false; 2]);
            let results = StepResults {
                observations: &mut observations,
                rewards: &mut rewards,
                baselines: &mut baselines,
                terminated: &mut terminated,
                truncated: &mut truncated,
            };
            twin.step(&data.actions[4 * step..4 * step + 4], results).unwrap();
            for (row, actor) in actors.iter_mut().enumerate() {
                let place = 2 * step + row;
                assert_eq!(data.ends[place], terminated[row] || truncated[row]);
                if !data.ends[place] {
                    continue;
                }
                ends += 1;
                let mut last = vec![0.0; features];
                twin.final_observation(row, &mut last);
                actor.step(&last);
                let worth = if truncated[row] { actor.value } else { 0.0 };
                near(worth, data.after[place]);
                let reward = 10.0 * rewards[row] as f32;
                near(data.advantages[place], reward + 0.9 * worth - data.values[place]);
                actor.begin();
            }
        }
        assert_eq!(ends, 4);
    }
}
