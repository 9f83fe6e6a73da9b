//! Cells: the stretches of time between two edges, with everything that was measured in them.

use super::account::Integrals;
use super::traffic_stats::Requests;

/// One stretch of time between two edges.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub from: u32,
    pub to: u32,
    pub services: Vec<CellService>,
    /// Integrals over all services together.
    pub total: Integrals,
    /// CPU allocated to all services at its end, millicores.
    pub cpu_at_end_m: u64,
}

/// One service in a cell.
#[derive(Clone, Debug, Default)]
pub(super) struct CellService {
    pub requests: Requests,
    pub integrals: Integrals,
    /// Pods created in it.
    pub created: u64,
    /// Option of the revision that serves at its end.
    pub option_at_end: Option<u32>,
}

impl CellService {
    pub fn merge(&mut self, later: &Self) {
        self.requests.merge(&later.requests);
        self.integrals.add(&later.integrals);
        self.created += later.created;
        self.option_at_end = later.option_at_end;
    }
}
