//! Environments to train on: a simulator behind each, stepped together.
//!
//! A step is what a controller does between two instants of decision: the decision takes effect, the
//! cluster runs on to the next instant (or the end), and is looked at again. Forecasts, guard,
//! features and rewards are those of an evaluation; only who chooses is another.
//!
//! # Rewards
//! A decision's reward is that of the whole stage after it, which the next decision, a moment before
//! the stage ends, can still change. Each step therefore earns what its stages would give if nothing
//! more were decided, less what was already given for them: a decision is answerable for what it
//! does to stages begun before it, and the rewards of an episode sum up to those of a run.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::episode::{future, instants, noisy, stage_after};
use crate::control::{GuardState, Harness, Intervention};
use crate::env::StageReward;
use crate::env::batch::{BatchEnv, StepResults, restored};
use crate::env::foresight::NoiseModel;
use crate::env::observation::{Expected, ObservationMemory, Observer, ObserverScratch};
use crate::env::traffic::TrainingTraffic;
use crate::error::{Error, Result};
use crate::predictor::{Band, Forecast, ForecasterState, Foresight, Persistence};
use crate::rng::{Rng, Streams};
use crate::scenario::Scenario;
use crate::scenario::spec::RewardKind;
use crate::sim::{Model, Simulator, Start};
use crate::snapshot::{Decision, Snapshot};
use crate::trace::Trace;

/// Stream of drawn forecast errors.
const NOISE_STREAM: &str = "train-forecast";

/// What is expected of the coming stage while an agent is trained.
#[derive(Clone, Debug)]
pub enum TrainingForesight {
    /// What an evaluation would expect.
    As(Foresight),
    /// The truth with drawn errors.
    Noise(NoiseModel),
}

/// Environment i of n plays episodes i, i + n, i + 2n, … of the training traffic.
pub struct KnativeEnvs {
    shared: Shared,
    envs: Vec<Env>,
}

/// What all environments have in common.
struct Shared {
    model: Arc<Model>,
    observer: Arc<Observer>,
    traffic: Arc<TrainingTraffic>,
    harness: Harness,
    foresight: TrainingForesight,
    reward: StageReward,
    cheapest: Cheapest,
    instants: Vec<u32>,
    total: u64,
}

/// The least CPU for the users of a stage.
struct Cheapest {
    /// By service: CPU of a pod (cores) and concurrency of every option.
    options: Vec<Vec<(f64, u32)>>,
    rule: crate::scenario::PodRule,
    /// Reward per core that is held throughout a stage; 0 where usage has no price of its own.
    per_core: f64,
}

/// A stage that a decision was made for and that is not over.
struct Open {
    from: u32,
    to: u32,
    /// Rewards given for it so far; `None` before the first.
    given: Option<f64>,
}

/// One environment.
struct Env {
    index: usize,
    episode: u64,
    simulator: Simulator,
    drawn: Trace,
    stages: Vec<(u32, u32)>,
    /// Decisions made in this episode.
    step: usize,
    open: Vec<Open>,
    /// Choices since the episode began.
    choices: Vec<u32>,
    forecaster: ForecasterState,
    guard: GuardState,
    interventions: Vec<Intervention>,
    forecast: Forecast,
    noise: Rng,
    snapshot: Snapshot,
    decision: Decision,
    memory: ObservationMemory,
    scratch: ObserverScratch,
    observation: Vec<f32>,
    last_observation: Vec<f32>,
}

/// What a step of one environment gives.
struct Given {
    reward: f64,
    baseline: f64,
    over: bool,
}

/// What is saved of an environment: the episode and what was chosen in it, which is played again.
#[derive(Serialize, Deserialize)]
struct Saved {
    episode: u64,
    choices: Vec<u32>,
    last_observation: Vec<f32>,
}

impl KnativeEnvs {
    /// The environments `range` of `total`.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario is not one of environment `knative` or nothing is decided in it.
    pub fn new(
        scenario: &Scenario,
        observer: Arc<Observer>,
        traffic: Arc<TrainingTraffic>,
        foresight: TrainingForesight,
        range: Range<usize>,
        total: usize,
    ) -> Result<Self> {
        let model = Arc::new(Model::new(scenario)?);
        let instants = instants(scenario, model.duration_s);
        if instants.is_empty() {
            return Err(Error::input(
                format!("scenario `{}`", scenario.name()),
                format!("no decision falls into its {} s", model.duration_s),
                "give a longer duration_s or a smaller offset_s",
            ));
        }
        let forecaster = match &foresight {
            TrainingForesight::As(Foresight::Forecaster(forecaster)) => Arc::clone(forecaster),
            // Never asked: the future is given instead.
            _ => Arc::new(Persistence),
        };
        let shared = Shared {
            harness: Harness::new(scenario, forecaster),
            reward: StageReward::new(scenario),
            cheapest: Cheapest::new(scenario),
            model,
            observer,
            traffic,
            foresight,
            instants,
            total: total as u64,
        };
        let envs = range
            .into_par_iter()
            .map(|index| Env::new(&shared, index))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { shared, envs })
    }
}

