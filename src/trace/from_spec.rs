//! From a scenario's `trace` key to the stages of one service.

use std::path::Path;

use super::csv::{self, Form};
use super::generate::{Generator, Shape, kind_name};
use super::{MAX_USERS, ServiceTrace, builtin, check_length};
use crate::error::{Error, Result, read_input};
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
    /// Name of the stream that generators draw from: each service has its own, `stream/service`.
    pub stream: &'a str,
    /// `file:line: key` for messages.
    pub place: &'a dyn Fn() -> String,
}

/// The traffic that `spec` describes.
///
/// # Errors
/// [`Error::Input`] when not exactly one source is named, a file does not fit, or a generator's numbers are off.
pub fn from_spec(spec: &TraceSpec, context: &SpecContext<'_>) -> Result<ServiceTrace> {
    match (&spec.builtin, &spec.file, spec.generator) {
        (Some(name), None, None) => from_builtin(spec, name, context),
        (None, Some(file), None) => from_file(spec, file, context),
        (None, None, Some(kind)) => from_generator(spec, kind, context),
        (None, None, None) => Err(context.error(
            "no source of traffic",
            "name one: builtin = \"paper/house\", file = \"t.csv\" or generator = \"random\"",
        )),
        _ => Err(context.error(
            "more than one of `builtin`, `file` and `generator`",
            "keep exactly one of them",
        )),
    }
}

impl SpecContext<'_> {
    fn error(&self, problem: impl std::fmt::Display, remedy: impl std::fmt::Display) -> Error {
        Error::input((self.place)(), problem, remedy)
    }

    /// Refuses every key that is written but not in `allowed`.
    fn only(&self, spec: &TraceSpec, source: &str, allowed: &[&str]) -> Result<()> {
        let written = [
            ("column", spec.column.is_some()),
            ("rows", spec.rows.is_some()),
            ("stage_s", spec.stage_s.is_some()),
            ("low", spec.low.is_some()),
            ("high", spec.high.is_some()),
            ("period_rows", spec.period_rows.is_some()),
            ("noise", spec.noise.is_some()),
            ("rate", spec.rate.is_some()),
            ("size", spec.size.is_some()),
            ("step", spec.step.is_some()),
        ];
        match written.iter().find(|(key, written)| *written && !allowed.contains(key)) {
            Some((key, _)) => Err(self.error(
                format!("`{key}` does not belong to {source}"),
                format!("remove it; {source} takes {}", allowed.join(", ")),
            )),
            None => Ok(()),
        }
    }

    /// The length of a row, checked for `rows` rows.
    fn stage_s(&self, spec: &TraceSpec, rows: usize) -> Result<u32> {
        let stage_s = spec.stage_s.unwrap_or(self.interval_s);
        check_length(self.place, rows, stage_s)?;
        Ok(stage_s)
    }

    /// The one service of a trace that was read by column, under the service's own name.
    fn named(&self, trace: super::Trace) -> ServiceTrace {
        let stages = trace.services.into_iter().next().map_or_else(Vec::new, |read| read.stages);
        ServiceTrace { service: self.service.to_owned(), stages }
    }
}

fn from_builtin(spec: &TraceSpec, name: &str, context: &SpecContext<'_>) -> Result<ServiceTrace> {
    context.only(spec, "a built-in trace", &["stage_s"])?;
    let (trace_name, column) = name.split_once('/').unwrap_or((name, context.service));
    let known = builtin::find(trace_name)
        .ok_or_else(|| builtin::unknown(&(context.place)(), trace_name))?;
    let stage_s = context.stage_s(spec, known.text.lines().count())?;
    let place = format!("{}: builtin trace `{trace_name}`", (context.place)());
    Ok(context.named(csv::read(&place, known.text, stage_s, &[column])?))
}

fn from_file(spec: &TraceSpec, file: &str, context: &SpecContext<'_>) -> Result<ServiceTrace> {
    context.only(spec, "a trace file", &["column", "stage_s"])?;
    let path = context.base_dir.join(file);
    let name = path.display().to_string();
    let text = read_input(&path)?;
    if spec.stage_s.is_some() && csv::form_of(&name, &text)? == Form::Stages {
        return Err(context.error(
            format!("`stage_s` does not belong to {name}, which says how long its stages are"),
            "remove it",
        ));
    }
    let stage_s = context.stage_s(spec, 1)?;
    let column = spec.column.as_deref().unwrap_or(context.service);
    Ok(context.named(csv::read(&name, &text, stage_s, &[column])?))
}

fn from_generator(
    spec: &TraceSpec,
    kind: GeneratorKind,
    context: &SpecContext<'_>,
) -> Result<ServiceTrace> {
    let generator = generator(spec, kind, context)?;
    let stage_s = context.stage_s(spec, generator.rows as usize)?;
    let mut rng = context.streams.open(&format!("{}/{}", context.stream, context.service));
    Ok(ServiceTrace::from_rows(context.service, &generator.generate(&mut rng), stage_s))
}

