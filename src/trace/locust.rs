//! A trace as a locustfile, so that a real cluster gets the very same load.
//!
//! The file runs with Locust 2.8.6 (the time of the original experiments) and 2.47.0. It holds a
//! `LoadTestShape` that plays the stages and one user class without think time. One Locust process
//! loads one service; a file with several services plays the one that an environment variable
//! (`QUOTASCALE_SERVICE`) names, so that the same file serves all of them.

use std::io::{self, Write};

use super::{Trace, round_half_up};

const HEAD: &str = include_str!("locustfile_head.py");
const TAIL: &str = include_str!("locustfile_tail.py");

/// Writes the locustfile of all services of `trace`. Users are rounded half up: Locust knows whole
/// ones only.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_locustfile(trace: &Trace, mut out: impl Write) -> io::Result<()> {
    out.write_all(HEAD.as_bytes())?;
    writeln!(out, "STAGES = {{")?;
    for service in &trace.services {
        writeln!(out, "    {}: [", python_string(&service.service))?;
        for stage in &service.stages {
            let users = round_half_up(stage.users);
            writeln!(out, "        ({}, {users}, {}),", stage.duration_s, stage.spawn_rate)?;
        }
        writeln!(out, "    ],")?;
    }
    writeln!(out, "}}")?;
    out.write_all(TAIL.as_bytes())
}

/// A Python string literal: that of JSON is one too.
fn python_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
