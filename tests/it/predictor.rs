//! The original predictor: what Keras says of the same windows, layer by layer where it is known.
#![cfg(feature = "keras-import")]

use std::fs;
use std::path::Path;

use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use quotascale::predictor::original::checkpoint::OriginalCheckpoint;
use quotascale::predictor::original::{WINDOW, Workspace};
use tempfile::TempDir;

use crate::support::{data, quotascale, shared};

/// Largest differences from Keras, scaled and in users of a range of 92.
const TOLERANCE: [f64; 2] = [2e-6, 2e-4];

fn import(h5: &Path, scaler: &Path, out: &Path) -> assert_cmd::assert::Assert {
    let mut command = quotascale();
    command.args(["predictor", "import", "--h5"]).arg(h5).arg("--scaler").arg(scaler);
    command.arg("--out").arg(out).assert()
}

fn predict(checkpoint: &Path, windows: &Path, out: &Path) -> assert_cmd::assert::Assert {
    let mut command = quotascale();
    command.args(["predictor", "predict"]).arg(checkpoint).arg("--windows").arg(windows);
    command.arg("--out").arg(out).assert()
}

fn import_tiny(work: &TempDir) -> std::path::PathBuf {
    let out = work.path().join("tiny");
    import(&data("predictor/tiny.h5"), &data("predictor/tiny_scaler.json"), &out).success();
    out
}

/// Header and rows of a CSV file.
fn table(path: &Path) -> (csv::StringRecord, Vec<csv::StringRecord>) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    (reader.headers().unwrap().clone(), reader.records().map(Result::unwrap).collect())
}

/// Imports, predicts the windows of a file that holds Keras's predictions too, and compares.
fn check_predictions(h5: &Path, scaler: &Path, expected: &Path, rows: usize) {
    let work = TempDir::new().unwrap();
    let (checkpoint, out) = (work.path().join("checkpoint"), work.path().join("out.csv"));
    import(h5, scaler, &checkpoint).success();
    predict(&checkpoint, expected, &out).success();
    let ((header, found), (expected_header, expected)) = (table(&out), table(expected));
    assert_eq!(header, expected_header);
    assert_eq!([found.len(), expected.len()], [rows; 2]);
    let computed = header.len() - 2;
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found.iter().take(computed).eq(expected.iter().take(computed)));
        for (column, tolerance) in TOLERANCE.into_iter().enumerate() {
            let [found, expected] =
                [found, expected].map(|row| row[computed + column].parse::<f64>().unwrap());
            let difference = (found - expected).abs();
            assert!(difference <= tolerance, "{found} for {expected} in {:?}", &header[computed]);
        }
    }
}

#[test]
fn predictions_are_those_of_keras() {
    check_predictions(
        &data("predictor/tiny.h5"),
        &data("predictor/tiny_scaler.json"),
        &data("predictor/tiny.csv"),
        40,
    );
}

#[test]
fn predictions_are_those_of_the_original_in_all_shared_rows() {
    let files = [
        "data/predictor/demo-model.h5",
        "data/predictor/scaler.json",
        "golden/predictor/golden.csv",
    ];
    let [Some(h5), Some(scaler), Some(golden)] = files.map(shared) else { return };
    check_predictions(&h5, &scaler, &golden, 288);
}

#[test]
fn each_layer_is_that_of_the_original() {
    let files = [
        "data/predictor/demo-model.h5",
        "data/predictor/scaler.json",
        "golden/predictor/layers.json",
    ];
    let [Some(h5), Some(scaler), Some(layers)] = files.map(shared) else { return };
    let work = TempDir::new().unwrap();
    let path = work.path().join("demo");
    import(&h5, &scaler, &path).success();
    let predictor = OriginalCheckpoint::load(&path).unwrap().predictor();
    let layers: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(layers).unwrap()).unwrap();
    let mut workspace = Workspace::default();
    let windows = windows_of(&layers);
    assert_eq!(windows.len(), 3);
    for window in windows {
        let input: [f32; WINDOW] = numbers(&window["scaled_input"]).try_into().unwrap();
        let scaled = predictor.network().predict(&input, &mut workspace);
        close(&[scaled], &numbers(&window["scaled_prediction"]));
        close(workspace.layer1(), &numbers(&window["layer1"]));
        close(workspace.layer2(), &numbers(&window["layer2"]));
    }
}

