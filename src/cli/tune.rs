//! `tune`: the search behind `kpa-latency`, `kpa-resource` and `priced-greedy`.

use std::collections::BTreeMap;

use super::{Common, ScenarioArgs, print_json, print_line};
use crate::policy::tuning;

/// Arguments of `tune`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let scenario = args.scenario.load()?;
    let tuned = tuning::search(&scenario)?;
    if common.json {
        // The form in which results are stored in the program.
        return print_json(&BTreeMap::from([(tuning::key(&scenario)?, tuned)]));
    }
    let list = |options: &[u32]| options.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
    print_line(format!("kpa-latency    fixed:{}", list(&tuned.kpa_latency)))?;
    print_line(format!("kpa-resource   fixed:{}", list(&tuned.kpa_resource)))?;
    print_line(format!("priced-greedy  {} a core", tuned.price))
}
