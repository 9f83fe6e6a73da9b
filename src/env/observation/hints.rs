//! Hints: what each choice would earn, for policies that start from that knowledge.
//!
//! A hint is added to the logits (times a weight that is learned), so that an untrained policy with
//! hints is the greedy one. On `paper` they are exact: the reward of a step is known beforehand. On
//! `knative` they come from the closed-form score of the greedy policies, each service's choice with
//! all other services left alone.

use serde::{Deserialize, Serialize};

use crate::env::actions::{ActionSpace, Choice};
use crate::env::knative::score::{Candidate, Scorer, Sums};
use crate::env::paper::{DEFAULT_PRICE, JointActions, PaperRules, PaperState, state_of};
use crate::error::{Error, Result};
use crate::scenario::spec::RewardKind;
use crate::scenario::{EnvironmentKind, Scenario};
use crate::sim::Model;
use crate::snapshot::Snapshot;

use super::seen::Expected;

/// Hints of the original's reward are in thousands.
const PAPER_UNIT: f64 = 1000.0;
/// Hints of the `slo` reward are in twentieths: about what a stage costs.
const SLO_UNIT: f64 = 0.05;
/// A choice cannot look worse than this.
const WORST: f64 = -6.0;

/// What hints say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HintKind {
    /// Nothing.
    #[default]
    None,
    /// The reward of the coming step.
    Greedy,
    /// That less a price for each core held after it.
    Priced,
    /// Nothing but that a service is better left alone: 0 for that, -1 for every other choice.
    Keep,
}

/// Writes hints.
#[derive(Clone, Debug)]
pub(super) enum Hints {
    None,
    Paper { rules: Box<PaperRules>, price: f64, joint: bool },
    Knative { scorer: Box<Scorer>, price: f64, unit: f64 },
    Keep,
}

/// Buffers for hints, kept from one observation to the next.
#[derive(Clone, Debug, Default)]
pub struct HintScratch {
    joint: JointActions,
    values: Vec<f64>,
    candidates: Vec<Candidate>,
}

impl Hints {
    pub(super) fn new(
        kind: HintKind,
        price: Option<f64>,
        joint: bool,
        actions: &ActionSpace,
        scenario: &Scenario,
    ) -> Result<Self> {
        let paper = scenario.environment() == EnvironmentKind::Paper;
        if joint && !(paper && matches!(kind, HintKind::Greedy | HintKind::Priced)) {
            return Err(Error::input(
                "observation.joint",
                "joint hints are those of \"greedy\" or \"priced\" on environment \"paper\"",
                "set hints to one of these, or leave `joint` out",
            ));
        }
        if price.is_some_and(|price| !price.is_finite()) {
            return Err(Error::input("observation.price", "not a number", "give a number"));
        }
        let price_or = |default: f64| match kind {
            HintKind::Priced => price.unwrap_or(default),
            _ => 0.0,
        };
        match kind {
            HintKind::None => Ok(Self::None),
            HintKind::Keep if actions.config().keep => Ok(Self::Keep),
            HintKind::Keep => Err(Error::input(
                "observation.hints",
                "\"keep\" without the choice to leave a service alone",
                "set actions.keep = true",
            )),
            _ if paper => Ok(Self::Paper {
                rules: Box::new(PaperRules::new(scenario)?),
                price: price_or(DEFAULT_PRICE),
                joint,
            }),
            _ => {
                let model = std::sync::Arc::new(Model::new(scenario)?);
                let reward = &scenario.spec.reward;
                let unit = match reward.kind {
                    Some(RewardKind::Paper) => PAPER_UNIT,
                    _ => SLO_UNIT,
                };
                Ok(Self::Knative {
                    scorer: Box::new(Scorer::new(scenario, model)),
                    price: price_or(0.0),
                    unit: unit * reward.scale.abs().max(f64::MIN_POSITIVE),
                })
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self, actions: &ActionSpace) -> usize {
        match self {
            Self::None => 0,
            Self::Paper { joint: true, .. } => actions.heads().iter().product(),
            _ => actions.heads().iter().sum(),
        }
    }

    pub(super) fn write(
        &self,
        actions: &ActionSpace,
        snapshot: &Snapshot,
        expected: Expected<'_>,
        scratch: &mut HintScratch,
        out: &mut [f32],
    ) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Paper { .. } => {
                self.write_paper(&state_of(snapshot)?, scratch, out);
                Ok(())
            }
            Self::Keep => {
                write_keep(actions, out);
                Ok(())
            }
            Self::Knative { scorer, price, unit } => {
                let model = KnativeHints { actions, scorer, price: *price, unit: *unit };
                model.write(snapshot, expected, scratch, out)
            }
        }
    }

