//! The scaling of users to what the network sees, and back.
//!
//! It computes in f64 and casts to f32 in the places where the original does, which makes results
//! equal to the last bit. Nothing is clipped: values outside the range extrapolate.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::WINDOW;
use crate::error::{Error, Result};

/// A fitted min-max scaler.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MinMaxScaler {
    data_min: f64,
    data_max: f64,
    feature_range: [f64; 2],
    scale: f64,
    min: f64,
}

/// The file's fields; others are for readers.
#[derive(Deserialize)]
struct File {
    data_min: f64,
    data_max: f64,
    #[serde(default = "unit_range")]
    feature_range: [f64; 2],
    scale: Option<f64>,
    min: Option<f64>,
    #[serde(default)]
    clip: bool,
}

fn unit_range() -> [f64; 2] {
    [0.0, 1.0]
}

/// Largest relative difference between a factor in a file and the one that follows from its range.
const FACTOR_TOLERANCE: f64 = 1e-9;

impl MinMaxScaler {
    /// A scaler of users from `data_min` to `data_max` to 0..1.
    ///
    /// # Errors
    /// [`Error::Input`] at `place` when that is no range.
    pub fn new(place: &str, data_min: f64, data_max: f64) -> Result<Self> {
        Self::with_range(place, data_min, data_max, unit_range())
    }

    fn with_range(
        place: &str,
        data_min: f64,
        data_max: f64,
        feature_range: [f64; 2],
    ) -> Result<Self> {
        let [low, high] = feature_range;
        for (name, from, to) in
            [("data_min to data_max", data_min, data_max), ("feature_range", low, high)]
        {
            if !(from < to && (to - from).is_finite() && (to - from).is_normal()) {
                return Err(Error::input(
                    place,
                    format!("{name} is {from} to {to}"),
                    "give the smaller number first, and two that differ",
                ));
            }
        }
        let scale = (high - low) / (data_max - data_min);
        let min = low - data_min * scale;
        if !(scale.is_normal() && min.is_finite()) {
            return Err(Error::input(
                place,
                format!("data_min to data_max is {data_min} to {data_max}"),
                "give the least and the most users of the training data",
            ));
        }
        Ok(Self { data_min, data_max, feature_range, scale, min })
    }

    /// Reads a scaler's JSON file.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that cannot be read, is a pickle, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self> {
        /// How the file has to be, for messages.
        const FORM: &str = "write JSON as {\"data_min\": 8, \"data_max\": 100, \"feature_range\": [0, 1]}, \
                            or give --data-min and --data-max instead";
        let place = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| {
            Error::input(&place, format!("cannot read the file: {source}"), "check the path")
        })?;
        if bytes.first() == Some(&0x80) {
            return Err(Error::input(
                &place,
                "this is a Python pickle, which only Python can read",
                format!("take data_min_ and data_max_ out of the scaler there and {FORM}"),
            ));
        }
        let file: File = serde_json::from_slice(&bytes)
            .map_err(|error| Error::input(format!("{place}:{}", error.line()), error, FORM))?;
        if file.clip {
            return Err(Error::input(
                &place,
                "the scaler clips (`clip` is true)",
                "the original's does not; set `clip` to false if that was an oversight",
            ));
        }
        let scaler = Self::with_range(&place, file.data_min, file.data_max, file.feature_range)?;
        for (name, given, derived) in
            [("scale", file.scale, scaler.scale), ("min", file.min, scaler.min)]
        {
            if let Some(given) = given
                && (given - derived).abs() > FACTOR_TOLERANCE * derived.abs().max(scaler.scale)
            {
                return Err(Error::input(
                    &place,
                    format!(
                        "{name}: expected {derived}, which follows from the range, found {given}"
                    ),
                    format!("leave out `{name}`, or correct data_min, data_max or feature_range"),
                ));
            }
        }
        // The file's own factors are those that the original computes with, to the last bit.
        Ok(Self {
            scale: file.scale.unwrap_or(scaler.scale),
            min: file.min.unwrap_or(scaler.min),
            ..scaler
        })
    }

    /// Least and most users of the training data.
    pub fn data_range(&self) -> [f64; 2] {
        [self.data_min, self.data_max]
    }

    /// Users as the network sees them.
    pub fn scale(&self, users: &[f64; WINDOW]) -> [f32; WINDOW] {
        users.map(|users| (users * self.scale + self.min) as f32)
    }

    /// The network's output in users.
    pub fn unscale(&self, scaled: f32) -> f32 {
        let shifted = (f64::from(scaled) - self.min) as f32;
        (f64::from(shifted) / self.scale) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<MinMaxScaler> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scaler.json");
        std::fs::write(&path, text).unwrap();
        MinMaxScaler::read(&path)
    }

    #[test]
    fn factors_and_casts_are_the_originals() {
        let scaler = MinMaxScaler::new("here", 8.0, 100.0).unwrap();
        assert_eq!(scaler.scale, 0.010_869_565_217_391_304);
        assert_eq!(scaler.min, -0.086_956_521_739_130_43);
        let scaled = scaler.scale(&[8.0, 100.0, 54.0, 0.0, 1e6, -255.0, 34.25]);
        assert_eq!(scaled[0], 0.0);
        assert_eq!(scaled[3], -0.086_956_52);
        // Two golden rows of the original.
        assert_eq!(scaler.unscale(-3.055_539e-2), 5.188_904_3);
        assert_eq!(scaler.unscale(-2.239_275_4e-2), 5.939_866_5);
    }

    #[test]
    fn a_file_may_hold_the_range_alone_or_all_factors() {
        let own = MinMaxScaler::new("here", 8.0, 100.0).unwrap();
        assert_eq!(read(br#"{"data_min": 8, "data_max": 100}"#).unwrap(), own);
        let written = serde_json::to_vec(&own).unwrap();
        assert_eq!(read(&written).unwrap(), own);
        let wider = br#"{"data_min": 8, "data_max": 100, "feature_range": [-1, 1], "note": "x"}"#;
        assert_eq!(read(wider).unwrap().unscale(1.0), 100.0);
    }

    #[test]
    fn files_that_cannot_be_meant_are_refused_with_the_reason() {
        let cases: [(&[u8], &str); 8] = [
            (b"\x80\x04\x95", "pickle"),
            (b"", "data_min"),
            (b"[1, 2]", "data_min"),
            (br#"{"data_min": 8}"#, "data_max"),
            (br#"{"data_min": 8, "data_max": 8}"#, "8 to 8"),
            (br#"{"data_min": 8, "data_max": 1e999}"#, "number out of range"),
            (br#"{"data_min": 8, "data_max": 100, "clip": true}"#, "clip"),
            (br#"{"data_min": 8, "data_max": 100, "scale": 0.02}"#, "expected 0.0108"),
        ];
        for (text, reason) in cases {
            let error = read(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
