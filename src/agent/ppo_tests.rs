//! Tests of PPO on environments of a few options.

use super::config::PpoConfig;
use super::network::{Critic, NetworkConfig};
use super::ppo::Ppo;
use super::testing::{Task, config, learner};

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
