//! The last seconds of a metric in buckets of one second, and their mean.

/// Before any time: no write yet.
const NEVER_S: i64 = i64::MIN / 2;
/// Up to here [`ROUNDING`] rounds.
const LARGE: f64 = 2_251_799_813_685_248.0;
/// 1.5 x 2^52: its neighbours are whole numbers one apart, up and down.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// Buckets of one second in a ring, with their sum.
///
/// The sum is kept by adding what comes and subtracting what goes, as in the original; the cut to
/// six digits hides the drift.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    buckets: Box<[f64]>,
    total: f64,
    first_s: i64,
    last_s: i64,
    /// Place of the bucket of `last_s`.
    newest: usize,
}

impl Window {
    /// An empty window of `seconds` (at least 1).
    pub fn new(seconds: u32) -> Self {
        Self {
            buckets: vec![0.0; seconds.max(1) as usize].into_boxed_slice(),
            total: 0.0,
            first_s: NEVER_S,
            last_s: NEVER_S,
            newest: 0,
        }
    }

    /// Empties the window. Keeps its buffer where the length is the same.
    pub fn reset(&mut self, seconds: u32) {
        if self.buckets.len() == seconds.max(1) as usize {
            self.forget();
        } else {
            *self = Self::new(seconds);
        }
    }

    fn forget(&mut self) {
        // The buckets are cleared by the next write, which finds nothing written before.
        self.total = 0.0;
        self.first_s = NEVER_S;
        self.last_s = NEVER_S;
    }

    /// The length in seconds.
    pub fn seconds(&self) -> i64 {
        self.buckets.len() as i64
    }

    /// Adds `value` to the second `t_s`. What is older than the window is dropped.
    #[inline]
    pub fn record(&mut self, t_s: i64, value: f64) {
        if t_s - self.last_s == 1 {
            self.append(value);
        } else {
            self.record_elsewhere(t_s, value);
        }
    }

    /// Writes the second after the newest.
    #[inline]
    fn append(&mut self, value: f64) {
        self.newest += 1;
        if self.newest == self.buckets.len() {
            self.newest = 0;
        }
        let bucket = &mut self.buckets[self.newest];
        self.total -= *bucket;
        *bucket = value;
        self.total += value;
        self.last_s += 1;
    }

    #[cold]
    fn record_elsewhere(&mut self, t_s: i64, value: f64) {
        let step = t_s - self.last_s;
        if step >= self.seconds() {
            self.buckets.fill(0.0);
            self.total = 0.0;
            self.first_s = t_s;
            self.last_s = t_s;
            self.newest = 0;
        } else if step > 0 {
            for _ in 1..step {
                self.append(0.0);
            }
            self.append(value);
            return;
        } else if step <= -self.seconds() {
            return;
        }
        let index = self.index_back(self.last_s - t_s);
        self.buckets[index] += value;
        self.total += value;
        self.first_s = self.first_s.min(t_s);
    }

    /// Place of the bucket `back` seconds before the newest; 0 <= back < length.
    #[inline]
    pub(super) fn index_back(&self, back: i64) -> usize {
        let index = self.newest as i64 - back;
        (if index < 0 { index + self.seconds() } else { index }) as usize
    }

    /// The same as [`Self::record`] for each of the seconds `from_s`, `from_s + 1`, … (`seconds` of them).
    ///
    /// Costs no more than two windows' worth of writes, however long the run.
    pub fn record_run(&mut self, from_s: i64, seconds: u32, value: f64) {
        let mut written_anew = 0;
        for done in 0..seconds {
            let t_s = from_s + i64::from(done);
            let before = self.total;
            written_anew += i64::from(t_s > self.last_s);
            self.record(t_s, value);
            // Every bucket holds the value and writing it once more left the sum as it was: so will the rest.
            if written_anew > self.seconds() && self.total.to_bits() == before.to_bits() {
                let rest = i64::from(seconds - done - 1);
                self.last_s += rest;
                self.newest = (self.newest + (rest % self.seconds()) as usize) % self.buckets.len();
                return;
            }
        }
    }

