//! Progress on stderr: shown on a terminal, and neither with `--quiet` nor with `--json`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Common;

/// A bar of `length` units of `what`.
pub(super) fn bar(common: Common, length: u64, what: &'static str) -> ProgressBar {
    // indicatif itself hides what goes to stderr when that is no terminal.
    let target = if common.quiet || common.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {elapsed} ({eta} left)")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style).with_message(what)
}
