//! Environments to train on, stepped together.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::empty::EmptyCluster;
use super::rules::PaperRules;
use super::state::{Action, PaperState, SERVICES};
use super::traffic::{PaperTrace, whole_users};
use crate::env::batch::{BatchEnv, StepResults, restored};
use crate::env::observation::{Observer, ObserverScratch};
use crate::env::traffic::TrainingTraffic;
use crate::error::{Error, Result};
use crate::scenario::Scenario;
use crate::trace::Trace;

/// Environments with the same rules, each on traffic of its own: environment i of n plays episodes i,
/// i + n, i + 2n, … of the training traffic.
///
/// No step allocates but those that begin an episode on new traffic.
#[derive(Clone, Debug)]
pub struct PaperEnvs {
    rules: PaperRules,
    observer: Arc<Observer>,
    traffic: Arc<TrainingTraffic>,
    total: u64,
    envs: Vec<Env>,
    /// Traffic as it is drawn, before it becomes rows.
    drawn: Trace,
    empty: EmptyCluster,
    scratch: ObserverScratch,
}

#[derive(Clone, Debug)]
struct Env {
    episode: u64,
    rows: Vec<[u32; SERVICES]>,
    state: PaperState,
    /// The state in which the last ended episode ended.
    last: PaperState,
}

/// What is saved of an environment.
#[derive(Serialize, Deserialize)]
struct Saved {
    episode: u64,
    state: PaperState,
    last: PaperState,
}

impl PaperEnvs {
    /// The environments `range` of `total`.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario or its traffic does not fit the environment.
    pub fn new(
        scenario: &Scenario,
        observer: Arc<Observer>,
        traffic: Arc<TrainingTraffic>,
        range: Range<usize>,
        total: usize,
    ) -> Result<Self> {
        let rules = PaperRules::new(scenario)?;
        let drawn = traffic.blank();
        let rows = PaperTrace::new(&drawn)?.rows;
        let env = |index: usize| Env {
            episode: index as u64,
            rows: rows.clone(),
            state: PaperState::default(),
            last: PaperState::default(),
        };
        let mut envs = Self {
            rules,
            observer,
            traffic,
            total: total as u64,
            envs: range.map(env).collect(),
            drawn,
            empty: EmptyCluster::default(),
            scratch: ObserverScratch::default(),
        };
        for index in 0..envs.envs.len() {
            envs.begin(index)?;
        }
        Ok(envs)
    }

    /// The states, one an environment.
    pub fn states(&self) -> impl Iterator<Item = &PaperState> {
        self.envs.iter().map(|env| &env.state)
    }

    /// Begins the episode that the environment has come to.
    fn begin(&mut self, index: usize) -> Result<()> {
        let env = &mut self.envs[index];
        if !self.traffic.fixed() {
            self.traffic.renew(self.traffic.episode_seed(env.episode), &mut self.drawn)?;
            for (service, drawn) in self.drawn.services.iter().enumerate() {
                for (row, stage) in env.rows.iter_mut().zip(&drawn.stages) {
                    row[service] = whole_users(stage.users, &drawn.service)?;
                }
            }
        }
        env.state = self.rules.reset(env.rows[0]);
        Ok(())
    }
}

impl BatchEnv for PaperEnvs {
    fn len(&self) -> usize {
        self.envs.len()
    }

    fn options(&self) -> &[usize] {
        self.observer.actions().heads()
    }

    fn layout(&self) -> Value {
        self.observer.to_json()
    }

    fn features(&self) -> usize {
        self.observer.len()
    }

    fn hints(&self) -> usize {
        self.observer.hints()
    }

    fn observe(&self, observations: &mut [f32]) {
        let mut scratch = ObserverScratch::default();
        let numbers = observations.chunks_exact_mut(self.observer.len());
        for (env, out) in self.envs.iter().zip(numbers) {
            self.observer.write_paper(&env.state, &mut scratch, out);
        }
    }

