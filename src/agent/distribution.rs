//! A choice of one option for each service, from logits.
//!
//! *Factored*: one categorical head a service, independent of each other; A logits. *Joint*: one
//! categorical distribution over all combinations, whose logits are the sums of the heads' plus a
//! hint each; J logits, the last service's option running fastest. Options that cannot be chosen have
//! probability 0 (their mask is false).

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::nn::Real;
use crate::rng::Rng;

/// How the heads of the services make one distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// One categorical distribution a service.
    #[default]
    Factored,
    /// One over all combinations.
    Joint,
}

/// Logits of what cannot be chosen.
const NEVER: f32 = f32::NEG_INFINITY;

/// The shape of the distribution. Its numbers are in rows that the caller keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiCategorical {
    options: Vec<usize>,
    head: Head,
    /// Widths of the independent categorical distributions of a row.
    groups: Vec<usize>,
}

impl MultiCategorical {
    /// For services with `options` options each.
    pub fn new(options: &[usize], head: Head) -> Self {
        let groups = match head {
            Head::Factored => options.to_vec(),
            Head::Joint => vec![options.iter().product()],
        };
        Self { options: options.to_vec(), head, groups }
    }

    /// Options of each service.
    pub fn options(&self) -> &[usize] {
        &self.options
    }

    /// Numbers that the network gives, A.
    pub fn heads(&self) -> usize {
        self.options.iter().sum()
    }

    /// Numbers in a row of logits or probabilities: A, or J for a joint head.
    pub fn width(&self) -> usize {
        self.groups.iter().sum()
    }

    /// A row of logits from the network's `heads` (A), hints (none, or one a logit) times `scale`, and
    /// the mask (A).
    pub fn logits(
        &self,
        heads: &[f32],
        hints: &[f32],
        scale: f32,
        allowed: Option<&[bool]>,
        logits: &mut [f32],
    ) {
        match self.head {
            Head::Factored => {
                logits.copy_from_slice(heads);
                if let Some(allowed) = allowed {
                    for (logit, &allowed) in logits.iter_mut().zip(allowed) {
                        *logit = if allowed { *logit } else { NEVER };
                    }
                }
            }
            Head::Joint => {
                logits.fill(0.0);
                self.each_block(|first, stride| {
                    let blocks = logits.chunks_exact_mut(stride * first.len());
                    for block in blocks {
                        for (part, option) in block.chunks_exact_mut(stride).zip(first.clone()) {
                            let head = match allowed {
                                Some(allowed) if !allowed[option] => NEVER,
                                _ => heads[option],
                            };
                            for logit in part {
                                *logit += head;
                            }
                        }
                    }
                });
            }
        }
        for (logit, &hint) in logits.iter_mut().zip(hints) {
            *logit += scale * hint;
        }
    }

    /// The gradient of `heads` from that of the logits, and what is to be added to that of the scale.
    pub fn heads_gradient(&self, dlogits: &[f32], hints: &[f32], dheads: &mut [f32]) -> f64 {
        match self.head {
            Head::Factored => dheads.copy_from_slice(dlogits),
            Head::Joint => {
                dheads.fill(0.0);
                self.each_block(|first, stride| {
                    for block in dlogits.chunks_exact(stride * first.len()) {
                        for (part, option) in block.chunks_exact(stride).zip(first.clone()) {
                            dheads[option] += part.iter().sum::<f32>();
                        }
                    }
                });
            }
        }
        dlogits.iter().zip(hints).map(|(&d, &hint)| f64::from(d) * f64::from(hint)).sum()
    }

    /// For each service: its options among all, and how many joint actions in a row share one.
    fn each_block(&self, mut visit: impl FnMut(std::ops::Range<usize>, usize)) {
        let mut first = 0;
        for (service, &count) in self.options.iter().enumerate() {
            let stride = self.options[service + 1..].iter().product();
            visit(first..first + count, stride);
            first += count;
        }
    }

