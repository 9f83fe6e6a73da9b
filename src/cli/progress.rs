//! Progress on stderr: shown on a terminal, and neither with `--quiet` nor with `--json`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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

fn with_template(common: Common, length: u64, template: &str) -> ProgressBar {
    // indicatif itself hides what goes to stderr when that is no terminal.
    let target = if common.quiet || common.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}
