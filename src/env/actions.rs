//! What an agent can choose: one number for each service, and the decision that they stand for.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::scenario::{EnvironmentKind, PodRule, Profile, Scenario};
use crate::snapshot::{Decision, ServiceDecision};

/// Which choices an agent has beside the options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActionConfig {
    /// Whether a service may be left as it is, under its autoscaler.
    pub keep: bool,
    /// Pods of a chosen option, as shares of what the scenario's rule asks for (rounded up, and
    /// never fewer than the rule's fewest). Each share is a choice of its own for each option.
    pub pod_shares: Vec<f64>,
}

impl Default for ActionConfig {
    fn default() -> Self {
        Self { keep: false, pod_shares: vec![1.0] }
    }
}

/// The choices of every service. With O options and P pod shares, choice `p * O + o` is option o
/// with share p; the last one, if there is one more, leaves the service as it is.
#[derive(Clone, Debug)]
pub struct ActionSpace {
    config: ActionConfig,
    profiles: Vec<Profile>,
    rule: PodRule,
    heads: Vec<usize>,
}

/// One choice for one service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// An option, with a share of the pods that the rule asks for.
    Option {
        /// Index of the option.
        option: u32,
        /// The share.
        pods: f64,
    },
    /// The service is left as it is.
    Keep,
}

impl ActionSpace {
    /// The choices of `config` on `scenario`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no pod share, one is out of range, or the environment computes
    /// its own pods.
    pub fn new(config: &ActionConfig, scenario: &Scenario) -> Result<Self> {
        let place = "actions.pod_shares";
        let shares = &config.pod_shares;
        if shares.is_empty() || shares.iter().any(|share| !(0.0..=10.0).contains(share)) {
            return Err(Error::input(
                place,
                format!("{shares:?}"),
                "give at least one number from 0 to 10; 1 is what the scenario's rule asks for",
            ));
        }
        if scenario.environment() == EnvironmentKind::Paper && *config != ActionConfig::default() {
            return Err(Error::input(
                "actions",
                "environment \"paper\" computes its own pods and knows no service left alone",
                "leave `keep` and `pod_shares` out",
            ));
        }
        let heads = scenario
            .profiles
            .iter()
            .map(|profile| profile.options.len() * shares.len() + usize::from(config.keep))
            .collect();
        Ok(Self {
            config: config.clone(),
            profiles: scenario.profiles.clone(),
            rule: scenario.pod_rule(),
            heads,
        })
    }

    /// What it was made of.
    pub fn config(&self) -> &ActionConfig {
        &self.config
    }

    /// Number of choices of each service.
    pub fn heads(&self) -> &[usize] {
        &self.heads
    }

    /// Choice number `choice` of a service; `None` when it has fewer.
    pub fn choice(&self, service: usize, choice: u32) -> Option<Choice> {
        let options = self.profiles[service].options.len() as u32;
        match self.config.pod_shares.get((choice / options) as usize) {
            Some(&pods) => Some(Choice::Option { option: choice % options, pods }),
            None if self.config.keep && choice as usize + 1 == self.heads[service] => {
                Some(Choice::Keep)
            }
            None => None,
        }
    }

    /// A choice in words: `option 3`, `option 3, pods x0.5`, `keep`.
    pub fn describe(&self, service: usize, choice: u32) -> String {
        match self.choice(service, choice) {
            Some(Choice::Option { option, pods: 1.0 }) => format!("option {option}"),
            Some(Choice::Option { option, pods }) => format!("option {option}, pods x{pods}"),
            Some(Choice::Keep) => "keep".to_owned(),
            None => format!("choice {choice}"),
        }
    }

    /// Writes the decision that `choices` stand for, given the users expected of each service. Its
    /// reason is left as it is.
    ///
    /// # Errors
    /// [`Error::Failed`] when a choice does not exist.
    pub fn decide(
        &self,
        choices: &[u32],
        users: impl Fn(usize) -> f64,
        decision: &mut Decision,
    ) -> Result<()> {
        decision.services.clear();
        for (service, &number) in choices.iter().enumerate() {
            let choice = self.choice(service, number).ok_or_else(|| {
                Error::Failed(format!(
                    "service {service} has {} choices, not one numbered {number}",
                    self.heads[service]
                ))
            })?;
            decision.services.push(match choice {
                Choice::Option { option, pods } => {
                    Some(self.option(service, option, users(service), pods))
                }
                Choice::Keep => None,
            });
        }
        Ok(())
    }

    /// An option with a share of the pods that the rule asks for.
    pub(in crate::env) fn option(
        &self,
        service: usize,
        option: u32,
        users: f64,
        share: f64,
    ) -> ServiceDecision {
        let profile = &self.profiles[service];
        let needed = self.rule.pods(users, profile.options[option as usize].concurrency);
        let pods = (f64::from(needed) * share).ceil() as u32;
        profile.decision(option, pods.max(self.rule.min_pods))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_stand_for_options_pods_and_leaving_alone() {
        let scenario = Scenario::load("knative-random", &[]).unwrap();
        let config = ActionConfig { keep: true, pod_shares: vec![1.0, 0.0, 0.5] };
        let space = ActionSpace::new(&config, &scenario).unwrap();
        assert_eq!(space.heads(), [67, 22, 25]);
        let mut decision = Decision::default();
        space.decide(&[21, 7 + 1, 24], |_| 80.0, &mut decision).unwrap();
        let house = decision.services[0].unwrap();
        assert_eq!((house.option, house.concurrency, house.pods), (Some(21), 60, 2));
        let senti = decision.services[1].unwrap();
        assert_eq!((senti.option, senti.pods), (Some(1), 1));
        assert_eq!(decision.services[2], None);
        space.decide(&[66, 14, 16], |_| 80.0, &mut decision).unwrap();
        assert_eq!(decision.services[0], None);
        // 80 users at 10 need 12 pods; half of them are 6.
        assert_eq!(decision.services[1].unwrap().pods, 6);
        assert_eq!(decision.services[2].unwrap().pods, 6);
        let error = space.decide(&[67, 0, 0], |_| 80.0, &mut decision).unwrap_err();
        assert!(error.to_string().contains("67 choices"), "{error}");
    }

    #[test]
    fn the_paper_environment_has_its_options_alone() {
        let scenario = Scenario::load("paper", &[]).unwrap();
        let space = ActionSpace::new(&ActionConfig::default(), &scenario).unwrap();
        assert_eq!(space.heads(), [22, 7, 8]);
        let keep = ActionConfig { keep: true, ..ActionConfig::default() };
        assert_eq!(ActionSpace::new(&keep, &scenario).unwrap_err().exit_code(), 2);
    }
}
