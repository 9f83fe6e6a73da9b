//! Traffic to train on: another one for every episode, by a seed of its own.
//!
//! Without sources an episode plays the scenario's own training traffic. With sources, every service
//! draws one of them for each episode (by weight), and every number that the source leaves open; so a
//! policy meets many kinds of traffic and is judged on none that it saw.

use std::path::PathBuf;

use rand::{Rng as _, RngExt};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, read_input};
use crate::rng::{Rng, Streams};
use crate::scenario::Scenario;
use crate::trace::counts::{self, CountsRule, Gaps};
use crate::trace::generate::{Generator, Shape};
use crate::trace::{MAX_USERS, Stage, Trace};

/// Stream of the episodes' seeds; index = number of the episode.
const EPISODE_STREAM: &str = "train-episode";
/// Stream of what a service draws in an episode; index = service.
const SOURCE_STREAM: &str = "train-traffic/source";

/// A number, or a range that it is drawn from anew for every service and episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// Always this.
    One(f64),
    /// Uniform between the two.
    Between([f64; 2]),
}

impl Number {
    fn ends(self) -> [f64; 2] {
        match self {
            Self::One(value) => [value; 2],
            Self::Between(ends) => ends,
        }
    }

    fn draw(self, rng: &mut Rng) -> f64 {
        let [low, high] = self.ends();
        low + (high - low) * rng.random::<f64>()
    }

    /// A whole number, both ends included.
    fn draw_whole(self, rng: &mut Rng) -> u32 {
        let [low, high] = self.ends();
        rng.random_range(low as u32..=high as u32)
    }
}

/// One kind of training traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficSource {
    /// What it is.
    pub kind: SourceKind,
    /// How often it is drawn, against the others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Fewest users, whole.
    #[serde(default = "one_user")]
    pub low: Number,
    /// Most users, whole.
    #[serde(default = "hundred_users")]
    pub high: Number,
    /// `steps`, `diurnal`: rows of one level or of one day.
    #[serde(default = "period_rows")]
    pub period_rows: Number,
    /// `diurnal`: standard deviation of the noise, as a share of high - low.
    #[serde(default = "noise")]
    pub noise: Number,
    /// `bursts`: probability that a burst begins in a row.
    #[serde(default = "rate")]
    pub rate: Number,
    /// `bursts`: height of a burst, as a share of high - low.
    #[serde(default = "size")]
    pub size: Number,
    /// `walk`: standard deviation of one row's change, users.
    #[serde(default = "step")]
    pub step: Number,
    /// `counts`: a CSV file of request counts, relative to the working folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// `counts`: its columns, one of which each service draws; empty: the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// `counts`: consecutive rows of the file that make one row of traffic.
    #[serde(default = "one_row")]
    pub sum: usize,
}

fn one() -> f64 {
    1.0
}
fn one_user() -> Number {
    Number::One(1.0)
}
fn hundred_users() -> Number {
    Number::One(100.0)
}
fn period_rows() -> Number {
    Number::Between([5.0, 40.0])
}
fn noise() -> Number {
    Number::Between([0.0, 0.1])
}
fn rate() -> Number {
    Number::Between([0.05, 0.3])
}
fn size() -> Number {
    Number::Between([0.4, 1.0])
}
fn step() -> Number {
    Number::Between([2.0, 15.0])
}
fn one_row() -> usize {
    1
}

impl TrafficSource {
    /// A source with every other number at its default.
    pub fn of(kind: SourceKind) -> Self {
        Self {
            kind,
            weight: one(),
            low: one_user(),
            high: hundred_users(),
            period_rows: period_rows(),
            noise: noise(),
            rate: rate(),
            size: size(),
            step: step(),
            file: None,
            columns: Vec::new(),
            sum: one_row(),
        }
    }
}

/// Kinds of training traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The scenario's own.
    Scenario,
    /// Independent rows, uniform from `low` to `high`.
    Random,
    /// One level throughout, uniform from `low` to `high`.
    Constant,
    /// Levels held for `period_rows` rows.
    Steps,
    /// A daily wave, from any hour on.
    Diurnal,
    /// Bursts that start suddenly and decay.
    Bursts,
    /// A reflected random walk.
    Walk,
    /// A window, drawn at random, of measured request counts, scaled to `low` to `high` users.
    Counts,
}

