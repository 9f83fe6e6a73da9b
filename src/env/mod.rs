//! Environments: what turns decisions into states and rewards.

pub mod paper;
