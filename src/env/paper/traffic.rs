//! Traffic as the `paper` environment serves it: whole users, a row a step.

use super::state::SERVICES;
use crate::error::{Error, Result};
use crate::scenario::Scenario;
pub(crate) use crate::trace::MOST_COUNTED_USERS as MAX_USERS;
use crate::trace::Trace;

/// Users of `service` rounded half up.
///
/// # Errors
/// [`Error::Input`] when they are out of range.
pub(super) fn whole_users(users: f64, service: &str) -> Result<u32> {
    let whole = (users + 0.5).floor();
    if (0.0..=f64::from(MAX_USERS)).contains(&whole) {
        return Ok(whole as u32);
    }
    Err(Error::input(
        format!("traffic of {service}"),
        format!("{users} users"),
        format!("give 0 to {MAX_USERS}"),
    ))
}

/// Users of the three services, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaperTrace {
    /// The rows; element 0 is read only where a reset takes its users from the trace.
    pub rows: Vec<[u32; SERVICES]>,
}

impl PaperTrace {
    /// From a trace whose stages are rows; fractions of users are rounded half up.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not three services of as many stages each, or users out of range.
    pub fn new(trace: &Trace) -> Result<Self> {
        let [first, second, third] = trace.services.as_slice() else {
            return Err(Error::input(
                "traffic",
                format!("{} services", trace.services.len()),
                "environment \"paper\" has exactly three",
            ));
        };
        let lengths = [first, second, third].map(|service| service.stages.len());
        if lengths.iter().any(|&length| length != lengths[0] || length < 2) {
            return Err(Error::input(
                "traffic",
                format!("{lengths:?} rows"),
                "give every service the same number of rows, at least two",
            ));
        }
        let mut rows = vec![[0; SERVICES]; lengths[0]];
        for (service, traffic) in trace.services.iter().enumerate() {
            for (row, stage) in rows.iter_mut().zip(&traffic.stages) {
                row[service] = whole_users(stage.users, &traffic.service)?;
            }
        }
        Ok(Self { rows })
    }

    /// The traffic of `seed` that policies are evaluated on.
    ///
    /// # Errors
    /// As [`Self::new`] and [`Scenario::traffic`].
    pub fn evaluation(scenario: &Scenario, seed: u64) -> Result<Self> {
        Self::new(&scenario.traffic(seed)?)
    }

    /// The traffic of `seed` that agents are trained and policies tuned on.
    ///
    /// # Errors
    /// As [`Self::new`] and [`Scenario::training_traffic`].
    pub fn training(scenario: &Scenario, seed: u64) -> Result<Self> {
        Self::new(&scenario.training_traffic(seed)?)
    }

    /// The row that is served after step `step`; zeros where a truncating step reads none.
    #[inline]
    pub fn after(&self, step: usize) -> [u32; SERVICES] {
        self.rows.get(step).copied().unwrap_or_default()
    }
}
