//! Agents that come with the program: the folders in checkpoints/, kept inside the binary, so that their
//! names work from any folder and in a container.

use std::path::PathBuf;

use crate::agent::Agent;
use crate::agent::checkpoint::AGENT_KINDS;
use crate::agent::log::{LOG, LogRow, parse_log};
use crate::error::Result;
use crate::nn::Checkpoint;

/// One agent.
#[derive(Clone, Copy)]
pub struct Shipped {
    /// Its kind, which is the policy's name.
    kind: &'static str,
    /// Names of the scenarios that it is for.
    scenarios: &'static [&'static str],
    /// Its folder in checkpoints/.
    folder: &'static str,
    /// Its files: names and contents.
    files: &'static [(&'static str, &'static [u8])],
}

/// The files of an agent without optimiser, random streams and normaliser, and of its training's log, of a
/// folder in checkpoints/.
macro_rules! files {
    ($folder:literal) => {
        files!(
            $folder,
            "config.json",
            "layout.json",
            "log.csv",
            "metadata.json",
            "model.safetensors"
        )
    };
    ($folder:literal, $($name:literal),+) => {
        &[$((
            $name,
            include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/checkpoints/", $folder, "/", $name
            )),
        )),+]
    };
}

/// All of them.
const SHIPPED: &[Shipped] = &[
    Shipped {
        kind: "recurrent-ppo",
        scenarios: &["paper"],
        folder: "recurrent-ppo-paper",
        files: files!("recurrent-ppo-paper"),
    },
    Shipped {
        kind: "recurrent-ppo",
        scenarios: &["paper-knative", "knative-random"],
        folder: "recurrent-ppo-knative",
        files: files!("recurrent-ppo-knative"),
    },
    Shipped {
        kind: "ppo",
        scenarios: &["paper-random"],
        folder: "ppo-paper-random",
        files: files!("ppo-paper-random"),
    },
];

impl Shipped {
    /// The agent of this kind for the scenario called `scenario`, if one is shipped. A built-in scenario
    /// that was changed keeps its name; whether the agent fits the changed one is for
    /// [`Neural::new`](super::Neural::new) to say.
    pub fn find(kind: &str, scenario: &str) -> Option<Self> {
        let fits = |shipped: &&Self| shipped.kind == kind && shipped.scenarios.contains(&scenario);
        SHIPPED.iter().find(fits).copied()
    }

    /// What messages call it, as if it were a folder.
    pub fn place(self) -> PathBuf {
        ["checkpoints", self.folder].iter().collect()
    }

    /// The course of its training: the rows of its log.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when the log is damaged.
    pub fn log(self) -> Result<Vec<LogRow>> {
        let place = self.place().join(LOG);
        let text = self.files.iter().find(|(name, _)| *name == LOG).map_or(&[][..], |file| file.1);
        parse_log(text, &place)
    }

    /// The agent, checked like any other.
    ///
    /// # Errors
    /// As [`Checkpoint::from_bytes`] and [`Agent::from_checkpoint`].
    pub fn agent(self) -> Result<Agent> {
        let place = self.place();
        let checkpoint = Checkpoint::from_bytes(self.files, &place, &AGENT_KINDS, None)?;
        Agent::from_checkpoint(&checkpoint, &place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Neural;
    use crate::scenario::Scenario;

    #[test]
    fn every_agent_is_what_it_says_and_fits_its_scenarios() {
        for shipped in SHIPPED {
            let agent = shipped.agent().unwrap();
            assert_eq!(agent.metadata.kind, shipped.kind, "{}", shipped.folder);
            let last = shipped.log().unwrap().pop().unwrap();
            assert!(last.steps >= agent.metadata.steps, "{}", shipped.folder);
            let on = |name: &str, sets: &[&str]| {
                let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
                let scenario = Scenario::load(name, &sets).unwrap();
                Neural::new("name", agent.clone(), &scenario, "shipped").map(drop)
            };
            for name in shipped.scenarios {
                on(name, &[]).unwrap();
                on(name, &["service.house.slo_p95_ms=400"]).unwrap();
                assert_eq!(Shipped::find(shipped.kind, name).unwrap().folder, shipped.folder);
            }
        }
        assert!(Shipped::find("trpo", "paper").is_none());
        assert!(Shipped::find("recurrent-ppo", "mine").is_none());
    }
}
