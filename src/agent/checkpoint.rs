//! Agents on disk: [`crate::nn::Checkpoint`]s of the kinds of agents.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::network::{ActorCritic, AgentShape, NetworkConfig};
use super::normalise::ObservationNormaliser;
use super::parameters::Parameters;
use crate::env::EnvironmentConfig;
use crate::error::{Error, Result};
use crate::nn::{Checkpoint, Metadata};
use crate::rng::Streams;

/// The kinds of checkpoints that hold an actor and a critic.
pub const AGENT_KINDS: [&str; 3] = ["recurrent-ppo", "ppo", "trpo"];

/// Folders inside that of a training.
pub const BEST: &str = "best";
/// The checkpoint that a training goes on from.
pub const LAST: &str = "last";

/// config.json of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// What goes in and what comes out.
    pub shape: AgentShape,
    /// What it sees and can choose, and what it was trained on.
    #[serde(default)]
    pub environment: EnvironmentConfig,
    /// The networks.
    pub network: NetworkConfig,
    /// Settings of the training, in the words of its algorithm; of an imported agent those that the other
    /// program names.
    #[serde(default)]
    pub training: Value,
}

/// A trained actor and critic: all that acting needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Where it comes from; its `kind` is the name of its algorithm.
    pub metadata: Metadata,
    /// Its settings.
    pub config: AgentConfig,
    /// The structure of its networks.
    pub network: ActorCritic,
    /// Their numbers.
    pub parameters: Parameters,
    /// What observations go through first, if anything.
    pub normaliser: Option<ObservationNormaliser>,
    /// The features of an observation, as [`crate::env::BatchEnv::layout`] describes them.
    pub layout: Value,
}

impl Agent {
    /// With initial weights.
    ///
    /// # Errors
    /// As [`ActorCritic::new`].
    pub fn new(metadata: Metadata, config: AgentConfig, layout: Value) -> Result<Self> {
        let streams = Streams::new(metadata.seed);
        let (network, parameters) = ActorCritic::new(&config.shape, &config.network, streams)?;
        Ok(Self { metadata, config, network, parameters, normaliser: None, layout })
    }

    /// The checkpoint that holds it: enough to act, not to go on training.
    ///
    /// # Errors
    /// When its settings cannot be written as JSON.
    pub fn to_checkpoint(&self) -> Result<Checkpoint> {
        let json = |error| Error::Failed(format!("cannot write an agent's settings: {error}"));
        Ok(Checkpoint {
            metadata: self.metadata.clone(),
            model: self.parameters.to_file(),
            normaliser: self
                .normaliser
                .as_ref()
                .map(serde_json::to_value)
                .transpose()
                .map_err(json)?,
            config: serde_json::to_value(&self.config).map_err(json)?,
            layout: self.layout.clone(),
            ..Checkpoint::default()
        })
    }

    /// From a checkpoint that was read from `place`.
    ///
    /// # Errors
    /// [`Error::Input`] when its settings or tensors do not fit each other.
    pub fn from_checkpoint(checkpoint: &Checkpoint, place: &Path) -> Result<Self> {
        let unreadable = |file: &str, error: serde_json::Error| {
            Error::input(
                place.join(file).display(),
                format!("is not what an agent's checkpoint holds here: {error}"),
                "take another checkpoint, or train again with this version",
            )
        };
        let config: AgentConfig = serde_json::from_value(checkpoint.config.clone())
            .map_err(|error| unreadable("config.json", error))?;
        let normaliser: Option<ObservationNormaliser> = checkpoint
            .normaliser
            .clone()
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| unreadable("normaliser.json", error))?;
        if let Some(normaliser) = &normaliser
            && normaliser.features() != config.shape.inputs
        {
            return Err(Error::input(
                place.join("normaliser.json").display(),
                format!(
                    "statistics of {} features, where the network has {} inputs",
                    normaliser.features(),
                    config.shape.inputs
                ),
                "take another checkpoint",
            ));
        }
        config.network.check(&place.join("config.json").display().to_string())?;
        let mut agent = Self::new(checkpoint.metadata.clone(), config, checkpoint.layout.clone())?;
        agent.parameters.set(&checkpoint.model, &place.join("model.safetensors"))?;
        agent.normaliser = normaliser;
        Ok(agent)
    }

    /// Reads the agent in `folder`: a checkpoint, or the folder of a training (its best one then).
    ///
    /// # Errors
    /// As [`Checkpoint::load`] and [`Self::from_checkpoint`].
    pub fn load(folder: &Path) -> Result<Self> {
        let place = resolve(folder);
        Self::from_checkpoint(&Checkpoint::load(&place, &AGENT_KINDS, None)?, &place)
    }

    /// Writes the agent to `folder`, as [`Checkpoint::save`] does.
    ///
    /// # Errors
    /// As there.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.to_checkpoint()?.save(folder)
    }
}

/// The checkpoint that `folder` means: itself, or the best or else the last one of a training in it.
pub fn resolve(folder: &Path) -> PathBuf {
    if Checkpoint::exists(folder) {
        return folder.to_owned();
    }
    [BEST, LAST]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|place| Checkpoint::exists(place))
        .unwrap_or_else(|| folder.to_owned())
}
