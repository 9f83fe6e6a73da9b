//! How many pods the environment gives to users.

use crate::scenario::{Corrections, pods};

/// Utilization that pods are planned for.
const UTILIZATION: f64 = 0.7;

/// The pods that users need under a target concurrency, corrections considered.
#[derive(Clone, Copy, Debug)]
pub struct PodFormula {
    exact: bool,
    least: u32,
}

impl PodFormula {
    /// The formula under `corrections`.
    pub fn new(corrections: &Corrections) -> Self {
        Self { exact: corrections.exact_pod_formula, least: u32::from(corrections.min_one_pod) }
    }

    /// Pods for `users` at a target concurrency. The exact formula counts whole users.
    #[inline]
    pub fn pods(&self, users: f64, concurrency: u32) -> u32 {
        if self.exact {
            let exact = (10 * (users as u64)).div_ceil(7 * u64::from(concurrency));
            (exact as u32).max(self.least)
        } else {
            pods(users, concurrency, UTILIZATION, self.least)
        }
    }
}