    /// Whether the newest write is more than a window ago.
    #[inline]
    pub fn is_empty(&self, now_s: i64) -> bool {
        now_s - self.last_s > self.seconds()
    }

    /// The newest second written to, or a time before all others.
    pub(super) fn last_s(&self) -> i64 {
        self.last_s
    }

    /// The value `back` seconds before the newest write; 0 <= back < length.
    pub(super) fn value_back(&self, back: i64) -> f64 {
        self.buckets[self.index_back(back)]
    }

    /// The mean over the seconds from the first write to the newest that lie in the window before
    /// `now_s`, cut to six digits. Seconds after the newest write count neither way.
    #[inline]
    pub fn average(&self, now_s: i64) -> f64 {
        let gap = now_s - self.last_s;
        if gap <= 0 {
            let count = (self.last_s - self.first_s + 1).min(self.seconds());
            return cut_to_six_digits(self.total / count as f64);
        }
        self.average_after_gap(gap)
    }

    fn average_after_gap(&self, gap: i64) -> f64 {
        if gap >= self.seconds() {
            return 0.0;
        }
        let mut sum = self.total;
        // One by one, oldest first, for the original's rounding.
        for younger in 1..=gap {
            sum -= self.value_back(self.seconds() - younger);
        }
        let count = (self.last_s - self.first_s + 1).min(self.seconds() - gap);
        cut_to_six_digits(sum / count as f64)
    }
}

/// `⌊value · 10⁶⌋ / 10⁶`.
#[inline]
fn cut_to_six_digits(value: f64) -> f64 {
    floor(value * 1e6) / 1e6
}

/// The largest whole number not above `value`. As the library's, but inline everywhere: baseline x86-64
/// has no instruction for it, and the call would be most of a decision.
#[inline]
pub(super) fn floor(value: f64) -> f64 {
    if value.abs() >= LARGE {
        return value.floor();
    }
    // Added to a number so large, a fraction has no room and is rounded away.
    let nearest = (value + ROUNDING) - ROUNDING;
    if nearest > value { nearest - 1.0 } else { nearest }
}