    /// Turns a row of logits into log-probabilities, and writes the probabilities beside.
    #[inline]
    pub fn normalise(&self, logits: &mut [f32], probabilities: &mut [f32]) {
        let mut start = 0;
        for &width in &self.groups {
            let logits = &mut logits[start..start + width];
            let probabilities = &mut probabilities[start..start + width];
            let highest = logits.iter().fold(NEVER, |highest, &logit| highest.max(logit));
            for (probability, &logit) in probabilities.iter_mut().zip(&*logits) {
                let shifted = logit - highest;
                // The exponential is never 0 by itself.
                *probability = if shifted > -80.0 { shifted.exponential() } else { 0.0 };
            }
            let sum: f32 = probabilities.iter().sum();
            let (share, shift) = (1.0 / sum, highest + sum.ln());
            for (logit, probability) in logits.iter_mut().zip(probabilities) {
                *logit -= shift;
                *probability *= share;
            }
            start += width;
        }
    }

    /// Draws an option for each service from a row of probabilities; one number of `rng` a group.
    pub fn sample(&self, probabilities: &[f32], rng: &mut Rng, actions: &mut [u32]) {
        let mut start = 0;
        for (group, &width) in self.groups.iter().enumerate() {
            let mut left: f32 = rng.random();
            let row = &probabilities[start..start + width];
            // Rounding can leave a remainder after the last one: then the last possible one it is.
            let mut chosen = 0;
            for (option, &probability) in row.iter().enumerate() {
                if probability > 0.0 {
                    chosen = option;
                    left -= probability;
                    if left < 0.0 {
                        break;
                    }
                }
            }
            self.set_choice(group, chosen, actions);
            start += width;
        }
    }

    /// The most likely options, the first on ties, from logits or (log-)probabilities.
    pub fn mode(&self, logits: &[f32], actions: &mut [u32]) {
        let mut start = 0;
        for (group, &width) in self.groups.iter().enumerate() {
            let row = &logits[start..start + width];
            let mut best = 0;
            for (option, &logit) in row.iter().enumerate() {
                if logit > row[best] {
                    best = option;
                }
            }
            self.set_choice(group, best, actions);
            start += width;
        }
    }

    /// The probability of each option of each service, from a row of logits; a joint head's are
    /// summed over the options of the other services.
    pub fn marginals(&self, logits: &[f32]) -> Vec<Vec<f32>> {
        let mut logits = logits.to_vec();
        let mut probabilities = vec![0.0; logits.len()];
        self.normalise(&mut logits, &mut probabilities);
        let mut marginals: Vec<Vec<f32>> =
            self.options.iter().map(|&count| vec![0.0; count]).collect();
        let mut start = 0;
        let mut actions = vec![0; self.options.len()];
        for (group, &width) in self.groups.iter().enumerate() {
            for (choice, &probability) in probabilities[start..start + width].iter().enumerate() {
                self.set_choice(group, choice, &mut actions);
                match self.head {
                    Head::Factored => marginals[group][choice] = probability,
                    Head::Joint => {
                        for (marginal, &option) in marginals.iter_mut().zip(&actions) {
                            marginal[option as usize] += probability;
                        }
                    }
                }
            }
            start += width;
        }
        marginals
    }

    /// Log-probability of `actions`, from a row of log-probabilities.
    pub fn log_probability(&self, log_probabilities: &[f32], actions: &[u32]) -> f32 {
        let mut start = 0;
        let mut sum = 0.0;
        for (group, &width) in self.groups.iter().enumerate() {
            sum += log_probabilities[start + self.choice(group, actions)];
            start += width;
        }
        sum
    }

    /// Entropy, in nats, of a row.
    pub fn entropy(&self, log_probabilities: &[f32], probabilities: &[f32]) -> f32 {
        probabilities
            .iter()
            .zip(log_probabilities)
            .map(|(&p, &log_p)| if p > 0.0 { -p * log_p } else { 0.0 })
            .sum()
    }

