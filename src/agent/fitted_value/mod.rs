//! `fitted-value`: the best next step plus a learned value of the state that it leaves behind.
//!
//! On environment `paper` the reward of a step is known once its users are, so what a policy can win
//! over the greedy one is to leave the cluster in a good state. With V_k(options, pods) the value of
//! that state when k steps remain,
//!
//!   action = argmax over all joint actions of reward(state, action) + V_k(options, pods after it).
//!
//! V_k is fitted by backward induction, V_0 being 0: V_k(options, pods) is the mean, over training
//! traffic, of the best reward + V_(k-1) in the next step. From that the best reward of an empty
//! cluster under the same users is subtracted: it does not depend on the action, so no policy changes,
//! and most of the noise goes.
//!
//! Each V_k is one hidden layer of ReLU units on the sum of three embeddings, one a service, of option
//! and pods ([`ValueFunction`]); they are looked up in a table, so that the values of all joint actions
//! cost one sum and one product each. Five functions are enough: with more steps to go V_k hardly
//! changes but for a constant. What decides is how well rare states are
//! known, since the search over all joint actions finds whatever is valued too highly: many states, and
//! options drawn at random in three services of ten. With half as much exploration and few states the
//! policy fell below the priced greedy one the longer it was fitted.

mod checkpoint;
mod config;
mod fit;
mod policy;
mod rows;
mod search;
mod traces;
mod trainer;
mod value;

pub use checkpoint::KIND;
pub use config::{FittedValueConfig, FittedValueEnvironment, FittedValueSettings};
pub use policy::FittedValue;
pub use rows::{RowFacts, StateRows};
pub use search::Search;
pub use trainer::{Evaluation, StageRecord, Trainer, Watch};
pub use value::{UNITS, ValueFunction};
