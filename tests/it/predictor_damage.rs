//! Keras files that are cut off, damaged or of another network: an error with the place, no panic.
#![cfg(feature = "keras-import")]

use std::fs;

use quotascale::Result;
use quotascale::predictor::original::keras_h5::{KerasModel, parse};

use crate::support::data;

fn tiny() -> Vec<u8> {
    fs::read(data("predictor/tiny.h5")).unwrap()
}

fn read(bytes: Vec<u8>) -> Result<KerasModel> {
    parse("tiny.h5", bytes)
}

#[test]
fn every_part_of_a_file_is_refused() {
    let whole = tiny();
    read(whole.clone()).unwrap();
    let ends = (0..512).chain((512..whole.len()).step_by(193)).chain([whole.len() - 1]);
    for end in ends {
        let error = read(whole[..end].to_vec()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with("tiny.h5"), "{error}");
    }
}

#[test]
fn a_flipped_byte_is_an_error_or_another_number() {
    let mut bytes = tiny();
    let good = read(bytes.clone()).unwrap().weights;
    // All of the beginning, where the structure is dense, and a sample of the rest.
    let places: Vec<usize> = (0..4096).chain((4096..bytes.len()).step_by(41)).collect();
    let mut refused = 0;
    for &place in &places {
        for flip in [0xff, 0x01, 0x80] {
            bytes[place] ^= flip;
            match read(bytes.clone()) {
                Ok(found) => assert_eq!(found.weights.units(), good.units()),
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.exit_code(), 2, "{error}");
                }
            }
            bytes[place] ^= flip;
        }
    }
    assert!(refused > 100, "{refused} of {} were refused", places.len());
}

/// The file with all places of a text replaced by another of the same length.
fn replaced(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let (mut bytes, mut count) = (tiny(), 0);
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from.as_bytes()) {
            bytes[start..start + to.len()].copy_from_slice(to.as_bytes());
            count += 1;
        }
    }
    assert!(count > 0, "{from} is not in the file");
    bytes
}

#[test]
fn names_of_another_run_of_keras_are_read_alike() {
    let good = read(tiny()).unwrap().weights;
    for (from, to) in [("lstm_2", "lstm_7"), ("bidirectional_3", "bidirectional_8")] {
        assert_eq!(read(replaced(from, to)).unwrap().weights, good);
    }
}

#[test]
fn another_network_is_refused_and_named() {
    for (from, to, reason) in [
        ("\"sigmoid\"", "\"softmax\"", "recurrent_activation: expected \"sigmoid\""),
        ("\"concat\"", "\"summed\"", "merge_mode: expected \"concat\", found \"summed\""),
        ("\"units\": 3", "\"units\": 4", "kernel:0: expected shape [1, 16], found [1, 12]"),
        ("Sequential", "Functional", "found \"Functional\""),
        ("model_config", "model_cOnfig", "no attribute model_config"),
        ("model_weights", "model_wEights", "/model_weights: missing or damaged"),
        ("weight_names", "weight_nOmes", "no attribute weight_names"),
        ("forward_lstm_2", "fOrward_lstm_2", "expected one forward_kernel, found none"),
    ] {
        let error = read(replaced(from, to)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(reason), "{error}");
    }
}
