//! Where the guard stepped in, as types: a metric counts them by rule, a log line and the `reason` of
//! a decision say them in words.

use serde::{Deserialize, Serialize};

/// A rule of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The users of a service are not known.
    UsersUnknown,
    /// The users of a service are negative or above `max_users`.
    UsersAbsurd,
    /// Another signal that the policy needs is missing.
    SignalMissing,
    /// It is not known what the service runs now.
    OptionUnknown,
    /// The forecast is no number, negative or above `max_users`.
    ForecastAbsurd,
    /// The policy asks for a CPU size that the profile has not.
    NoSuchOption,
    /// Pods were changed so that the step keeps `max_step_cpu_m` and `max_step_pods`.
    StepLimited,
    /// No number of pods keeps the step within its limits.
    StepTooLarge,
    /// Pods were taken away so that the quota is kept.
    QuotaLimited,
    /// Not even one pod a service fits the quota.
    QuotaTooSmall,
    /// The last good decision was held for long enough: the stated fallback is asked for.
    Fallback,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 11] = [
        Self::UsersUnknown,
        Self::UsersAbsurd,
        Self::SignalMissing,
        Self::OptionUnknown,
        Self::ForecastAbsurd,
        Self::NoSuchOption,
        Self::StepLimited,
        Self::StepTooLarge,
        Self::QuotaLimited,
        Self::QuotaTooSmall,
        Self::Fallback,
    ];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsersUnknown => "users_unknown",
            Self::UsersAbsurd => "users_absurd",
            Self::SignalMissing => "signal_missing",
            Self::OptionUnknown => "option_unknown",
            Self::ForecastAbsurd => "forecast_absurd",
            Self::NoSuchOption => "no_such_option",
            Self::StepLimited => "step_limited",
            Self::StepTooLarge => "step_too_large",
            Self::QuotaLimited => "quota_limited",
            Self::QuotaTooSmall => "quota_too_small",
            Self::Fallback => "fallback",
        }
    }
}

/// One rule of the guard at work on one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Intervention {
    /// Index of the service.
    pub service: usize,
    /// The rule.
    pub rule: Rule,
    /// Whether the service is left as it is.
    pub held: bool,
    /// What was done or is wrong, in a few words.
    pub words: String,
}

impl Intervention {
    /// The service is left as it is, because of `words`.
    pub(super) fn hold(service: usize, rule: Rule, words: impl Into<String>) -> Self {
        Self { service, rule, held: true, words: words.into() }
    }

    /// The service's part of the decision was changed: `words` say to what.
    pub(super) fn change(service: usize, rule: Rule, words: impl Into<String>) -> Self {
        Self { service, rule, held: false, words: words.into() }
    }

    /// What stands in a decision's reason, of the service called `name`.
    pub(super) fn reason(&self, name: &str) -> String {
        let held = if self.held { "held, " } else { "" };
        format!("guard: {name} {held}{}", self.words)
    }
}
