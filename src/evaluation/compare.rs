//! A whole evaluation, or one shard of it: the cells of the policies and the exact optima.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shard::{OPTIMUM, Part, Shard};
use super::{Cell, Cells, Folder, Plan};
use crate::error::{Error, Result};
use crate::policy::{Policy, paper};
use crate::report::Comparison;
use crate::run::Summary;
use crate::scenario::EnvironmentKind;

/// Told how far the work is, and asked whether to stop.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Whether the user asked to stop.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Called after each cell.
    pub done: &'a (dyn Fn() + Sync),
}

impl Plan {
    /// The part of this evaluation that `shard` is.
    pub fn part(&self, shard: Shard, reference: Option<&str>) -> Part {
        Part {
            shard,
            policies: self.policies.iter().map(|policy| policy.name().to_owned()).collect(),
            seeds: self.seeds.clone(),
            reference: reference.map(str::to_owned),
            optima: self.has_optima(),
        }
    }

    /// How many cells it has, the exact optima among them.
    pub fn cell_count(&self) -> usize {
        let optima = self.has_optima() && !self.has_optimum_policy();
        (self.policies.len() + usize::from(optima)) * self.seeds.len()
    }

    /// How many cells of its policies are in `folder`.
    pub fn cells_in(&self, folder: &Folder) -> usize {
        let of = |policy: &Arc<dyn Policy>| {
            self.seeds.iter().filter(|&&seed| folder.has_cell(policy.name(), seed)).count()
        };
        self.policies.iter().map(of).sum()
    }

    fn has_optima(&self) -> bool {
        self.scenario.environment() == EnvironmentKind::Paper
    }

    fn has_optimum_policy(&self) -> bool {
        self.policies.iter().any(|policy| policy.name() == OPTIMUM)
    }

    /// The cells of the exact optima, as a plan of their own.
    fn optima(&self) -> Self {
        Self { policies: vec![Arc::new(paper::Oracle) as Arc<dyn Policy>], ..self.clone() }
    }
}

/// Computes what is missing of `plan` in `folder` and compares the policies. Also gives what the
/// reader should know. On `paper` the exact optimum of each seed is a cell of its own.
///
/// # Errors
/// As [`Cells::run`] and [`Comparison::new`].
pub fn compare(
    plan: &Plan,
    folder: &Folder,
    reference: Option<&str>,
    watch: Watch<'_>,
) -> Result<(Comparison, Vec<String>)> {
    let summaries = Cells::new(plan, Some(folder))?.run(watch.stop, watch.done)?.summaries;
    let mut warnings = warnings(&summaries);
    let optima = if !plan.has_optima() {
        None
    } else if plan.has_optimum_policy() {
        Some(rewards(summaries.iter().filter(|summary| summary.policy == OPTIMUM)))
    } else {
        let optima = plan.optima();
        match Cells::new(&optima, Some(folder))?.run(watch.stop, watch.done) {
            Ok(outcome) => Some(rewards(outcome.summaries.iter())),
            Err(Error::Input { problem, .. }) => {
                warnings.push(format!("no share of the optimum: {problem}"));
                None
            }
            Err(error) => return Err(error),
        }
    };
    Ok((Comparison::new(&summaries, optima.as_ref(), reference)?, warnings))
}

/// Computes what is missing of one shard of `plan`, and gives what the reader should know.
///
/// # Errors
/// As [`Cells::run`].
pub fn compute_shard(
    plan: &Plan,
    folder: &Folder,
    shard: Shard,
    watch: Watch<'_>,
) -> Result<Vec<String>> {
    let own = |cells: Vec<Cell>, first: usize| -> Vec<Cell> {
        let numbered = cells.into_iter().enumerate();
        numbered.filter(|(index, _)| shard.holds(first + index)).map(|(_, cell)| cell).collect()
    };
    let cells = Cells::new(plan, Some(folder))?;
    let all = cells.all();
    let first_optimum = all.len();
    let summaries = cells.run_some(&own(all, 0), watch.stop, watch.done)?.summaries;
    let mut warnings = warnings(&summaries);
    if plan.has_optima() && !plan.has_optimum_policy() {
        let optima = plan.optima();
        let cells = Cells::new(&optima, Some(folder))?;
        match cells.run_some(&own(cells.all(), first_optimum), watch.stop, watch.done) {
            Ok(_) => {}
            Err(Error::Input { problem, .. }) => {
                folder.write_unreached(&problem)?;
                warnings.push(format!("no share of the optimum: {problem}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(warnings)
}

fn rewards<'a>(summaries: impl Iterator<Item = &'a Summary>) -> BTreeMap<u64, f64> {
    summaries.map(|summary| (summary.seed, summary.reward)).collect()
}

/// The warnings of runs; more than a few lines would hide the table.
pub fn warnings(summaries: &[Summary]) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut lines = Vec::new();
    for summary in summaries {
        for warning in &summary.warnings {
            lines.push(format!("{} seed {}: {warning}", summary.policy, summary.seed));
        }
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("{more} more warnings stand in the summaries of the runs"));
    }
    lines
}
