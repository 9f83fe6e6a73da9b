//! The best plan found by beam search with known traffic and known cold starts.
//!
//! On `knative` the exact optimum is out of reach, so this is what it is called: a plan found by
//! search, better than any policy without knowledge of the future, but not a bound.

use std::sync::Arc;

use crate::env::StageReward;
use crate::env::knative::score::{Candidate, Scorer, Sums};
use crate::env::knative::{future, instants, stage_after};
use crate::error::Result;
use crate::policy::{Episode, Policy, PolicyState};
use crate::scenario::Scenario;
use crate::sim::{Model, Simulator, Start};
use crate::snapshot::{Decision, Snapshot};

/// Partial plans kept after each decision.
const BEAM_WIDTH: usize = 12;
/// Decisions tried from each partial plan, the best by closed-form score.
const BRANCHES: usize = 12;
/// Prices per core, as a share of the reward's range, that make the tried decisions differ in what they hold.
const PRICES: [f64; 3] = [0.0, 0.001, 0.004];

/// Plans a whole episode at its start by simulating the most promising decisions, then follows the plan.
#[derive(Clone, Debug)]
pub struct Clairvoyant {
    model: Arc<Model>,
    scorer: Scorer,
    reward: StageReward,
}

/// A partial plan: the cluster that it leads to at the next decision, and what it earns.
#[derive(Clone)]
struct Partial {
    simulator: Simulator,
    decisions: Vec<Decision>,
    /// Rewards of the stages that are over.
    earned: f64,
    /// Stages that decisions have been made for and that are not over.
    open: Vec<(u32, u32)>,
    /// `earned` and what the open stages will give if nothing more is decided.
    value: f64,
}

impl Clairvoyant {
    /// A planner for `scenario`.
    pub fn new(scenario: &Scenario, model: Arc<Model>) -> Self {
        Self {
            scorer: Scorer::new(scenario, Arc::clone(&model)),
            reward: StageReward::new(scenario),
            model,
        }
    }

    fn plan(&self, episode: &Episode<'_>) -> Result<Vec<Decision>> {
        let start = Start::Controlled;
        let simulator =
            Simulator::new(Arc::clone(&self.model), episode.traffic, episode.seed, &start)?;
        let stages = simulator.stages();
        let instants = instants(episode.scenario, self.model.duration_s);
        let first = Partial {
            simulator,
            decisions: Vec::with_capacity(instants.len()),
            earned: 0.0,
            open: Vec::new(),
            value: 0.0,
        };
        let mut beam = vec![first];
        if let Some(&time) = instants.first() {
            beam[0].simulator.advance(time);
        }
        for (step, &time) in instants.iter().enumerate() {
            let following = instants.get(step + 1).copied().unwrap_or(self.model.duration_s);
            let stage = stage_after(&stages, time);
            let mut next = Vec::with_capacity(beam.len() * BRANCHES);
            for partial in &beam {
                let decisions = match stage {
                    Some(_) => self.branches(partial, step as u32),
                    // Nothing is earned any more: the cluster stays as it is.
                    None => vec![Decision {
                        services: vec![None; self.model.services.len()],
                        reason: "no whole stage is left".to_owned(),
                    }],
                };
                for decision in decisions {
                    next.push(self.follow(partial, decision, stage, following)?);
                }
            }
            // Stable: equal plans keep the order in which they were found.
            next.sort_by(|a, b| b.value.total_cmp(&a.value));
            next.truncate(BEAM_WIDTH);
            beam = next;
        }
        Ok(beam.swap_remove(0).decisions)
    }

