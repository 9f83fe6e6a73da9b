//! `predictor import`: from Keras's file and a scaler to a folder of our own.

use std::path::PathBuf;

use super::Common;

/// Arguments of `predictor import`.
///
/// The scaler is two numbers, the least and the most users of the training data. The original keeps
/// it as a Python pickle, which only Python can read: give the numbers as options or as JSON.
#[derive(clap::Args)]
pub struct Args {
    /// The model, as Keras's `model.save` wrote it.
    #[arg(long, value_name = "FILE")]
    h5: PathBuf,
    /// The scaler as JSON: {"data_min": 8, "data_max": 100, "feature_range": [0, 1]}; no pickle.
    #[arg(long, value_name = "FILE", required_unless_present = "data_min", conflicts_with_all = ["data_min", "data_max"])]
    scaler: Option<PathBuf>,
    /// Instead of the scaler's file: the least users of the training data.
    #[arg(long, value_name = "USERS", requires = "data_max", allow_negative_numbers = true)]
    data_min: Option<f64>,
    /// Instead of the scaler's file: the most users of the training data.
    #[arg(long, value_name = "USERS", requires = "data_min", allow_negative_numbers = true)]
    data_max: Option<f64>,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace another predictor in that folder.
    #[arg(long)]
    force: bool,
}

#[cfg(not(feature = "keras-import"))]
pub(super) fn run(args: &Args, _common: Common) -> anyhow::Result<()> {
    Err(crate::Error::input(
        args.h5.display(),
        "this program was built without the reader of Keras's files",
        "build it with `--features keras-import`",
    )
    .into())
}

#[cfg(feature = "keras-import")]
pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    use super::{VERSION, print_json, print_line};
    use crate::predictor::original::MinMaxScaler;
    use crate::predictor::original::checkpoint::{KIND, OriginalCheckpoint, Source};
    use crate::predictor::original::keras_h5;

    let scaler = match (&args.scaler, args.data_min, args.data_max) {
        (Some(path), ..) => MinMaxScaler::read(path)?,
        (None, Some(min), Some(max)) => MinMaxScaler::new("--data-min, --data-max", min, max)?,
        _ => {
            return Err(crate::Error::input(
                "--scaler",
                "neither a scaler nor its range is given",
                "give --scaler FILE.json, or --data-min and --data-max",
            )
            .into());
        }
    };
    let model = keras_h5::read(&args.h5)?;
    let checkpoint = OriginalCheckpoint {
        weights: model.weights,
        scaler,
        version: VERSION.to_owned(),
        source: Source {
            file: args.h5.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: model.sha256,
            keras_version: model.keras_version,
        },
        training: None,
    };
    checkpoint.save(&args.out, args.force)?;
    let (units, parameters) = (checkpoint.weights.units(), checkpoint.weights.parameters());
    if common.json {
        return print_json(&serde_json::json!({
            "out": args.out.display().to_string(),
            "kind": KIND,
            "units": units,
            "parameters": parameters,
            "scaler": checkpoint.scaler,
            "source": checkpoint.source,
        }));
    }
    print_line(format!(
        "{}: {units} units in each direction, {parameters} parameters, Keras {}",
        args.out.display(),
        checkpoint.source.keras_version.as_deref().unwrap_or("of unknown version"),
    ))
}