    fn step(&mut self, actions: &[u32], results: StepResults<'_>) -> Result<()> {
        let features = self.observer.len();
        for index in 0..self.envs.len() {
            let env = &mut self.envs[index];
            let chosen = &actions[index * SERVICES..][..SERVICES];
            let action: Action = [0, 1, 2].map(|service| chosen[service] as u16);
            if !self.rules.is_valid(action) || chosen.iter().any(|&a| a > u32::from(u16::MAX)) {
                return Err(Error::Failed(format!(
                    "environment {index}: options {chosen:?} of {:?}",
                    self.rules.option_counts()
                )));
            }
            let baseline = self.empty.best(&self.rules, &env.state);
            // A truncating step may lie behind the trace and does not read this row.
            let row = (env.state.step as usize + 1).min(env.rows.len() - 1);
            let result = self.rules.step(&mut env.state, action, env.rows[row]);
            let reward = self.rules.scaled(result.reward);
            if !reward.is_finite() {
                return Err(Error::Failed(format!(
                    "environment {index}, step {} of episode {}: the reward is {reward} (no service has any \
                     users; the correction min_one_pod lets every service keep a pod then)",
                    env.state.step, env.episode
                )));
            }
            results.rewards[index] = reward;
            results.baselines[index] = self.rules.scaled(baseline);
            results.terminated[index] = result.terminated;
            results.truncated[index] = result.truncated;
            if result.terminated | result.truncated {
                env.last = env.state;
                env.episode += self.total;
                self.begin(index)?;
            }
            self.observer.write_paper(
                &self.envs[index].state,
                &mut self.scratch,
                &mut results.observations[index * features..][..features],
            );
        }
        Ok(())
    }

    fn final_observation(&self, environment: usize, observation: &mut [f32]) {
        let last = &self.envs[environment].last;
        self.observer.write_paper(last, &mut ObserverScratch::default(), observation);
    }

    fn save(&self) -> Value {
        let saved: Vec<Saved> = self
            .envs
            .iter()
            .map(|env| Saved { episode: env.episode, state: env.state, last: env.last })
            .collect();
        serde_json::json!(saved)
    }

