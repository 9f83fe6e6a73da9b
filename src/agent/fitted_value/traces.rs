//! The traffic that value functions are fitted to.

use crate::env::paper::PaperTrace;
use crate::env::traffic::{TrafficSource, TrainingTraffic};
use crate::error::Result;
use crate::scenario::Scenario;

/// Training traffic by seed: drawn from sources, or the scenario's own where there are none (for a
/// fixed trace: drawn from its range of users, since the value of a state is a mean over traffic).
#[derive(Debug)]
pub(super) struct TrainingTraces<'a> {
    scenario: &'a Scenario,
    sources: Option<TrainingTraffic>,
}

impl<'a> TrainingTraces<'a> {
    /// # Errors
    /// As [`TrainingTraffic::new`].
    pub fn new(scenario: &'a Scenario, sources: &[TrafficSource]) -> Result<Self> {
        // Seeds come with each draw: the master seed of the sources numbers episodes, which are none here.
        let sources = match sources {
            [] => None,
            sources => Some(TrainingTraffic::new(scenario, sources, 0)?),
        };
        Ok(Self { scenario, sources })
    }

    /// The trace of this seed.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when the traffic does not fit environment `paper`.
    pub fn draw(&self, seed: u64) -> Result<PaperTrace> {
        let Some(sources) = &self.sources else {
            return PaperTrace::new(&self.scenario.tuning_traffic(seed)?);
        };
        let mut trace = sources.blank();
        sources.renew(seed, &mut trace)?;
        PaperTrace::new(&trace)
    }
}
