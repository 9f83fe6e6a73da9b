//! From a scenario's `trace` key to the stages of one service.

use std::path::Path;

use super::ServiceTrace;
use crate::error::{Error, Result};
use crate::rng::Streams;
use crate::scenario::spec::{GeneratorKind, TraceSpec};

/// What a `trace` key is read against.
#[derive(Clone, Copy)]
pub struct SpecContext<'a> {
    /// Name of the service.
    pub service: &'a str,
    /// Folder that a file is relative to.
    pub base_dir: &'a Path,
    /// Default length of a row, seconds.
    pub interval_s: u32,
    /// The streams of the seed.
    pub streams: Streams,
    /// Name of the stream that generators draw from.
    pub stream: &'a str,
    /// `file:line: key` for messages.
    pub place: &'a dyn Fn() -> String,
}

/// The traffic that `spec` describes.
///
/// # Errors
/// [`Error::Input`] when not exactly one source is named, a file does not fit, or a generator's numbers are off.
pub fn from_spec(spec: &TraceSpec, context: &SpecContext<'_>) -> Result<ServiceTrace> {
    if spec.builtin.as_deref().is_some_and(|name| name.starts_with("paper/")) {
        let mut reader =
            csv::Reader::from_reader(include_str!("../../traces/paper.csv").as_bytes());
        let name = spec.builtin.as_deref().unwrap().trim_start_matches("paper/");
        let col = reader.headers().unwrap().iter().position(|h| h == name).unwrap();
        let rows: Vec<f64> = reader.records().map(|r| r.unwrap()[col].parse().unwrap()).collect();
        return Ok(ServiceTrace::from_rows(context.service, &rows, context.interval_s));
    }
    if spec.generator == Some(GeneratorKind::Random) {
        use rand::RngExt;
        let mut rng = context.streams.open(&format!("{}/{}", context.stream, context.service));
        let rows: Vec<f64> =
            (0..spec.rows.unwrap_or(20)).map(|_| f64::from(rng.random_range(1..=100u32))).collect();
        return Ok(ServiceTrace::from_rows(context.service, &rows, spec.stage_s.unwrap_or(120)));
    }
    Err(Error::input((context.place)(), "todo", "todo"))
}
