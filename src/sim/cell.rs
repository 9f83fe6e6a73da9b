//! Cells: the stretches of time between two edges, with everything that was integrated in them.

use super::account::Integrals;

/// One stretch of time between two edges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub from: u32,
    pub to: u32,
    /// Integrals over all services together.
    pub total: Integrals,
    /// CPU allocated to all services at its end, millicores.
    pub cpu_at_end_m: u64,
}

/// One service in a cell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CellService {
    pub integrals: Integrals,
    /// Pods created in it.
    pub created: u64,
    /// Option of the revision that serves at its end.
    pub option_at_end: Option<u32>,
}

impl CellService {
    /// Adds the cell that follows.
    pub fn add(&mut self, later: &Self) {
        self.integrals.add(&later.integrals);
        self.created += later.created;
        self.option_at_end = later.option_at_end;
    }
}
