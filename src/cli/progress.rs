//! Progress on stderr: shown on a terminal, and neither with `--quiet` nor with `--json`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Common;

/// A bar of `length` units of `what`.
pub(super) fn bar(common: Common, length: u64, what: &'static str) -> ProgressBar {
    with_template(common, length, "{msg} {bar:40} {pos}/{len} {elapsed} ({eta} left)")
        .with_message(what)
}

/// A bar of `length` units with room for a long message in a line of its own below.
pub(super) fn bar_with_report(common: Common, length: u64) -> ProgressBar {
    with_template(common, length, "{bar:40} {pos}/{len} {elapsed} ({eta} left)\n{msg}")
}

/// A bar of `length` units with the style of `template`.
fn with_template(common: Common, length: u64, template: &str) -> ProgressBar {
    bar_of(common, length, style(template))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn bar_of(common: Common, length: u64, style: ProgressStyle) -> ProgressBar {
    // indicatif itself hides what goes to stderr when that is no terminal.
    let target = if common.quiet || common.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}

/// Progress over work of several kinds, weighed by how long each would take on one machine, with the
/// time that is left. Where stderr is no terminal, a line for every part that begins.
pub(super) struct Whole {
    bar: ProgressBar,
    /// Milliseconds that were done before.
    before: Arc<AtomicU64>,
    lines: bool,
}

impl Whole {
    /// Of work that would take `expected_s` seconds.
    pub(super) fn new(common: Common, expected_s: f64) -> Self {
        let before = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&before);
        let left = move |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let before = known.load(Ordering::Relaxed);
            let left = left_of(state.elapsed(), state.pos(), before, state.len().unwrap_or(0));
            // A writer of text that cannot be written to has no reader either.
            let _ = write!(text, "{}", HumanDuration(left));
        };
        let style = style("{bar:40} {percent:>3} % {elapsed} ({left} left)\n{msg}");
        let bar = bar_of(common, milliseconds(expected_s), style.with_key("left", left));
        let lines = bar.is_hidden() && !common.quiet && !common.json;
        Self { bar, before, lines }
    }

    /// A part that would take so many seconds is done.
    pub(super) fn done(&self, expected_s: f64) {
        self.bar.inc(milliseconds(expected_s));
    }

    /// Such a part was done before, which says nothing of the time that is left.
    pub(super) fn done_before(&self, expected_s: f64) {
        self.before.fetch_add(milliseconds(expected_s), Ordering::Relaxed);
        self.done(expected_s);
    }

    /// A part begins.
    pub(super) fn begin(&self, what: String) {
        if self.lines {
            let (done, length) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let before = self.before.load(Ordering::Relaxed);
            let left = HumanDuration(left_of(self.bar.elapsed(), done, before, length));
            eprintln!("{:3} % done, {left} left: {what}", 100 * done / length.max(1));
        }
        self.say(what);
    }

    /// What is going on.
    pub(super) fn say(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// So much work, in milliseconds as expected, has to be seen before its speed counts more than the
/// expectation.
const PRIOR_MS: f64 = 5000.0;

/// The time that is left of work whose parts are given in milliseconds as expected: as long as expected
/// until something is done, then as what was done now, not `before`, says.
fn left_of(elapsed: Duration, done: u64, before: u64, whole: u64) -> Duration {
    let now = done.saturating_sub(before) as f64;
    let pace = (elapsed.as_secs_f64() * 1000.0 + PRIOR_MS) / (now + PRIOR_MS);
    Duration::from_secs_f64(whole.saturating_sub(done) as f64 * pace / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_pace_of_what_was_done_now() {
        let left = |elapsed_s, done_s, before_s, whole_s| {
            let [done, before, whole] = [done_s, before_s, whole_s].map(milliseconds);
            left_of(Duration::from_secs_f64(elapsed_s), done, before, whole).as_secs_f64()
        };
        assert_eq!(left(0.0, 0.0, 0.0, 600.0), 600.0, "as expected at first");
        assert_eq!(left(0.0, 300.0, 300.0, 600.0), 300.0, "what was there leaves the pace alone");
        assert_eq!(left(100.0, 100.0, 0.0, 600.0), 500.0);
        let slow = left(2000.0, 1000.0, 0.0, 1500.0);
        assert!((slow - 1000.0).abs() < 5.0, "half as fast as expected: {slow}");
        assert_eq!(left(5.0, 600.0, 0.0, 600.0), 0.0);
    }
}
