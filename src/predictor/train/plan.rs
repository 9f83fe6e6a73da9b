//! How a predictor is trained: batches, epochs, step sizes, and when to stop.

use crate::nn::{AdamConfig, Clip, EpsilonForm};

/// Updates that a training of the quantile model is planned for at most, and bounds of its epochs.
const MOST_UPDATES: usize = 6000;
const MOST_EPOCHS: usize = 60;
const LEAST_EPOCHS: usize = 6;

/// How a predictor is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingPlan {
    /// Seed of the initial weights and of the order of the windows.
    pub seed: u64,
    /// Windows of an update; the last of an epoch may have fewer.
    pub batch: usize,
    /// Most epochs.
    pub epochs: u32,
    /// Epochs in a row without a lower validation loss that end the training; `None`: it goes on.
    pub patience: Option<u32>,
    /// Whether the predictor has the weights of the lowest validation loss rather than the last ones.
    pub restore_best: bool,
    /// Whether the weights before the first epoch count among the best.
    pub judge_start: bool,
    /// The optimiser in the first epoch.
    pub adam: AdamConfig,
    /// What the learning rate is multiplied by after each epoch.
    pub decay: f64,
    /// Bound of the gradients' norm.
    pub clip: Clip,
}

impl TrainingPlan {
    /// The original's: Keras's Adam without decay or clipping, and weights as they are at the end,
    /// five epochs past the best.
    pub fn original(seed: u64) -> Self {
        Self {
            seed,
            batch: 128,
            epochs: 100,
            patience: Some(5),
            restore_best: false,
            judge_start: false,
            adam: AdamConfig::keras(),
            decay: 1.0,
            clip: Clip::Off,
        }
    }

    /// The original's network under the default recipe: the best weights are kept.
    pub fn original_network(seed: u64) -> Self {
        Self { restore_best: true, ..Self::original(seed) }
    }

    /// The quantile model's, for `windows` windows to fit on: few of them get smaller batches, many of
    /// them fewer epochs with a faster decay, so that a training takes about as long whatever the series.
    pub fn quantile(seed: u64, windows: usize) -> Self {
        let adam = AdamConfig {
            learning_rate: 4e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            form: EpsilonForm::Torch,
        };
        let batch = (windows / 60).next_power_of_two().clamp(32, 256);
        let updates = windows.div_ceil(batch).max(1);
        let epochs = (MOST_UPDATES / updates).clamp(LEAST_EPOCHS, MOST_EPOCHS) as u32;
        Self {
            seed,
            batch,
            epochs,
            patience: Some(8),
            restore_best: true,
            judge_start: true,
            adam,
            decay: 0.95_f64.powf(MOST_EPOCHS as f64 / f64::from(epochs)),
            clip: Clip::Norm(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_is_about_as_long_whatever_the_series() {
        let plan = TrainingPlan::quantile(0, 15_195);
        assert_eq!((plan.batch, plan.epochs, plan.decay), (256, 60, 0.95));
        assert_eq!(TrainingPlan::quantile(0, 1243).batch, 32);
        let long = TrainingPlan::quantile(0, 209_300);
        assert_eq!(long.epochs, 7);
        assert!((long.decay.powi(7) / 0.95_f64.powi(60) - 1.0).abs() < 1e-9);
        assert_eq!(TrainingPlan::quantile(0, 1).batch, 32);
    }
}
