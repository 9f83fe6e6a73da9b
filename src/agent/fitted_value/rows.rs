//! Which row of the embedding table a service's state is.

use crate::env::paper::{PaperRules, SERVICES};

/// More pods than this share rows, so that a table stays small whatever the scenario.
const MOST_ROWS: u32 = 96;

/// The rows of one option.
#[derive(Clone, Copy, Debug, PartialEq)]
struct OptionRows {
    first: usize,
    /// Number of rows.
    rows: u32,
    /// Pods that share a row.
    pods_a_row: u32,
    /// CPU of a pod as a share of the quota.
    cpu_share: f64,
}

/// Rows of the table: for every service and option one a number of pods, from 0 to what most users
/// need. More pods than that are looked up as that many.
#[derive(Clone, Debug, PartialEq)]
pub struct StateRows {
    services: [Vec<OptionRows>; SERVICES],
    rows: usize,
}

impl StateRows {
    /// For `rules`, with the most users that a service is expected to see.
    pub fn new(rules: &PaperRules, most_users: [u32; SERVICES]) -> Self {
        let mut next = 0;
        let services = std::array::from_fn(|service| {
            (0..rules.option_counts()[service] as u16)
                .map(|option| {
                    let most = rules.pods_needed(service, option, most_users[service]).max(1);
                    let pods_a_row = most.div_ceil(MOST_ROWS);
                    let rows = most / pods_a_row + 1;
                    let first = next;
                    next += rows as usize;
                    let cpu_share =
                        rules.pod_cpu_m(service, option) as f64 / rules.quota_m() as f64;
                    OptionRows { first, rows, pods_a_row, cpu_share }
                })
                .collect()
        });
        Self { services, rows: next }
    }

    /// Number of rows, R.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row: never.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The row of `service` with `pods` pods of `option`.
    #[inline]
    pub fn row(&self, service: usize, option: usize, pods: u32) -> usize {
        let rows = self.services[service][option];
        rows.first + (pods / rows.pods_a_row).min(rows.rows - 1) as usize
    }

    /// What each row stands for.
    pub fn facts(&self) -> Vec<RowFacts> {
        let mut facts = Vec::with_capacity(self.rows);
        let mut option = 0;
        for (service, options) in self.services.iter().enumerate() {
            for rows in options {
                facts.extend((0..rows.rows).map(|row| RowFacts {
                    service,
                    option,
                    cpu_share: (f64::from(row * rows.pods_a_row) * rows.cpu_share) as f32,
                }));
                option += 1;
            }
        }
        facts
    }

    /// Options of all services, A.
    pub fn options(&self) -> usize {
        self.services.iter().map(Vec::len).sum()
    }
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowFacts {
    /// The service.
    pub service: usize,
    /// The option, counted over all services.
    pub option: usize,
    /// CPU of the pods as a share of the quota.
    pub cpu_share: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_state_has_a_row_of_its_own_and_more_pods_share_the_last() {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        let rules = PaperRules::new(&scenario).unwrap();
        let rows = StateRows::new(&rules, [100; SERVICES]);
        let mut seen = std::collections::BTreeSet::new();
        for service in 0..SERVICES {
            for option in 0..rules.option_counts()[service] {
                let most = rules.pods_needed(service, option as u16, 100);
                for pods in 0..=most {
                    assert!(seen.insert(rows.row(service, option, pods)));
                }
                assert_eq!(rows.row(service, option, most), rows.row(service, option, u32::MAX));
            }
        }
        assert_eq!((seen.len(), seen.last()), (rows.len(), Some(&(rows.len() - 1))));
        let facts = rows.facts();
        assert_eq!((facts.len(), rows.options()), (rows.len(), 37));
        // Two pods of senti's option 6, the 29th of all: 4 cores each of 40.
        let expected = RowFacts { service: 1, option: 28, cpu_share: 0.2 };
        assert_eq!(facts[rows.row(1, 6, 2)], expected);
        let many = StateRows::new(&rules, [1_000_000; SERVICES]);
        assert!(many.len() <= 37 * (MOST_ROWS as usize + 1), "{}", many.len());
    }
}