    /// The hints of a state of the `paper` environment.
    pub(super) fn write_paper(
        &self,
        state: &PaperState,
        scratch: &mut HintScratch,
        out: &mut [f32],
    ) {
        let Self::Paper { rules, price, joint } = self else {
            return;
        };
        let JointValues { values, best } = joint_values(rules, state, *price, scratch);
        if *joint {
            for (out, value) in out.iter_mut().zip(values) {
                *out = clipped(value - best, PAPER_UNIT);
            }
            return;
        }
        // The best of every choice over the choices of the others.
        out.fill(WORST as f32);
        let [first_count, second, third] = rules.option_counts();
        let (heads, rest) = out.split_at_mut(first_count);
        for (first, block) in values.chunks_exact(second * third).enumerate() {
            let mut top = f64::NEG_INFINITY;
            for (middle, row) in block.chunks_exact(third).enumerate() {
                let mut row_top = f64::NEG_INFINITY;
                for (last, &value) in row.iter().enumerate() {
                    row_top = row_top.max(value);
                    let hint = &mut rest[second + last];
                    *hint = hint.max(clipped(value - best, PAPER_UNIT));
                }
                let hint = &mut rest[middle];
                *hint = hint.max(clipped(row_top - best, PAPER_UNIT));
                top = top.max(row_top);
            }
            heads[first] = clipped(top - best, PAPER_UNIT);
        }
    }
}

struct JointValues<'a> {
    values: &'a [f64],
    best: f64,
}

/// The reward of every joint action less the price of the CPU after it.
fn joint_values<'a>(
    rules: &PaperRules,
    state: &PaperState,
    price: f64,
    scratch: &'a mut HintScratch,
) -> JointValues<'a> {
    scratch.joint.evaluate(rules, state);
    let priced = scratch.joint.rewards().iter().zip(scratch.joint.cpu_m());
    scratch.values.clear();
    scratch.values.extend(priced.map(|(reward, &cpu_m)| reward - price * (cpu_m as f64 / 1000.0)));
    let best = scratch.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    JointValues { values: &scratch.values, best }
}

/// A loss against the best, in units, no worse than [`WORST`]. Where the best is infinite (nobody is
/// there to be served), everything equally good is best and all else worst.
#[inline]
fn clipped(loss: f64, unit: f64) -> f32 {
    if loss.is_nan() { 0.0 } else { (loss / unit).clamp(WORST, 0.0) as f32 }
}

/// Every choice but the last of a service is worse than leaving it alone.
fn write_keep(actions: &ActionSpace, out: &mut [f32]) {
    let mut rest = out;
    for &head in actions.heads() {
        let (own, others) = rest.split_at_mut(head);
        own.fill(-1.0);
        own[head - 1] = 0.0;
        rest = others;
    }
}

struct KnativeHints<'a> {
    actions: &'a ActionSpace,
    scorer: &'a Scorer,
    price: f64,
    unit: f64,
}

impl KnativeHints<'_> {
    fn write(
        &self,
        snapshot: &Snapshot,
        expected: Expected<'_>,
        scratch: &mut HintScratch,
        out: &mut [f32],
    ) -> Result<()> {
        let held = &mut scratch.candidates;
        held.clear();
        for (service, seen) in snapshot.services.iter().enumerate() {
            held.push(self.scorer.held(service, seen, expected.users(service)));
        }
        let mut rest = out;
        for (service, &head) in self.actions.heads().iter().enumerate() {
            let (own, others) = rest.split_at_mut(head);
            self.write_service(service, snapshot, expected, scratch, own)?;
            rest = others;
        }
        Ok(())
    }

    fn write_service(
        &self,
        service: usize,
        snapshot: &Snapshot,
        expected: Expected<'_>,
        scratch: &mut HintScratch,
        out: &mut [f32],
    ) -> Result<()> {
        let HintScratch { candidates: joint, values, .. } = scratch;
        let held = joint[service];
        let users = expected.users(service);
        values.clear();
        for number in 0..out.len() as u32 {
            joint[service] = match self.actions.choice(service, number) {
                Some(Choice::Option { option, pods }) => {
                    let decision = self.actions.option(service, option, users, pods);
                    self.scorer.candidate(service, &snapshot.services[service], users, decision)
                }
                Some(Choice::Keep) => held,
                None => {
                    return Err(Error::Failed(format!("service {service} has no choice {number}")));
                }
            };
            let sums = joint.iter().fold(Sums::default(), |sums, one| self.scorer.add(sums, one));
            values.push(self.scorer.score(&sums, joint.iter(), self.price));
        }
        joint[service] = held;
        let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (out, value) in out.iter_mut().zip(values) {
            *out = clipped(*value - best, self.unit);
        }
        Ok(())
    }
}
