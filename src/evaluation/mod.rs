//! Policies x seeds on one scenario: each cell is one run, kept in a folder of its own.
//!
//! [`Folder`] is the folder of a whole evaluation, which can be gone on with; [`Cells`] runs what is
//! not there yet, in parallel, and gives the summaries of all cells. A cell is written under a
//! temporary name and renamed, so what is there is whole.

mod cells;
mod folder;
mod seeds;

pub use cells::{Cell, Cells, Outcome, Plan};
pub use folder::{Folder, Machine, safe_name};
pub use seeds::Seeds;