impl BatchEnv for KnativeEnvs {
    fn len(&self) -> usize {
        self.envs.len()
    }

    fn options(&self) -> &[usize] {
        self.shared.observer.actions().heads()
    }

    fn layout(&self) -> Value {
        self.shared.observer.to_json()
    }

    fn features(&self) -> usize {
        self.shared.observer.len()
    }

    fn hints(&self) -> usize {
        self.shared.observer.hints()
    }

    fn observe(&self, observations: &mut [f32]) {
        let numbers = observations.chunks_exact_mut(self.shared.observer.len());
        for (env, out) in self.envs.iter().zip(numbers) {
            out.copy_from_slice(&env.observation);
        }
    }

    fn step(&mut self, actions: &[u32], results: StepResults<'_>) -> Result<()> {
        let shared = &self.shared;
        let count = self.envs.len();
        let services = shared.model.services.len();
        // An environment's result depends on nothing but itself, so threads change no bit.
        self.envs
            .par_iter_mut()
            .zip(actions[..count * services].par_chunks_exact(services))
            .zip(results.observations.par_chunks_exact_mut(shared.observer.len()))
            .zip(results.rewards[..count].par_iter_mut())
            .zip(results.baselines[..count].par_iter_mut())
            .zip(results.terminated[..count].par_iter_mut())
            .zip(results.truncated[..count].par_iter_mut())
            .map(
                |((((((env, choices), observation), reward), baseline), terminated), truncated)| {
                    let given = env.step(shared, choices)?;
                    (*reward, *baseline) = (given.reward, given.baseline);
                    // The run ends with its traffic: nothing is earned after it.
                    (*terminated, *truncated) = (given.over, false);
                    observation.copy_from_slice(&env.observation);
                    Ok(())
                },
            )
            // All of them are stepped, so that which error is told does not depend on threads.
            .collect::<Vec<Result<()>>>()
            .into_iter()
            .collect()
    }

    fn final_observation(&self, environment: usize, observation: &mut [f32]) {
        observation.copy_from_slice(&self.envs[environment].last_observation);
    }

    fn save(&self) -> Value {
        let saved: Vec<Saved> = self
            .envs
            .iter()
            .map(|env| Saved {
                episode: env.episode,
                choices: env.choices.clone(),
                last_observation: env.last_observation.clone(),
            })
            .collect();
        serde_json::json!(saved)
    }

    fn restore(&mut self, saved: &Value) -> Result<()> {
        let all: Vec<Saved> = restored(saved, self.envs.len())?;
        let shared = &self.shared;
        let services = shared.model.services.len();
        let steps = shared.instants.len();
        self.envs.par_iter_mut().zip(all).try_for_each(|(env, saved)| {
            if saved.last_observation.len() != shared.observer.len()
                || saved.choices.len() % services != 0
                || saved.choices.len() / services >= steps
            {
                return Err(Error::input(
                    format!("saved environment {}", env.index),
                    "choices of another scenario",
                    "go on with the scenario that training began with",
                ));
            }
            env.episode = saved.episode;
            env.begin(shared)?;
            for choices in saved.choices.chunks_exact(services) {
                env.step(shared, choices)?;
            }
            env.last_observation = saved.last_observation;
            Ok(())
        })
    }
}

impl Env {
    fn new(shared: &Shared, index: usize) -> Result<Self> {
        let drawn = shared.traffic.blank();
        let simulator = Simulator::new(Arc::clone(&shared.model), &drawn, 0, &Start::Controlled)?;
        let features = shared.observer.len();
        let mut env = Self {
            index,
            episode: index as u64,
            simulator,
            drawn,
            stages: Vec::new(),
            step: 0,
            open: Vec::new(),
            choices: Vec::new(),
            forecaster: ForecasterState::default(),
            guard: GuardState::default(),
            interventions: Vec::new(),
            forecast: Forecast::default(),
            noise: Streams::new(0).open(NOISE_STREAM),
            snapshot: Snapshot::default(),
            decision: Decision::default(),
            memory: ObservationMemory::default(),
            scratch: ObserverScratch::default(),
            observation: vec![0.0; features],
            last_observation: vec![0.0; features],
        };
        env.begin(shared)?;
        Ok(env)
    }

    /// Begins the episode that the environment has come to, up to its first instant of decision.
    fn begin(&mut self, shared: &Shared) -> Result<()> {
        let seed = shared.traffic.episode_seed(self.episode);
        shared.traffic.renew(seed, &mut self.drawn)?;
        let model = Arc::clone(&shared.model);
        self.simulator = Simulator::new(model, &self.drawn, seed, &Start::Controlled)?;
        self.stages = self.simulator.stages();
        self.noise = Streams::new(seed).open(NOISE_STREAM);
        self.forecaster = shared.harness.start();
        self.guard = shared.harness.guard().start();
        self.memory.clear();
        self.open.clear();
        self.choices.clear();
        self.step = 0;
        self.simulator.advance(shared.instants[0]);
        self.look(shared)
    }

