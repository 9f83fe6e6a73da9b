//! `replay env`.

use super::Common;

/// Arguments of `replay env`.
#[derive(clap::Args)]
pub struct Args {}

pub(super) fn run(_args: &Args, _common: Common) -> anyhow::Result<()> {
    anyhow::bail!("under construction")
}
