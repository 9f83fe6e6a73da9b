//! A layout with the hints behind it: all that an agent is given.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::hints::{HintKind, HintScratch, Hints};
use super::kind::{Features, LayoutKind};
use super::layout::Layout;
use super::seen::{Expected, ObservationMemory};
use crate::env::actions::ActionSpace;
use crate::env::paper::PaperState;
use crate::error::Result;
use crate::scenario::Scenario;
use crate::snapshot::Snapshot;

/// What an agent sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObservationConfig {
    /// The numbers.
    pub layout: LayoutKind,
    /// What is known of the rewards.
    pub hints: HintKind,
    /// Price per core of hints that are `priced`, in units of the reward. Default: 90 on `paper`, 0 on
    /// `knative`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// One hint for each joint action rather than for each choice of a service (`paper` alone).
    pub joint: bool,
}

impl Default for ObservationConfig {
    fn default() -> Self {
        Self {
            layout: LayoutKind::of(Features::Opt),
            hints: HintKind::None,
            price: None,
            joint: false,
        }
    }
}

/// Writes observations: the numbers of a layout, then hints.
#[derive(Clone, Debug)]
pub struct Observer {
    config: ObservationConfig,
    layout: Layout,
    actions: ActionSpace,
    hints: Hints,
}

/// Buffers of an observer, kept from one observation to the next.
#[derive(Clone, Debug, Default)]
pub struct ObserverScratch {
    hints: HintScratch,
}

impl Observer {
    /// For an agent that chooses among `actions` on `scenario`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when there are no such hints.
    pub fn new(
        config: &ObservationConfig,
        actions: &ActionSpace,
        scenario: &Scenario,
    ) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            layout: Layout::new(config.layout, scenario)?,
            actions: actions.clone(),
            hints: Hints::new(config.hints, config.price, config.joint, actions, scenario)?,
        })
    }

    /// Numbers of one observation, hints included.
    pub fn len(&self) -> usize {
        self.layout.len() + self.hints()
    }

    /// Whether an observation holds nothing: never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers at the end are hints.
    pub fn hints(&self) -> usize {
        self.hints.count(&self.actions)
    }

    /// What the agent can choose.
    pub fn actions(&self) -> &ActionSpace {
        &self.actions
    }

    /// The layout, the hints and the choices: what a checkpoint has to agree with.
    pub fn to_json(&self) -> Value {
        let mut layout = self.layout.to_json();
        layout["hints"] = json!({
            "kind": self.config.hints,
            "price": self.config.price,
            "joint": self.config.joint,
        });
        layout["actions"] = json!({
            "heads": self.actions.heads(),
            "keep": self.actions.config().keep,
            "pod_shares": self.actions.config().pod_shares,
        });
        layout
    }

    /// Writes what a controller sees.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] when the snapshot is of another environment than the hints are for.
    ///
    /// # Panics
    /// When `out` is too short or the snapshot is of other services.
    pub fn write(
        &self,
        snapshot: &Snapshot,
        expected: Expected<'_>,
        memory: &ObservationMemory,
        scratch: &mut ObserverScratch,
        out: &mut [f32],
    ) -> Result<()> {
        let (numbers, hints) = out.split_at_mut(self.layout.len());
        self.layout.write(snapshot, expected, memory, numbers);
        self.hints.write(&self.actions, snapshot, expected, &mut scratch.hints, hints)
    }

    /// Writes what a snapshot of a state of the `paper` environment would show, without making one.
    ///
    /// # Panics
    /// When `out` is too short.
    pub fn write_paper(&self, state: &PaperState, scratch: &mut ObserverScratch, out: &mut [f32]) {
        let (numbers, hints) = out.split_at_mut(self.layout.len());
        self.layout.write_paper(state, numbers);
        self.hints.write_paper(state, &mut scratch.hints, hints);
    }
}
