//! From load tests to a profile: what a service's pods of several CPU sizes can carry.
//!
//! - [`points`]: the p95 latency measured at a CPU size and a load, from Locust's files or a table.
//! - [`curve`]: for each CPU size a latency curve, fitted so that outliers do not bend it.
//! - [`options`]: the options of a profile, chosen on these curves.
//!
//! # Example
//! ```
//! use quotascale::profiling::{Point, Wishes, fit_profile};
//!
//! let point = |users, p95_ms| Point { cpu_m: 1000, users, p95_ms };
//! let points = [point(5.0, 260.0), point(10.0, 500.0), point(20.0, 1010.0)];
//! let wishes = Wishes { slo_p95_ms: Some(800.0), ..Wishes::default() };
//! let profile = fit_profile(&points, &wishes)?;
//! assert_eq!(profile.options.len(), 3);
//! assert_eq!(profile.options[2].concurrency, 15);
//! # Ok::<(), quotascale::Error>(())
//! ```

pub mod curve;
pub mod options;
pub mod points;

pub use curve::Curve;
pub use options::{Chosen, Wishes};
pub use points::Point;
use serde::Serialize;

use crate::error::{Error, Result};

/// A service's profile as its load tests give it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FittedProfile {
    /// What was measured, rising in CPU and load.
    pub points: Vec<Point>,
    /// One curve a CPU size, in rising order.
    pub curves: Vec<Curve>,
    /// The options, rising in CPU and concurrency.
    pub options: Vec<Chosen>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Fits a curve to the points of each CPU size and chooses options on them.
///
/// # Errors
/// [`Error::Input`] without points, or when no option meets the wishes.
pub fn fit_profile(points: &[Point], wishes: &Wishes) -> Result<FittedProfile> {
    let mut points = points.to_vec();
    points.sort_by(|a, b| {
        (a.cpu_m, a.users).partial_cmp(&(b.cpu_m, b.users)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let curves: Vec<Curve> = points.chunk_by(|a, b| a.cpu_m == b.cpu_m).map(Curve::fit).collect();
    if curves.is_empty() {
        return Err(Error::input("points", "there are none", "name at least one file with points"));
    }
    let options = options::choose(&curves, wishes)?;
    let warnings = curves.iter().flat_map(Curve::warnings).collect();
    Ok(FittedProfile { points, curves, options, warnings })
}
