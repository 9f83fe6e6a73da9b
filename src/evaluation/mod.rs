//! Policies x seeds on one scenario: each cell is one run, kept in a folder of its own.
//!
//! [`Folder`] is the folder of a whole evaluation, which can be gone on with; [`Cells`] runs what is
//! not there yet, in parallel, and gives the summaries of all cells. A cell is written under a
//! temporary name and renamed, so what is there is whole. A [`Shard`] of the cells can be computed on
//! another machine; [`merge`](merge()) puts shards together to the folder that one machine would have written.

mod cells;
mod compare;
mod folder;
mod identity;
mod merge;
mod seeds;
mod shard;

pub use cells::{Cell, Cells, Outcome, Plan};
pub use compare::{Watch, compare, compute_shard, warnings};
pub use folder::{Folder, Machine, origin, safe_name};
pub use merge::{Merged, merge};
pub use seeds::Seeds;
pub use shard::{OPTIMUM, Part, Shard};
