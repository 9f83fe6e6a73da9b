//! The description of the layers that Keras puts beside the weights, checked against the original's.
//!
//! Weights of the right shape are not enough: another activation or merge mode has the same shapes
//! and other results.

use serde_json::Value;

use super::WINDOW;
use crate::error::{Error, Result};

/// What the description says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// Units of each direction of each LSTM layer.
    pub units: usize,
    /// Names of the layers that have weights: two bidirectional ones and the dense one.
    pub layers: [String; 3],
}

/// Where the description is, for messages.
const PLACE: &str = "attribute model_config";
/// The remedy for anything that is not the original's.
const REMEDY: &str = "only the original's network can be imported: Bidirectional(LSTM), \
                      Bidirectional(LSTM), Dense(1)";

/// A part of the description, with its place for messages.
#[derive(Clone)]
struct Part<'a> {
    file: &'a str,
    place: String,
    value: &'a Value,
}

/// Reads the JSON text of a model's description.
///
/// # Errors
/// [`Error::Input`] naming what is not as in the original.
pub(super) fn read(file: &str, text: &str) -> Result<Description> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        Error::input(
            format!("{file}: {PLACE}"),
            format!("not JSON: {error}"),
            "the file is damaged: copy it again",
        )
    })?;
    let model = Part { file, place: PLACE.to_owned(), value: &value };
    model.expect("class_name", &Value::from("Sequential"))?;
    let model_config = model.get("config")?;
    let list = model_config.get("layers")?;
    let Value::Array(values) = list.value else {
        return Err(list.error("the layers are not a list"));
    };
    let layers: Vec<Part<'_>> = values
        .iter()
        .enumerate()
        .map(|(index, value)| Part { file, place: format!("{PLACE}: layer {index}"), value })
        .collect();
    let is_input = |part: &Part<'_>| part.value["class_name"] == "InputLayer";
    for input in layers.iter().filter(|part| is_input(part)) {
        check_window(&input.get("config")?)?;
    }
    let layers: Vec<Part<'_>> = layers.into_iter().filter(|part| !is_input(part)).collect();
    let [first, second, dense] = &layers[..] else {
        let names: Vec<&str> =
            layers.iter().map(|part| part.value["class_name"].as_str().unwrap_or("?")).collect();
        return Err(list.error(format!("expected 3 layers, found {}", names.join(", "))));
    };
    let units = bidirectional(first, true)?;
    let second_units = bidirectional(second, false)?;
    if units != second_units {
        return Err(second
            .error(format!("expected {units} units as in the first layer, found {second_units}")));
    }
    dense.expect("class_name", &Value::from("Dense"))?;
    let config = dense.get("config")?;
    config.expect("units", &Value::from(1))?;
    config.expect("activation", &Value::from("linear"))?;
    config.expect("use_bias", &Value::from(true))?;
    check_precision(&config)?;
    Ok(Description { units, layers: [first.name()?, second.name()?, dense.name()?] })
}

/// Checks a bidirectional LSTM layer and gives its units.
fn bidirectional(layer: &Part<'_>, sequences: bool) -> Result<usize> {
    layer.expect("class_name", &Value::from("Bidirectional"))?;
    let config = layer.get("config")?;
    check_window(&config)?;
    config.expect("merge_mode", &Value::from("concat"))?;
    let units = lstm(&config.get("layer")?, sequences, false)?;
    // Written only where the backward layer was given by hand, or by later versions of Keras.
    if !config.value["backward_layer"].is_null() {
        let backward = config.get("backward_layer")?;
        let backward_units = lstm(&backward, sequences, true)?;
        if units != backward_units {
            return Err(backward.error(format!(
                "expected {units} units as in the forward direction, found {backward_units}"
            )));
        }
    }
    Ok(units)
}

fn lstm(layer: &Part<'_>, sequences: bool, backwards: bool) -> Result<usize> {
    layer.expect("class_name", &Value::from("LSTM"))?;
    let config = layer.get("config")?;
    for (key, expected) in [
        ("return_sequences", Value::from(sequences)),
        ("activation", Value::from("tanh")),
        ("recurrent_activation", Value::from("sigmoid")),
        ("use_bias", Value::from(true)),
        ("go_backwards", Value::from(backwards)),
    ] {
        config.expect(key, &expected)?;
    }
    // Not written by every version of Keras.
    for key in ["return_state", "stateful", "time_major"] {
        if !config.value[key].is_null() {
            config.expect(key, &Value::from(false))?;
        }
    }
    check_precision(&config)?;
    let units = config.get("units")?;
    let number = units.value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| units.error(format!("`{}` is no number of units", units.value)))
}

/// Checks that a layer computes in f32, where it says so: as a name or, in other versions of Keras
/// and for mixed precision, as a policy with a name.
fn check_precision(config: &Part<'_>) -> Result<()> {
    let kind = &config.value["dtype"];
    let name = kind.as_str().or_else(|| kind["config"]["name"].as_str());
    match name {
        Some("float32") | None => Ok(()),
        Some(name) => {
            Err(config.get("dtype")?.error(format!("expected \"float32\", found \"{name}\"")))
        }
    }
}

