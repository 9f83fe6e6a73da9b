//! A predictor's folder, whatever its kind, as a forecaster.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Forecaster;
use super::folder::{CONFIG_FILE, MODEL_FILE, predictor_head};
use super::original::OriginalPredictor;
use super::original::checkpoint::{self as original, OriginalCheckpoint};
use super::quantile::QuantileModel;
use super::quantile::checkpoint::{self as quantile, QuantileCheckpoint};
use crate::error::{Error, Result};

/// A trained or imported predictor.
#[derive(Clone)]
pub struct TrainedPredictor {
    /// What `metadata.json` calls its kind.
    pub kind: &'static str,
    /// Whether it forecasts quantiles.
    pub has_bands: bool,
    network: Network,
    /// SHA-256 of its network, hexadecimal.
    pub sha256: String,
}

/// The network of a predictor.
#[derive(Clone)]
pub enum Network {
    /// The original's.
    Original(Arc<OriginalPredictor>),
    /// The quantile model, for services of any name.
    Quantile(QuantileModel),
}

impl TrainedPredictor {
    /// Its network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The forecaster for services of these names: one that was trained on a service of the same name
    /// knows it.
    pub fn for_services<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Arc<dyn Forecaster> {
        match &self.network {
            Network::Original(predictor) => Arc::clone(predictor) as Arc<dyn Forecaster>,
            Network::Quantile(model) => Arc::new(model.for_services(names)),
        }
    }
}

/// Whether the folder `path` says that it is a predictor's, of whatever kind.
pub fn is_predictor(path: &Path) -> bool {
    predictor_head(path).is_ok_and(|head| head.is_predictor())
}

/// Reads the folder `path` of any kind of predictor.
///
/// # Errors
/// [`Error::Input`] when it is no predictor's folder, of an unknown kind, or damaged.
pub fn load(path: &Path) -> Result<TrainedPredictor> {
    let head = predictor_head(path)?;
    let (kind, network) = match head.kind.as_str() {
        original::KIND => {
            let predictor = OriginalCheckpoint::load(path)?.predictor();
            (original::KIND, Network::Original(Arc::new(predictor)))
        }
        quantile::KIND => {
            (quantile::KIND, Network::Quantile(QuantileCheckpoint::load(path)?.model()))
        }
        other => {
            return Err(Error::input(
                path.display(),
                format!("kind `{other}` is no predictor's that this program knows"),
                format!("known: {}, {}", original::KIND, quantile::KIND),
            ));
        }
    };
    let mut hash = Sha256::new();
    for file in [MODEL_FILE, CONFIG_FILE] {
        let file = path.join(file);
        hash.update(std::fs::read(&file).map_err(|source| Error::io("read", &file, source))?);
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(TrainedPredictor { kind, has_bands: kind == quantile::KIND, network, sha256 })
}
