//! `rehearse`: the simulated cluster behind real endpoints, for `live` to drive.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Common, ScenarioArgs, VERSION, interrupt, print_json, print_line, progress};
use crate::error::{Error, Result};
use crate::evaluation::{Folder, Machine};
use crate::live::config::LiveFile;
use crate::live::signals::Target;
use crate::rehearse::{News, POLICY, Rehearsal, Rehearsed, rehearse};
use crate::report::{self, Comparison, RunResult, table};
use crate::scenario::{EnvironmentKind, Scenario};

/// Arguments of `rehearse`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// The API server whose custom resource is carried out.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Where Prometheus scrapes.
    #[arg(long, default_value = "127.0.0.1:9646", value_name = "ADDR")]
    listen: String,
    /// Times as fast as the wall; the same as [clock] speed of live.toml. Default: that of --config, or 1.
    #[arg(long, value_name = "X")]
    speed: Option<f64>,
    /// Simulated time stops at each tick until live has reported it. Default: when the speed is above 1.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    lockstep: Option<bool>,
    /// The live.toml whose targets, namespace, names, fields and speed are used. Default: the defaults of one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Master seed of traffic and cold starts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the results; default runs/rehearse-SCENARIO.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Remove older results in the folder first.
    #[arg(long)]
    force: bool,
    /// Write the `ticks` table too (large).
    #[arg(long)]
    ticks: bool,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let scenario = Arc::new(args.scenario.load()?);
    if scenario.environment() != EnvironmentKind::Knative {
        return Err(Error::input(
            &scenario.source.name,
            "a scenario of environment \"paper\" has no clock to rehearse by",
            "use paper-knative, or a scenario with environment = \"knative\"",
        )
        .into());
    }
    let setup = setup(args, &scenario)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(format!("rehearse-{}", scenario.name())));
    let folder = Folder::open(&out, "rehearse", &scenario, VERSION, args.force)?;
    let path = folder.cell(POLICY, args.seed);
    if path.exists() {
        let remedy = "name another folder with --out, or start anew with --force";
        return Err(Error::input(path.display(), "a rehearsal is there already", remedy).into());
    }

    interrupt::catch();
    let duration_s = scenario.spec.duration_s.unwrap_or_default();
    let bar = progress::bar(common, u64::from(duration_s), "simulated seconds");
    let tell = |news: News| match news {
        News::Played(second) => bar.set_position(u64::from(second)),
        news if news.is_warning() => bar.suspend(|| eprintln!("warning: {news}")),
        news if common.quiet => drop(news),
        news => bar.suspend(|| eprintln!("{news}")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::Failed(format!("cannot start the runtime: {error}")))?;
    let played = runtime.block_on(rehearse(&setup, &interrupt::interrupted, &tell))?;
    bar.finish_and_clear();
    let Some(Rehearsed { mut run, interrupted }) = played else {
        let saved = "simulated time had not begun, nothing is to be saved".to_owned();
        return Err(Error::Interrupted { saved }.into());
    };

    let figures = report::draw_timeline(&run, &scenario, &folder.path().join("figures"))?;
    if !args.ticks {
        run.ticks = Vec::new();
    }
    folder.write_cell(&run, &Machine::this())?;
    for warning in &run.summary.warnings {
        eprintln!("warning: {warning}");
    }
    if common.json {
        print_json(&RunResult::new(&run.summary, None, &path))?;
    } else {
        let comparison = Comparison::new(&[run.summary], None, None)?;
        print_line(table::render(&comparison, table::TableStyle::of_stdout()).trim_end())?;
        print_line(format!("\nresults  {}", path.display()))?;
        for figure in figures {
            print_line(format!("figure   {}", figure.display()))?;
        }
    }
    if interrupted {
        let saved = format!("what was played is saved in {}", path.display());
        return Err(Error::Interrupted { saved }.into());
    }
    Ok(())
}

/// What the arguments and live.toml say together.
fn setup(args: &Args, scenario: &Arc<Scenario>) -> Result<Rehearsal> {
    let file = args.config.as_deref().map(LiveFile::load).transpose()?;
    let config = file.as_ref().map(|file| file.config.clone());
    let targets = match &file {
        Some(file) => file.targets(scenario)?,
        None => own_targets(scenario),
    };
    let clock = config.as_ref().map(|config| config.clock.clone()).unwrap_or_default();
    let speed = args.speed.unwrap_or(clock.speed);
    let place = || format!("--speed {speed}");
    if !(speed.is_finite() && speed > 0.0) {
        return Err(Error::input(place(), "not a number above 0", "give 1 for real time"));
    }
    if let (Some(file), true) = (&file, speed != clock.speed) {
        return Err(Error::input(
            place(),
            format!("{} is {}", file.place("clock.speed"), clock.speed),
            "live and its rehearsal need the same: leave --speed out, or change [clock] speed",
        ));
    }
    let signals = config.as_ref().map(|config| config.signals.clone()).unwrap_or_default();
    let (kubernetes, lease) =
        config.map(|config| (config.kubernetes, config.lease)).unwrap_or_default();
    Ok(Rehearsal {
        scenario: Arc::clone(scenario),
        seed: args.seed,
        targets,
        kubernetes,
        lease,
        kubeconfig: args.kubeconfig.clone(),
        listen: args.listen.clone(),
        speed,
        lockstep: args.lockstep.unwrap_or(speed > 1.0),
        max_age: signals.users.max_age.0,
    })
}

/// The Knative Services that the scenario itself names.
fn own_targets(scenario: &Scenario) -> Vec<Target> {
    let target = |service: &crate::scenario::spec::ServiceSpec| Target {
        service: service.name.clone(),
        target: service.target.clone().unwrap_or_else(|| service.name.clone()),
    };
    scenario.spec.service.iter().map(target).collect()
}