    /// Turns a row of log-probabilities into the gradient, with respect to the logits, of
    /// `of_log_probability * log p(actions) + of_entropy * entropy`.
    pub fn gradient(
        &self,
        log_probabilities: &mut [f32],
        probabilities: &[f32],
        actions: &[u32],
        of_log_probability: f32,
        of_entropy: f32,
    ) {
        let mut start = 0;
        for (group, &width) in self.groups.iter().enumerate() {
            let chosen = self.choice(group, actions);
            let row = &mut log_probabilities[start..start + width];
            let probabilities = &probabilities[start..start + width];
            let entropy: f32 =
                if of_entropy == 0.0 { 0.0 } else { self.entropy(row, probabilities) };
            for (value, &p) in row.iter_mut().zip(probabilities) {
                let of_p = of_log_probability + of_entropy * (*value + entropy);
                *value = if p > 0.0 { -p * of_p } else { 0.0 };
            }
            row[chosen] += of_log_probability;
            start += width;
        }
    }

    fn choice(&self, group: usize, actions: &[u32]) -> usize {
        match self.head {
            Head::Factored => actions[group] as usize,
            Head::Joint => self
                .options
                .iter()
                .zip(actions)
                .fold(0, |joint, (&count, &action)| joint * count + action as usize),
        }
    }

