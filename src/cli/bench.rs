//! `bench`: how fast the parts are on this machine.
//!
//! Each figure is the best of several repetitions: what the machine can do when nothing else runs on
//! it. Compare ratios of one run, not figures of two.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use super::{Common, VERSION, bench_agent, print_json, print_line};
use crate::env::knative::{EpisodeOptions, run_episode};
use crate::env::paper::{
    self, Action, OBSERVATION, PaperBatch, PaperRules, PaperTrace, SERVICES, StepBuffers,
};
use crate::evaluation::Machine;
use crate::policy::{Policy, Registry, tuning};
use crate::rng::Streams;
use crate::scenario::Scenario;
use crate::sim::{Model, Simulator, Start};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {}

/// One figure.
#[derive(Serialize)]
pub(super) struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
    pub threads: usize,
}

/// Repetitions of each measurement, of which the best counts.
const REPETITIONS: usize = 5;
/// Environments of the batched measurement.
const ENVIRONMENTS: usize = 1024;
/// Steps of each environment in one repetition.
const STEPS: usize = 2000;
/// Seeds of the measurements over random traffic.
const SEEDS: u64 = 100;

pub(super) fn run(_args: &Args, common: Common) -> anyhow::Result<()> {
    let threads = rayon::current_num_threads();
    let mut figures = vec![
        Figure { name: "paper_env_batched", unit: "steps/s", value: paper_steps()?, threads: 1 },
        Figure {
            name: "knative_ticks",
            unit: "service-ticks/s",
            value: service_ticks()?,
            threads: 1,
        },
        Figure {
            name: "knative_runs_fixed",
            unit: "service-ticks/s",
            value: service_ticks_of_runs("fixed:21/6/7")?,
            threads: 1,
        },
        Figure {
            name: "knative_runs_hybrid",
            unit: "service-ticks/s",
            value: service_ticks_of_runs("hybrid")?,
            threads: 1,
        },
        Figure { name: "knative_paper_trace", unit: "ms", value: paper_trace_ms()?, threads: 1 },
        Figure { name: "oracle_paper", unit: "s", value: oracle_s()?, threads },
        Figure { name: "knative_random_600_runs", unit: "s", value: evaluation_s()?, threads },
    ];
    figures.extend(bench_agent::figures(threads)?);
    let machine = Machine::this();
    if common.json {
        return print_json(&serde_json::json!({
            "machine": {
                "cpu": machine.cpu,
                "platform": machine.platform,
                "cores": std::thread::available_parallelism().map_or(1, usize::from),
            },
            "commit": env!("QUOTASCALE_COMMIT"),
            "version": VERSION,
            "results": figures,
        }));
    }
    print_line(format!("{} ({}), quotascale {VERSION}", machine.cpu, machine.platform))?;
    for figure in figures {
        let value = if figure.value >= 1e6 {
            format!("{:.1} M", figure.value / 1e6)
        } else {
            format!("{:.3}", figure.value)
        };
        print_line(format!(
            "{:26} {value:>12} {} ({} threads)",
            figure.name, figure.unit, figure.threads
        ))?;
    }
    Ok(())
}

