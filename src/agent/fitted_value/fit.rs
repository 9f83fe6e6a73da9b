//! Fitting one value function to its targets.

use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::StandardNormal;

use super::config::FittedValueConfig;
use super::rows::StateRows;
use super::value::{UNIT, UNITS, ValueFunction};
use crate::env::paper::SERVICES;
use crate::nn::AdamConfig;
use crate::nn::flat::adam_update;
use crate::rng::{Rng, Streams};

/// A state's rows and what its value should be, in thousands of reward points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub rows: [u32; SERVICES],
    pub target: f32,
}

/// What is fitted. An embedding is its row of the table plus its CPU, as a share of the quota, times
/// its service's slopes: so a state that was hardly met is valued by its CPU.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    rows: usize,
    numbers: Vec<f32>,
}

/// The parts of [`Parameters`], in the order of their numbers.
pub(super) const PARTS: [&str; 5] = ["table", "slopes", "bias", "weights", "offset"];

impl Parameters {
    /// Parts of the right sizes, all 0.
    pub fn zeros(rows: usize) -> Self {
        let numbers = part_ranges(rows)[4].end;
        Self { rows, numbers: vec![0.0; numbers] }
    }

    /// The start of a fit: every unit bends somewhere along the total CPU.
    pub fn random(rows: usize, rng: &mut Rng) -> Self {
        let mut parameters = Self::zeros(rows);
        let [_, slopes, bias, weights, _] = part_ranges(rows);
        for unit in 0..UNITS {
            let slope = if unit % 2 == 0 { 2.0 } else { -2.0 };
            for service in 0..SERVICES {
                parameters.numbers[slopes.start + service * UNITS + unit] = slope;
            }
            // The bend lies between no CPU and the whole quota.
            parameters.numbers[bias.start + unit] = -slope * rng.random_range(0.0..1.0_f32);
            let weight: f32 = rng.sample(StandardNormal);
            parameters.numbers[weights.start + unit] = 0.1 * weight;
        }
        parameters
    }

    /// The shape of each part.
    pub fn shapes(rows: usize) -> [Vec<usize>; 5] {
        [vec![rows, UNITS], vec![SERVICES, UNITS], vec![UNITS], vec![UNITS], vec![1]]
    }

    /// The numbers of each part.
    pub fn parts(&self) -> [&[f32]; 5] {
        part_ranges(self.rows).map(|range| &self.numbers[range])
    }

    /// The numbers of each part, to be set.
    pub fn part_mut(&mut self, part: usize) -> &mut [f32] {
        let range = part_ranges(self.rows)[part].clone();
        &mut self.numbers[range]
    }

    /// Moves the offset so that the mean error is 0: a function of one step more is nearly the one
    /// before it plus a constant.
    fn align(&mut self, rows: &StateRows, samples: &[Sample]) {
        let function = self.function(rows);
        let errors = samples.iter().map(|sample| {
            let value = function.value(sample.rows.map(|row| row as usize)) / UNIT;
            f64::from(sample.target) - value
        });
        let mean = errors.sum::<f64>() / samples.len() as f64;
        self.part_mut(4)[0] += mean as f32;
    }

    /// The function that they describe.
    pub fn function(&self, rows: &StateRows) -> ValueFunction {
        let [table, slopes, bias, weights, offset] = self.parts();
        let (table, slopes) = (table.as_chunks::<UNITS>().0, slopes.as_chunks::<UNITS>().0);
        let embeddings = table
            .iter()
            .zip(rows.cpu_shares())
            .map(|(row, (service, share))| {
                let slopes = &slopes[service];
                std::array::from_fn(|unit| row[unit] + share as f32 * slopes[unit])
            })
            .collect();
        let fixed = |part: &[f32]| std::array::from_fn(|unit| part[unit]);
        ValueFunction { embeddings, bias: fixed(bias), weights: fixed(weights), offset: offset[0] }
    }
}

fn part_ranges(rows: usize) -> [Range<usize>; 5] {
    let mut end = 0;
    [rows * UNITS, SERVICES * UNITS, UNITS, UNITS, 1].map(|numbers| {
        let start = end;
        end += numbers;
        start..end
    })
}

/// Minimises the mean squared error by Adam with a step size that falls linearly to 0. Gives the root
/// of the mean squared error of the last pass, in thousands of reward points.
pub(super) fn fit(
    parameters: &mut Parameters,
    rows: &StateRows,
    samples: &[Sample],
    config: &FittedValueConfig,
    streams: Streams,
    stage: usize,
) -> f64 {
    parameters.align(rows, samples);
    let count = parameters.numbers.len();
    let mut moments = [vec![0.0; count], vec![0.0; count]];
    let mut gradient = vec![0.0; count];
    let shares: Vec<f32> = rows.cpu_shares().iter().map(|&(_, share)| share as f32).collect();
    let mut order: Vec<u32> = (0..samples.len() as u32).collect();
    let updates = (config.epochs * samples.len().div_ceil(config.minibatch)) as u64;
    let mut update = 0;
    let mut squares = 0.0;
    for epoch in 0..config.epochs {
        let index = (stage * config.epochs + epoch) as u64;
        order.shuffle(&mut streams.open_indexed("fitted-value/order", index));
        squares = 0.0;
        for minibatch in order.chunks(config.minibatch) {
            gradient.fill(0.0);
            for &sample in minibatch {
                squares +=
                    add_gradient(parameters, &shares, samples[sample as usize], &mut gradient);
            }
            let left = 1.0 - update as f64 / updates as f64;
            update += 1;
            let adam = AdamConfig::ppo(config.learning_rate * left);
            let [first, second] = &mut moments;
            let scale = 1.0 / minibatch.len() as f64;
            let moments = [&mut first[..], &mut second[..]];
            adam_update(&adam, update, scale, &mut parameters.numbers, &gradient, moments);
        }
    }
    (squares / samples.len() as f64).sqrt()
}