/// Every object that holds `layer1`.
fn windows_of(value: &serde_json::Value) -> Vec<&serde_json::Value> {
    match value {
        serde_json::Value::Object(map) if map.contains_key("layer1") => vec![value],
        serde_json::Value::Object(map) => map.values().flat_map(windows_of).collect(),
        serde_json::Value::Array(list) => list.iter().flat_map(windows_of).collect(),
        _ => Vec::new(),
    }
}

/// All numbers in a value, in order.
fn numbers(value: &serde_json::Value) -> Vec<f32> {
    match value {
        serde_json::Value::Array(list) => list.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap() as f32],
    }
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(f64::from((found - expected).abs()) <= TOLERANCE[0], "{found} for {expected}");
    }
}

#[test]
fn the_range_may_be_given_as_options_and_columns_stay_where_they_are() {
    let work = TempDir::new().unwrap();
    let by_file = import_tiny(&work);
    let by_options = work.path().join("options");
    quotascale()
        .args(["predictor", "import", "--data-min", "5", "--data-max", "93", "--json", "--h5"])
        .arg(data("predictor/tiny.h5"))
        .arg("--out")
        .arg(&by_options)
        .assert()
        .success()
        .stdout(contains(r#""units":3,"parameters":367"#));
    for file in ["model.safetensors", "scaler.json", "config.json", "metadata.json"] {
        let [a, b] = [&by_file, &by_options].map(|folder| fs::read(folder.join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    let windows = work.path().join("windows.csv");
    fs::write(
        &windows,
        "note,prediction_users,x6,x5,x4,x3,x2,x1,x0\n\"a, b\",9,40,40,40,40,40,40,40\n",
    )
    .unwrap();
    let out = work.path().join("out.csv");
    predict(&by_options, &windows, &out).success();
    let text = fs::read_to_string(&out).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "note,prediction_users,x6,x5,x4,x3,x2,x1,x0,scaled_prediction"
    );
    let (found, expected) = (lines.next().unwrap(), "\"a, b\",144.947");
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn bad_arguments_and_files_name_the_place_and_the_remedy() {
    let work = TempDir::new().unwrap();
    let tiny = import_tiny(&work);
    let [file, out] = ["in.csv", "out.csv"].map(|name| work.path().join(name));
    let cases = [
        ("", "in.csv:1: the column `x0` is missing"),
        ("x0,x1,x2,x3,x4,x5\n", "`x6` is missing"),
        ("x0,x1,x2,x3,x4,x5,x6,x2\n", "`x2` is there twice"),
        ("x0,x1,x2,x3,x4,x5,x6\n1,2,3,4,5,6,7\n1,2,3,nan,5,6,7\n", "in.csv:3: x3 is `nan`"),
        ("x0,x1,x2,x3,x4,x5,x6\n1,2,3,4,,6,7\n", "in.csv:2: x4 is ``"),
        ("x0,x1,x2,x3,x4,x5,x6\n1,2,3\n", "in.csv:2: 3 cells for 7 columns"),
    ];
    for (text, message) in cases {
        fs::write(&file, text).unwrap();
        predict(&tiny, &file, &out).code(2).stderr(contains(message));
        assert!(!out.exists());
    }
    fs::write(&file, "x0,x1,x2,x3,x4,x5,x6\n").unwrap();
    predict(&tiny, &file, &out).success();
    predict(work.path(), &file, &out).code(2).stderr(contains("has no metadata.json"));

    let (h5, scaler) = (data("predictor/tiny.h5"), data("predictor/tiny_scaler.json"));
    let pickle = work.path().join("scaler.save");
    fs::write(&pickle, b"\x80\x04\x95\x0a\x01").unwrap();
    let fresh = work.path().join("fresh");
    import(&h5, &pickle, &fresh).code(2).stderr(contains("pickle").and(contains("--data-min")));
    import(&scaler, &scaler, &fresh).code(2).stderr(contains("not an HDF5 file"));
    import(&work.path().join("none.h5"), &scaler, &fresh).code(2).stderr(contains("none.h5"));
    assert!(!fresh.exists());
    import(&h5, &scaler, &tiny).success();
    let wider = work.path().join("wider.json");
    fs::write(&wider, r#"{"data_min": 0, "data_max": 100}"#).unwrap();
    import(&h5, &wider, &tiny).code(2).stderr(contains("users 5 to 93").and(contains("0 to 100")));
    quotascale()
        .args(["predictor", "import", "--h5", "a.h5", "--data-min", "5", "--out", "b"])
        .assert()
        .code(2)
        .stderr(contains("--data-max"));
}