/// Training traffic of one scenario.
#[derive(Clone, Debug)]
pub struct TrainingTraffic {
    scenario: Scenario,
    sources: Vec<Prepared>,
    /// Sums of the weights up to each source, of 1 in all.
    upto: Vec<f64>,
    seed: u64,
    first: Trace,
    fixed: bool,
}

#[derive(Clone, Debug)]
struct Prepared {
    source: TrafficSource,
    /// Columns of counts, from 0 to 1.
    counts: Vec<Vec<f64>>,
}

impl TrainingTraffic {
    /// Traffic for `scenario` from `sources`, by the master seed.
    ///
    /// # Errors
    /// [`Error::Input`] when a source's numbers are off or its file does not fit.
    pub fn new(scenario: &Scenario, sources: &[TrafficSource], seed: u64) -> Result<Self> {
        let first = scenario.training_traffic(0)?;
        let rows = first.services.iter().map(|service| service.stages.len()).max().unwrap_or(0);
        let prepared = sources
            .iter()
            .enumerate()
            .map(|(index, source)| prepare(index, source, rows))
            .collect::<Result<Vec<_>>>()?;
        let all: f64 = sources.iter().map(|source| source.weight).sum();
        let usable = all > 0.0 && all.is_finite();
        if !(sources.is_empty() || usable) {
            return Err(Error::input(
                "traffic",
                format!("weights of {all} in all"),
                "give at least one source a weight above 0",
            ));
        }
        let mut sum = 0.0;
        let upto = sources
            .iter()
            .map(|source| {
                sum += source.weight / all;
                sum
            })
            .collect();
        Ok(Self {
            scenario: scenario.clone(),
            sources: prepared,
            upto,
            seed,
            fixed: sources.is_empty() && !scenario.random_traffic(),
            first,
        })
    }

    /// Whether every episode has the same traffic.
    pub fn fixed(&self) -> bool {
        self.fixed
    }

    /// Any episode's traffic, to be overwritten by [`Self::renew`].
    pub fn blank(&self) -> Trace {
        self.first.clone()
    }

    /// The seed of an episode: of its traffic and of its cold starts.
    pub fn episode_seed(&self, episode: u64) -> u64 {
        Streams::new(self.seed).open_indexed(EPISODE_STREAM, episode).next_u64()
    }

    /// Turns `traffic`, another episode's, into that of the episode with this seed.
    ///
    /// # Errors
    /// [`Error::Input`] when the scenario's own traffic cannot be drawn.
    pub fn renew(&self, episode_seed: u64, traffic: &mut Trace) -> Result<()> {
        if self.fixed {
            return Ok(());
        }
        if self.sources.is_empty() {
            return self.scenario.renew_training_traffic(episode_seed, traffic);
        }
        let mut own = None;
        for (index, service) in traffic.services.iter_mut().enumerate() {
            let mut rng = Streams::new(episode_seed).open_indexed(SOURCE_STREAM, index as u64);
            let draw = rng.random::<f64>();
            let chosen = self.upto.partition_point(|&upto| upto <= draw);
            let prepared = &self.sources[chosen.min(self.sources.len() - 1)];
            let stages = &mut service.stages;
            if prepared.source.kind == SourceKind::Scenario {
                if own.is_none() {
                    let mut trace = self.first.clone();
                    self.scenario.renew_training_traffic(episode_seed, &mut trace)?;
                    own = Some(trace);
                }
                if let Some(own) = &own {
                    stages.copy_from_slice(&own.services[index].stages);
                }
                continue;
            }
            let rows = prepared.rows(stages.len(), &mut rng);
            for (stage, users) in stages.iter_mut().zip(rows) {
                *stage = Stage::of_interval(stage.duration_s, users);
            }
        }
        Ok(())
    }
}

