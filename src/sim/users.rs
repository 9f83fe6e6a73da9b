//! Users over time: a trace's stages as a list of counts by tick.

use crate::trace::ServiceTrace;

/// The users of one service: runs of ticks with the same count.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRuns {
    /// (first tick, users), rising in the tick; begins at tick 0.
    runs: Vec<(u32, u32)>,
    /// Starts of the stages and the end of the last one, seconds.
    pub edges: Vec<u32>,
}

/// Rounds a trace's users half up.
fn whole_users(users: f64) -> u32 {
    (users + 0.5).floor() as u32
}

impl UserRuns {
    /// Plays the stages (rule 5): user j of a change is added or removed j / rate seconds after the
    /// stage starts, and is in tick t if j / rate <= t + 1 - start. A stage that ends before its ramp
    /// hands on the count it reached; after the last stage the count stays.
    pub fn new(trace: &ServiceTrace) -> Self {
        let mut runs = vec![(0, 0)];
        let mut edges = vec![0];
        let mut start = 0_u32;
        let mut users = 0_u32;
        for stage in &trace.stages {
            let from = users;
            let target = whole_users(stage.users);
            let change = from.abs_diff(target);
            for second in 0..stage.duration_s {
                let moved = moved(f64::from(second + 1), stage.spawn_rate, change);
                users = if target >= from { from + moved } else { from - moved };
                push_run(&mut runs, start + second, users);
                if moved == change {
                    break;
                }
            }
            start += stage.duration_s;
            edges.push(start);
        }
        edges.dedup();
        Self { runs, edges }
    }

    /// Users in tick `tick`.
    pub fn at(&self, tick: u32) -> u32 {
        let after = self.runs.partition_point(|run| run.0 <= tick);
        self.runs[after - 1].1
    }

    /// Users at the busiest tick.
    pub(super) fn most_users(&self) -> u32 {
        self.runs.iter().map(|run| run.1).max().unwrap_or(0)
    }

    /// How many runs there are.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Run number `index`: first tick and users.
    pub(super) fn run(&self, index: usize) -> Option<(u32, u32)> {
        self.runs.get(index).copied()
    }

    /// Users at the end of the ramp of the first stage that starts at `second` or later; those of
    /// the last stage when none does.
    pub fn at_end_of_next_stage(&self, second: u32) -> u32 {
        let next = self.edges.partition_point(|&edge| edge < second);
        match self.edges.get(next + 1) {
            Some(&end) => self.at(end - 1),
            None => self.runs[self.runs.len() - 1].1,
        }
    }
}

/// How many of `change` users have been added or removed `elapsed` seconds into a stage.
fn moved(elapsed: f64, rate: f64, change: u32) -> u32 {
    // The product can round across a whole number; the rule is stated with the quotient.
    let mut count = ((elapsed * rate).floor() as u32).min(change);
    while count < change && f64::from(count + 1) / rate <= elapsed {
        count += 1;
    }
    while count > 0 && f64::from(count) / rate > elapsed {
        count -= 1;
    }
    count
}

fn push_run(runs: &mut Vec<(u32, u32)>, tick: u32, users: u32) {
    let last = runs.len() - 1;
    if runs[last].1 == users {
        return;
    }
    if runs[last].0 == tick {
        runs[last].1 = users;
    } else {
        runs.push((tick, users));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Stage;

    fn runs(stages: &[(u32, f64, f64)]) -> UserRuns {
        let stages = stages
            .iter()
            .map(|&(duration_s, users, spawn_rate)| Stage { duration_s, users, spawn_rate })
            .collect();
        UserRuns::new(&ServiceTrace { service: "s".to_owned(), stages })
    }

    #[test]
    fn rule_5_users_ramp_at_the_spawn_rate() {
        let users = runs(&[(10, 5.0, 2.0), (10, 2.0, 0.5), (4, 30.0, 3.0), (5, 0.0, 100.0)]);
        let counts: Vec<u32> = (0..30).map(|tick| users.at(tick)).collect();
        assert_eq!(&counts[..4], &[2, 4, 5, 5]);
        assert_eq!(&counts[10..17], &[5, 4, 4, 3, 3, 2, 2]);
        // The third stage ends before its ramp; the fourth starts from what was reached.
        assert_eq!(&counts[20..26], &[5, 8, 11, 14, 0, 0]);
        assert_eq!(counts[29], 0);
        assert_eq!(users.edges, [0, 10, 20, 24, 29]);
        assert_eq!(users.at_end_of_next_stage(0), 5);
        assert_eq!(users.at_end_of_next_stage(8), 2);
        assert_eq!(users.at_end_of_next_stage(25), 0);
    }

    #[test]
    fn a_rate_of_all_users_fills_the_first_tick() {
        let users = runs(&[(120, 34.0, 34.0), (120, 49.0, 49.0)]);
        assert_eq!((users.at(0), users.at(119), users.at(120)), (34, 34, 49));
    }
}
