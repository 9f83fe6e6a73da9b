//! `replay kpa`.

use super::Common;

/// Arguments of `replay kpa`.
#[derive(clap::Args)]
pub struct Args {}

pub(super) fn run(_args: &Args, _common: Common) -> anyhow::Result<()> {
    anyhow::bail!("under construction")
}
