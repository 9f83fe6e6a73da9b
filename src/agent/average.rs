//! The mean of an agent's parameters over the end of its training.
//!
//! The last steps of a training with noisy gradients go around a good place rather than to it; the mean
//! of where they have been is nearer (Polyak and Juditsky 1992, DOI 10.1137/0330046).

/// A running mean of parameters, each set of them weighing the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Average {
    /// The mean so far.
    pub values: Vec<f32>,
    /// Sets of parameters in it.
    pub count: u64,
}

impl Average {
    /// Of `values` alone.
    pub fn new(values: &[f32]) -> Self {
        Self { values: values.to_vec(), count: 1 }
    }

    /// Takes another set into the mean.
    pub fn add(&mut self, values: &[f32]) {
        self.count += 1;
        let weight = 1.0 / self.count as f32;
        for (mean, &value) in self.values.iter_mut().zip(values) {
            *mean += weight * (value - *mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_weighs_the_same() {
        let mut average = Average::new(&[1.0, -4.0]);
        average.add(&[2.0, 0.0]);
        average.add(&[6.0, 1.0]);
        assert_eq!((average.values, average.count), (vec![3.0, -1.0], 3));
    }
}