    fn set_choice(&self, group: usize, chosen: usize, actions: &mut [u32]) {
        match self.head {
            Head::Factored => actions[group] = chosen as u32,
            Head::Joint => {
                let mut rest = chosen;
                for (action, &count) in actions.iter_mut().zip(&self.options).rev() {
                    *action = (rest % count) as u32;
                    rest /= count;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;

    /// Numbers of
    /// ```python
    /// from math import exp, log
    /// one, two = [0.5, -1.0, 2.0], [0.25, 0.75]
    /// s, t = log(sum(map(exp, one))), log(sum(map(exp, two)))
    /// log_p = (one[1] - s) + (two[0] - t)
    /// entropy = -sum(exp(x - s) * (x - s) for x in one) - sum(exp(x - t) * (x - t) for x in two)
    /// ```
    /// which is what torch.distributions.Categorical computes.
    #[test]
    fn log_probability_and_entropy_are_those_of_the_formulas() {
        let shape = MultiCategorical::new(&[3, 2], Head::Factored);
        let mut row = [0.5, -1.0, 2.0, 0.25, 0.75];
        let mut probabilities = [0.0; 5];
        shape.normalise(&mut row, &mut probabilities);
        let log_p = shape.log_probability(&row, &[1, 0]);
        let entropy = shape.entropy(&row, &probabilities);
        assert!((log_p - -4.215_388_3).abs() < 1e-5, "{log_p}");
        assert!((entropy - 1.284_431_9).abs() < 1e-5, "{entropy}");
    }

    /// A joint head without hints is the product of the factored ones, and its gradient theirs.
    #[test]
    fn a_joint_head_without_hints_is_the_factored_ones() {
        let options = [3, 2, 4];
        let (factored, joint) = (
            MultiCategorical::new(&options, Head::Factored),
            MultiCategorical::new(&options, Head::Joint),
        );
        let heads = [0.3, -0.2, 1.0, 0.5, -0.5, 0.1, 0.2, 0.9, -1.2];
        let actions = [2, 0, 3];
        let run = |shape: &MultiCategorical| {
            let mut row = vec![0.0; shape.width()];
            let mut p = vec![0.0; shape.width()];
            shape.logits(&heads, &[], 1.0, None, &mut row);
            shape.normalise(&mut row, &mut p);
            let both = (shape.log_probability(&row, &actions), shape.entropy(&row, &p));
            shape.gradient(&mut row, &p, &actions, 0.7, 0.3);
            let mut dheads = vec![0.0; heads.len()];
            shape.heads_gradient(&row, &[], &mut dheads);
            (both, dheads)
        };
        let (one, other) = (run(&factored), run(&joint));
        assert!((one.0.0 - other.0.0).abs() < 1e-5 && (one.0.1 - other.0.1).abs() < 1e-5);
        for (a, b) in one.1.iter().zip(&other.1) {
            assert!((a - b).abs() < 1e-5, "{one:?} {other:?}");
        }
    }

    /// Against finite differences, with a mask, for both heads and the scale of the hints.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        let heads = [0.3, -0.2, 1.0, 0.5, -0.5];
        let allowed = [true, false, true, true, true];
        for (head, hints) in [
            (Head::Factored, vec![0.1, 0.0, -0.7, -1.0, 0.4]),
            (Head::Joint, vec![0.1, -0.2, 0.3, 0.5, -0.9, 0.2]),
        ] {
            let shape = MultiCategorical::new(&[3, 2], head);
            let actions = [2, 1];
            let value = |heads: &[f32], scale: f32| {
                let mut row = vec![0.0; shape.width()];
                let mut p = vec![0.0; shape.width()];
                shape.logits(heads, &hints, scale, Some(&allowed), &mut row);
                shape.normalise(&mut row, &mut p);
                let value = 0.7 * f64::from(shape.log_probability(&row, &actions))
                    + 0.3 * f64::from(shape.entropy(&row, &p));
                (value, row, p)
            };
            let (_, mut row, p) = value(&heads, 1.5);
            assert_eq!(
                p.iter().filter(|&&p| p == 0.0).count(),
                if head == Head::Joint { 2 } else { 1 }
            );
            shape.gradient(&mut row, &p, &actions, 0.7, 0.3);
            let mut dheads = vec![0.0; 5];
            let dscale = shape.heads_gradient(&row, &hints, &mut dheads);
            let step = 1e-2_f32;
            for k in 0..5 {
                let (mut up, mut down) = (heads, heads);
                up[k] += step;
                down[k] -= step;
                let slope = (value(&up, 1.5).0 - value(&down, 1.5).0) / f64::from(2.0 * step);
                assert!((slope - f64::from(dheads[k])).abs() < 2e-4, "{head:?} {k}: {slope}");
            }
            let slope =
                (value(&heads, 1.5 + step).0 - value(&heads, 1.5 - step).0) / f64::from(2.0 * step);
            assert!((slope - dscale).abs() < 2e-4, "{head:?} scale: {slope} {dscale}");
        }
    }

    #[test]
    fn samples_follow_the_probabilities_and_never_the_mask() {
        for head in [Head::Factored, Head::Joint] {
            let shape = MultiCategorical::new(&[3, 2], head);
            let (mut row, mut p) = (vec![0.0; shape.width()], vec![0.0; shape.width()]);
            let allowed = [true, true, false, true, true];
            shape.logits(&[0.0, 1.0, 9.0, 0.0, 0.0], &[], 0.0, Some(&allowed), &mut row);
            shape.normalise(&mut row, &mut p);
            let mut rng = Streams::new(1).open("act");
            let mut counts = [[0_u32; 3]; 2];
            for _ in 0..20_000 {
                let mut actions = [0; 2];
                shape.sample(&p, &mut rng, &mut actions);
                counts[0][actions[0] as usize] += 1;
                counts[1][actions[1] as usize] += 1;
            }
            assert_eq!(counts[0][2], 0);
            let share = f64::from(counts[0][1]) / 20_000.0;
            assert!((share - 0.731).abs() < 0.015, "{share}");
            assert!((f64::from(counts[1][0]) / 20_000.0 - 0.5).abs() < 0.015);
            let mut actions = [9; 2];
            shape.mode(&row, &mut actions);
            assert_eq!(actions, [1, 0]);
        }
    }
}
