//! A service's profile, checked, with the arithmetic that every part of the program shares.

use crate::snapshot::ServiceDecision;
use crate::units::{Mebibytes, MilliCpu};

/// One option: what a pod may be and the p95 latency measured there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProfileOption {
    /// CPU of a pod.
    pub cpu: MilliCpu,
    /// Memory of a pod.
    pub memory: Mebibytes,
    /// Target concurrency.
    pub concurrency: u32,
    /// p95 latency at that concurrency, ms.
    pub p95_ms: f64,
}

/// The options of one service, in the scenario's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The options; (cpu, concurrency) is unique.
    pub options: Vec<ProfileOption>,
}

impl Profile {
    /// Index of the option with this cpu and concurrency.
    pub fn find(&self, cpu_m: u64, concurrency: u32) -> Option<u32> {
        self.options
            .iter()
            .position(|option| option.cpu.0 == cpu_m && option.concurrency == concurrency)
            .map(|index| index as u32)
    }

    /// The decision for option `index` with `pods` pods.
    ///
    /// # Panics
    /// When there is no such option.
    pub fn decision(&self, index: u32, pods: u32) -> ServiceDecision {
        let option = &self.options[index as usize];
        ServiceDecision {
            option: Some(index),
            cpu_m: option.cpu.0,
            concurrency: option.concurrency,
            pods,
        }
    }
}

/// Pods for `users` at a target concurrency: max(`min`, ceil(users / concurrency / utilization)), in this
/// floating-point order (49 users at 10 and 0.7 give 8, not 7), as the original computes it.
pub fn pods(users: f64, concurrency: u32, utilization: f64, min: u32) -> u32 {
    let needed = (users / f64::from(concurrency) / utilization).ceil();
    // `as` saturates: a negative forecast needs no pod.
    (needed as u32).max(min)
}

/// How many pods a decision asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PodRule {
    /// Utilization that pods are planned for.
    pub utilization: f64,
    /// Fewest pods.
    pub min_pods: u32,
}

impl PodRule {
    /// Pods for `users` at a target concurrency ([`pods`]).
    pub fn pods(&self, users: f64, concurrency: u32) -> u32 {
        pods(users, concurrency, self.utilization, self.min_pods)
    }
}

#[cfg(test)]
mod tests {
    use super::pods;

    #[test]
    fn pods_keep_the_original_order_of_divisions() {
        assert_eq!(pods(49.0, 10, 0.7, 1), 8);
        assert_eq!(pods(63.0, 45, 0.7, 1), 2);
        assert_eq!(pods(0.0, 10, 0.7, 0), 0);
        assert_eq!(pods(-3.0, 10, 0.7, 1), 1);
    }
}
