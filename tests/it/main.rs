//! All integration tests in one binary: linking the whole tree once per file would dominate the test time.

mod allocation;
mod replay_kpa;
mod scenario_cli;
mod sim_world;
mod simulator_properties;
mod simulator_rules;
mod support;
