//! Units as types, so that millicores, mebibytes and seconds cannot be mixed up.
//!
//! The field of each is public: hot loops work on the plain number, signatures on the type.
//! Simulated time ([`SimTime`]) counts seconds from the start of a scenario and is a type of its
//! own, so that it never meets a wall clock.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{}", $suffix), self.0)
            }
        }

        impl std::ops::Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl std::ops::Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
    };
}

unit!(
    /// CPU in thousandths of a core, as Kubernetes writes it (`1500m`).
    MilliCpu, u64, "m"
);
unit!(
    /// Memory in mebibytes (`200Mi`).
    Mebibytes, u64, "Mi"
);
unit!(
    /// A duration in seconds.
    Seconds, f64, " s"
);
unit!(
    /// A latency in milliseconds.
    Millis, f64, " ms"
);
unit!(
    /// Concurrent users of a service (Locust users with no think time: as many requests in flight).
    Users, f64, " users"
);
unit!(
    /// An instant of simulated time, in seconds since the start of the scenario.
    SimTime, f64, " s"
);

impl MilliCpu {
    /// The amount in whole cores.
    pub fn cores(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl std::ops::Add<Seconds> for SimTime {
    type Output = SimTime;
    fn add(self, duration: Seconds) -> SimTime {
        SimTime(self.0 + duration.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_print_with_their_suffix_and_serialise_as_numbers() {
        assert_eq!(MilliCpu(1500).to_string(), "1500m");
        assert_eq!(Mebibytes(200).to_string(), "200Mi");
        assert_eq!((SimTime(3.0) + Seconds(0.5)).to_string(), "3.5 s");
        assert_eq!(serde_json::to_string(&Millis(1.5)).unwrap(), "1.5");
        assert_eq!(MilliCpu(500).cores(), 0.5);
    }
}
