//! How far simulated time may be at an instant of the rehearsal's clock.
//!
//! Second 0 falls on a multiple of the decision interval, so that second `offset` falls on a tick of
//! `live`, and so does every decision after it. In lockstep simulated time runs ahead, within what it
//! has: it reaches the second of a decision early enough for Prometheus to scrape it before `live`
//! looks, and stands there.

use std::time::Duration;

/// Allowance for a scrape to be answered and ingested, wall time.
pub const INGESTION: Duration = Duration::from_millis(100);
/// The rhythm of scrapes that is assumed until two were seen.
const FIRST_RHYTHM: Duration = Duration::from_secs(1);

/// The first multiple of `interval_s` at or after `now_s`.
pub fn next_start(now_s: f64, interval_s: u32) -> f64 {
    let interval_s = f64::from(interval_s.max(1));
    (now_s / interval_s).ceil() * interval_s
}

/// How long before a tick of `live` simulated time has to stand still, wall time: a whole beat of the
/// scrapes, its jitter, and [`INGESTION`].
pub fn lead(rhythm: Option<Duration>) -> Duration {
    rhythm.unwrap_or(FIRST_RHYTHM).mul_f64(1.2) + 2 * INGESTION
}

/// A stretch of simulated time that is played evenly between two instants of the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leg {
    from: u32,
    to: u32,
    from_s: f64,
    arrive_s: f64,
}

impl Leg {
    /// From `from` to `to`, as fast as the clock, `from` being due at `from_s`.
    pub fn with_the_clock(from: u32, to: u32, from_s: f64) -> Self {
        Self { from, to, from_s, arrive_s: from_s + f64::from(to.saturating_sub(from)) }
    }

    /// From `from`, now, to `to`, at the latest `lead_s` before `tick_s`; never slower than the clock.
    /// Where there is no time for that, `to` is reached at once.
    pub fn ahead_of(tick_s: f64, lead_s: f64, from: u32, to: u32, now_s: f64) -> Self {
        let leg = Self::with_the_clock(from, to, now_s);
        Self { arrive_s: leg.arrive_s.min(tick_s - lead_s).max(now_s), ..leg }
    }

    /// The last second of the leg.
    pub fn to(&self) -> u32 {
        self.to
    }

    /// The simulated second at `now_s`.
    pub fn second(&self, now_s: f64) -> u32 {
        if now_s >= self.arrive_s {
            return self.to;
        }
        let share = ((now_s - self.from_s) / (self.arrive_s - self.from_s)).max(0.0);
        self.from + (share * f64::from(self.to - self.from)) as u32
    }

    /// The instant at which `second` is reached.
    pub fn instant_of(&self, second: u32) -> f64 {
        if second >= self.to {
            return self.arrive_s;
        }
        let share = f64::from(second.saturating_sub(self.from)) / f64::from(self.to - self.from);
        self.from_s + share * (self.arrive_s - self.from_s)
    }
}

/// The first instant after `now_s` at which `live` decides for simulated second `second`, given that of
/// second 0.
pub fn tick_of(second: u32, start_s: f64, interval_s: u32, now_s: f64) -> f64 {
    let first_s = start_s + f64::from(second);
    let interval_s = f64::from(interval_s.max(1));
    let missed = ((now_s - first_s) / interval_s).floor() + 1.0;
    first_s + missed.max(0.0) * interval_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::schedule::Schedule;

    #[test]
    fn second_zero_makes_decisions_fall_on_the_ticks_of_live() {
        let schedule = Schedule::new(120, 115, 30);
        for now_s in [1_795_552_100.9_f64, 107_733_126_054.0, 120.0] {
            let start_s = next_start(now_s, 120);
            assert!(start_s >= now_s && start_s < now_s + 120.0);
            let tick = schedule.due(start_s + 115.0, None).tick;
            assert_eq!(tick, Some((start_s + 115.0) as i64));
            assert_eq!(tick_of(115, start_s, 120, start_s), start_s + 115.0);
            let next_s = tick_of(235, start_s, 120, start_s + 115.3);
            assert_eq!(next_s, start_s + 235.0);
            // Ten seconds of the wall at 60 times its speed: five ticks of live went by.
            let late_s = tick_of(235, start_s, 120, start_s + 715.5);
            assert_eq!(late_s, start_s + 835.0);
            assert_eq!(schedule.latest(late_s), late_s as i64);
        }
    }

    #[test]
    fn a_leg_with_the_clock_is_even() {
        let leg = Leg::with_the_clock(0, 2400, 1000.0);
        for (now_s, second) in [(900.0, 0), (1000.0, 0), (1000.9, 0), (1115.0, 115), (9999.0, 2400)]
        {
            assert_eq!(leg.second(now_s), second);
        }
        assert_eq!(leg.instant_of(115), 1115.0);
    }

    #[test]
    fn in_lockstep_the_stop_is_reached_before_live_looks() {
        // Released 3 s after a tick, with the next one 117 s away and a lead of 60 s.
        let leg = Leg::ahead_of(1235.0, 60.0, 115, 235, 1118.0);
        assert_eq!((leg.second(1118.0), leg.second(1174.9)), (115, 234));
        assert_eq!(leg.second(1175.0), 235);
        assert_eq!(leg.instant_of(175), 1118.0 + 57.0 / 2.0);
        // No time for the lead: at once. Much time: no slower than the clock.
        assert_eq!(Leg::ahead_of(1235.0, 200.0, 115, 235, 1118.0).second(1118.0), 235);
        assert_eq!(Leg::ahead_of(9999.0, 60.0, 115, 235, 1118.0).second(1178.0), 175);
    }
}
