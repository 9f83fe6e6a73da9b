//! Layouts by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::scenario::did_you_mean;

/// Which numbers a layout holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// The original's nine integers (3 S of them).
    NineRaw,
    /// The same / 100.
    Nine,
    /// And the option in force.
    Opt,
    /// And pods and exact CPU.
    Full,
    /// And what every option would need.
    Feat,
    /// What can be seen of services on a cluster.
    Knative,
    /// The same without any share of the quota: to learn what seeing it is worth.
    KnativeNoQuota,
}

impl Features {
    const ALL: [(&str, Self); 7] = [
        ("nine_raw", Self::NineRaw),
        ("nine", Self::Nine),
        ("opt", Self::Opt),
        ("full", Self::Full),
        ("feat", Self::Feat),
        ("knative", Self::Knative),
        ("knative_no_quota", Self::KnativeNoQuota),
    ];
}

/// Ending of a name with the share of the episode that is over.
const TIMED: &str = "_t";

/// A layout by name: `nine_raw`, `nine`, `opt`, `full`, `feat`, `knative` or `knative_no_quota`, each also
/// with `_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayoutKind {
    /// The numbers.
    pub features: Features,
    /// Whether the share of the episode that is over is one of them.
    pub timed: bool,
}

impl LayoutKind {
    /// These numbers, without the time.
    pub fn of(features: Features) -> Self {
        Self { features, timed: false }
    }
}

impl fmt::Display for LayoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, features) in Features::ALL {
            if features == self.features {
                f.write_str(name)?;
            }
        }
        f.write_str(if self.timed { TIMED } else { "" })
    }
}

impl From<LayoutKind> for String {
    fn from(kind: LayoutKind) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for LayoutKind {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for LayoutKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, timed) = match text.strip_suffix(TIMED) {
            Some(name) => (name, true),
            None => (text, false),
        };
        let found = Features::ALL.iter().find(|(known, _)| *known == name);
        found.map(|&(_, features)| Self { features, timed }).ok_or_else(|| {
            let names = Features::ALL.map(|(name, _)| name);
            Error::input(
                format!("layout `{text}`"),
                "no observation is called so",
                format!(
                    "{}known: {}, each also with {TIMED}",
                    did_you_mean(name, &names),
                    names.join(", ")
                ),
            )
        })
    }
}
