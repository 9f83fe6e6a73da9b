//! The price of `priced-greedy`, from training traffic.

use rayon::prelude::*;

use super::greedy::best_action;
use crate::env::paper::{JointActions, PaperRules, PaperTrace};
use crate::error::{Error, Result};
use crate::scenario::Scenario;

/// Prices tried: 0, 10, …, 160.
pub const PRICE_GRID: [f64; 17] = [
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0,
    150.0, 160.0,
];

/// What a search for the price found.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceSearch {
    /// The best price, the lowest on ties.
    pub price: f64,
    /// Mean total reward of an episode at each price of [`PRICE_GRID`] (unscaled).
    pub means: Vec<f64>,
}

/// Searches the price by the mean total reward on the training traffic of `seeds`, on which no
/// evaluation runs.
///
/// # Errors
/// [`Error::Input`] when the scenario is not one of environment `paper`, or there is no seed.
pub fn search_price(
    scenario: &Scenario,
    seeds: impl IntoIterator<Item = u64>,
) -> Result<PriceSearch> {
    let rules = PaperRules::new(scenario)?;
    let traces = seeds
        .into_iter()
        .map(|seed| PaperTrace::new(&scenario.tuning_traffic(seed)?))
        .collect::<Result<Vec<_>>>()?;
    if traces.is_empty() {
        return Err(Error::input("seeds", "none", "give at least one, as 0..100"));
    }
    let means: Vec<f64> = PRICE_GRID
        .par_iter()
        .map_init(JointActions::new, |actions, &price| {
            let totals = traces.iter().map(|trace| total(&rules, trace, actions, price));
            totals.sum::<f64>() / traces.len() as f64
        })
        .collect();
    let mut best = 0;
    for (index, mean) in means.iter().enumerate() {
        if *mean > means[best] {
            best = index;
        }
    }
    Ok(PriceSearch { price: PRICE_GRID[best], means })
}

/// Total reward of one episode.
fn total(rules: &PaperRules, trace: &PaperTrace, actions: &mut JointActions, price: f64) -> f64 {
    let mut state = rules.reset(trace.rows[0]);
    let mut total = 0.0;
    for step in 1..=rules.steps() {
        let action = best_action(rules, actions, &state, price);
        total += rules.step(&mut state, action, trace.after(step)).reward;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_beats_none_on_random_traffic() {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        let found = search_price(&scenario, 0..20).unwrap();
        assert_eq!(found.means.len(), PRICE_GRID.len());
        assert!((50.0..=150.0).contains(&found.price), "{}", found.price);
        assert!(found.means[9] > 1.01 * found.means[0], "{:?}", found.means);
        assert_eq!(search_price(&scenario, []).unwrap_err().exit_code(), 2);
    }
}
