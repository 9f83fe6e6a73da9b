//! All integration tests in one binary: linking the whole tree once per file would dominate the test time.

mod disk_full;
mod evaluate_cli;
mod paper_env;
mod replay_kpa;
mod scenario_cli;
mod scenario_example;
mod support;
mod trace_bad_input;
mod trace_cli;
