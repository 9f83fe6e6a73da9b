//! The hot paths of the simulator, of the predictors and of an agent that acts or is trained do not allocate.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use quotascale::agent::config::Imitation;
use quotascale::agent::{Agent, AgentConfig, AgentShape, NetworkConfig, Ppo, PpoConfig};
use quotascale::env::EnvironmentConfig;
use quotascale::nn::init::Kernel;
use quotascale::nn::{
    Activation, DenseInit, LstmScratch, LstmState, Metadata, Mlp, MlpScratch, ParamStore,
};
use quotascale::predictor::dataset::Fractions;
use quotascale::predictor::original::checkpoint::Source;
use quotascale::predictor::original::{
    MinMaxScaler, OriginalPredictor, OriginalWeights, RawTensor,
};
use quotascale::predictor::quantile::QuantileModel;
use quotascale::predictor::quantile::learner::QuantileLearner;
use quotascale::predictor::quantile::windows::TimeOfDay;
use quotascale::predictor::train::Learner;
use quotascale::predictor::{Baseline, Forecast, Forecaster, Training};
use quotascale::rng::Streams;
use quotascale::scenario::{KpaConfig, Scenario, pods};
use quotascale::sim::kpa::Autoscaler;
use quotascale::sim::{Model, Simulator, Start};
use quotascale::snapshot::Decision;
use quotascale::trace::series::Series;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

fn count() {
    // A thread that ends allocates after its counter is gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn ticks_between_two_decisions_do_not_allocate() {
    for sets in [
        &[][..],
        &["quota.mode=enforced", "quota.cpu_m=20000", "operator.kind=graceful"],
        &["operator.kind=published", "operator.rule=option-change"],
        &["service.house.initial.ready=false", "service.house.cold_start_mean_s=40"],
    ] {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let scenario = Scenario::load("knative-random", &sets).unwrap();
        let model = Arc::new(Model::new(&scenario).unwrap());
        let traffic = scenario.traffic(3).unwrap();
        let mut simulator =
            Simulator::new(Arc::clone(&model), &traffic, 3, &Start::Controlled).unwrap();
        for (step, time) in (115..model.duration_s).step_by(120).enumerate() {
            let count = allocations(|| simulator.advance(time));
            assert_eq!(count, 0, "up to t = {time} s with {sets:?}");
            let services = (0..model.services.len())
                .map(|service| {
                    let profile = &model.services[service].profile;
                    let option = (step * 5 + service) % profile.options.len();
                    let users = f64::from(simulator.users_at_end_of_next_stage(service));
                    let concurrency = profile.options[option].concurrency;
                    Some(profile.decision(option as u32, pods(users, concurrency, 0.7, 1)))
                })
                .collect();
            simulator.apply(&Decision { services, reason: String::new() }).unwrap();
        }
    }
}

#[test]
fn the_autoscaler_does_not_allocate() {
    let config = KpaConfig { scale_down_delay_s: 7, ..KpaConfig::default() };
    let mut autoscaler = Autoscaler::new(&config.for_revision(10.0, 1, 1), 0, 1, false);
    let count = allocations(|| {
        for t_s in 1..1000 {
            autoscaler.record(t_s, (t_s * 7 % 90) as f64);
            if t_s % 2 == 0 {
                std::hint::black_box(autoscaler.decide(t_s, 3));
            }
        }
        autoscaler.record_run(1000, 500, 20.0);
        autoscaler.record(1700, 1.0);
    });
    assert_eq!(count, 0);
}

#[test]
fn forecasts_after_the_first_do_not_allocate() {
    let weights = OriginalWeights::build("here", 20, |_, shape| {
        let values = vec![0.1; shape.iter().product()];
        Ok(RawTensor { place: String::new(), shape: shape.to_vec(), values })
    });
    let scaler = MinMaxScaler::new("here", 8.0, 100.0).unwrap();
    let predictor = OriginalPredictor::new(scaler, &weights.unwrap());
    let history = [34.0, 5.0, 70.0, 12.0, 12.0, 44.0, 19.0, 28.0];
    let first = predictor.forecast(&history);
    let count = allocations(|| assert_eq!(predictor.forecast(&history), first));
    assert_eq!(count, 0);
}

#[test]
fn observing_and_forecasting_do_not_allocate() {
    let rows: Vec<f64> = (0..200).map(|row| f64::from(row * row % 37)).collect();
    for baseline in Baseline::ALL {
        let model = baseline.fit(&vec![Training::of(&rows, 24); 3]);
        let mut state = model.start(&[&rows[..5], &rows[..90], &[]]);
        let mut forecast = Forecast::default();
        model.forecast(&state, 4, &mut forecast);
        let count = allocations(|| {
            for row in &rows {
                model.observe(&mut [*row, row + 1.0, f64::NAN].into_iter(), None, &mut state);
                model.forecast(&state, 4, &mut forecast);
            }
        });
        assert_eq!(count, 0, "{baseline}");
    }
}