/// The smallest whole number not below `value`.
#[inline]
pub(super) fn ceil(value: f64) -> f64 {
    -floor(-value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(seconds: u32, values: &[(i64, f64)]) -> Window {
        let mut window = Window::new(seconds);
        for &(t_s, value) in values {
            window.record(t_s, value);
        }
        window
    }

    #[test]
    fn before_the_window_is_full_only_covered_seconds_count() {
        let window = filled(60, &[(5, 12.0)]);
        assert_eq!(window.average(5), 12.0);
        assert_eq!(filled(60, &[(5, 12.0), (6, 6.0)]).average(6), 9.0);
    }

    #[test]
    fn seconds_without_data_inside_the_span_count_as_zero() {
        assert_eq!(filled(60, &[(0, 12.0), (3, 12.0)]).average(3), 6.0);
    }

    #[test]
    fn seconds_without_data_at_the_end_hold_the_average() {
        let values: Vec<(i64, f64)> =
            (0..10).map(|t| (t, if t < 5 { 10.0 } else { 20.0 })).collect();
        let window = filled(10, &values);
        assert_eq!(window.average(9), 15.0);
        // The five old seconds have slid out, the five new ones are divided by five.
        assert_eq!(window.average(14), 20.0);
        assert_eq!(window.average(18), 20.0);
    }

    #[test]
    fn a_whole_window_after_the_newest_write_the_average_is_zero_but_the_window_not_empty() {
        let window = filled(10, &[(0, 7.0)]);
        assert_eq!(window.average(9), 7.0);
        assert_eq!((window.average(10), window.is_empty(10)), (0.0, false));
        assert_eq!((window.average(11), window.is_empty(11)), (0.0, true));
        assert!(Window::new(10).is_empty(0));
        assert_eq!(Window::new(10).average(0), 0.0);
    }

    #[test]
    fn a_gap_of_a_window_starts_anew() {
        let window = filled(10, &[(0, 7.0), (10, 3.0)]);
        assert_eq!(window.average(10), 3.0);
        // One second less is a gap inside the window.
        assert_eq!(filled(10, &[(0, 7.0), (9, 3.0)]).average(9), 1.0);
    }

    #[test]
    fn late_samples_go_to_their_second_or_are_dropped() {
        let late = filled(10, &[(5, 4.0), (3, 2.0)]);
        assert_eq!(late.average(5), 2.0);
        assert_eq!(filled(10, &[(20, 4.0), (10, 9.0)]).average(20), 4.0);
        assert_eq!(filled(10, &[(20, 4.0), (11, 6.0)]).average(20), 1.0);
    }

    #[test]
    fn values_are_cut_not_rounded() {
        assert_eq!(filled(60, &[(0, 21.000_000_7)]).average(0), 21.0);
        assert_eq!(filled(60, &[(0, 7e-7)]).average(0), 0.0);
    }

    #[test]
    fn whole_numbers_below_and_above_are_the_librarys() {
        for whole in [0.0, 1.0, 2.0, 7.0, 1e6, 123_456_789.0, 1e15, LARGE, 2.0 * LARGE, 1e300] {
            for sign in [1.0, -1.0] {
                for step in [0.0, 1e-9, 0.25, 0.5, 0.75, 1.0 - 1e-9] {
                    let value = sign * (whole + step);
                    assert_eq!(
                        (floor(value), ceil(value)),
                        (value.floor(), value.ceil()),
                        "{value}"
                    );
                }
            }
        }
    }

    /// The definition, summed anew over all samples that were not dropped on arrival.
    fn naive(window: i64, samples: &[(i64, f64)], now_s: i64) -> f64 {
        let mut kept: Vec<(i64, f64)> = Vec::new();
        for &(t, value) in samples {
            let last = kept.iter().map(|&(t, _)| t).max();
            match last {
                Some(last) if t - last >= window => kept.clear(),
                Some(last) if t <= last - window => continue,
                _ => {}
            }
            kept.push((t, value));
        }
        let (Some(first), Some(last)) =
            (kept.iter().map(|&(t, _)| t).min(), kept.iter().map(|&(t, _)| t).max())
        else {
            return 0.0;
        };
        let gap = now_s - last;
        if gap >= window {
            return 0.0;
        }
        let from = if gap > 0 { now_s - window } else { last - window };
        let sum: f64 = kept.iter().filter(|&&(t, _)| t > from).map(|&(_, value)| value).sum();
        sum / (last - first + 1).min(window - gap.max(0)) as f64
    }

    proptest! {
        #[test]
        fn the_kept_sum_gives_the_average_of_the_definition(
            seconds in 1_u32..20,
            steps in prop::collection::vec((-6_i64..25, 0_u32..2, 0.0..100.0_f64), 1..80),
            wait in 0_i64..25,
        ) {
            let mut window = Window::new(seconds);
            let mut samples = Vec::new();
            let mut t = 0;
            for (step, plain, value) in steps {
                t += if plain == 0 { 1 } else { step };
                samples.push((t, value));
                window.record(t, value);
                let now = samples.iter().map(|&(t, _)| t).max().unwrap() + wait;
                let expected = naive(i64::from(seconds), &samples, now);
                let average = window.average(now);
                prop_assert!((average - expected).abs() < 2e-6, "{average} {expected}");
            }
        }

        #[test]
        fn a_run_equals_single_records(
            seconds in 1_u32..12,
            before in prop::collection::vec((-3_i64..15, 0.0..100.0_f64), 0..20),
            start in -4_i64..15,
            length in 0_u32..60,
            value in 0.0..100.0_f64,
        ) {
            let mut single = Window::new(seconds);
            let mut t = 0;
            for (step, value) in before {
                t += step;
                single.record(t, value);
            }
            let mut run = single.clone();
            run.record_run(t + start, length, value);
            for second in 0..i64::from(length) {
                single.record(t + start + second, value);
            }
            for wait in 0..i64::from(seconds) + 2 {
                let now = t + start + i64::from(length) + wait;
                prop_assert_eq!(run.average(now).to_bits(), single.average(now).to_bits());
            }
            prop_assert_eq!(run, single);
        }
    }
}
