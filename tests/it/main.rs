//! All integration tests in one binary: linking the whole tree once per file would dominate the test time.

mod allocation;
#[cfg(feature = "live")]
mod deploy;
mod disk_full;
mod documents;
#[cfg(feature = "live")]
mod e2e_deploy;
#[cfg(feature = "live")]
mod e2e_inputs;
#[cfg(feature = "live")]
mod e2e_live;
#[cfg(feature = "live")]
mod e2e_live_rig;
#[cfg(feature = "live")]
mod e2e_rehearsal;
mod evaluate_cli;
#[cfg(feature = "live")]
mod fault_proxy;
mod import_sb3;
#[cfg(feature = "live")]
mod live_cli;
#[cfg(feature = "live")]
mod live_inputs;
mod nn_lstm;
mod nn_predictor_golden;
mod paper_env;
mod predictor;
mod predictor_damage;
mod predictor_evaluate;
mod predictor_train;
mod profile_fit;
mod reference;
#[cfg(feature = "live")]
mod rehearse_cli;
mod replay_kpa;
mod report_page;
mod reproduce_cli;
mod scenario_cli;
mod scenario_example;
mod shards;
mod shipped_agents;
mod shipped_forecaster;
mod sim_world;
mod simulator_properties;
mod simulator_rules;
mod support;
mod trace_bad_input;
mod trace_cli;
mod train;
mod train_others;
