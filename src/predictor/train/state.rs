//! Where a training stands: all of it but the tensors.

use serde::{Deserialize, Serialize};

/// Losses of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochLoss {
    /// From 1; 0 is before the first.
    pub epoch: u32,
    /// Mean over the epoch's batches, each before its update; none before the first epoch.
    pub train: Option<f64>,
    /// Over the validation part, after the epoch.
    pub validation: f64,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// The validation loss had not fallen for as many epochs as the patience allows.
    Early,
    /// All epochs were done.
    Epochs,
}

/// The epoch with the lowest validation loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Its number.
    pub epoch: u32,
    /// Its validation loss.
    pub loss: f64,
}

/// Where a training stands between two updates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Epochs done.
    pub epoch: u32,
    /// Windows of the epoch in progress that are done.
    pub position: usize,
    /// Sum over these windows of the loss.
    pub loss_sum: f64,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// Epochs since then.
    pub since_best: u32,
    /// All epochs so far.
    pub losses: Vec<EpochLoss>,
}

impl TrainingState {
    /// Takes in the validation loss of the epoch just done (or of the start); `true` where it is the
    /// lowest so far.
    pub(super) fn judge(&mut self, train: Option<f64>, validation: f64) -> bool {
        self.losses.push(EpochLoss { epoch: self.epoch, train, validation });
        if self.best.is_none_or(|best| validation < best.loss) {
            self.best = Some(Best { epoch: self.epoch, loss: validation });
            self.since_best = 0;
            return true;
        }
        self.since_best += 1;
        false
    }

    /// Whether the training is over.
    pub fn stopped(&self, epochs: u32, patience: Option<u32>) -> Option<Stopped> {
        if patience.is_some_and(|patience| self.since_best >= patience) {
            Some(Stopped::Early)
        } else if self.epoch >= epochs {
            Some(Stopped::Epochs)
        } else {
            None
        }
    }
}

/// How a predictor came about, as its metadata have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// `original` or `default`.
    pub recipe: String,
    /// The seed.
    pub seed: u64,
    /// Epochs done.
    pub epochs: u32,
    /// Updates done.
    pub updates: u64,
    /// The epoch of the lowest validation loss.
    pub best_epoch: Option<u32>,
    /// The validation loss of the weights in the folder.
    pub validation_loss: Option<f64>,
    /// Why it ended; none while it has not.
    pub stopped: Option<Stopped>,
    /// Windows to fit on, and to stop by.
    pub windows: [usize; 2],
    /// What a reader of its figures has to know.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_epoch_in_a_row_without_a_new_minimum_ends_it() {
        let mut state = TrainingState::default();
        let losses = [3.0, 2.0, 2.0, 2.5, 2.0, 1.9, 2.0, 2.0, 2.0, 2.0, 1.9, 1.0];
        let mut ended = None;
        for loss in losses {
            state.epoch += 1;
            let lowest = state.judge(Some(1.0), loss);
            assert_eq!(lowest, [3.0, 2.0, 1.9].contains(&loss) && state.since_best == 0);
            ended = state.stopped(100, Some(5));
            if ended.is_some() {
                break;
            }
        }
        assert_eq!((ended, state.epoch), (Some(Stopped::Early), 11));
        assert_eq!(state.best, Some(Best { epoch: 6, loss: 1.9 }));
        assert_eq!(state.stopped(11, None), Some(Stopped::Epochs));
        assert_eq!(state.stopped(12, None), None);
    }
}
