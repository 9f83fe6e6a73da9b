//! Environments to train on, against what an evaluation runs.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use rand::RngExt;

use crate::env::knative::episode::instants;
use crate::env::knative::{EpisodeOptions, run_episode};
use crate::env::observation::{Expected, ObservationMemory, Observer, ObserverScratch};
use crate::env::traffic::TrainingTraffic;
use crate::env::training::EnvironmentConfig;
use crate::env::{BatchEnv, StageReward, StepResults};
use crate::error::Result;
use crate::policy::{Episode, Policy, PolicyState};
use crate::predictor::Forecast;
use crate::rng::Streams;
use crate::scenario::Scenario;
use crate::sim::{Model, Simulator, Start};
use crate::snapshot::{Decision, Snapshot};

/// Everything that a step gives.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    observations: Vec<f32>,
    rewards: Vec<f64>,
    baselines: Vec<f64>,
    terminated: Vec<bool>,
}

fn step(envs: &mut dyn BatchEnv, choices: &[u32]) -> Step {
    let count = envs.len();
    let mut given = Step {
        observations: vec![f32::NAN; count * envs.features()],
        rewards: vec![f64::NAN; count],
        baselines: vec![f64::NAN; count],
        terminated: vec![true; count],
    };
    let results = StepResults {
        observations: &mut given.observations,
        rewards: &mut given.rewards,
        baselines: &mut given.baselines,
        terminated: &mut given.terminated,
        truncated: &mut vec![true; count],
    };
    envs.step(choices, results).unwrap();
    given
}

/// Chooses what it is told and writes down what it sees.
struct Told {
    observer: Arc<Observer>,
    choices: Vec<Vec<u32>>,
    memory: Mutex<(usize, ObservationMemory)>,
    seen: Mutex<Vec<Vec<f32>>>,
}

impl Policy for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn start(&self, _episode: &Episode<'_>) -> Result<PolicyState> {
        Ok(PolicyState::None)
    }

    fn decide(&self, _: &Snapshot, _: &[f64], _: &mut PolicyState) -> Result<Decision> {
        unreachable!("a controller has the whole forecast")
    }

    fn decide_on(
        &self,
        snapshot: &Snapshot,
        forecast: &Forecast,
        _state: &mut PolicyState,
    ) -> Result<Decision> {
        let mut memory = self.memory.lock().unwrap();
        let (step, memory) = &mut *memory;
        let mut seen = vec![0.0; self.observer.len()];
        let scratch = &mut ObserverScratch::default();
        let expected = Expected::Forecast(forecast);
        self.observer.write(snapshot, expected, memory, scratch, &mut seen)?;
        self.seen.lock().unwrap().push(seen);
        let mut decision = Decision::default();
        let next = forecast.next();
        let choices = &self.choices[*step];
        self.observer.actions().decide(choices, |service| next[service], &mut decision)?;
        memory.remember(&decision);
        *step += 1;
        Ok(decision)
    }
}

/// All kinds of choices.
fn config(scenario: &Scenario) -> EnvironmentConfig {
    let mut config = EnvironmentConfig::of(scenario);
    config.actions.pod_shares = vec![1.0, 0.5, 0.0];
    config
}

fn random_choices(heads: &[usize], stream: u64) -> Vec<u32> {
    let mut rng = Streams::new(2).open_indexed("choices", stream);
    heads
        .iter()
        .map(|&head| match rng.random_range(0..3) {
            // Often alone, so that the autoscaler has its say.
            0 => head as u32 - 1,
            _ => rng.random_range(0..head as u32),
        })
        .collect()
}

#[test]
fn an_episode_is_what_an_evaluation_runs() {
    let guarded = ["guard.max_step_pods=3".to_owned(), "reward.scale=10".to_owned()];
    let published = ["operator.kind=published".to_owned(), "quota.mode=enforced".to_owned()];
    let stages = ["interval_s=90".to_owned(), "offset_s=40".to_owned()];
    let paper = ["reward.kind=paper".to_owned(), "reward.latency=measured".to_owned()];
    for (sets, hints, forecaster) in [
        (&[][..], "keep", "persistence"),
        (&guarded, "greedy", "moving-average"),
        (&published, "none", "perfect"),
        (&stages, "priced", "persistence"),
        (&paper, "greedy", "persistence"),
    ] {
        let scenario = Scenario::load("knative-random", sets).unwrap();
        let mut config = config(&scenario);
        config.observation.hints = toml::Value::String(hints.to_owned()).try_into().unwrap();
        config.forecast.forecaster = forecaster.to_owned();
        let environments = config.prepare(&scenario, 3).unwrap();
        let observer = environments.observer();
        let mut envs = environments.make(1..2, 2).unwrap();
        let steps = instants(&scenario, 2400).len();
        let traffic = TrainingTraffic::new(&scenario, &[], 3).unwrap();
        for episode in [1, 3] {
            let choices: Vec<Vec<u32>> = (0..steps as u64)
                .map(|step| random_choices(envs.options(), 100 * episode + step))
                .collect();
            let mut observation = vec![0.0; envs.features()];
            envs.observe(&mut observation);
            let mut seen = vec![observation];
            let mut total = 0.0;
            for (number, choices) in choices.iter().enumerate() {
                let given = step(envs.as_mut(), choices);
                total += given.rewards[0];
                assert_eq!(given.terminated[0], number + 1 == steps);
                seen.push(given.observations);
            }
            let told = Arc::new(Told {
                observer: Arc::clone(observer),
                choices,
                memory: Mutex::default(),
                seen: Mutex::default(),
            });
            let seed = traffic.episode_seed(episode);
            let kind: crate::predictor::ForecasterKind = forecaster.parse().unwrap();
            let options =
                EpisodeOptions { foresight: kind.for_scenario(&scenario).unwrap(), ticks: false };
            let run = run_episode(
                &scenario,
                &Arc::new(Model::new(&scenario).unwrap()),
                &scenario.training_traffic(seed).unwrap(),
                &(Arc::clone(&told) as Arc<dyn Policy>),
                seed,
                options,
            )
            .unwrap();
            let scale = run.summary.reward.abs();
            assert!((run.summary.reward - total).abs() < 1e-12 * scale, "{total} {run:?}");
            seen.pop();
            assert_eq!(*told.seen.lock().unwrap(), seen);
        }
    }
}

