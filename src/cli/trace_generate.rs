//! `trace generate`.

use std::path::Path;

use clap::builder::PossibleValuesParser;

use super::Common;
use super::trace_output::{CsvForm, Output, kind_of};
use crate::error::Error;
use crate::rng::Streams;
use crate::scenario::TRAFFIC_STREAM;
use crate::scenario::spec::TraceSpec;
use crate::trace::generate::KINDS;
use crate::trace::{DEFAULT_STAGE_S, SpecContext, Trace, from_spec};

/// The help of the verb.
pub const LONG_ABOUT: &str = "\
Draw a synthetic trace: rows of whole users within --low and --high.

  random   each row uniform from --low to --high
  steps    as random, but drawn once for every --period-rows rows
  ramp     a straight line from --low to --high
  diurnal  a daily wave of --period-rows rows with --noise
  bursts   --low, with bursts that begin with probability --rate, are --size high and halve from row to row
  walk     a random walk with --step, reflected at --low and --high

The same seed gives the same trace, and the one that a scenario with this generator has.";

/// Arguments of `trace generate`.
#[derive(clap::Args)]
pub struct Args {
    /// The kind of traffic.
    #[arg(value_parser = PossibleValuesParser::new(KINDS.map(|(name, _)| name)))]
    kind: String,
    /// Rows to draw.
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: u32,
    /// Length of a row, seconds.
    #[arg(long, value_name = "S", default_value_t = DEFAULT_STAGE_S)]
    stage_s: u32,
    /// Master seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Names of the services, each with a stream of its own.
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "house,senti,numbr")]
    services: Vec<String>,
    /// Fewest users, a whole number [default: 1].
    #[arg(long, value_name = "USERS", allow_negative_numbers = true)]
    low: Option<f64>,
    /// Most users, a whole number [default: 100].
    #[arg(long, value_name = "USERS", allow_negative_numbers = true)]
    high: Option<f64>,
    /// diurnal: rows of one day [default: 20]; steps: rows of one level [default: 5].
    #[arg(long, value_name = "N")]
    period_rows: Option<u32>,
    /// diurnal: standard deviation of the noise, as a share of high - low [default: 0.05].
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    noise: Option<f64>,
    /// bursts: probability that a burst begins in a row [default: 0.1].
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// bursts: height of a burst, as a share of high - low [default: 0.8].
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    size: Option<f64>,
    /// walk: standard deviation of one row's change, users [default: 8].
    #[arg(long, value_name = "USERS", allow_negative_numbers = true)]
    step: Option<f64>,
    /// The form of the file.
    #[arg(long, value_enum, default_value_t = CsvForm::Auto)]
    form: CsvForm,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    args.output.check()?;
    check_names("--services", &args.services)?;
    let kind = KINDS.iter().find(|(name, _)| *name == args.kind).map(|(_, kind)| *kind);
    let spec = TraceSpec {
        generator: kind,
        rows: Some(args.rows),
        stage_s: Some(args.stage_s),
        low: args.low,
        high: args.high,
        period_rows: args.period_rows,
        noise: args.noise,
        rate: args.rate,
        size: args.size,
        step: args.step,
        ..TraceSpec::default()
    };
    let place = || format!("trace generate {}", args.kind);
    let services = args
        .services
        .iter()
        .map(|service| {
            from_spec(
                &spec,
                &SpecContext {
                    service,
                    base_dir: Path::new(""),
                    interval_s: args.stage_s,
                    streams: Streams::new(args.seed),
                    stream: TRAFFIC_STREAM,
                    place: &place,
                },
            )
        })
        .collect::<crate::Result<Vec<_>>>()?;
    let trace = Trace { services };
    args.output.write(&trace, kind_of(args.form, &trace), common)
}

/// Checks that names of services can be told apart and read back.
pub(super) fn check_names(place: &str, names: &[String]) -> Result<(), Error> {
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() || name.trim() != name || names[..index].contains(name) {
            return Err(Error::input(
                format!("{place} {}", names.join(",")),
                format!("`{name}` is no name of a service, or is there twice"),
                "give names that differ, separated by commas",
            ));
        }
    }
    Ok(())
}