    fn restore(&mut self, saved: &Value) -> Result<()> {
        let all: Vec<Saved> = restored(saved, self.envs.len())?;
        for (index, saved) in all.into_iter().enumerate() {
            let valid = self.rules.is_valid(saved.state.options)
                && self.rules.is_valid(saved.last.options)
                && saved.state.step < self.rules.steps() as u32;
            if !valid {
                return Err(Error::input(
                    format!("saved environment {index}"),
                    "a state of another scenario",
                    "go on with the scenario that training began with",
                ));
            }
            self.envs[index].episode = saved.episode;
            self.begin(index)?;
            self.envs[index].state = saved.state;
            self.envs[index].last = saved.last;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::env::actions::{ActionConfig, ActionSpace};
    use crate::env::observation::ObservationConfig;
    use crate::rng::Streams;

    fn envs(scenario: &Scenario, range: Range<usize>, total: usize) -> PaperEnvs {
        let actions = ActionSpace::new(&ActionConfig::default(), scenario).unwrap();
        let config: ObservationConfig =
            toml::from_str("layout = \"feat_t\"\nhints = \"priced\"").unwrap();
        let observer = Arc::new(Observer::new(&config, &actions, scenario).unwrap());
        let traffic = Arc::new(TrainingTraffic::new(scenario, &[], 11).unwrap());
        PaperEnvs::new(scenario, observer, traffic, range, total).unwrap()
    }

    /// Everything that a step gives.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Given {
        observations: Vec<f32>,
        rewards: Vec<f64>,
        baselines: Vec<f64>,
        terminated: Vec<bool>,
        truncated: Vec<bool>,
    }

    fn step(envs: &mut PaperEnvs, actions: &[u32]) -> Given {
        let count = envs.len();
        let mut given = Given {
            observations: vec![f32::NAN; count * envs.features()],
            rewards: vec![f64::NAN; count],
            baselines: vec![f64::NAN; count],
            terminated: vec![true; count],
            truncated: vec![true; count],
        };
        envs.step(
            actions,
            StepResults {
                observations: &mut given.observations,
                rewards: &mut given.rewards,
                baselines: &mut given.baselines,
                terminated: &mut given.terminated,
                truncated: &mut given.truncated,
            },
        )
        .unwrap();
        given
    }

    fn random_actions(count: usize, stream: u64) -> Vec<u32> {
        let mut rng = Streams::new(5).open_indexed("actions", stream);
        (0..count).flat_map(|_| [22, 7, 8].map(|options| rng.random_range(0..options))).collect()
    }

    #[test]
    fn episodes_are_those_of_the_rules_on_training_traffic() {
        let scenario = Scenario::load("paper-random", &["reward.scale=0.5".to_owned()]).unwrap();
        let rules = PaperRules::new(&scenario).unwrap();
        let traffic = TrainingTraffic::new(&scenario, &[], 11).unwrap();
        let mut envs = envs(&scenario, 0..3, 3);
        let trace =
            |episode: u64| PaperTrace::training(&scenario, traffic.episode_seed(episode)).unwrap();
        let mut traces: Vec<PaperTrace> = (0..3).map(trace).collect();
        let mut states: Vec<PaperState> =
            traces.iter().map(|trace| rules.reset(trace.rows[0])).collect();
        let mut episodes = [0, 1, 2];
        for number in 0..45 {
            let actions = random_actions(3, number);
            let given = step(&mut envs, &actions);
            for env in 0..3 {
                let chosen = &actions[env * 3..][..3];
                let action = [0, 1, 2].map(|service| chosen[service] as u16);
                let next = traces[env].after(states[env].step as usize + 1);
                let result = rules.step(&mut states[env], action, next);
                assert_eq!(given.rewards[env], 0.5 * result.reward);
                assert!(given.baselines[env] >= given.rewards[env] * 0.99);
                assert_eq!(given.terminated[env], result.terminated);
                assert!(!given.truncated[env]);
                if result.terminated {
                    let mut observation = vec![0.0; envs.features()];
                    envs.final_observation(env, &mut observation);
                    assert_eq!(observation[93], 1.0, "the last of 19 steps is over");
                    episodes[env] += 3;
                    traces[env] = trace(episodes[env]);
                    states[env] = rules.reset(traces[env].rows[0]);
                }
            }
            assert!(envs.states().eq(states.iter()));
            let mut observations = vec![0.0; given.observations.len()];
            envs.observe(&mut observations);
            assert_eq!(observations, given.observations);
        }
        assert_eq!(episodes, [6, 7, 8]);
    }

    #[test]
    fn parts_and_restored_environments_give_the_same_bits() {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        let mut all = envs(&scenario, 0..4, 4);
        let mut parts = [envs(&scenario, 0..1, 4), envs(&scenario, 1..4, 4)];
        let features = all.features();
        let mut other = envs(&scenario, 0..4, 4);
        for number in 0..60 {
            let actions = random_actions(4, number);
            let whole = step(&mut all, &actions);
            let [first, rest] = &mut parts;
            let (first, rest) = (step(first, &actions[..3]), step(rest, &actions[3..]));
            assert_eq!(whole.rewards, [first.rewards, rest.rewards].concat());
            assert_eq!(whole.observations[..features], first.observations);
            assert_eq!(whole.observations[features..], rest.observations);
            if number == 30 {
                let text = serde_json::to_string(&all.save()).unwrap();
                other.restore(&serde_json::from_str(&text).unwrap()).unwrap();
            } else if number > 30 {
                assert_eq!(step(&mut other, &actions), whole);
            }
        }
        let saved = all.save();
        assert_eq!(parts[1].restore(&saved).unwrap_err().exit_code(), 2);
        assert_eq!(all.restore(&Value::Null).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn traffic_beyond_what_can_be_counted_is_refused() {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        let source = toml::from_str("kind = \"constant\"\nlow = 1e9\nhigh = 1e9").unwrap();
        let traffic = Arc::new(TrainingTraffic::new(&scenario, &[source], 1).unwrap());
        let observer = Arc::clone(&envs(&scenario, 0..1, 1).observer);
        let error = PaperEnvs::new(&scenario, observer, traffic, 0..1, 1).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("1000000000 users"), "{error}");
    }

    #[test]
    fn an_action_that_does_not_exist_is_an_error() {
        let scenario = Scenario::load("paper", &[]).unwrap();
        let mut envs = envs(&scenario, 0..1, 1);
        let mut observations = vec![0.0; envs.features()];
        let results = StepResults {
            observations: &mut observations,
            rewards: &mut [0.0],
            baselines: &mut [0.0],
            terminated: &mut [false],
            truncated: &mut [false],
        };
        let error = envs.step(&[22, 0, 0], results).unwrap_err();
        assert!(error.to_string().contains("[22, 0, 0]"), "{error}");
    }
}
