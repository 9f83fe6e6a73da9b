//! The parts of `bench` that concern agents.

use std::hint::black_box;
use std::sync::Arc;

use super::bench::{Figure, best_of};
use crate::agent::speed::{ENVIRONMENTS, Products, ROLLOUT, agent, training};
use crate::control::Controller;
use crate::env::paper::{PaperRules, snapshot_of};
use crate::policy::{Episode, Neural, Policy};
use crate::predictor::Persistence;
use crate::scenario::Scenario;

/// Decisions in one repetition.
const DECISIONS: u32 = 10_000;

/// Training (16 environments x 128 steps, 4 epochs, LSTM 128, separate critic, environment `paper`),
/// with whole rollouts and with one environment a minibatch; the matrix products alone of either; one decision.
pub(super) fn figures(threads: usize) -> anyhow::Result<Vec<Figure>> {
    let scenario = Scenario::load("paper-random", &[])?;
    let threads = threads.min(2);
    let mut figures = Vec::new();
    for (minibatches, names) in [
        (1, ["agent_training", "agent_products"]),
        (ENVIRONMENTS, ["agent_training_batch_128", "agent_products_batch_128"]),
    ] {
        let mut ppo = training(&scenario, minibatches)?;
        let trained = best_of(|| {
            black_box(ppo.iterate()?);
            Ok(())
        })?;
        let mut products = Products::new(9, 37, minibatches);
        let multiplied = best_of(|| {
            products.run();
            Ok(())
        })?;
        for (name, time) in names.into_iter().zip([trained, multiplied]) {
            let value = (ENVIRONMENTS * ROLLOUT) as f64 / time.as_secs_f64();
            figures.push(Figure { name, unit: "steps/s", value, threads });
        }
    }
    figures.push(Figure {
        name: "agent_decision",
        unit: "us",
        value: decision_us(&scenario)?,
        threads: 1,
    });
    Ok(figures)
}

/// Microseconds of one decision of a recurrent agent, features and guard included.
fn decision_us(scenario: &Scenario) -> anyhow::Result<f64> {
    let policy = Arc::new(Neural::new("agent", agent(scenario)?, scenario, "initial weights")?);
    let traffic = scenario.traffic(0)?;
    let start = policy.start(&Episode { scenario, traffic: &traffic, seed: 0 })?;
    let controller = Controller::new(scenario, policy, Arc::new(Persistence));
    let mut state = controller.start(start);
    let users = [34, 28, 16];
    let snapshot = snapshot_of(scenario, &PaperRules::new(scenario)?.reset(users));
    let best = best_of(|| {
        for _ in 0..DECISIONS {
            black_box(controller.decide(&snapshot, None, &mut state)?);
        }
        Ok(())
    })?;
    Ok(best.as_secs_f64() * 1e6 / f64::from(DECISIONS))
}
