//! The best joint action, counting what it leaves behind.

use super::rows::StateRows;
use super::value::{JointValues, ValueFunction};
use crate::env::paper::{JointActions, PaperRules, PaperState, SERVICES};

/// The search over all joint actions; buffers are kept from state to state.
#[derive(Clone, Debug, Default)]
pub struct Search {
    actions: JointActions,
    /// For each service and option the row after the step, without the shrink decision.
    rows: [Vec<usize>; SERVICES],
    values: JointValues,
}

impl Search {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The joint action with the highest reward plus value of the state after it (0 where there is no
    /// function), the first on ties, and that sum in reward points.
    pub fn best(
        &mut self,
        rules: &PaperRules,
        state: &PaperState,
        value: Option<(&StateRows, &ValueFunction)>,
    ) -> (usize, f64) {
        self.actions.evaluate(rules, state);
        let actions = &self.actions;
        let rewards = actions.rewards();
        let Some((state_rows, function)) = value else {
            return first_largest(rewards.iter().copied().enumerate());
        };
        let row = |service: usize, option: usize, shrinks: bool| {
            state_rows.row(service, option, actions.pods_after(service, option, shrinks))
        };
        for (service, rows) in self.rows.iter_mut().enumerate() {
            rows.clear();
            rows.extend(
                (0..rules.option_counts()[service]).map(|option| row(service, option, false)),
            );
        }
        let shrinks = actions.shrinks();
        let may_shrink = actions.may_shrink();
        let mut best = (0, f64::NEG_INFINITY);
        let rows = [0, 1, 2].map(|service| self.rows[service].as_slice());
        function.values(rows, &mut self.values, |joint, value| {
            let value = if may_shrink && shrinks[joint] {
                let action = rules.joint_action(joint).map(usize::from);
                function.value(std::array::from_fn(|service| row(service, action[service], true)))
            } else {
                value
            };
            let sum = rewards[joint] + value;
            if sum > best.1 {
                best = (joint, sum);
            }
        });
        best
    }
}

fn first_largest(values: impl Iterator<Item = (usize, f64)>) -> (usize, f64) {
    values.fold((0, f64::NEG_INFINITY), |best, one| if one.1 > best.1 { one } else { best })
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::agent::fitted_value::UNITS;
    use crate::rng::{Rng, Streams};
    use crate::scenario::Scenario;

    /// The search finds what stepping through every joint action finds, in the same order.
    #[test]
    fn the_search_is_what_stepping_every_action_finds() {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        let rules = PaperRules::new(&scenario).unwrap();
        let state_rows = StateRows::new(&rules, [100; SERVICES]);
        let mut rng = Streams::new(5).open("test");
        let number = |rng: &mut Rng| rng.random_range(-0.3..0.3_f32);
        let function = ValueFunction {
            embeddings: (0..state_rows.len())
                .map(|_| std::array::from_fn(|_| number(&mut rng)))
                .collect(),
            bias: std::array::from_fn::<_, UNITS, _>(|_| number(&mut rng)),
            weights: std::array::from_fn(|_| number(&mut rng)),
            offset: 0.5,
        };
        let mut search = Search::new();
        let mut state = rules.reset([0; SERVICES]);
        for step in 0..60 {
            let value_of = |after: &PaperState| {
                let row = |service: usize| {
                    let option = usize::from(after.options[service]);
                    state_rows.row(service, option, after.pods[service])
                };
                function.value([row(0), row(1), row(2)])
            };
            for function in [None, Some((&state_rows, &function))] {
                let all = (0..rules.joint_actions()).map(|joint| {
                    let mut after = state;
                    let result = rules.step(&mut after, rules.joint_action(joint), [0; SERVICES]);
                    (joint, result.reward + function.map_or(0.0, |_| value_of(&after)))
                });
                assert_eq!(search.best(&rules, &state, function), first_largest(all), "{step}");
            }
            let (joint, _) = search.best(&rules, &state, Some((&state_rows, &function)));
            let users = std::array::from_fn(|_| rng.random_range(1..=100));
            rules.step(&mut state, rules.joint_action(joint), users);
            state.step = step % 19;
        }
    }
}