#[test]
fn a_decision_earns_its_stage_and_answers_for_the_one_before() {
    let scenario = Scenario::load("knative-random", &[]).unwrap();
    let mut config = config(&scenario);
    let environments = config.prepare(&scenario, 0).unwrap();
    let traffic = TrainingTraffic::new(&scenario, &[], 0).unwrap();
    let seed = traffic.episode_seed(0);
    let model = Arc::new(Model::new(&scenario).unwrap());
    let reward = StageReward::new(&scenario);
    let drawn = scenario.training_traffic(seed).unwrap();
    let mut alone = Simulator::new(model, &drawn, seed, &Start::Controlled).unwrap();
    let keep = [66, 21, 24];
    let mut envs = environments.make(0..1, 1).unwrap();
    assert_eq!(envs.options(), [67, 22, 25]);
    alone.advance(2400);
    // Left alone, every stage gives all it gives to the decision before it.
    for stage in 1..20 {
        let given = step(envs.as_mut(), &keep);
        let measured = reward.measure(&alone, 120 * stage, 120 * (stage + 1));
        assert_eq!(given.rewards[0], measured, "{stage}");
        assert!(given.baselines[0] > measured && given.baselines[0] < -0.01);
    }
    let last = step(envs.as_mut(), &keep);
    assert_eq!((last.rewards[0], last.baselines[0], last.terminated[0]), (0.0, 0.0, true));
    // New pods beside the old ones, five seconds before the stage ends, cost that decision.
    let before = step(envs.as_mut(), &keep);
    let after = step(envs.as_mut(), &[17, 4, 4]);
    let mut again = environments.make(0..1, 1).unwrap();
    for _ in 0..20 {
        step(again.as_mut(), &keep);
    }
    assert_eq!(step(again.as_mut(), &keep), before);
    assert!(step(again.as_mut(), &keep).rewards[0] > after.rewards[0]);
}

#[test]
fn threads_parts_and_restoring_change_no_bit() {
    let scenario = Scenario::load("knative-random", &[]).unwrap();
    let mut config = config(&scenario);
    config.forecast.noise = true;
    config.traffic = ["random", "walk", "bursts"]
        .map(|kind| toml::from_str(&format!("kind = \"{kind}\"")).unwrap())
        .to_vec();
    let environments = config.prepare(&scenario, 9).unwrap();
    assert_eq!(config.forecast.model.as_ref().unwrap().forecaster, "persistence");
    let run = |threads: usize, ranges: &[Range<usize>], stop: Option<usize>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut rows = Vec::new();
            for range in ranges {
                let mut envs = environments.make(range.clone(), 3).unwrap();
                for number in 0..45 {
                    if stop == Some(number) {
                        let saved = serde_json::to_string(&envs.save()).unwrap();
                        envs = environments.make(range.clone(), 3).unwrap();
                        envs.restore(&serde_json::from_str(&saved).unwrap()).unwrap();
                    }
                    let choices: Vec<u32> = range
                        .clone()
                        .flat_map(|env| {
                            random_choices(envs.options(), (1000 * env + number) as u64)
                        })
                        .collect();
                    let given = step(envs.as_mut(), &choices);
                    let features = envs.features();
                    for (place, env) in range.clone().enumerate() {
                        let mut last = vec![0.0; features];
                        envs.final_observation(place, &mut last);
                        rows.push((
                            env,
                            number,
                            given.rewards[place].to_bits(),
                            given.observations[place * features..][..features].to_vec(),
                            last,
                        ));
                    }
                }
            }
            rows.sort_by_key(|row| (row.0, row.1));
            rows
        })
    };
    let whole = std::slice::from_ref(&(0..3));
    let one = run(1, whole, None);
    assert!(one == run(2, whole, None));
    assert!(one == run(2, &[0..1, 1..3], None));
    assert!(one == run(1, whole, Some(27)));
    let mut envs = environments.make(0..1, 1).unwrap();
    let error =
        envs.restore(&serde_json::json!([{"episode": 0, "choices": [1], "last_observation": []}]));
    assert_eq!(error.unwrap_err().exit_code(), 2);
}
