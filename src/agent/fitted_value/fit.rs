//! Fitting one value function to its targets.

use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::StandardNormal;

use super::config::FittedValueConfig;
use super::rows::{RowFacts, StateRows};
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

/// What is fitted. The embedding of a service's state is that of its option plus the CPU of its pods, as
/// a share of the quota, times the sum of two vectors of slopes, the service's and the option's: with one
/// free vector for every number of pods, noise would outweigh what they add.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    options: usize,
    numbers: Vec<f32>,
}

/// The parts of [`Parameters`], in the order of their numbers.
pub(super) const PARTS: [&str; 6] =
    ["options", "option_slopes", "slopes", "bias", "weights", "offset"];

/// Where parts are in [`PARTS`].
const OPTIONS: usize = 0;
const OPTION_SLOPES: usize = 1;
const SLOPES: usize = 2;
const BIAS: usize = 3;
const WEIGHTS: usize = 4;
const OFFSET: usize = 5;

impl Parameters {
    /// Parts of the right sizes for so many options of all services, all 0.
    pub fn zeros(options: usize) -> Self {
        let numbers = part_ranges(options)[OFFSET].end;
        Self { options, numbers: vec![0.0; numbers] }
    }

    /// The start of a fit: every unit bends somewhere along the total CPU.
    pub fn random(options: usize, rng: &mut Rng) -> Self {
        let mut parameters = Self::zeros(options);
        for unit in 0..UNITS {
            let slope = if unit % 2 == 0 { 2.0 } else { -2.0 };
            for service in 0..SERVICES {
                parameters.part_mut(SLOPES)[service * UNITS + unit] = slope;
            }
            // The bend lies between no CPU and the whole quota.
            parameters.part_mut(BIAS)[unit] = -slope * rng.random_range(0.0..1.0_f32);
            let weight: f32 = rng.sample(StandardNormal);
            parameters.part_mut(WEIGHTS)[unit] = 0.1 * weight;
        }
        parameters
    }

    /// The shape of each part.
    pub fn shapes(options: usize) -> [Vec<usize>; 6] {
        let table = vec![options, UNITS];
        [table.clone(), table, vec![SERVICES, UNITS], vec![UNITS], vec![UNITS], vec![1]]
    }

    /// The numbers of each part.
    pub fn parts(&self) -> [&[f32]; 6] {
        part_ranges(self.options).map(|range| &self.numbers[range])
    }

    /// The numbers of a part, to be set.
    pub fn part_mut(&mut self, part: usize) -> &mut [f32] {
        let range = part_ranges(self.options)[part].clone();
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
        self.part_mut(OFFSET)[0] += mean as f32;
    }

    /// The function that they describe.
    pub fn function(&self, rows: &StateRows) -> ValueFunction {
        let [options, option_slopes, slopes, bias, weights, offset] = self.parts();
        let row_of = |part: &[f32], row: usize| part.as_chunks::<UNITS>().0[row];
        let embeddings = rows
            .facts()
            .into_iter()
            .map(|facts| {
                let own = row_of(options, facts.option);
                let (one, two) =
                    (row_of(slopes, facts.service), row_of(option_slopes, facts.option));
                std::array::from_fn(|unit| own[unit] + facts.cpu_share * (one[unit] + two[unit]))
            })
            .collect();
        let (bias, weights) = (row_of(bias, 0), row_of(weights, 0));
        ValueFunction { embeddings, bias, weights, offset: offset[0] }
    }
}

fn part_ranges(options: usize) -> [Range<usize>; 6] {
    let mut end = 0;
    [options * UNITS, options * UNITS, SERVICES * UNITS, UNITS, UNITS, 1].map(|numbers| {
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
    let facts = rows.facts();
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
                    add_gradient(parameters, &facts, samples[sample as usize], &mut gradient);
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
    facts: &[RowFacts],
    sample: Sample,
    gradient: &mut [f32],
) -> f64 {
    let ranges = part_ranges(parameters.options);
    let start = |part: usize| ranges[part].start;
    let numbers = &parameters.numbers;
    // Where the vectors of each service begin, and what they are multiplied by.
    let vectors = sample.rows.map(|row| {
        let RowFacts { service, option, cpu_share } = facts[row as usize];
        [
            (start(OPTIONS) + option * UNITS, 1.0),
            (start(OPTION_SLOPES) + option * UNITS, cpu_share),
            (start(SLOPES) + service * UNITS, cpu_share),
        ]
    });
    let mut inputs: [f32; UNITS] = std::array::from_fn(|unit| numbers[start(BIAS) + unit]);
    for (at, factor) in vectors.into_iter().flatten() {
        for (input, &number) in inputs.iter_mut().zip(&numbers[at..at + UNITS]) {
            *input += factor * number;
        }
    }
    let outputs = inputs.map(|input| input.max(0.0));
    let weights = &numbers[ranges[WEIGHTS].clone()];
    let sum: f32 = outputs.iter().zip(weights).map(|(output, weight)| output * weight).sum();
    let error = numbers[start(OFFSET)] + sum - sample.target;
    gradient[start(OFFSET)] += error;
    let mut back = [0.0; UNITS];
    for unit in 0..UNITS {
        gradient[start(WEIGHTS) + unit] += error * outputs[unit];
        back[unit] = if inputs[unit] > 0.0 { error * weights[unit] } else { 0.0 };
        gradient[start(BIAS) + unit] += back[unit];
    }
    for (at, factor) in vectors.into_iter().flatten() {
        for (sum, &back) in gradient[at..at + UNITS].iter_mut().zip(&back) {
            *sum += factor * back;
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
        let facts = rows.facts();
        let mut rng = Streams::new(3).open("test");
        let mut parameters = Parameters::random(rows.options(), &mut rng);
        for number in &mut parameters.numbers {
            *number += rng.random_range(-0.2..0.2_f32);
        }
        let state = [rows.row(0, 3, 2), rows.row(1, 1, 3), rows.row(2, 4, 1)];
        let sample = Sample { rows: state.map(|row| row as u32), target: -0.7 };
        let mut gradient = vec![0.0; parameters.numbers.len()];
        add_gradient(&parameters, &facts, sample, &mut gradient);
        let loss = |parameters: &Parameters| {
            let value = parameters.function(&rows).value(state) / UNIT;
            0.5 * (value + 0.7).powi(2)
        };
        // The second service's option among all, and everything that is not an option's own.
        let (option, ranges) = (facts[state[1]].option, part_ranges(rows.options()));
        let own = |part: usize| ranges[part].start + option * UNITS;
        let numbers = (own(OPTIONS)..own(OPTIONS) + UNITS)
            .chain(own(OPTION_SLOPES)..own(OPTION_SLOPES) + UNITS)
            .chain(ranges[SLOPES].start..ranges[OFFSET].end);
        for number in numbers {
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
        let facts = rows.facts();
        let mut rng = Streams::new(4).open("test");
        let known = |state: [usize; SERVICES]| {
            let total: f64 = state.iter().map(|&row| f64::from(facts[row].cpu_share)).sum();
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
        let mut parameters = Parameters::random(rows.options(), &mut rng);
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
