//! When to decide: ticks at unix time modulo the interval, each at most once.

/// The instants of decisions.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    interval_s: i64,
    offset_s: i64,
    max_lateness_s: f64,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// The tick to run now, in unix seconds.
    pub tick: Option<i64>,
    /// Ticks that were missed by more than the lateness allowed.
    pub missed: u64,
    /// The next tick after now.
    pub next: i64,
    /// Whether the clock stands before the last tick by more than an interval: it was set back.
    pub set_back: bool,
}

impl Schedule {
    /// A tick when unix time modulo `interval_s` equals `offset_s`; it may run `max_lateness_s` late.
    pub fn new(interval_s: u32, offset_s: u32, max_lateness_s: u32) -> Self {
        let interval_s = i64::from(interval_s.max(1));
        Self {
            interval_s,
            offset_s: i64::from(offset_s) % interval_s,
            max_lateness_s: f64::from(max_lateness_s),
        }
    }

    /// Seconds between ticks.
    pub fn interval_s(&self) -> i64 {
        self.interval_s
    }

    /// The last tick at or before `now_s` (unix seconds).
    pub fn latest(&self, now_s: f64) -> i64 {
        let second = now_s.floor() as i64;
        second - (second - self.offset_s).rem_euclid(self.interval_s)
    }

    /// What is due at `now_s`, given the last tick that ran or was counted as missed.
    ///
    /// A clock that was set back by less than an interval waits until it is past the last tick again;
    /// one that was set back farther is believed, or else nothing would be decided until it has caught
    /// up.
    pub fn due(&self, now_s: f64, last: Option<i64>) -> Due {
        let latest = self.latest(now_s);
        let next = latest + self.interval_s;
        let behind_s = last.map_or(0.0, |last| last as f64 - now_s);
        let set_back = behind_s > self.interval_s as f64;
        let last = last.filter(|_| !set_back);
        if last.is_some_and(|last| latest <= last) {
            return Due { tick: None, missed: 0, next, set_back };
        }
        let in_time = now_s - latest as f64 <= self.max_lateness_s;
        let since = last.map_or(0, |last| (latest - last) / self.interval_s - 1);
        // Without a last tick nothing was there to be missed.
        let missed = since + i64::from(!in_time && last.is_some());
        Due {
            tick: in_time.then_some(latest),
            missed: u64::try_from(missed).unwrap_or(0),
            next,
            set_back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(now_s: f64, last: Option<i64>) -> (Option<i64>, u64, bool) {
        let due = Schedule::new(120, 115, 30).due(now_s, last);
        (due.tick, due.missed, due.set_back)
    }

    #[test]
    fn a_tick_runs_once_at_its_second_or_late() {
        assert_eq!(due(1194.9, Some(955)), (None, 1, false));
        assert_eq!(due(1195.0, Some(1075)), (Some(1195), 0, false));
        assert_eq!(due(1195.2, Some(1195)), (None, 0, false));
        assert_eq!(due(1225.0, Some(1075)), (Some(1195), 0, false), "late, once");
        assert_eq!(due(1225.1, Some(1075)), (None, 1, false), "too late: missed");
        assert_eq!(due(1226.0, Some(1195)), (None, 0, false), "counted once");
        assert_eq!(due(1195.0, Some(595)), (Some(1195), 4, false));
        assert_eq!(due(1226.0, None), (None, 0, false), "nothing ran before: nothing missed");
        assert_eq!(Schedule::new(120, 115, 30).due(1195.0, None).next, 1315);
    }

    #[test]
    fn a_clock_set_back_repeats_no_tick_and_stops_nothing() {
        assert_eq!(due(1190.0, Some(1195)), (None, 0, false), "5 s back: the tick ran");
        assert_eq!(due(1195.0, Some(1195)), (None, 0, false));
        assert_eq!(due(1315.0, Some(1195)), (Some(1315), 0, false));
        assert_eq!(due(600.0, Some(1195)), (Some(595), 0, true), "ten minutes back: believed");
        assert_eq!(due(650.0, Some(1195)), (None, 0, true));
    }

    #[test]
    fn ticks_of_replicas_agree_and_time_before_1970_has_them_too() {
        let schedule = Schedule::new(120, 115, 30);
        assert_eq!(schedule.latest(1_795_552_100.9), schedule.latest(1_795_552_099.1));
        assert_eq!(schedule.latest(-1.0), -5);
        assert_eq!(Schedule::new(60, 115, 30).latest(1200.0), 1195);
    }
}
