//! What a search on training traffic finds for the policies that have settings: the fixed options of
//! `kpa-latency` and `kpa-resource`, and the price of `priced-greedy`.
//!
//! The search never sees evaluation traffic. Where a scenario's traffic is generated, it draws from
//! the training stream; where it is fixed, it draws random traffic in the range of the fixed one.
//! Results for the built-in scenarios are stored in the program (`tuned.json`, made by `quotascale
//! tune`); for others the search runs once and is kept in the output folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Fixed, Policy, knative, paper};
use crate::env::knative::{EpisodeOptions, run_episode};
use crate::env::paper::SERVICES;
use crate::error::Result;
use crate::scenario::spec::{ReportSpec, RewardKind};
use crate::scenario::{EnvironmentKind, Scenario, pods};
use crate::sim::Model;
use crate::trace::Trace;

/// Changes when the search does, so that stored results of an older one are not used.
const SEARCH_VERSION: u32 = 1;
/// Training seeds that fixed options are judged on.
const OPTION_SEEDS: u64 = 10;
/// Training seeds that prices are judged on, on `knative`.
const PRICE_SEEDS: u64 = 30;
/// Training seeds that prices are judged on, on `paper`.
const PAPER_PRICE_SEEDS: u64 = 100;
/// `kpa-resource` accepts this share of requests over the SLO.
const ACCEPTED_VIOLATIONS: f64 = 0.05;
/// Shares over the SLO that differ by less count as equal.
const VIOLATION_GRAIN: f64 = 1e-4;
/// Prices tried on `knative` with the `slo` reward, per core.
const SLO_PRICES: [f64; 9] = [0.0, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012];
/// Rounds of the search over fixed options, each of which tries every option of every service.
const OPTION_ROUNDS: usize = 4;

/// No run of the search on `knative` is longer, seconds: what a long trace holds, a part of it shows.
const LONGEST_RUN_S: u32 = 6 * 3600;

/// The stored results for the built-in scenarios.
const STORED: &str = include_str!("tuned.json");

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// The scenario's name.
    pub scenario: String,
    /// Option of each service with the least SLO violations, then the least CPU.
    pub kpa_latency: Vec<u32>,
    /// Option of each service with the least CPU among those with at most 5 % of requests over the
    /// SLO; the least violations where there is none.
    pub kpa_resource: Vec<u32>,
    /// Price per core of `priced-greedy`, in units of the reward.
    pub price: f64,
}

