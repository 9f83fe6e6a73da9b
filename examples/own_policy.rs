//! A policy of your own against a built-in one: `cargo run --release --example own_policy [SCENARIO]`.
//!
//! Tables, figures and every run lie in `runs/own-policy` afterwards, where `quotascale plot` and
//! `quotascale report` take them. Cells that are there are not computed again: remove the folder after
//! changing the policy.

use std::path::Path;
use std::sync::Arc;

use quotascale::env::knative::EpisodeOptions;
use quotascale::evaluation::{Folder, Plan, Watch, compare};
use quotascale::policy::{Episode, Hybrid, Policy, PolicyState};
use quotascale::report::table::{TableStyle, render};
use quotascale::report::{draw_comparison, write_comparison};
use quotascale::scenario::{PodRule, Profile, Scenario};
use quotascale::snapshot::{Decision, Snapshot};

/// Changes an option only where the one in place breaks the SLO or the forecast needs more than twice its
/// least CPU: every change is a new revision, and its overlap costs quota.
struct Calm {
    profiles: Vec<Profile>,
    slo_p95_ms: Vec<f64>,
    rule: PodRule,
}

impl Calm {
    /// CPU that an option needs for so many users, millicores.
    fn cpu_m(&self, profile: &Profile, option: usize, users: f64) -> u64 {
        let option = &profile.options[option];
        option.cpu.0 * u64::from(self.rule.pods(users, option.concurrency))
    }
}

impl Policy for Calm {
    fn name(&self) -> &str {
        "calm"
    }

    fn start(&self, _: &Episode<'_>) -> quotascale::Result<PolicyState> {
        Ok(PolicyState::None)
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        forecast: &[f64],
        _: &mut PolicyState,
    ) -> quotascale::Result<Decision> {
        let services = self.profiles.iter().enumerate().map(|(index, profile)| {
            let users = forecast[index];
            let fits = |&option: &usize| profile.options[option].p95_ms <= self.slo_p95_ms[index];
            let cheapest = (0..profile.options.len())
                .filter(fits)
                .min_by_key(|&option| self.cpu_m(profile, option, users))?;
            let newest = snapshot.services[index].newest.option.map(|option| option as usize);
            let kept = newest.filter(fits).filter(|&option| {
                self.cpu_m(profile, option, users) <= 2 * self.cpu_m(profile, cheapest, users)
            });
            // None leaves the service alone: Knative's autoscaler goes on inside the revision.
            match kept {
                Some(_) => None,
                None => {
                    let concurrency = profile.options[cheapest].concurrency;
                    Some(profile.decision(cheapest as u32, self.rule.pods(users, concurrency)))
                }
            }
        });
        Ok(Decision { services: services.collect(), reason: String::new() })
    }
}

fn main() -> quotascale::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "knative-random".to_owned());
    let scenario = Arc::new(Scenario::load(&name, &[])?);
    let slo_p95_ms: Vec<f64> =
        scenario.spec.service.iter().map(|service| service.slo_p95_ms).collect();
    let rule = scenario.pod_rule();
    let hybrid = Hybrid::new(&scenario.profiles, &slo_p95_ms, rule.utilization);
    let calm = Calm { profiles: scenario.profiles.clone(), slo_p95_ms, rule };
    let plan = Plan {
        scenario: Arc::clone(&scenario),
        policies: vec![Arc::new(calm), Arc::new(hybrid)],
        seeds: (0..20).collect(),
        options: EpisodeOptions::default(),
    };
    let version = env!("CARGO_PKG_VERSION");
    let folder =
        Folder::open(Path::new("runs/own-policy"), "own_policy", &scenario, version, false)?;
    let watch = Watch { stop: &|| false, done: &|| {} };
    let (comparison, warnings) = compare(&plan, &folder, Some("hybrid"), watch)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    write_comparison(&comparison, folder.path())?;
    draw_comparison(&comparison, &folder.path().join("figures"))?;
    println!("{}", render(&comparison, TableStyle::of_stdout()));
    Ok(())
}
