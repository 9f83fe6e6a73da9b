//! All integration tests in one binary: linking the whole tree once per file would dominate the test time.

mod allocation;
mod disk_full;
mod documents;
mod evaluate_cli;
mod import_sb3;
mod nn_lstm;
mod nn_predictor_golden;
mod paper_env;
mod predictor;
mod predictor_damage;
mod predictor_evaluate;
mod predictor_train;
mod reference;
mod replay_kpa;
mod scenario_cli;
mod scenario_example;
mod sim_world;
mod simulator_properties;
mod simulator_rules;
mod support;
mod trace_bad_input;
mod trace_cli;
mod train;
mod train_others;
