//! TRPO as a whole.

use rand::RngExt;
use serde_json::{Value, json};

use super::config::TrpoConfig;
use super::fisher;
use super::policy::{improve, normalise};
use super::samples::Samples;
use crate::agent::checkpoint::{Agent, AgentConfig};
use crate::agent::network::{ActorCritic, AgentShape, NetworkConfig};
use crate::agent::ppo::Ppo;
use crate::agent::rollout::Rollout;
use crate::agent::testing::{EPISODE, OPTIONS, Task, TestEnv};
use crate::env::EnvironmentConfig;
use crate::nn::Metadata;
use crate::rng::{Rng, Streams};

const INPUTS: usize = 4;

fn network(hidden: &[usize]) -> (ActorCritic, Vec<f32>) {
    let shape = AgentShape { inputs: INPUTS, hints: 0, options: OPTIONS.to_vec() };
    let config = NetworkConfig { hidden: hidden.to_vec(), ..NetworkConfig::default() };
    let (network, parameters) = ActorCritic::new(&shape, &config, Streams::new(3)).unwrap();
    let mut values = parameters.values;
    // Away from the uniform policy that agents begin with.
    let mut rng = Streams::new(4).open("weights");
    for value in &mut values {
        *value += rng.random_range(-0.5..0.5_f32);
    }
    (network, values)
}

/// Two parts of transitions, some options masked.
fn samples(network: &ActorCritic, rng: &mut Rng) -> Vec<Samples> {
    [40_usize, 23]
        .map(|rows| {
            let mut rollout = Rollout::default();
            rollout.inputs = (0..rows * INPUTS).map(|_| rng.random_range(-1.0..1.0)).collect();
            rollout.masked = true;
            for _ in 0..rows {
                rollout.allowed.extend([true, true, rng.random_bool(0.5), true]);
                rollout.allowed.extend([true; 3]);
                rollout.actions.extend([rng.random_range(0..2), rng.random_range(0..3)]);
                rollout.advantages.push(rng.random_range(-1.0..2.0));
            }
            let mut samples = Samples::default();
            samples.gather(network, &rollout, 0, 1);
            samples
        })
        .into()
}

/// The gradient of the mean divergence from the policy of `begin`.
fn divergence_gradient(
    samples: &mut [Samples],
    network: &ActorCritic,
    parameters: &[f32],
) -> Vec<f64> {
    let mut sum = vec![0.0; network.actor().span().len()];
    for part in samples {
        let mut doutputs = part.divergence_gradient(network, parameters);
        let mut gradient = vec![0.0; sum.len()];
        part.backward(network, parameters, &mut doutputs, &mut gradient);
        for (sum, value) in sum.iter_mut().zip(gradient) {
            *sum += f64::from(value);
        }
    }
    sum
}