impl Prepared {
    /// Users of one service, row by row.
    fn rows(&self, rows: usize, rng: &mut Rng) -> Vec<f64> {
        let source = &self.source;
        let (low, high) = (source.low.draw_whole(rng), source.high.draw_whole(rng));
        let (low, high) = (low.min(high), low.max(high));
        let mut before = 0;
        let shape = match source.kind {
            SourceKind::Random | SourceKind::Scenario => Shape::Random,
            SourceKind::Constant => Shape::Steps { period_rows: u32::MAX },
            SourceKind::Steps => Shape::Steps { period_rows: source.period_rows.draw_whole(rng) },
            SourceKind::Diurnal => {
                let period_rows = source.period_rows.draw_whole(rng);
                before = rng.random_range(0..period_rows);
                Shape::Diurnal { period_rows, noise: source.noise.draw(rng) }
            }
            SourceKind::Bursts => {
                Shape::Bursts { rate: source.rate.draw(rng), size: source.size.draw(rng) }
            }
            SourceKind::Walk => Shape::Walk { step: source.step.draw(rng) },
            SourceKind::Counts => {
                let column = &self.counts[rng.random_range(0..self.counts.len())];
                let from = rng.random_range(0..=column.len() - rows);
                let (low, span) = (f64::from(low), f64::from(high - low));
                return column[from..from + rows]
                    .iter()
                    .map(|share| (low + span * share + 0.5).floor())
                    .collect();
            }
        };
        let mut all = Generator { shape, rows: rows as u32 + before, low, high }.generate(rng);
        all.drain(..before as usize);
        all
    }
}

