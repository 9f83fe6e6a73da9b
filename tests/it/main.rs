//! All integration tests in one binary: linking the whole tree once per file would dominate the test time.

mod documents;
mod paper_env;
mod reference;
mod replay_kpa;
mod scenario_cli;
mod support;
mod trace_bad_input;
mod trace_cli;
