//! The clock that live decides by. Schedule, sample age and hold times use it; time-outs, leases and
//! logs use the machine's own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Unix time, perhaps faster than the wall's (a rehearsal), perhaps a test's own.
pub trait Clock: Send + Sync {
    /// Seconds since 1970.
    fn now_s(&self) -> f64;

    /// How long to wait on the wall until `instant_s`.
    fn until(&self, instant_s: f64) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now_s(&self) -> f64 {
        wall_s()
    }

    fn until(&self, instant_s: f64) -> Duration {
        seconds(instant_s - self.now_s())
    }
}

/// A clock that starts with the wall's and runs `speed` times as fast.
#[derive(Clone, Copy, Debug)]
pub struct FastClock {
    start_s: f64,
    start: Instant,
    speed: f64,
}

impl FastClock {
    /// Starts now.
    pub fn new(speed: f64) -> Self {
        Self { start_s: wall_s(), start: Instant::now(), speed }
    }
}

impl Clock for FastClock {
    fn now_s(&self) -> f64 {
        self.start_s + self.start.elapsed().as_secs_f64() * self.speed
    }

    fn until(&self, instant_s: f64) -> Duration {
        seconds((instant_s - self.now_s()) / self.speed)
    }
}

/// Unix time by the machine's clock.
pub fn wall_s() -> f64 {
    // Before 1970 only where the clock was never set.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
