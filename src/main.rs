//! The `quotascale` program: parse, run, exit code.

use std::env;
use std::process::ExitCode;

use clap::Parser;
use quotascale::cli::{self, Cli};

/// How many threads rayon and candle use.
const THREADS: &str = "RAYON_NUM_THREADS";

/// What .cargo/config.toml gives to tests and benches as the number of threads.
const CARGO_THREADS: &str = "QUOTASCALE_CARGO_THREADS";

fn main() -> ExitCode {
    let cli = Cli::parse();
    tell_candle_the_threads(cli.threads());
    cli::run(cli)
}

/// Sets `RAYON_NUM_THREADS` to the number the user gave, or else to that of the cores: where it is
/// unset, candle counts the cores anew (reading /proc/cpuinfo) at every matrix product.
#[allow(unsafe_code)]
fn tell_candle_the_threads(threads: Option<usize>) {
    let present = env::var_os(THREADS);
    if threads.is_none() && present.is_some() && present != env::var_os(CARGO_THREADS) {
        return;
    }
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or_else(cores);
    // SAFETY: this is the first thing that `main` does after parsing its arguments; no other thread
    // exists yet that could read the environment.
    unsafe { env::set_var(THREADS, threads.to_string()) };
}