#[test]
fn products_of_the_fisher_information_are_differences_of_the_divergences_gradient() {
    let (network, parameters) = network(&[8, 5]);
    let span = network.actor().span();
    let mut rng = Streams::new(5).open("samples");
    let mut samples = samples(&network, &mut rng);
    for _ in 0..3 {
        let vector: Vec<f32> = (0..span.len()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut found = vec![0.0; span.len()];
        for part in &mut samples {
            part.begin(&network, &parameters).unwrap();
            fisher::product(part, &network, &parameters, &vector);
            for (sum, &value) in found.iter_mut().zip(&part.gradient) {
                *sum += f64::from(value);
            }
        }
        let step = 4e-3;
        let moved = |by: f32| {
            let mut moved = parameters.clone();
            for (value, &v) in moved[span.clone()].iter_mut().zip(&vector) {
                *value += by * v;
            }
            moved
        };
        let above = divergence_gradient(&mut samples, &network, &moved(step));
        let below = divergence_gradient(&mut samples, &network, &moved(-step));
        let norm = found.iter().map(|value| value * value).sum::<f64>().sqrt();
        for ((above, below), found) in above.iter().zip(&below).zip(&found) {
            let slope = (above - below) / f64::from(2.0 * step);
            assert!((slope - found).abs() < 5e-3 * norm, "{slope} {found} of {norm}");
        }
    }
}

#[test]
fn a_step_improves_within_the_bound_or_is_not_taken() {
    let (network, parameters) = network(&[16]);
    let mut rng = Streams::new(6).open("samples");
    for target_kl in [1e-5, 1e-3, 0.05, 2.0] {
        let mut samples = samples(&network, &mut rng);
        normalise(&mut samples);
        let config = TrpoConfig { target_kl, ..TrpoConfig::default() };
        let step = improve(&mut samples, &network, &parameters, &config).unwrap();
        let actor = step.actor.clone().expect("a step can be found here");
        assert!(step.kl < target_kl && step.kl > 0.2 * target_kl.min(0.05), "{step:?}");
        let mut after = parameters.clone();
        after[network.actor().span()].copy_from_slice(&actor);
        let (mut objective, mut kl, mut rows) = (0.0, 0.0, 0.0);
        for part in &mut samples {
            part.begin(&network, &parameters).unwrap();
            let judged = part.judge(&network, &after).unwrap();
            objective += judged.objective;
            kl += judged.kl;
            rows += part.rows() as f64;
        }
        assert!((kl / rows - step.kl).abs() < 1e-6, "{step:?}");
        assert!((objective / rows - step.objective).abs() < 1e-6 && objective > 0.0);
    }
    // Without any advantage there is nowhere to go.
    let mut samples = samples(&network, &mut rng);
    for part in &mut samples {
        part.advantages.fill(0.0);
    }
    let step = improve(&mut samples, &network, &parameters, &TrpoConfig::default()).unwrap();
    assert_eq!((step.actor, step.gradient_norm), (None, 0.0));
}

fn learner(config: &TrpoConfig, seed: u64) -> Ppo {
    let shape = AgentShape { inputs: OPTIONS.iter().sum(), hints: 0, options: OPTIONS.to_vec() };
    let agent_config = AgentConfig {
        shape,
        environment: EnvironmentConfig::default(),
        network: NetworkConfig { hidden: vec![32], ..NetworkConfig::default() },
        training: Value::Null,
    };
    let agent = Agent::new(Metadata::new("trpo", seed, 0), agent_config, json!(["shown"])).unwrap();
    let make: &crate::env::MakeEnvironments<'_> =
        &|range, _| Ok(Box::new(TestEnv::new(Task::Identity, range, false)));
    Ppo::trpo(config.clone(), agent, make).unwrap()
}

fn config() -> TrpoConfig {
    TrpoConfig {
        steps: 30_000,
        n_envs: 32,
        n_steps: 2 * EPISODE as usize,
        reward_scale: 10.0,
        target_kl: 0.05,
        gamma: 0.9,
        parts: 2,
        ..TrpoConfig::default()
    }
}

#[test]
fn it_learns_to_answer_what_it_sees() {
    let mut learner = learner(&config(), 1);
    let mut last = None;
    while !learner.is_done() {
        let iteration = learner.iterate().unwrap();
        assert!(iteration.kl < 0.05, "{iteration:?}");
        last = iteration.episode_reward;
    }
    // Drawn at random, not the most likely ones.
    assert!(last.unwrap() > 0.95, "{last:?}");
}

#[test]
fn going_on_from_a_checkpoint_is_not_to_have_stopped() {
    let config = TrpoConfig { sub_sampling_factor: 3, ..config() };
    let mut through = learner(&config, 2);
    for _ in 0..3 {
        through.iterate().unwrap();
    }
    let saved = through.to_checkpoint(Value::Null).unwrap();
    let mut resumed = learner(&config, 2);
    resumed.restore(&saved, std::path::Path::new("checkpoint")).unwrap();
    for _ in 0..3 {
        let (one, other) = (through.iterate().unwrap(), resumed.iterate().unwrap());
        assert_eq!((one.kl, one.value_loss), (other.kl, other.value_loss));
    }
    assert_eq!(through.agent.parameters, resumed.agent.parameters);
    assert_eq!(through.updates, resumed.updates);
    let started = learner(&config, 2);
    assert_ne!(through.agent.parameters, started.agent.parameters);
}

/// Bits do not depend on the number of threads.
#[test]
fn threads_do_not_matter() {
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut learner = learner(&config(), 3);
            for _ in 0..4 {
                learner.iterate().unwrap();
            }
            learner.agent.parameters
        })
    };
    assert_eq!(with_threads(1), with_threads(2));
}

#[test]
fn what_would_fill_the_memory_is_named_as_the_settings_call_it() {
    let config = TrpoConfig { n_envs: 10_000_000, ..config() };
    let error = config.check(&NetworkConfig::default(), "a.toml").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("a.toml: n_envs"), "{error}");
}