fn generator(
    spec: &TraceSpec,
    kind: GeneratorKind,
    context: &SpecContext<'_>,
) -> Result<Generator> {
    let own: &[&str] = match kind {
        GeneratorKind::Random | GeneratorKind::Ramp => &[],
        GeneratorKind::Steps => &["period_rows"],
        GeneratorKind::Diurnal => &["period_rows", "noise"],
        GeneratorKind::Bursts => &["rate", "size"],
        GeneratorKind::Walk => &["step"],
    };
    let allowed = [&["rows", "stage_s", "low", "high"], own].concat();
    context.only(spec, &format!("the generator `{}`", kind_name(kind)), &allowed)?;
    let number = |key: &str, given: Option<f64>, default: f64, most: f64| {
        let value = given.unwrap_or(default);
        if (0.0..=most).contains(&value) {
            return Ok(value);
        }
        Err(context.error(
            format!("{key} = {value} is out of range"),
            format!("give a number from 0 to {most}"),
        ))
    };
    let whole = |key: &str, given: Option<f64>, default: f64| {
        let value = number(key, given, default, MAX_USERS)?;
        if value.fract() == 0.0 {
            return Ok(value as u32);
        }
        Err(context.error(
            format!("{key} = {value} is not a whole number"),
            "generated users are whole: give a whole number",
        ))
    };
    let counted = |key: &str, given: Option<u32>, default: u32| match given.unwrap_or(default) {
        0 => Err(context.error(format!("{key} = 0"), format!("{key} is at least 1"))),
        value => Ok(value),
    };
    let (low, high) = (whole("low", spec.low, 1.0)?, whole("high", spec.high, 100.0)?);
    if low > high {
        return Err(context.error(
            format!("low = {low} is above high = {high}"),
            "give low and high with low <= high (high is 100 unless given)",
        ));
    }
    let shape = match kind {
        GeneratorKind::Random => Shape::Random,
        GeneratorKind::Ramp => Shape::Ramp,
        GeneratorKind::Steps => {
            Shape::Steps { period_rows: counted("period_rows", spec.period_rows, 5)? }
        }
        GeneratorKind::Diurnal => Shape::Diurnal {
            period_rows: counted("period_rows", spec.period_rows, 20)?,
            noise: number("noise", spec.noise, 0.05, 10.0)?,
        },
        GeneratorKind::Bursts => Shape::Bursts {
            rate: number("rate", spec.rate, 0.1, 1.0)?,
            size: number("size", spec.size, 0.8, 10.0)?,
        },
        GeneratorKind::Walk => Shape::Walk { step: number("step", spec.step, 8.0, MAX_USERS)? },
    };
    Ok(Generator { shape, rows: counted("rows", spec.rows, 20)?, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<ServiceTrace> {
        let spec: TraceSpec = toml::from_str(toml).unwrap();
        let place = || "s.toml:9: service[0].trace".to_owned();
        from_spec(
            &spec,
            &SpecContext {
                service: "house",
                base_dir: Path::new("traces"),
                interval_s: 60,
                streams: Streams::new(1),
                stream: "traffic",
                place: &place,
            },
        )
    }

    #[test]
    fn the_three_sources_give_stages() {
        for toml in ["builtin = \"paper/senti\"", "file = \"paper.csv\"\ncolumn = \"senti\""] {
            let trace = read(toml).unwrap();
            assert_eq!((trace.service.as_str(), trace.stages.len()), ("house", 20));
            assert_eq!(trace.stages[1], super::super::Stage::of_interval(60, 70.0));
        }
        assert_eq!(read("builtin = \"paper\"").unwrap().stages[0].users, 34.0);
        let trace = read("generator = \"random\"\nrows = 7\nstage_s = 10").unwrap();
        assert_eq!((trace.stages.len(), trace.duration_s()), (7, 70));
        assert_eq!(read("generator = \"ramp\"").unwrap().stages.len(), 20);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_remedy() {
        let cases = [
            ("", "no source of traffic"),
            ("builtin = \"paper\"\nfile = \"t.csv\"", "more than one of"),
            ("builtin = \"papr/house\"", "did you mean `paper`?"),
            ("builtin = \"paper/hause\"", "did you mean `house`?"),
            ("builtin = \"paper\"\nrows = 3", "`rows` does not belong to a built-in trace"),
            ("builtin = \"paper\"\nstage_s = 0", "stage_s = 0"),
            ("file = \"paper.csv\"\nrows = 3", "`rows` does not belong to a trace file"),
            ("file = \"paper.csv\"\ncolumn = \"numbe\"", "did you mean `numbr`?"),
            ("file = \"none.csv\"", "cannot read the file"),
            ("generator = \"random\"\ncolumn = \"a\"", "`column` does not belong"),
            ("generator = \"random\"\nnoise = 0.1", "`noise` does not belong"),
            ("generator = \"walk\"\nperiod_rows = 4", "takes rows, stage_s, low, high, step"),
            ("generator = \"random\"\nlow = 5\nhigh = 4", "low = 5 is above high = 4"),
            ("generator = \"random\"\nlow = 1.5", "is not a whole number"),
            ("generator = \"random\"\nlow = -1", "low = -1 is out of range"),
            ("generator = \"random\"\nhigh = nan", "high = NaN is out of range"),
            ("generator = \"random\"\nrows = 0", "rows = 0"),
            ("generator = \"random\"\nrows = 100000\nstage_s = 100000", "are longer than"),
            ("generator = \"random\"\nrows = 4000000000\nstage_s = 1", "are more than"),
            ("generator = \"bursts\"\nrate = 1.5", "rate = 1.5 is out of range"),
            ("generator = \"diurnal\"\nperiod_rows = 0", "period_rows = 0"),
        ];
        for (toml, expected) in cases {
            let error = read(toml).unwrap_err();
            assert!(error.to_string().contains(expected), "{toml}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
