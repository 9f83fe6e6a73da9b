//! `exporter`: Locust's figures for Prometheus.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, print_json};
use crate::error::Error;
use crate::live::exporter::Exporter;
use crate::live::span::Span;

/// What `exporter --help` says.
pub const LONG_ABOUT: &str = "Serve Locust's figures to Prometheus, from any Locust since 2.8.

The metrics have the names of ContainerSolutions/locust_exporter, so that this can take its place. With a \
newer Locust that one reports a p95 latency of zero; this one reports the latency, or none where there is none.";

/// Arguments of `exporter`.
#[derive(clap::Args)]
pub struct Args {
    /// Locust's web page; several as NAME=URL, whose metrics have a label service="NAME".
    #[arg(long, required = true, value_name = "[NAME=]URL")]
    locust: Vec<String>,
    /// Where to answer, under /metrics.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9646")]
    listen: SocketAddr,
    /// Longest wait for Locust; shorter where Prometheus says that it waits less.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_span)]
    timeout: Span,
    /// What the names of the metrics begin with.
    #[arg(long, value_name = "NAME", default_value = "locust", value_parser = parse_namespace)]
    namespace: String,
}

fn parse_span(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| "write a duration above zero, as 5s or 1m30s".to_owned())
}

fn parse_namespace(text: &str) -> Result<String, String> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(known)
    {
        return Err("use letters, digits and _".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    let mut exporter = Exporter::new(&args.namespace, args.timeout.0);
    let mut names: Vec<&str> = Vec::new();
    for source in &args.locust {
        let (name, url) = match source.split_once('=') {
            Some((name, url)) if !name.contains('/') => (Some(name), url),
            _ => (None, source.as_str()),
        };
        let place = name.map_or("--locust".to_owned(), |name| format!("--locust {name}=.."));
        match name {
            None if args.locust.len() > 1 => {
                return Err(Error::input(
                    place,
                    "several Locusts need names to tell them apart",
                    "name each, as --locust house=http://HOST:8089",
                )
                .into());
            }
            Some(name) if name.is_empty() || names.contains(&name) => {
                return Err(Error::input(
                    place,
                    "a name is missing or there twice",
                    "give each its own",
                )
                .into());
            }
            _ => names.extend(name),
        }
        exporter.add(name.map(str::to_owned), url).map_err(|problem| {
            Error::input(place, problem, "name Locust's web page, as http://HOST:8089")
        })?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.map_err(|error| {
            Error::input(
                format!("--listen {}", args.listen),
                format!("the address cannot be used: {error}"),
                "name a free port, as 127.0.0.1:9646",
            )
        })?;
        let address = listener.local_addr()?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        if common.json {
            print_json(&json!({ "listen": address.to_string() }))?;
        } else if !common.quiet {
            eprintln!("serving http://{address}/metrics");
        }
        let stop = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        Ok(exporter.serve(listener, stop).await?)
    })
}