/// Adds the gradient of half the squared error of one sample, and gives the squared error.
fn add_gradient(
    parameters: &Parameters,
    shares: &[f32],
    sample: Sample,
    gradient: &mut [f32],
) -> f64 {
    let [table, slopes, bias, weights, offset] = part_ranges(parameters.rows);
    let numbers = &parameters.numbers;
    let row_at = |service: usize| table.start + sample.rows[service] as usize * UNITS;
    let slopes_at = |service: usize| slopes.start + service * UNITS;
    let share = |service: usize| shares[sample.rows[service] as usize];
    let mut inputs: [f32; UNITS] = std::array::from_fn(|unit| numbers[bias.start + unit]);
    for service in 0..SERVICES {
        let row = &numbers[row_at(service)..][..UNITS];
        let slopes = &numbers[slopes_at(service)..][..UNITS];
        let share = share(service);
        for unit in 0..UNITS {
            inputs[unit] += row[unit] + share * slopes[unit];
        }
    }
    let outputs = inputs.map(|input| input.max(0.0));
    let weight = &numbers[weights.clone()];
    let sum: f32 = outputs.iter().zip(weight).map(|(output, weight)| output * weight).sum();
    let error = numbers[offset.start] + sum - sample.target;
    gradient[offset.start] += error;
    let mut back = [0.0; UNITS];
    for unit in 0..UNITS {
        gradient[weights.start + unit] += error * outputs[unit];
        back[unit] = if inputs[unit] > 0.0 { error * weight[unit] } else { 0.0 };
        gradient[bias.start + unit] += back[unit];
    }
    for service in 0..SERVICES {
        let row = &mut gradient[row_at(service)..][..UNITS];
        for unit in 0..UNITS {
            row[unit] += back[unit];
        }
        let share = share(service);
        let slopes = &mut gradient[slopes_at(service)..][..UNITS];
        for unit in 0..UNITS {
            slopes[unit] += share * back[unit];
        }
    }
    f64::from(error) * f64::from(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::paper::PaperRules;
    use crate::scenario::Scenario;

    fn rows() -> StateRows {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        StateRows::new(&PaperRules::new(&scenario).unwrap(), [20; SERVICES])
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let rows = rows();
        let shares: Vec<f32> = rows.cpu_shares().iter().map(|&(_, share)| share as f32).collect();
        let mut rng = Streams::new(3).open("test");
        let mut parameters = Parameters::random(rows.len(), &mut rng);
        for number in &mut parameters.numbers {
            *number += rng.random_range(-0.2..0.2_f32);
        }
        let state = [rows.row(0, 3, 2), rows.row(1, 1, 3), rows.row(2, 4, 1)];
        let sample = Sample { rows: state.map(|row| row as u32), target: -0.7 };
        let mut gradient = vec![0.0; parameters.numbers.len()];
        add_gradient(&parameters, &shares, sample, &mut gradient);
        let loss = |parameters: &Parameters| {
            let value = parameters.function(&rows).value(state) / UNIT;
            0.5 * (value + 0.7).powi(2)
        };
        let [_, slopes, _, _, offset] = part_ranges(rows.len());
        for number in (state[1] * UNITS..(state[1] + 1) * UNITS).chain(slopes.start..offset.end) {
            let mut moved = parameters.clone();
            moved.numbers[number] += 1e-2;
            let above = loss(&moved);
            moved.numbers[number] -= 2e-2;
            let slope = (above - loss(&moved)) / 2e-2;
            let given = f64::from(gradient[number]);
            assert!((slope - given).abs() < 2e-3, "{number}: {slope} {given}");
        }
    }

    /// A function that the network can express is found from samples with noise.
    #[test]
    fn a_fit_finds_a_known_function() {
        let rows = rows();
        let shares = rows.cpu_shares();
        let mut rng = Streams::new(4).open("test");
        let known = |state: [usize; SERVICES]| {
            let total: f64 = state.iter().map(|&row| shares[row].1).sum();
            -2.0 * (total - 0.3).max(0.0)
        };
        let samples: Vec<Sample> = (0..20_000)
            .map(|_| {
                let state = [
                    rows.row(0, rng.random_range(0..22), rng.random_range(0..4)),
                    rows.row(1, rng.random_range(0..7), rng.random_range(0..4)),
                    rows.row(2, rng.random_range(0..8), rng.random_range(0..4)),
                ];
                let noise: f64 = rng.sample(StandardNormal);
                let target = (known(state) + 0.3 * noise) as f32;
                Sample { rows: state.map(|row| row as u32), target }
            })
            .collect();
        let mut parameters = Parameters::random(rows.len(), &mut rng);
        let config = FittedValueConfig::default();
        let error = fit(&mut parameters, &rows, &samples, &config, Streams::new(4), 0);
        assert!((0.25..0.32).contains(&error), "{error}");
        let function = parameters.function(&rows);
        let mut worst = 0.0_f64;
        for sample in &samples[..200] {
            let state = sample.rows.map(|row| row as usize);
            worst = worst.max((function.value(state) / 1000.0 - known(state)).abs());
        }
        assert!(worst < 0.2, "{worst}");
    }
}
