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

/// A clock that runs `speed` times as fast as the wall's and shows `speed` times its unix time: so every
/// process of a rehearsal, whenever it starts, reads the same, and ticks agree as they do in real time.
#[derive(Clone, Copy, Debug)]
pub struct FastClock {
    start_s: f64,
    start: Instant,
    speed: f64,
}

impl FastClock {
    /// Reads the wall's clock once; from then on it cannot be set.
    pub fn new(speed: f64) -> Self {
        Self { start_s: wall_s() * speed, start: Instant::now(), speed }
    }

    /// The wall's unix time when this clock shows `instant_s`.
    pub fn on_the_wall(&self, instant_s: f64) -> f64 {
        instant_s / self.speed
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_one_speed_agree_whenever_they_start() {
        let early = FastClock::new(60.0);
        std::thread::sleep(Duration::from_millis(30));
        let late = FastClock::new(60.0);
        let (first, second) = (early.now_s(), late.now_s());
        // A tenth of a second on the wall.
        assert!((second - first).abs() < 6.0, "{first} {second}");
        assert!(early.until(first + 60.0) <= Duration::from_secs(1));
        assert_eq!(early.until(first - 60.0), Duration::ZERO);
        assert!((early.on_the_wall(first) - WallClock.now_s()).abs() < 0.1);
    }
}