    /// The plan that goes on with `decision`, up to the next decision at `following`.
    fn follow(
        &self,
        partial: &Partial,
        decision: Decision,
        stage: Option<(u32, u32)>,
        following: u32,
    ) -> Result<Partial> {
        let mut plan = partial.clone();
        plan.simulator.apply(&decision)?;
        plan.decisions.push(decision);
        plan.open.extend(stage);
        plan.simulator.advance(following);
        let Partial { simulator, open, earned, .. } = &mut plan;
        open.retain(|&(from, to)| {
            let over = to <= simulator.now();
            if over {
                *earned += self.reward.measure(simulator, from, to);
            }
            !over
        });
        plan.value = plan.earned;
        if let Some(end) = plan.open.iter().map(|stage| stage.1).max() {
            let mut ahead = plan.simulator.clone();
            ahead.advance(end);
            for &(from, to) in &plan.open {
                plan.value += self.reward.measure(&ahead, from, to);
            }
        }
        Ok(plan)
    }

    /// Promising decisions: for each price the best joint candidates, one service changed at a time.
    fn branches(&self, partial: &Partial, step: u32) -> Vec<Decision> {
        let mut snapshot = Snapshot::default();
        partial.simulator.snapshot(step, &mut snapshot);
        let users = future(&partial.simulator);
        let mut candidates: Vec<Vec<Candidate>> = vec![Vec::new(); users.len()];
        for (index, list) in candidates.iter_mut().enumerate() {
            let seen = &snapshot.services[index];
            self.scorer.candidates(index, seen, users[index], list);
            // The last candidate: the service is left to its autoscaler.
            list.push(self.scorer.held(index, seen, users[index]));
        }
        let held: Vec<usize> = candidates.iter().map(|list| list.len() - 1).collect();
        let mut found: Vec<Vec<usize>> = vec![held.clone()];
        for price in PRICES {
            for choice in self.best_choices(&candidates, price) {
                if !found.contains(&choice) {
                    found.push(choice);
                }
            }
        }
        // The best, but for one service that is left alone.
        let best = found[1.min(found.len() - 1)].clone();
        for (service, &hold) in held.iter().enumerate() {
            let mut choice = best.clone();
            choice[service] = hold;
            if !found.contains(&choice) {
                found.push(choice);
            }
        }
        found
            .into_iter()
            .map(|choice| {
                let services = choice
                    .iter()
                    .zip(&candidates)
                    .map(|(&index, list)| (index + 1 < list.len()).then(|| list[index].decision))
                    .collect();
                Decision { services, reason: "plan found by beam search".to_owned() }
            })
            .collect()
    }

    /// The best choice by coordinate ascent, and the best with one service changed.
    fn best_choices(&self, candidates: &[Vec<Candidate>], price: f64) -> Vec<Vec<usize>> {
        let score = |choice: &[usize]| {
            let joint = choice.iter().zip(candidates).map(|(&index, list)| &list[index]);
            let sums = joint.clone().fold(Sums::default(), |sums, one| self.scorer.add(sums, one));
            self.scorer.score(&sums, joint, price)
        };
        let mut best = vec![0; candidates.len()];
        let mut best_score = score(&best);
        loop {
            let before = best_score;
            for service in 0..best.len() {
                for index in 0..candidates[service].len() {
                    let kept = std::mem::replace(&mut best[service], index);
                    let value = score(&best);
                    if value > best_score {
                        best_score = value;
                    } else {
                        best[service] = kept;
                    }
                }
            }
            if best_score <= before {
                break;
            }
        }
        let mut near: Vec<(f64, Vec<usize>)> = Vec::new();
        for service in 0..best.len() {
            for index in 0..candidates[service].len() {
                if index != best[service] {
                    let mut choice = best.clone();
                    choice[service] = index;
                    near.push((score(&choice), choice));
                }
            }
        }
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        near.truncate(BRANCHES / PRICES.len() - 1);
        std::iter::once(best).chain(near.into_iter().map(|(_, choice)| choice)).collect()
    }
}

impl Policy for Clairvoyant {
    fn name(&self) -> &'static str {
        "clairvoyant-beam"
    }

    fn is_clairvoyant(&self) -> bool {
        true
    }

    fn start(&self, episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::Plan { decisions: self.plan(episode)?, next: 0 })
    }

    fn decide(
        &self,
        _snapshot: &Snapshot,
        _forecast: &[f64],
        state: &mut PolicyState,
    ) -> Result<Decision> {
        crate::policy::next_of_plan(self.name(), state)
    }
}