/// Checks a source and reads its file.
fn prepare(index: usize, source: &TrafficSource, rows: usize) -> Result<Prepared> {
    let place = |key: &str| format!("traffic[{index}].{key}");
    let check = |key: &str, number: Number, least: f64, most: f64| {
        let [low, high] = number.ends();
        if low <= high && low >= least && high <= most {
            return Ok(());
        }
        Err(Error::input(
            place(key),
            format!("{low} to {high}"),
            format!("give a number, or a rising pair of them, from {least} to {most}"),
        ))
    };
    check("weight", Number::One(source.weight), 0.0, 1e9)?;
    let most = MAX_USERS.min(f64::from(u32::MAX));
    check("low", source.low, 0.0, most)?;
    check("high", source.high, 0.0, most)?;
    check("period_rows", source.period_rows, 1.0, 1e6)?;
    check("noise", source.noise, 0.0, 10.0)?;
    check("rate", source.rate, 0.0, 1.0)?;
    check("size", source.size, 0.0, 10.0)?;
    check("step", source.step, 0.0, most)?;
    let counts = match (&source.file, source.kind) {
        (Some(file), SourceKind::Counts) => {
            let name = file.display().to_string();
            let rule = CountsRule {
                columns: source.columns.clone(),
                sum: source.sum,
                users_min: 0.0,
                users_max: 1.0,
                fractional: true,
                gaps: Gaps::Hold,
                ..CountsRule::default()
            };
            let trace = counts::import(&name, &read_input(file)?, &rule)?.trace;
            let columns: Vec<Vec<f64>> = trace
                .services
                .iter()
                .map(|service| service.stages.iter().map(|stage| stage.users).collect())
                .collect();
            let shortest = columns.iter().map(Vec::len).min().unwrap_or(0);
            if shortest < rows {
                return Err(Error::input(
                    name,
                    format!("{shortest} rows do not fill an episode of {rows}"),
                    "give a longer file, or add up fewer rows",
                ));
            }
            columns
        }
        (None, SourceKind::Counts) => {
            return Err(Error::input(place("file"), "no file of counts", "name one"));
        }
        (Some(_), _) => {
            return Err(Error::input(
                place("file"),
                "only counts come from a file",
                "set kind = \"counts\", or leave it out",
            ));
        }
        (None, _) => Vec::new(),
    };
    Ok(Prepared { source: source.clone(), counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(traffic: &TrainingTraffic, episode: u64) -> Vec<Vec<f64>> {
        let mut trace = traffic.blank();
        traffic.renew(traffic.episode_seed(episode), &mut trace).unwrap();
        let users = |stages: &[Stage]| stages.iter().map(|stage| stage.users).collect();
        trace.services.iter().map(|service| users(&service.stages)).collect()
    }

    #[test]
    fn the_scenarios_own_traffic_is_drawn_anew_or_stays() {
        let scenario = Scenario::load("knative-random", &[]).unwrap();
        let traffic = TrainingTraffic::new(&scenario, &[], 7).unwrap();
        let mut trace = traffic.blank();
        let seed = traffic.episode_seed(3);
        traffic.renew(traffic.episode_seed(2), &mut trace).unwrap();
        traffic.renew(seed, &mut trace).unwrap();
        assert_eq!(trace, scenario.training_traffic(seed).unwrap());
        assert_ne!(seed, TrainingTraffic::new(&scenario, &[], 8).unwrap().episode_seed(3));
        let fixed = Scenario::load("paper-knative", &[]).unwrap();
        let traffic = TrainingTraffic::new(&fixed, &[], 7).unwrap();
        assert!(traffic.fixed());
        assert_eq!(rows(&traffic, 0), rows(&traffic, 1));
    }

    #[test]
    fn sources_are_drawn_by_weight_and_every_kind_keeps_its_bounds() {
        let scenario = Scenario::load("knative-random", &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("counts.csv");
        let lines: String = (0..100).map(|row| format!("{},{}\n", row, 1000 - 5 * row)).collect();
        std::fs::write(&file, format!("up,down\n{lines}")).unwrap();
        for kind in [
            SourceKind::Scenario,
            SourceKind::Random,
            SourceKind::Constant,
            SourceKind::Steps,
            SourceKind::Diurnal,
            SourceKind::Bursts,
            SourceKind::Walk,
            SourceKind::Counts,
        ] {
            let mut source = TrafficSource {
                low: Number::Between([5.0, 9.0]),
                high: Number::One(60.0),
                ..TrafficSource::of(kind)
            };
            if kind == SourceKind::Counts {
                source.file = Some(file.clone());
                source.columns = vec!["up".to_owned(), "down".to_owned()];
                source.sum = 2;
            }
            let never = TrafficSource {
                weight: 0.0,
                low: Number::One(1000.0),
                high: Number::One(1000.0),
                ..TrafficSource::of(SourceKind::Random)
            };
            let traffic = TrainingTraffic::new(&scenario, &[never, source], 1).unwrap();
            let most = if kind == SourceKind::Scenario { 100.0 } else { 60.0 };
            let least = if kind == SourceKind::Scenario { 1.0 } else { 5.0 };
            for episode in 0..30 {
                let drawn = rows(&traffic, episode);
                assert_eq!(drawn, rows(&traffic, episode));
                for service in &drawn {
                    assert_eq!(service.len(), 20);
                    assert!(service.iter().all(|users| (least..=most).contains(users)), "{kind:?}");
                    let held = service.iter().all(|&users| users == service[0]);
                    assert!(kind != SourceKind::Constant || held);
                    let rising = service.windows(2).all(|pair| pair[0] <= pair[1]);
                    let falling = service.windows(2).all(|pair| pair[0] >= pair[1]);
                    assert!(kind != SourceKind::Counts || rising || falling);
                }
            }
            assert_ne!(rows(&traffic, 0), rows(&traffic, 1), "{kind:?}");
        }
    }

    #[test]
    fn sources_that_do_not_fit_are_refused() {
        let scenario = Scenario::load("paper-random", &[]).unwrap();
        let cases = [
            ("kind = \"random\"\nlow = [9, 5]", "traffic[0].low"),
            ("kind = \"random\"\nhigh = -1", "traffic[0].high"),
            ("kind = \"random\"\nweight = 0", "weights of 0 in all"),
            ("kind = \"steps\"\nperiod_rows = 0", "traffic[0].period_rows"),
            ("kind = \"counts\"", "no file of counts"),
            ("kind = \"walk\"\nfile = \"a.csv\"", "only counts come from a file"),
            ("kind = \"counts\"\nfile = \"none.csv\"", "cannot read the file"),
        ];
        for (toml, expected) in cases {
            let source: TrafficSource = toml::from_str(toml).unwrap();
            let error = TrainingTraffic::new(&scenario, &[source], 0).unwrap_err();
            assert!(error.to_string().contains(expected), "{toml}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
        assert!(toml::from_str::<TrafficSource>("kind = \"random\"\nlwo = 3").is_err());
    }
}
