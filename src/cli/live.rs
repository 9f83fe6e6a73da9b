//! `live`: the controller against real Prometheus and Kubernetes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::evaluate::one_policy;
use super::{Common, print_json, print_line};
use crate::error::{Error, Result};
use crate::live::check::{self, Report};
use crate::live::clock::{Clock, FastClock, WallClock};
use crate::live::config::LiveFile;
use crate::live::log;
use crate::live::metrics::Outcome;
use crate::live::run::{self, Options, TickReport};
use crate::live::setup::Setup;
use crate::number;

/// Arguments of `live`.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration: deploy/examples/live.toml shows every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Say what is missing in the cluster and at Prometheus, and how to mend it; exit code 1 if anything is.
    #[arg(long, conflicts_with_all = ["dry_run", "once", "record"])]
    check: bool,
    /// Decide and print each decision with its reason, but write nothing and hold no lease.
    #[arg(long)]
    dry_run: bool,
    /// One tick now. Exit code 0 when it is applied or changes nothing, 1 when it is held, paused or fails.
    #[arg(long)]
    once: bool,
    /// Append what is seen and decided to FILE, for `replay controller`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The kubeconfig. Default: KUBECONFIG, ~/.kube/config or the pod's own account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<ExitCode> {
    let file = LiveFile::load(&args.config)?;
    log::start(file.config.telemetry.log_format);
    let speed = file.config.clock.speed;
    let setup = setup(file, common)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::Failed(format!("cannot start the runtime: {error}")))?;
    if args.check {
        let report = runtime.block_on(check::check(&setup, args.kubeconfig.as_deref()))?;
        return print_check(&report, common);
    }
    let options = Options {
        dry_run: args.dry_run,
        once: args.once,
        record: args.record.clone(),
        kubeconfig: args.kubeconfig.clone(),
        version: (env!("CARGO_PKG_VERSION"), env!("QUOTASCALE_COMMIT")),
    };
    let clock: Arc<dyn Clock> =
        if speed == 1.0 { Arc::new(WallClock) } else { Arc::new(FastClock::new(speed)) };
    let services: Vec<String> = setup.targets.iter().map(|target| target.service.clone()).collect();
    let prints = args.dry_run || args.once || common.json;
    let held = Arc::new(AtomicBool::new(false));
    let holds = Arc::clone(&held);
    let report = Box::new(move |report: &TickReport| {
        holds.store(report.held, Ordering::Relaxed);
        // A reader that has gone is no reason to stop deciding.
        if prints {
            let _ = print_tick(&services, report, common);
        }
    });
    let outcome = runtime.block_on(run::run(setup, options, clock, report))?;
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    let done = match outcome {
        Some(Outcome::Applied | Outcome::Unchanged) => true,
        Some(Outcome::DryRun) => !held.load(Ordering::Relaxed),
        _ => false,
    };
    Ok(if args.once && !done { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn setup(file: LiveFile, common: Common) -> Result<Setup> {
    Setup::new(file, |scenario, name| one_policy(scenario, name, None, common))
}

/// One service's part of a tick, as printed.
#[derive(Serialize)]
struct Row<'a> {
    service: &'a str,
    users: serde_json::Value,
    forecast: serde_json::Value,
    option: Option<u32>,
    cpu_m: u64,
    concurrency: u32,
    pods: u32,
    kept: bool,
}

fn print_tick(services: &[String], report: &TickReport, common: Common) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = services
        .iter()
        .enumerate()
        .map(|(index, service)| {
            let seen = &report.snapshot.services[index];
            let slot = report.decision.services.get(index).copied().flatten();
            let chosen = slot.unwrap_or(seen.newest.as_decision());
            Row {
                service,
                users: number::to_json(seen.users),
                forecast: number::to_json(report.forecast.get(index).copied().unwrap_or(f64::NAN)),
                option: chosen.option,
                cpu_m: chosen.cpu_m,
                concurrency: chosen.concurrency,
                pods: chosen.pods,
                kept: slot.is_none(),
            }
        })
        .collect();
    if common.json {
        return print_json(&serde_json::json!({
            "tick": report.tick,
            "outcome": report.outcome.name(),
            "reason": report.decision.reason,
            "services": rows,
        }));
    }
    print_line(format!("tick {}: {}", report.tick, report.outcome.name()))?;
    for row in rows {
        let kept = if row.kept { " (kept)" } else { "" };
        let said = |number: &serde_json::Value| match number {
            serde_json::Value::Null => "not known".to_owned(),
            number => number.to_string(),
        };
        print_line(format!(
            "  {:<12} users {} forecast {} -> {}m concurrency {} pods {}{kept}",
            row.service,
            said(&row.users),
            said(&row.forecast),
            row.cpu_m,
            row.concurrency,
            row.pods
        ))?;
    }
    print_line(format!("  reason: {}", report.decision.reason))
}

fn print_check(report: &Report, common: Common) -> anyhow::Result<ExitCode> {
    if common.json {
        print_json(report)?;
    } else {
        for item in &report.items {
            let state = if item.ok {
                "ok"
            } else if item.optional {
                "without"
            } else {
                "MISSING"
            };
            print_line(format!("{state:<8} {}", item.what))?;
            if let Some(remedy) = item.remedy.as_ref().filter(|_| !item.ok) {
                print_line(format!("         {remedy}"))?;
            }
        }
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