/// Everything of a scenario that a search depends on, as a hash.
///
/// # Errors
/// [`crate::Error::Input`] when a trace file cannot be read.
pub fn key(scenario: &Scenario) -> Result<String> {
    let mut relevant = scenario.clone();
    relevant.spec.name = String::new();
    relevant.spec.report = ReportSpec::default();
    let text = format!("{SEARCH_VERSION} {}", relevant.hash()?);
    Ok(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The stored result for `scenario`, if there is one.
///
/// # Errors
/// As [`key`].
pub fn stored(scenario: &Scenario) -> Result<Option<Tuned>> {
    let entries: BTreeMap<String, Tuned> = serde_json::from_str(STORED)
        .map_err(|error| crate::Error::Failed(format!("the stored tuning is damaged: {error}")))?;
    Ok(entries.get(&key(scenario)?).cloned())
}

/// Searches. Takes seconds to minutes; parallel, and the same whatever the number of threads.
///
/// # Errors
/// When the scenario cannot be run.
pub fn search(scenario: &Scenario) -> Result<Tuned> {
    let (kpa_latency, kpa_resource, price) = match scenario.environment() {
        EnvironmentKind::Knative => {
            let mut scenario = scenario.clone();
            scenario.spec.duration_s =
                scenario.spec.duration_s.map(|length| length.min(LONGEST_RUN_S));
            let (latency, resource) = fixed_options(&scenario)?;
            (latency, resource, knative_price(&scenario)?)
        }
        EnvironmentKind::Paper => {
            let (latency, resource) = paper_options(scenario)?;
            (latency, resource, paper::search_price(scenario, 0..PAPER_PRICE_SEEDS)?.price)
        }
    };
    Ok(Tuned { scenario: scenario.name().to_owned(), kpa_latency, kpa_resource, price })
}

/// What a fixed option costs: share over the SLO and CPU.
#[derive(Clone, Copy, Debug)]
struct Cost {
    violations: f64,
    cpu: f64,
}

/// The choice of `kpa-latency` and of `kpa-resource` among the options of one service.
fn choose(costs: &[Cost]) -> (u32, u32) {
    let grains = |cost: &Cost| (cost.violations / VIOLATION_GRAIN).round();
    let by_latency =
        |a: &Cost, b: &Cost| grains(a).total_cmp(&grains(b)).then(a.cpu.total_cmp(&b.cpu));
    let first = |keep: &dyn Fn(&Cost) -> bool,
                 order: &dyn Fn(&Cost, &Cost) -> std::cmp::Ordering| {
        costs
            .iter()
            .enumerate()
            .filter(|(_, cost)| keep(cost))
            .min_by(|a, b| order(a.1, b.1))
            .map(|(index, _)| index as u32)
    };
    let latency = first(&|_| true, &by_latency).unwrap_or(0);
    let resource =
        first(&|cost| cost.violations <= ACCEPTED_VIOLATIONS, &|a, b| a.cpu.total_cmp(&b.cpu))
            .unwrap_or(latency);
    (latency, resource)
}

/// A search over fixed options on the simulator, all services together: from the options of t = 0 on,
/// one service after the other takes the option that is best while the others keep theirs, until a
/// round changes nothing.
fn fixed_options(scenario: &Scenario) -> Result<(Vec<u32>, Vec<u32>)> {
    let model = Arc::new(Model::new(scenario)?);
    let traffic: Vec<Trace> =
        (0..OPTION_SEEDS).map(|seed| scenario.tuning_traffic(seed)).collect::<Result<_>>()?;
    let initial: Vec<u32> =
        scenario.spec.service.iter().map(|service| service.initial.option).collect();
    let mut known: BTreeMap<Vec<u32>, Cost> = BTreeMap::new();
    let mut search = |pick: fn((u32, u32)) -> u32| -> Result<Vec<u32>> {
        let mut options = initial.clone();
        for _ in 0..OPTION_ROUNDS {
            let before = options.clone();
            for service in 0..options.len() {
                let tried: Vec<Vec<u32>> = (0..scenario.profiles[service].options.len() as u32)
                    .map(|option| {
                        let mut tried = options.clone();
                        tried[service] = option;
                        tried
                    })
                    .collect();
                let new: Vec<(Vec<u32>, Cost)> = tried
                    .par_iter()
                    .filter(|tried| !known.contains_key(*tried))
                    .map(|tried| {
                        Ok((tried.clone(), fixed_cost(scenario, &model, &traffic, tried)?))
                    })
                    .collect::<Result<_>>()?;
                known.extend(new);
                let costs: Vec<Cost> = tried.iter().map(|tried| known[tried]).collect();
                options[service] = pick(choose(&costs));
            }
            if options == before {
                break;
            }
        }
        Ok(options)
    };
    Ok((search(|(latency, _)| latency)?, search(|(_, resource)| resource)?))
}

/// Mean cost of fixed options over the training traffic.
fn fixed_cost(
    scenario: &Scenario,
    model: &Arc<Model>,
    traffic: &[Trace],
    options: &[u32],
) -> Result<Cost> {
    let policy: Arc<dyn Policy> =
        Arc::new(Fixed::new("fixed", options.to_vec(), &scenario.profiles, scenario.pod_rule()));
    let mut cost = Cost { violations: 0.0, cpu: 0.0 };
    for (seed, traffic) in traffic.iter().enumerate() {
        let episode = EpisodeOptions::default();
        let run = run_episode(scenario, model, traffic, &policy, seed as u64, episode)?;
        cost.violations += run.summary.slo_violation_share.unwrap_or(0.0);
        cost.cpu += run.summary.cpu_seconds;
    }
    cost.violations /= traffic.len() as f64;
    Ok(cost)
}

/// On `paper` an option's latency does not depend on the load: violations are those of its p95, and
/// its CPU that of the pods for the training traffic.
fn paper_options(scenario: &Scenario) -> Result<(Vec<u32>, Vec<u32>)> {
    let traffic: Vec<Trace> =
        (0..OPTION_SEEDS).map(|seed| scenario.tuning_traffic(seed)).collect::<Result<_>>()?;
    let choices = (0..SERVICES).map(|service| {
        let slo = scenario.spec.service[service].slo_p95_ms;
        let users = || {
            traffic
                .iter()
                .flat_map(|trace| &trace.services[service].stages)
                .map(|stage| stage.users)
        };
        let costs: Vec<Cost> = scenario.profiles[service]
            .options
            .iter()
            .map(|option| Cost {
                violations: f64::from(u8::from(option.p95_ms > slo)),
                cpu: users()
                    .map(|users| {
                        f64::from(pods(users, option.concurrency, 0.7, 0)) * option.cpu.cores()
                    })
                    .sum(),
            })
            .collect();
        choose(&costs)
    });
    Ok(choices.unzip())
}

/// The price with the highest mean reward; the lowest on ties.
fn knative_price(scenario: &Scenario) -> Result<f64> {
    let model = Arc::new(Model::new(scenario)?);
    let traffic: Vec<Trace> =
        (0..PRICE_SEEDS).map(|seed| scenario.tuning_traffic(seed)).collect::<Result<_>>()?;
    let scale = scenario.spec.reward.scale;
    let prices: Vec<f64> = match scenario.spec.reward.kind {
        Some(RewardKind::Paper) => paper::PRICE_GRID.iter().map(|price| price * scale).collect(),
        _ => SLO_PRICES.iter().map(|price| price * scale).collect(),
    };
    let mut best = (0.0, f64::NEG_INFINITY);
    for price in prices {
        let policy: Arc<dyn Policy> =
            Arc::new(knative::Greedy::priced(scenario, Arc::clone(&model), price));
        // Summed in the order of the seeds, so that the threads do not matter.
        let rewards = traffic
            .par_iter()
            .enumerate()
            .map(|(seed, traffic)| {
                let options = EpisodeOptions::default();
                run_episode(scenario, &model, traffic, &policy, seed as u64, options)
                    .map(|run| run.summary.reward)
            })
            .collect::<Result<Vec<f64>>>()?;
        let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
        if mean > best.1 {
            best = (price, mean);
        }
    }
    Ok(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_what_the_search_finds() {
        for (name, _) in crate::scenario::BUILTIN {
            let scenario = Scenario::load(name, &[]).unwrap();
            let stored = stored(&scenario).unwrap();
            let found = search(&scenario).unwrap();
            assert_eq!(stored, Some(found), "run `quotascale tune {name} --json` and store it");
        }
    }

    #[test]
    fn latency_and_resource_choose_as_documented() {
        let cost = |violations: f64, cpu: f64| Cost { violations, cpu };
        // Shares that differ by less than the grain are decided by CPU.
        let costs = [cost(0.000_01, 9.0), cost(0.000_04, 5.0), cost(0.04, 3.0), cost(0.06, 1.0)];
        assert_eq!(choose(&costs), (1, 2));
        let none_accepted = [cost(0.3, 1.0), cost(0.2, 9.0)];
        assert_eq!(choose(&none_accepted), (1, 1));
    }
}