/// Checks the shape of the input, where a layer states it: any batch, a window, one value a step.
fn check_window(config: &Part<'_>) -> Result<()> {
    for key in ["batch_input_shape", "batch_shape"] {
        let Value::Array(shape) = &config.value[key] else { continue };
        let steps = shape.get(1).unwrap_or(&Value::Null);
        let fits = shape.len() == 3
            && shape[2] == 1
            && (steps.is_null() || steps.as_u64() == Some(WINDOW as u64));
        if !fits {
            return Err(config.get(key)?.error(format!(
                "expected the shape [null,{WINDOW},1], found {}",
                config.value[key]
            )));
        }
    }
    Ok(())
}

impl<'a> Part<'a> {
    fn get(&self, key: &str) -> Result<Part<'a>> {
        let value =
            self.value.get(key).ok_or_else(|| self.error(format!("there is no `{key}`")))?;
        Ok(Part { file: self.file, place: format!("{}: {key}", self.place), value })
    }

    fn expect(&self, key: &str, expected: &Value) -> Result<()> {
        let part = self.get(key)?;
        if part.value == expected {
            return Ok(());
        }
        Err(part.error(format!("expected {expected}, found {}", short(part.value))))
    }

    /// The layer's name.
    fn name(&self) -> Result<String> {
        let name = self.get("config")?.get("name")?;
        let text = name.value.as_str().map(str::to_owned);
        text.ok_or_else(|| name.error("the layer's name is not a text"))
    }

    fn error(&self, problem: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: {}", self.file, self.place), problem, REMEDY)
    }
}

/// The text of a value, or its beginning.
fn short(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lstm_layer(sequences: bool) -> Value {
        json!({"class_name": "Bidirectional", "config": {
            "name": if sequences { "bidirectional_8" } else { "b" },
            "merge_mode": "concat",
            "batch_input_shape": [null, 7, 1],
            "layer": {"class_name": "LSTM", "config": {
                "units": 5, "return_sequences": sequences, "activation": "tanh",
                "dtype": {"class_name": "DTypePolicy", "config": {"name": "float32"}},
                "recurrent_activation": "sigmoid", "use_bias": true, "go_backwards": false,
            }},
        }})
    }

    fn model() -> Value {
        json!({"class_name": "Sequential", "config": {"layers": [
            {"class_name": "InputLayer", "config": {"batch_shape": [null, null, 1]}},
            lstm_layer(true),
            lstm_layer(false),
            {"class_name": "Dense", "config": {
                "name": "d", "units": 1, "activation": "linear", "use_bias": true,
            }},
        ]}})
    }

    #[test]
    fn the_originals_layers_are_read() {
        let found = read("f.h5", &model().to_string()).unwrap();
        let layers = ["bidirectional_8", "b", "d"].map(str::to_owned);
        assert_eq!(found, Description { units: 5, layers });
    }

    #[test]
    fn whatever_changes_the_result_is_refused_and_named() {
        let lstm = "/config/layers/1/config/layer/config";
        let cases = [
            ("/class_name", json!("Functional"), "Sequential"),
            ("/config/layers/0/config/batch_shape", json!([null, 9, 1]), "[null,7,1]"),
            ("/config/layers/1/config/batch_input_shape", json!([null, 7, 3]), "[null,7,1]"),
            ("/config/layers/1/class_name", json!("LSTM"), "layer 1: class_name"),
            ("/config/layers/1/config/merge_mode", json!("sum"), "concat"),
            ("/config/layers/1/config/layer/class_name", json!("GRU"), "found \"GRU\""),
            (&format!("{lstm}/activation"), json!("relu"), "found \"relu\""),
            (&format!("{lstm}/recurrent_activation"), json!("hard_sigmoid"), "hard_sigmoid"),
            (&format!("{lstm}/return_sequences"), json!(false), "return_sequences"),
            (&format!("{lstm}/dtype"), json!("float64"), "found \"float64\""),
            (&format!("{lstm}/dtype/config/name"), json!("mixed_float16"), "mixed_float16"),
            (&format!("{lstm}/units"), json!(6), "expected 6 units"),
            (&format!("{lstm}/units"), json!(-1), "`-1`"),
            (&format!("{lstm}/use_bias"), json!(false), "use_bias"),
            ("/config/layers/2/config/name", json!(4), "name"),
            ("/config/layers/3/config/units", json!(2), "expected 1, found 2"),
            ("/config/layers/3/config/activation", json!("sigmoid"), "linear"),
            ("/config/layers", json!({}), "not a list"),
            ("/config/layers", json!([1, {"class_name": "Dense"}]), "found ?, Dense"),
            ("/config", json!([]), "no `layers`"),
        ];
        for (pointer, value, reason) in cases {
            let mut model = model();
            *model.pointer_mut(pointer).unwrap() = value;
            let error = read("f.h5", &model.to_string()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(reason), "{pointer}: {error}");
        }
        assert!(read("f.h5", "{").unwrap_err().to_string().contains("not JSON"));
    }
}
