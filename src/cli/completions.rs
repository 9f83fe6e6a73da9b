//! `completions`: a shell's completion script.

use clap::CommandFactory;

use super::Cli;

/// Arguments of `completions`.
#[derive(clap::Args)]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quotascale", &mut script);
    super::print_line(String::from_utf8_lossy(&script).trim_end())
}