/// The shortest of several repetitions.
pub(super) fn best_of(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// Steps per second of the batched `paper` environment under random actions.
fn paper_steps() -> anyhow::Result<f64> {
    let scenario = Scenario::load("paper-random", &[])?;
    let rules = PaperRules::new(&scenario)?;
    let pool: Vec<PaperTrace> =
        (0..64).map(|seed| PaperTrace::training(&scenario, seed)).collect::<Result<_, _>>()?;
    let counts: Vec<u16> = rules.option_counts().iter().map(|&count| count as u16).collect();
    let mut batch = PaperBatch::new(rules, &pool, ENVIRONMENTS)?;
    let mut rng = Streams::new(0).open("bench");
    // More rows of actions than fit the branch predictor's memory.
    let actions: Vec<Vec<Action>> = (0..64)
        .map(|_| {
            (0..ENVIRONMENTS)
                .map(|_| {
                    let mut action = [0; SERVICES];
                    for (option, &count) in action.iter_mut().zip(&counts) {
                        *option = rng.random_range(0..count);
                    }
                    action
                })
                .collect()
        })
        .collect();
    let mut observations = vec![0.0; ENVIRONMENTS * OBSERVATION];
    let mut rewards = vec![0.0; ENVIRONMENTS];
    let (mut terminated, mut truncated) = (vec![false; ENVIRONMENTS], vec![false; ENVIRONMENTS]);
    let best = best_of(|| {
        for step in 0..STEPS {
            batch.step(
                &actions[step % actions.len()],
                StepBuffers {
                    observations: &mut observations,
                    rewards: &mut rewards,
                    terminated: &mut terminated,
                    truncated: &mut truncated,
                },
            );
            black_box((&observations, &rewards));
        }
        Ok(())
    })?;
    Ok((STEPS * ENVIRONMENTS) as f64 / best.as_secs_f64())
}

/// The policy of a name with the settings stored in the program.
fn policy(scenario: &Scenario, name: &str) -> anyhow::Result<Arc<dyn Policy>> {
    let tuned = || match tuning::stored(scenario)? {
        Some(tuned) => Ok(tuned),
        None => tuning::search(scenario),
    };
    Ok(Registry::new(scenario, &tuned)?.policy(name)?)
}

/// Ticks per second times services of the simulator alone, under random traffic with the KPA on.
fn service_ticks() -> anyhow::Result<f64> {
    let scenario = Scenario::load("knative-random", &[])?;
    let model = Arc::new(Model::new(&scenario)?);
    let start = Start::Fixed(vec![21, 6, 7]);
    let traffic = (0..SEEDS).map(|seed| scenario.traffic(seed)).collect::<Result<Vec<_>, _>>()?;
    let best = best_of(|| {
        for (seed, traffic) in traffic.iter().enumerate() {
            let mut simulator = Simulator::new(Arc::clone(&model), traffic, seed as u64, &start)?;
            simulator.advance(model.duration_s);
            black_box(&simulator);
        }
        Ok(())
    })?;
    let ticks = f64::from(model.duration_s) * model.services.len() as f64 * SEEDS as f64;
    Ok(ticks / best.as_secs_f64())
}

/// The same of whole runs: decisions, rewards and the rows of the tables included.
fn service_ticks_of_runs(name: &str) -> anyhow::Result<f64> {
    let scenario = Scenario::load("knative-random", &[])?;
    let model = Arc::new(Model::new(&scenario)?);
    let policy = policy(&scenario, name)?;
    let traffic = (0..SEEDS).map(|seed| scenario.traffic(seed)).collect::<Result<Vec<_>, _>>()?;
    let best = best_of(|| {
        for (seed, traffic) in traffic.iter().enumerate() {
            let options = EpisodeOptions::default();
            black_box(run_episode(&scenario, &model, traffic, &policy, seed as u64, options)?);
        }
        Ok(())
    })?;
    let ticks = f64::from(model.duration_s) * model.services.len() as f64 * SEEDS as f64;
    Ok(ticks / best.as_secs_f64())
}

/// Milliseconds for the 40 minutes of `paper-knative` under its initial options and the KPA.
fn paper_trace_ms() -> anyhow::Result<f64> {
    let scenario = Scenario::load("paper-knative", &[])?;
    let model = Arc::new(Model::new(&scenario)?);
    let traffic = scenario.traffic(0)?;
    let runs = 20;
    let best = best_of(|| {
        for seed in 0..runs {
            let mut simulator =
                Simulator::new(Arc::clone(&model), &traffic, seed, &Start::Controlled)?;
            simulator.advance(model.duration_s);
            black_box(simulator.finish());
        }
        Ok(())
    })?;
    Ok(best.as_secs_f64() * 1000.0 / runs as f64)
}

/// Seconds for the exact optimum of the paper's trace.
fn oracle_s() -> anyhow::Result<f64> {
    let scenario = Scenario::load("paper", &[])?;
    let traffic = scenario.traffic(0)?;
    let best = best_of(|| {
        black_box(paper::oracle(&scenario, &traffic)?);
        Ok(())
    })?;
    Ok(best.as_secs_f64())
}

/// Seconds for six policies x 100 seeds on `knative-random`, files not counted.
fn evaluation_s() -> anyhow::Result<f64> {
    let scenario = Scenario::load("knative-random", &[])?;
    let model = Arc::new(Model::new(&scenario)?);
    let names = ["kpa-latency", "kpa-resource", "hybrid", "greedy", "priced-greedy", "random"];
    let policies =
        names.iter().map(|name| policy(&scenario, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let start = Instant::now();
    let cells: Vec<(usize, u64)> =
        (0..policies.len()).flat_map(|policy| (0..SEEDS).map(move |seed| (policy, seed))).collect();
    cells.par_iter().try_for_each(|&(policy, seed)| -> crate::Result<()> {
        let traffic = scenario.traffic(seed)?;
        let options = EpisodeOptions::default();
        black_box(run_episode(&scenario, &model, &traffic, &policies[policy], seed, options)?);
        Ok(())
    })?;
    Ok(start.elapsed().as_secs_f64())
}
