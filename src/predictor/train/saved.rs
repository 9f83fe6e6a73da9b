//! A training in its predictor's folder: what it takes to go on bit for bit.
//!
//! The folder `training` holds the weights as they are now, the optimiser's moments, the best weights
//! so far and the state; `losses.csv` stands beside the predictor's own files. All of a folder is
//! written anew and renamed into place.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::state::TrainingState;
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
use crate::nn::TensorFile;
use crate::predictor::folder::{predictor_head, read_json};

const FOLDER: &str = "training";
const STATE_FILE: &str = "state.json";
const IDENTITY_FILE: &str = "identity.json";
const WEIGHTS_FILE: &str = "weights.safetensors";
const OPTIMISER_FILE: &str = "optimizer.safetensors";
const BEST_FILE: &str = "best.safetensors";
/// The loss of every epoch.
pub const LOSSES_FILE: &str = "losses.csv";

/// What has to agree for a training to go on. The number of epochs need not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `original` or `quantile`.
    pub model: String,
    /// `original` or `default`, with the split.
    pub recipe: String,
    /// The seed.
    pub seed: u64,
    /// SHA-256 over names and contents of the series.
    pub inputs: String,
    /// The program's version.
    pub version: String,
}

impl Identity {
    /// Fails where a training in `path` is another than this one, naming the first difference.
    fn check(&self, found: &Self, path: &Path) -> Result<()> {
        let pairs = [
            ("model", &self.model, &found.model),
            ("recipe", &self.recipe, &found.recipe),
            ("seed", &self.seed.to_string(), &found.seed.to_string()),
            ("traces (SHA-256)", &self.inputs, &found.inputs),
            ("version", &self.version, &found.version),
        ]
        .map(|(name, own, found)| (name, own.clone(), found.clone()));
        for (name, own, found) in pairs {
            if own != found {
                return Err(Error::input(
                    path.display(),
                    format!("the training there has {name} {found}, this one {own}"),
                    "give the arguments that it was begun with, or name another folder with --out",
                ));
            }
        }
        Ok(())
    }
}

/// A training between two updates.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedTraining {
    /// Where it stands.
    pub state: TrainingState,
    /// The weights now.
    pub weights: TensorFile,
    /// The optimiser's state.
    pub optimiser: TensorFile,
    /// The weights of the best epoch, where they are kept.
    pub best: Option<TensorFile>,
}

impl SavedTraining {
    /// Writes it into the predictor's folder `path`, which is there.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, identity: &Identity, path: &Path) -> Result<()> {
        let folder = path.join(FOLDER);
        let tensors = |name: &str, file: &TensorFile| {
            let bytes = file.to_bytes()?;
            write_atomically(&folder.join(name), |writer| writer.write_all(&bytes))
        };
        tensors(WEIGHTS_FILE, &self.weights)?;
        tensors(OPTIMISER_FILE, &self.optimiser)?;
        if let Some(best) = &self.best {
            tensors(BEST_FILE, best)?;
        }
        write_json(&folder.join(STATE_FILE), &self.state)?;
        write_json(&folder.join(IDENTITY_FILE), identity)?;
        write_atomically(&path.join(LOSSES_FILE), |writer| {
            writeln!(writer, "epoch,train_loss,validation_loss")?;
            for loss in &self.state.losses {
                let train = loss.train.map(|loss| loss.to_string()).unwrap_or_default();
                writeln!(writer, "{},{train},{}", loss.epoch, loss.validation)?;
            }
            Ok(())
        })
    }

    /// Reads the training in `path`, which has to be that of `identity` and a predictor of `kind`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none, it is another, or a file is damaged.
    pub fn read(path: &Path, kind: &str, identity: &Identity) -> Result<Self> {
        let head = predictor_head(path)?;
        if head.kind != kind {
            return Err(Error::input(
                path.display(),
                format!("the folder holds a {}, this is the training of a {kind}", head.kind),
                "give the --model that it was begun with, or name another folder with --out",
            ));
        }
        let folder = path.join(FOLDER);
        if !folder.is_dir() {
            return Err(Error::input(
                path.display(),
                "the predictor was not trained here: there is nothing to go on with",
                "name another folder with --out and leave out --resume",
            ));
        }
        identity.check(&read_json(&folder.join(IDENTITY_FILE))?, path)?;
        let best = folder.join(BEST_FILE);
        Ok(Self {
            state: read_json(&folder.join(STATE_FILE))?,
            weights: TensorFile::read(&folder.join(WEIGHTS_FILE))?,
            optimiser: TensorFile::read(&folder.join(OPTIMISER_FILE))?,
            best: best.exists().then(|| TensorFile::read(&best)).transpose()?,
        })
    }
}
