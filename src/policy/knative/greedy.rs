//! The best decision for the coming stage, by a closed-form score (`greedy`, `priced-greedy`).

use std::sync::Arc;

use crate::env::knative::score::{Candidate, Scorer, Sums};
use crate::error::Result;
use crate::policy::{Episode, Policy, PolicyState};
use crate::scenario::Scenario;
use crate::sim::Model;
use crate::snapshot::{Decision, Snapshot};

/// Up to so many joint candidates all are scored; the search is exact.
const EXHAUSTIVE_LIMIT: usize = 50_000;
/// Partial candidates that the beam keeps after each service.
const BEAM_WIDTH: usize = 64;

/// Chooses the joint candidate with the best expected reward, less a price for each core that is
/// held afterwards (0: greedy).
///
/// The score does not separate over services (the share over the SLO is pooled, the quota is
/// shared), so with few services all joint candidates are scored, and with many a beam search is
/// used: services one after the other, the best partial candidates kept, each completed by what the
/// remaining services would choose alone; then single services are changed as long as that helps.
/// The reason of each decision says which of the two it was.
#[derive(Clone, Debug)]
pub struct Greedy {
    name: &'static str,
    scorer: Scorer,
    services: usize,
    price: f64,
}

impl Greedy {
    /// Without a price.
    pub fn new(scenario: &Scenario, model: Arc<Model>) -> Self {
        Self::with_price("greedy", scenario, model, 0.0)
    }

    /// With a price per core, in units of the reward.
    pub fn priced(scenario: &Scenario, model: Arc<Model>, price: f64) -> Self {
        Self::with_price("priced-greedy", scenario, model, price)
    }

    fn with_price(name: &'static str, scenario: &Scenario, model: Arc<Model>, price: f64) -> Self {
        let services = model.services.len();
        Self { name, scorer: Scorer::new(scenario, model), services, price }
    }

    fn score(&self, candidates: &[Vec<Candidate>], choice: &[usize]) -> f64 {
        let joint = choice.iter().zip(candidates).map(|(&index, list)| &list[index]);
        let sums = joint.clone().fold(Sums::default(), |sums, one| self.scorer.add(sums, one));
        self.scorer.score(&sums, joint, self.price)
    }

    /// The best of all joint candidates; the first in row-major order on ties.
    fn exhaustive(&self, candidates: &[Vec<Candidate>]) -> Vec<usize> {
        let mut choice = vec![0; candidates.len()];
        let mut best = choice.clone();
        let mut best_score = f64::NEG_INFINITY;
        loop {
            let score = self.score(candidates, &choice);
            if score > best_score {
                best_score = score;
                best.copy_from_slice(&choice);
            }
            // The last service changes fastest.
            let mut position = candidates.len();
            loop {
                if position == 0 {
                    return best;
                }
                position -= 1;
                choice[position] += 1;
                if choice[position] < candidates[position].len() {
                    break;
                }
                choice[position] = 0;
            }
        }
    }

    fn beam(&self, candidates: &[Vec<Candidate>]) -> Vec<usize> {
        // What each service would choose if it were alone completes a partial candidate.
        let alone: Vec<usize> = candidates
            .iter()
            .map(|list| {
                let score = |index: usize| {
                    let sums = self.scorer.add(Sums::default(), &list[index]);
                    self.scorer.score(&sums, std::iter::once(&list[index]), self.price)
                };
                best_index(list.len(), score)
            })
            .collect();
        let mut beam = vec![alone];
        for (service, list) in candidates.iter().enumerate() {
            let mut next: Vec<(f64, Vec<usize>)> = Vec::with_capacity(beam.len() * list.len());
            for partial in &beam {
                for index in 0..list.len() {
                    let mut choice = partial.clone();
                    choice[service] = index;
                    next.push((self.score(candidates, &choice), choice));
                }
            }
            next.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            next.dedup_by(|a, b| a.1 == b.1);
            next.truncate(BEAM_WIDTH);
            beam = next.into_iter().map(|(_, choice)| choice).collect();
        }
        let mut best = beam.swap_remove(0);
        let mut best_score = self.score(candidates, &best);
        loop {
            let before = best_score;
            for service in 0..candidates.len() {
                for index in 0..candidates[service].len() {
                    let kept = std::mem::replace(&mut best[service], index);
                    let score = self.score(candidates, &best);
                    if score > best_score {
                        best_score = score;
                    } else {
                        best[service] = kept;
                    }
                }
            }
            if best_score <= before {
                return best;
            }
        }
    }
}

/// Index with the largest score; the first on ties.
fn best_index(count: usize, score: impl Fn(usize) -> f64) -> usize {
    (0..count)
        .fold((0, f64::NEG_INFINITY), |best, index| {
            let value = score(index);
            if value > best.1 { (index, value) } else { best }
        })
        .0
}

impl Policy for Greedy {
    fn name(&self) -> &str {
        self.name
    }

    fn start(&self, _episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::None)
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        _state: &mut PolicyState,
    ) -> Result<Decision> {
        let mut candidates = vec![Vec::new(); self.services];
        for (index, list) in candidates.iter_mut().enumerate() {
            self.scorer.candidates(index, &snapshot.services[index], forecast[index], list);
        }
        let joint = candidates
            .iter()
            .try_fold(1_usize, |product, list| product.checked_mul(list.len()))
            .unwrap_or(usize::MAX);
        let (choice, how) = if joint <= EXHAUSTIVE_LIMIT {
            (self.exhaustive(&candidates), format!("best of all {joint} joint candidates"))
        } else {
            (self.beam(&candidates), format!("best found by a beam of {BEAM_WIDTH}"))
        };
        let services = choice
            .iter()
            .zip(&candidates)
            .map(|(&index, list)| Some(list[index].decision))
            .collect();
        Ok(Decision { services, reason: how })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Simulator, Start};

    #[test]
    fn beam_and_exhaustive_search_agree_where_both_can_be_had() {
        for sets in
            [vec![], vec!["quota.cpu_m=20000".to_owned()], vec!["reward.kind=paper".to_owned()]]
        {
            let scenario = Scenario::load("paper-knative", &sets).unwrap();
            let model = Arc::new(Model::new(&scenario).unwrap());
            let traffic = scenario.traffic(0).unwrap();
            let greedy = Greedy::new(&scenario, Arc::clone(&model));
            let mut simulator =
                Simulator::new(Arc::clone(&model), &traffic, 0, &Start::Controlled).unwrap();
            let mut snapshot = Snapshot::default();
            for step in 0..19 {
                simulator.advance(115 + 120 * step);
                simulator.snapshot(step, &mut snapshot);
                let mut candidates = vec![Vec::new(); 3];
                for (index, list) in candidates.iter_mut().enumerate() {
                    let users = f64::from(simulator.users_at_end_of_next_stage(index));
                    greedy.scorer.candidates(index, &snapshot.services[index], users, list);
                }
                let exact = greedy.exhaustive(&candidates);
                let found = greedy.beam(&candidates);
                let gap = greedy.score(&candidates, &exact) - greedy.score(&candidates, &found);
                assert!(gap.abs() < 1e-12, "step {step}: {exact:?} {found:?} {gap}");
                let services = exact
                    .iter()
                    .zip(&candidates)
                    .map(|(&index, list)| Some(list[index].decision))
                    .collect();
                simulator.apply(&Decision { services, reason: String::new() }).unwrap();
            }
        }
    }
}
