//! A user's own process as a policy: one JSON snapshot a line on its stdin, one JSON decision a line
//! on its stdout.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Episode, Policy, PolicyState};
use crate::error::{Error, Result};
use crate::scenario::{PodRule, Profile, Scenario};
use crate::snapshot::{Decision, ServiceDecision, ServiceSnapshot, Snapshot};

/// A process that has not answered for so long never will.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the command anew for each episode and asks it for every decision.
#[derive(Clone, Debug)]
pub struct External {
    name: String,
    command: String,
    services: Vec<String>,
    profiles: Vec<Profile>,
    quota_cpu_m: u64,
    rule: PodRule,
}

/// The process of one episode. It is ended when the episode is over.
#[derive(Clone, Debug)]
pub struct Process(Arc<Mutex<Pipes>>);

#[derive(Debug)]
struct Pipes {
    child: Child,
    stdin: ChildStdin,
    /// Lines of its stdout, read by a thread of its own so that waiting can end.
    lines: Receiver<String>,
}

impl Pipes {
    /// How the process ended, given that it no longer answers.
    fn end(&mut self) -> String {
        // Its stdout closes a moment before it can be waited for.
        for _ in 0..100 {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return error.to_string(),
            }
        }
        "its stdout is closed".to_owned()
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        // It may have ended by itself; either way nobody waits for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Serialize)]
struct Question<'a> {
    t_s: f64,
    step: u32,
    seed: u64,
    quota_cpu_m: u64,
    services: Vec<ServiceQuestion<'a>>,
}

#[derive(Serialize)]
struct ServiceQuestion<'a> {
    name: &'a str,
    forecast: f64,
    #[serde(flatten)]
    seen: &'a ServiceSnapshot,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    services: Vec<ServiceAnswer>,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceAnswer {
    name: String,
    option: Option<u32>,
    cpu_m: Option<u64>,
    concurrency: Option<u32>,
    pods: Option<u32>,
}

impl External {
    /// A policy that `sh -c command` decides for.
    pub fn new(command: &str, scenario: &Scenario) -> Self {
        // The program's name, not its path: results do not depend on where it lies.
        let program = command.split_whitespace().next().unwrap_or("command");
        let stem = std::path::Path::new(program).file_name().unwrap_or_default();
        Self {
            name: format!("external:{}", stem.to_string_lossy()),
            command: command.to_owned(),
            services: scenario.service_names().into_iter().map(str::to_owned).collect(),
            profiles: scenario.profiles.clone(),
            quota_cpu_m: scenario.spec.quota.cpu_m.0,
            rule: scenario.pod_rule(),
        }
    }

    fn failed(&self, problem: impl std::fmt::Display) -> Error {
        Error::input(
            format!("policy external:{}", self.command),
            problem,
            "the process has to answer each line on stdin with one line of JSON on stdout (docs/policies.md)",
        )
    }

    fn ask(&self, pipes: &mut Pipes, question: &Question<'_>) -> Result<Answer> {
        let mut line = serde_json::to_string(question).map_err(|error| self.failed(error))?;
        line.push('\n');
        // A process that has ended gives an error here or silence below, depending on who is faster.
        let sent = pipes.stdin.write_all(line.as_bytes()).and_then(|()| pipes.stdin.flush());
        let answer = match sent {
            Ok(()) => pipes.lines.recv_timeout(TIMEOUT),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                return Err(self.failed(format!("gave no answer within {} s", TIMEOUT.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(self.failed(format!("ended without an answer ({})", pipes.end())));
            }
        };
        serde_json::from_str(&answer)
            .map_err(|error| self.failed(format!("answered `{}`: {error}", answer.trim_end())))
    }

    fn decision_for(
        &self,
        answer: &ServiceAnswer,
        index: usize,
        forecast: f64,
    ) -> Result<ServiceDecision> {
        let profile = &self.profiles[index];
        let (option, cpu_m, concurrency) = match (answer.option, answer.cpu_m, answer.concurrency) {
            (Some(option), None, None) => {
                let chosen = profile.options.get(option as usize).ok_or_else(|| {
                    self.failed(format!(
                        "chose option {option} of {}, which has options 0 to {}",
                        answer.name,
                        profile.options.len() - 1
                    ))
                })?;
                (Some(option), chosen.cpu.0, chosen.concurrency)
            }
            (None, Some(cpu_m), Some(concurrency)) => {
                (profile.find(cpu_m, concurrency), cpu_m, concurrency)
            }
            _ => {
                return Err(self.failed(format!(
                    "gave for {} neither `option` nor both of `cpu_m` and `concurrency`",
                    answer.name
                )));
            }
        };
        if concurrency == 0 {
            return Err(self.failed(format!("gave {} a concurrency of 0", answer.name)));
        }
        let needed = self.rule.pods(forecast, concurrency);
        Ok(ServiceDecision { option, cpu_m, concurrency, pods: answer.pods.unwrap_or(needed) })
    }
}

impl Policy for External {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> Option<&str> {
        Some(&self.command)
    }

    fn start(&self, episode: &Episode<'_>) -> Result<PolicyState> {
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .env("QUOTASCALE_SEED", episode.seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| self.failed(format!("cannot be started: {error}")))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(self.failed("has no stdin or stdout"));
        };
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends with the process's stdout, or when the episode is over.
            for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let pipes = Pipes { child, stdin, lines };
        let seed = episode.seed;
        Ok(PolicyState::External { process: Some(Process(Arc::new(Mutex::new(pipes)))), seed })
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        state: &mut PolicyState,
    ) -> Result<Decision> {
        let PolicyState::External { process: Some(process), seed } = state else {
            return Err(self.failed("was not started"));
        };
        let services = self
            .services
            .iter()
            .zip(&snapshot.services)
            .zip(forecast)
            .map(|((name, seen), &forecast)| ServiceQuestion { name, forecast, seen })
            .collect();
        let question = Question {
            t_s: snapshot.t_s,
            step: snapshot.step,
            seed: *seed,
            quota_cpu_m: self.quota_cpu_m,
            services,
        };
        let mut pipes = process.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.ask(&mut pipes, &question)?;
        let mut decision =
            Decision { services: vec![None; self.services.len()], reason: answer.reason.clone() };
        for service in &answer.services {
            let index =
                self.services.iter().position(|name| *name == service.name).ok_or_else(|| {
                    self.failed(format!(
                        "named service `{}`; there are {}",
                        service.name,
                        self.services.join(", ")
                    ))
                })?;
            decision.services[index] = Some(self.decision_for(service, index, forecast[index])?);
        }
        Ok(decision)
    }
}
