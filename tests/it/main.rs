//! All integration tests in one binary: linking the whole tree once per file would dominate the test time.

mod paper_env;
mod scenario_cli;
mod support;
