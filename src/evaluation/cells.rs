//! Running the cells of an evaluation in parallel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use super::{Folder, Machine};
use crate::env::knative::{self, EpisodeOptions};
use crate::env::paper;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::run::{Run, Summary};
use crate::scenario::{EnvironmentKind, Scenario};
use crate::sim::Model;

/// What is run: policies x seeds on a scenario.
#[derive(Clone)]
pub struct Plan {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// The policies, in the order of the tables.
    pub policies: Vec<Arc<dyn Policy>>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// How episodes are run on `knative`.
    pub options: EpisodeOptions,
}

/// One policy and seed.
#[derive(Clone)]
pub struct Cell {
    /// The policy.
    pub policy: Arc<dyn Policy>,
    /// The seed.
    pub seed: u64,
}

/// Runs cells and keeps their summaries.
pub struct Cells<'a> {
    plan: &'a Plan,
    model: Option<Arc<Model>>,
    folder: Option<&'a Folder>,
    machine: Machine,
}

/// The summaries of all cells, policies in the plan's order and seeds rising, and what it took.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The summaries.
    pub summaries: Vec<Summary>,
    /// Cells that were computed now, by `policy/seed`, with their seconds.
    pub seconds: BTreeMap<String, f64>,
}

impl<'a> Cells<'a> {
    /// Cells of `plan`, kept in `folder`.
    ///
    /// # Errors
    /// When the scenario cannot be compiled.
    pub fn new(plan: &'a Plan, folder: Option<&'a Folder>) -> Result<Self> {
        let model = match plan.scenario.environment() {
            EnvironmentKind::Knative => Some(Arc::new(Model::new(&plan.scenario)?)),
            EnvironmentKind::Paper => None,
        };
        Ok(Self { plan, model, folder, machine: Machine::this() })
    }

    /// Computes one cell.
    ///
    /// # Errors
    /// When the policy cannot run.
    pub fn compute(&self, cell: &Cell) -> Result<Run> {
        let scenario = &self.plan.scenario;
        let traffic = scenario.traffic(cell.seed)?;
        match &self.model {
            Some(model) => knative::run_episode(
                scenario,
                model,
                &traffic,
                &cell.policy,
                cell.seed,
                self.plan.options.clone(),
            ),
            None => paper::run_episode(scenario, &traffic, cell.policy.as_ref(), cell.seed),
        }
    }

    /// All cells: policies in the plan's order, seeds rising.
    pub fn all(&self) -> Vec<Cell> {
        let policies = self.plan.policies.iter();
        policies
            .flat_map(|policy| {
                self.plan.seeds.iter().map(|&seed| Cell { policy: Arc::clone(policy), seed })
            })
            .collect()
    }

    /// As [`Self::run_some`], for all cells.
    ///
    /// # Errors
    /// As [`Self::run_some`].
    pub fn run(
        &self,
        stop: &(dyn Fn() -> bool + Sync),
        done: &(dyn Fn() + Sync),
    ) -> Result<Outcome> {
        self.run_some(&self.all(), stop, done)
    }

    /// Computes and writes those of `cells` that are not there yet. `stop` is asked before each, `done` told
    /// after each (also of those that were there).
    ///
    /// # Errors
    /// The first error of any cell; [`Error::Input`] where the folder holds runs of another policy of the
    /// same name; [`Error::Interrupted`] when `stop` said so. What was finished by
    /// then is kept.
    pub fn run_some(
        &self,
        cells: &[Cell],
        stop: &(dyn Fn() -> bool + Sync),
        done: &(dyn Fn() + Sync),
    ) -> Result<Outcome> {
        if let Some(folder) = self.folder {
            for cell in cells {
                folder.claim_policy(cell.policy.name(), cell.policy.fingerprint())?;
            }
        }
        let seconds = Mutex::new(BTreeMap::new());
        let results: Vec<Result<Summary>> = cells
            .par_iter()
            .map(|cell| {
                let name = cell.policy.name();
                if let Some(folder) = self.folder
                    && let Some(summary) = folder.summary(name, cell.seed)?
                {
                    done();
                    return Ok(summary);
                }
                if stop() {
                    return Err(Error::Interrupted {
                        saved: "finished runs are saved; the same command goes on with the others"
                            .to_owned(),
                    });
                }
                let start = Instant::now();
                let run = self.compute(cell)?;
                if let Some(folder) = self.folder {
                    folder.write_cell(&run, &self.machine)?;
                }
                seconds
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(format!("{name}/{}", cell.seed), start.elapsed().as_secs_f64());
                done();
                Ok(run.summary)
            })
            .collect();
        let seconds = seconds.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.folder {
            folder.write_timing(&seconds, rayon::current_num_threads())?;
        }
        // An interruption only hides what else went wrong.
        let mut summaries = Vec::with_capacity(results.len());
        let mut interrupted = None;
        for result in results {
            match result {
                Ok(summary) => summaries.push(summary),
                Err(error @ Error::Interrupted { .. }) => interrupted = Some(error),
                Err(error) => return Err(error),
            }
        }
        match interrupted {
            Some(error) => Err(error),
            None => Ok(Outcome { summaries, seconds }),
        }
    }
}