    /// What a controller sees and expects now.
    fn look(&mut self, shared: &Shared) -> Result<()> {
        self.simulator.snapshot(self.step as u32, &mut self.snapshot);
        shared.harness.observe(&self.snapshot, &mut self.forecaster);
        match &shared.foresight {
            TrainingForesight::As(Foresight::Forecaster(_)) => {
                shared.harness.forecast(&self.forecaster, &mut self.forecast);
            }
            TrainingForesight::As(Foresight::Perfect) => {
                self.forecast.set_known(&future(&self.simulator));
            }
            TrainingForesight::As(Foresight::NoisyPerfect(cv)) => {
                let users = noisy(future(&self.simulator), *cv, &mut self.noise);
                self.forecast.set_known(&users);
            }
            TrainingForesight::Noise(model) => {
                let drawn: Vec<(f64, Band)> = future(&self.simulator)
                    .into_iter()
                    .map(|users| model.draw(users, &mut self.noise))
                    .collect();
                let (users, bands): (Vec<f64>, Vec<Band>) = drawn.into_iter().unzip();
                self.forecast.set_banded(&users, &bands);
            }
        }
        shared.observer.write(
            &self.snapshot,
            Expected::Forecast(&self.forecast),
            &self.memory,
            &mut self.scratch,
            &mut self.observation,
        )
    }

    fn step(&mut self, shared: &Shared, choices: &[u32]) -> Result<Given> {
        let next = self.forecast.next();
        shared.observer.actions().decide(choices, |service| next[service], &mut self.decision)?;
        self.choices.extend_from_slice(choices);
        self.decision.reason.clear();
        // As a policy, which does not learn what the guard makes of its decision.
        self.memory.remember(&self.decision);
        let decision = std::mem::take(&mut self.decision);
        self.decision = shared.harness.check(
            &self.snapshot,
            &self.forecast,
            decision,
            &mut self.guard,
            &mut self.interventions,
        );
        self.simulator.apply(&self.decision)?;

        let stage = stage_after(&self.stages, shared.instants[self.step]);
        self.open.extend(stage.map(|(from, to)| Open { from, to, given: None }));
        self.step += 1;
        let instant = shared.instants.get(self.step).copied();
        self.simulator.advance(instant.unwrap_or(shared.model.duration_s));
        let mut given = self.settle(shared);
        if !given.reward.is_finite() {
            return Err(Error::Failed(format!(
                "environment {}, decision {} of episode {}: the reward is {}",
                self.index, self.step, self.episode, given.reward
            )));
        }
        self.look(shared)?;
        given.over = instant.is_none();
        if given.over {
            self.last_observation.copy_from_slice(&self.observation);
            self.episode += shared.total;
            self.begin(shared)?;
        }
        Ok(given)
    }

    /// What the stages give that are over or have begun, less what was given for them before.
    fn settle(&mut self, shared: &Shared) -> Given {
        let mut given = Given { reward: 0.0, baseline: 0.0, over: false };
        let now = self.simulator.now();
        let mut ahead: Option<Simulator> = None;
        let simulator = &self.simulator;
        self.open.retain_mut(|open| {
            if open.from >= now {
                return true;
            }
            if open.given.is_none() {
                given.baseline += shared.cheapest.reward(simulator, open.to);
            }
            let value = if open.to <= now {
                shared.reward.measure(simulator, open.from, open.to)
            } else {
                let ahead = ahead.get_or_insert_with(|| simulator.clone());
                ahead.advance(open.to);
                shared.reward.measure(ahead, open.from, open.to)
            };
            given.reward += value - open.given.unwrap_or(0.0);
            open.given = Some(value);
            open.to > now
        });
        given
    }
}

impl Cheapest {
    fn new(scenario: &Scenario) -> Self {
        let reward = &scenario.spec.reward;
        let options = scenario.profiles.iter().map(|profile| {
            profile.options.iter().map(|option| (option.cpu.cores(), option.concurrency)).collect()
        });
        Self {
            options: options.collect(),
            rule: scenario.pod_rule(),
            per_core: match reward.kind {
                Some(RewardKind::Paper) => 0.0,
                _ => -reward.scale * reward.w_use / scenario.spec.quota.cpu_m.cores(),
            },
        }
    }

    /// What the usage of a stage that ends at `end` costs at least: of the users alone.
    fn reward(&self, simulator: &Simulator, end: u32) -> f64 {
        let cores: f64 = self
            .options
            .iter()
            .enumerate()
            .map(|(service, options)| {
                let users = f64::from(simulator.users_at(service, end - 1));
                options
                    .iter()
                    .map(|&(cpu, concurrency)| cpu * f64::from(self.rule.pods(users, concurrency)))
                    .fold(f64::INFINITY, f64::min)
            })
            .sum();
        self.per_core * cores
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rand::RngExt;

    use super::*;
    use crate::env::knative::{EpisodeOptions, run_episode};
    use crate::env::training::EnvironmentConfig;
    use crate::policy::{Episode, Policy, PolicyState};

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
                let options = EpisodeOptions {
                    foresight: kind.for_scenario(&scenario).unwrap(),
                    ticks: false,
                };
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
        let error = envs
            .restore(&serde_json::json!([{"episode": 0, "choices": [1], "last_observation": []}]));
        assert_eq!(error.unwrap_err().exit_code(), 2);
    }
}
