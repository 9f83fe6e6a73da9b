//! All parameters of a network in one vector, with names.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::error::Result;
use crate::nn::{TensorFile, TensorValues};

/// Named tensors, one after another in one vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    entries: Vec<Entry>,
    /// All numbers.
    pub values: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    start: usize,
}

impl Entry {
    fn span(&self) -> Range<usize> {
        self.start..self.start + self.shape.iter().product::<usize>()
    }
}

impl Parameters {
    /// Adds a tensor at the end, and says where it lies.
    pub fn push(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Range<usize> {
        let entry =
            Entry { name: name.to_owned(), shape: shape.to_vec(), start: self.values.len() };
        assert_eq!(entry.span().len(), values.len(), "{name} of shape {shape:?}");
        self.values.extend_from_slice(values);
        let span = entry.span();
        self.entries.push(entry);
        span
    }

    /// Where the tensor `name` lies.
    pub fn span(&self, name: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|entry| entry.name == name).map(Entry::span)
    }

    /// Names, shapes and places, in the order of the vector.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize], Range<usize>)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.shape.as_slice(), entry.span()))
    }

    /// The name of the tensor that holds number `index` of the vector.
    pub fn name_at(&self, index: usize) -> &str {
        self.entries
            .iter()
            .find(|entry| entry.span().contains(&index))
            .map_or("", |entry| entry.name.as_str())
    }

    /// `values`, of this structure, as named tensors, each name behind `prefix`.
    pub fn named(&self, prefix: &str, values: &[f32]) -> BTreeMap<String, TensorValues> {
        self.iter()
            .map(|(name, shape, span)| {
                let tensor = TensorValues { shape: shape.to_vec(), values: values[span].to_vec() };
                (format!("{prefix}{name}"), tensor)
            })
            .collect()
    }

    /// All tensors as a file.
    pub fn to_file(&self) -> TensorFile {
        TensorFile { tensors: self.named("", &self.values), steps: None }
    }

    /// Sets all numbers from a file that came from `place`. Nothing changes on an error.
    ///
    /// # Errors
    /// [`crate::Error::Input`] naming the first tensor that is missing, unknown or of another shape.
    pub fn set(&mut self, file: &TensorFile, place: &Path) -> Result<()> {
        file.check(self.iter().map(|(name, shape, _)| (name, shape)), place)?;
        for entry in &self.entries {
            self.values[entry.span()].copy_from_slice(&file.tensors[&entry.name].values);
        }
        Ok(())
    }
}
