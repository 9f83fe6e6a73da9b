//! The `quotascale` program: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use quotascale::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
