//! A predictor's folder, whatever its kind, as a forecaster.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Forecaster;
use super::folder::{CONFIG_FILE, MODEL_FILE, predictor_head};
use super::original::checkpoint::{self as original, OriginalCheckpoint};
use super::quantile::checkpoint::{self as quantile, QuantileCheckpoint};
use crate::error::{Error, Result};

/// A trained or imported predictor.
#[derive(Clone)]
pub struct TrainedPredictor {
    /// What `metadata.json` calls its kind.
    pub kind: &'static str,
    /// Whether it forecasts quantiles.
    pub has_bands: bool,
    /// The forecaster.
    pub forecaster: Arc<dyn Forecaster>,
    /// SHA-256 of its network, hexadecimal.
    pub sha256: String,
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
    let (kind, forecaster): (_, Arc<dyn Forecaster>) = match head.kind.as_str() {
        original::KIND => (original::KIND, Arc::new(OriginalCheckpoint::load(path)?.predictor())),
        quantile::KIND => (quantile::KIND, Arc::new(QuantileCheckpoint::load(path)?.model())),
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
    Ok(TrainedPredictor { kind, has_bands: kind == quantile::KIND, forecaster, sha256 })
}