#[test]
fn acting_does_not_allocate_after_its_first_step() {
    let mut rng = Streams::new(1).open("init");
    let mut store = ParamStore::new();
    let body = store.lstm("body", 37, 64, Kernel::Orthogonal, &mut rng).unwrap();
    let init = DenseInit::Orthogonal(1.0);
    let layers = [("hidden", [64, 32]), ("head", [32, 11])]
        .map(|(name, sizes)| store.dense(name, sizes, Activation::Tanh, init, &mut rng).unwrap());
    let head = Mlp::new(layers.into()).unwrap();
    // One row: for more of them the matrix product packs its factors into buffers of its own.
    let (x, mut logits) = (vec![0.3; 37], vec![0.0; 11]);
    let (mut state, mut scratch) = (LstmState::zero(1, 64), LstmScratch::default());
    let mut mlp_scratch = MlpScratch::default();
    let mut act = || {
        body.step(&x, &mut state, &mut scratch).unwrap();
        head.infer(state.h(), &mut logits, &mut mlp_scratch).unwrap();
    };
    act();
    assert_eq!(allocations(|| (0..10).for_each(|_| act())), 0);
}

/// Allocations of one iteration of PPO on `paper`, once its buffers have grown.
fn allocations_of_an_iteration(network: &NetworkConfig, rollout: usize) -> u64 {
    let scenario = Scenario::load("paper", &[]).unwrap();
    let mut environment = EnvironmentConfig::of(&scenario);
    let environments = environment.prepare(&scenario, 1).unwrap();
    let observer = environments.observer();
    let shape = AgentShape {
        inputs: observer.len(),
        hints: 0,
        options: observer.actions().heads().to_vec(),
    };
    let config = AgentConfig {
        shape,
        environment,
        network: network.clone(),
        training: serde_json::Value::Null,
    };
    let agent = Agent::new(Metadata::new("ppo", 1, 0), config, observer.to_json()).unwrap();
    // One environment: for more of them the matrix product packs its factors into buffers of its own.
    let config = PpoConfig {
        environments: 1,
        rollout,
        epochs: 1,
        minibatches: 1,
        parts: 1,
        reward_scale: 1e-3,
        normalise_observations: true,
        normalise_rewards: true,
        imitation: Imitation { weight: 0.1, from: 0.0 },
        ..PpoConfig::default()
    };
    // Allocations are counted by thread, so one does all the work.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let mut ppo =
            Ppo::new(config, agent, &|range, total| environments.make(range, total)).unwrap();
        // The best episode is kept whenever there is a better one: until there is none, copies are made.
        let mut least = u64::MAX;
        for _ in 0..40 {
            least = least.min(allocations(|| drop(ppo.iterate().unwrap())));
        }
        least
    })
}

#[test]
fn steps_of_a_rollout_do_not_allocate() {
    let memory = NetworkConfig { hidden: vec![16], ..NetworkConfig::recurrent(16) };
    for network in [NetworkConfig { hidden: vec![16; 2], ..NetworkConfig::default() }, memory] {
        // Both long enough for the same ways of multiplying, and of several episodes of 19 steps.
        let [short, long] =
            [19 * 8, 19 * 24].map(|rollout| allocations_of_an_iteration(&network, rollout));
        // A longer rollout is cut into other groups of episodes; one in a step would be 304 more.
        assert!(long < short + 16, "{short} and {long}: 304 steps more with {network:?}");
    }
}

#[test]
fn a_forecast_by_a_trained_network_does_not_allocate() {
    let rows: Vec<f64> = (0..300).map(|row| f64::from(40 + row * row % 23)).collect();
    let series = Series {
        name: "s".to_owned(),
        unit: "users".to_owned(),
        row_s: 120.0,
        masked: vec![false; rows.len()],
        users: rows.clone(),
        times: Vec::new(),
        start_s: None,
    };
    let source = Source { file: "s".to_owned(), sha256: String::new(), keras_version: None };
    let (fractions, time_of_day) = (Fractions::default(), TimeOfDay::Auto);
    let learner = QuantileLearner::new(&[series], fractions, 5, time_of_day, 1, source, "1");
    let learner = learner.unwrap();
    let model = QuantileModel::new(learner.config(), &learner.params().values().unwrap());
    let mut state = model.start(&[&rows, &rows[..40], &rows[..9]]);
    let mut forecast = Forecast::default();
    model.forecast(&state, 5, &mut forecast);
    let count = allocations(|| {
        for row in 0..200 {
            model.observe(&mut [f64::from(row % 7); 3].into_iter(), None, &mut state);
            model.forecast(&state, 5, &mut forecast);
        }
    });
    assert_eq!(count, 0);
}
