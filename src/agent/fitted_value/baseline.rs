//! What a step would earn if no pod could be kept: a baseline that takes most of the traffic's noise
//! out of the targets.

use rayon::prelude::*;

use super::search::Search;
use crate::env::paper::{PaperRules, PaperState, SERVICES};
use crate::error::{Error, Result};

/// Steps between no CPU and the whole quota for which means are known.
const GRID: u64 = 80;
/// An option that no profile has: whatever is chosen is made anew.
const NO_OPTION: u16 = u16::MAX;

/// b(CPU held, users) = the best reward of a step that makes all pods anew, and its mean over traffic.
///
/// A target less b, plus b's mean for the same CPU, has the same mean over traffic and far less
/// variance: what a step earns is mostly a matter of its users and of how much CPU is held.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    /// Means for 0, 1, .. [`GRID`] parts of the quota.
    means: Vec<f64>,
    quota_m: u64,
    /// The step that it is the baseline of.
    step: u32,
}

impl Baseline {
    /// Of step `step` (counted from 0), with the mean over `users`.
    ///
    /// # Errors
    /// [`Error::Input`] when a reward is infinite.
    pub fn new(rules: &PaperRules, step: u32, users: &[[u32; SERVICES]]) -> Result<Self> {
        let quota_m = rules.quota_m();
        let mut baseline = Self { means: Vec::new(), quota_m, step };
        let sums: Vec<f64> = (0..=GRID)
            .into_par_iter()
            .map_init(Search::new, |search, part| {
                let best = |&users: &[u32; SERVICES]| {
                    search.best(rules, &baseline.state(part, users), None).1
                };
                users.iter().map(best).sum()
            })
            .collect();
        if sums.iter().any(|sum| !sum.is_finite()) {
            return Err(Error::input(
                "traffic",
                "a reward is infinite: no service has any user",
                "add the correction `min_one_pod`, or train on other traffic",
            ));
        }
        baseline.means = sums.iter().map(|sum| sum / users.len() as f64).collect();
        Ok(baseline)
    }

    /// The state in which `part` parts of the quota are held by pods that no option can keep.
    fn state(&self, part: u64, users: [u32; SERVICES]) -> PaperState {
        PaperState {
            step: self.step,
            options: [NO_OPTION; SERVICES],
            pods: [0; SERVICES],
            cpu_m: [self.quota_m * part / GRID, 0, 0],
            users,
        }
    }

    /// How far the baseline of `state` is above its mean, and that mean's distance from the one of an
    /// empty cluster: subtracting the sum makes values 0 where nothing is held.
    pub fn excess(&self, rules: &PaperRules, state: &PaperState, search: &mut Search) -> f64 {
        let held_m: u64 = state.cpu_m.iter().sum();
        let part = (held_m * GRID / self.quota_m).min(GRID);
        let (_, best) = search.best(rules, &self.state(part, state.users), None);
        best - self.means[part as usize] + self.means[0]
    }
}
