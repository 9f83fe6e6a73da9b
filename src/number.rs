//! Numbers in JSON, which has no infinity.
//!
//! An infinite value is written as the string `"inf"` or `"-inf"`; not-a-number is null. Each
//! module is for `#[serde(with = "…")]` on a field of that type. In CSV the same modules give
//! `inf`, `-inf` and an empty cell.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{SerializeSeq, Serializer};

/// A float as JSON can hold it.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Cell {
    Number(f64),
    Text(String),
    Nothing(()),
}

impl Cell {
    fn of(value: f64) -> Self {
        if value.is_finite() {
            Self::Number(value)
        } else if value.is_nan() {
            Self::Nothing(())
        } else {
            Self::Text(if value > 0.0 { "inf" } else { "-inf" }.to_owned())
        }
    }

    fn value<E: serde::de::Error>(self) -> Result<Option<f64>, E> {
        match self {
            Self::Number(value) => Ok(Some(value)),
            Self::Nothing(()) => Ok(None),
            Self::Text(text) => match text.as_str() {
                "inf" => Ok(Some(f64::INFINITY)),
                "-inf" => Ok(Some(f64::NEG_INFINITY)),
                "" => Ok(None),
                _ => Err(E::custom(format!("`{text}` is no number, \"inf\" or \"-inf\""))),
            },
        }
    }
}

/// The JSON value of `value`: a number, `"inf"`, `"-inf"` or null.
pub fn to_json(value: f64) -> serde_json::Value {
    serde_json::to_value(Cell::of(value)).unwrap_or_default()
}

/// For `f64`.
pub mod plain {
    use super::*;

    /// Writes a number, `inf` or `-inf`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(&Cell::of(*value), serializer)
    }

    /// Reads what [`serialize`] writes.
    ///
    /// # Errors
    /// When it is neither a number nor `inf` or `-inf`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Cell::deserialize(deserializer)?.value::<D::Error>()?.unwrap_or(f64::NAN))
    }
}

/// For `Option<f64>`.
pub mod option {
    use super::*;

    /// Writes a number, `inf`, `-inf` or null.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        plain::serialize(&value.unwrap_or(f64::NAN), serializer)
    }

    /// Reads what [`serialize`] writes.
    ///
    /// # Errors
    /// When it is neither a number, null nor `inf` or `-inf`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        Cell::deserialize(deserializer)?.value()
    }
}

/// For `Vec<Option<f64>>`.
pub mod list {
    use super::*;

    /// Writes a list of numbers, `inf`, `-inf` or null.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(
        values: &[Option<f64>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(values.len()))?;
        for value in values {
            list.serialize_element(&Cell::of(value.unwrap_or(f64::NAN)))?;
        }
        list.end()
    }

    /// Reads what [`serialize`] writes.
    ///
    /// # Errors
    /// When an element is neither a number, null nor `inf` or `-inf`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Option<f64>>, D::Error> {
        let cells = Vec::<Cell>::deserialize(deserializer)?;
        cells
            .into_iter()
            .map(Cell::value)
            .collect::<Result<_, _>>()
            .map_err(D::Error::custom::<D::Error>)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        #[serde(with = "super::plain")]
        a: f64,
        #[serde(with = "super::option")]
        b: Option<f64>,
        #[serde(with = "super::list")]
        c: Vec<Option<f64>>,
    }

    #[test]
    fn infinities_go_through_json_and_back() {
        let row =
            Row { a: f64::INFINITY, b: None, c: vec![Some(0.1), Some(f64::NEG_INFINITY), None] };
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(json, r#"{"a":"inf","b":null,"c":[0.1,"-inf",null]}"#);
        assert_eq!(serde_json::from_str::<Row>(&json).unwrap(), row);
        assert!(serde_json::from_str::<Row>(r#"{"a":"much","b":null,"c":[]}"#).is_err());
    }
}
