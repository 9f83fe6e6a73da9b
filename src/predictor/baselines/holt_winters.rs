//! Exponential smoothing of level and trend, with an additive daily pattern where one is worth it.
//!
//! With x the users of a row, s the pattern's value for its time of day, and the level l and trend b of
//! the row before:
//!
//! ```text
//! l' = alpha (x - s) + (1 - alpha) (l + b)      b' = beta (l' - l) + (1 - beta) b
//! s' = gamma (x - l - b) + (1 - gamma) s        h rows ahead: l' + h b' + the pattern there
//! ```
//!
//! The first row of a history sets the level, without a trend. Alpha, beta and gamma minimise the
//! squared one-step error over the training rows: the best of a coarse grid, then coordinate search
//! with halving steps. The pattern starts from the mean of the training rows' first two days. It is used
//! only where a stretch of at least three days is there to judge it on, and where it has the smaller
//! error over what follows these two days.

use super::{Training, WINDOW};
use crate::predictor::forecaster::{Answer, Band, Forecaster, SeriesState};

/// Days that the pattern starts from.
const FIRST_SEASONS: usize = 2;
/// The coarse grid.
const ALPHAS: [f64; 6] = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0];
const BETAS: [f64; 3] = [0.0, 0.05, 0.2];
const GAMMAS: [f64; 2] = [0.05, 0.2];
/// Steps of the coordinate search, halved from the first to the last.
const FIRST_STEP: f64 = 0.1;
const LAST_STEP: f64 = 0.003;

/// Places in what is carried for a service; the pattern follows.
const SEEN: usize = 0;
const LEVEL: usize = 1;
const TREND: usize = 2;
const SEASON: usize = 3;

/// Smoothed level, trend and daily pattern, for each service.
#[derive(Clone, Debug, PartialEq)]
pub struct HoltWinters {
    /// One a service, or one for all; `None` where there were too few rows to fit on.
    smoothings: Vec<Option<Smoothing>>,
}

/// What a fit gives.
#[derive(Clone, Debug, PartialEq)]
struct Smoothing {
    weights: Weights,
    /// The pattern at the start; empty without one.
    season: Vec<f64>,
}

/// The smoothing weights, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Weights {
    alpha: f64,
    beta: f64,
    gamma: f64,
}

impl HoltWinters {
    /// Fits each of `trainings`; a single one serves all services.
    pub fn fit(trainings: &[Training]) -> Self {
        Self { smoothings: trainings.iter().map(Smoothing::fit).collect() }
    }

    fn smoothing(&self, service: usize) -> Option<&Smoothing> {
        self.smoothings.get(service).or(self.smoothings.first())?.as_ref()
    }

    /// Whether a service has a daily pattern.
    pub fn is_seasonal(&self, service: usize) -> bool {
        self.smoothing(service).is_some_and(|smoothing| !smoothing.season.is_empty())
    }
}

impl Forecaster for HoltWinters {
    fn name(&self) -> &'static str {
        "holt-winters"
    }

    fn memory(&self) -> usize {
        1
    }

    fn carried(&self, service: usize) -> Vec<f64> {
        let season = self.smoothing(service).map_or(&[][..], |smoothing| &smoothing.season);
        [&[0.0; SEASON], season].concat()
    }

    fn update(&self, service: usize, row: i64, series: &mut SeriesState) {
        let (Some(smoothing), Some(users)) = (self.smoothing(service), series.last()) else {
            return;
        };
        smoothing.weights.smooth(users, row, &mut series.carried);
    }

    fn predict(
        &self,
        service: usize,
        series: &SeriesState,
        users: &mut [f64],
        _bands: &mut [Band],
    ) -> Answer {
        let carried = &series.carried;
        if self.smoothing(service).is_none() || carried[SEEN] == 0.0 {
            return Answer::TooShort;
        }
        for (ahead, users) in users.iter_mut().enumerate() {
            let trend = carried[TREND] * (ahead + 1) as f64;
            *users = carried[LEVEL] + trend + season_at(carried, series.clock + ahead as i64);
        }
        Answer::Point
    }
}

/// The pattern's value at a row; 0 without one.
fn season_at(carried: &[f64], row: i64) -> f64 {
    let season = &carried[SEASON..];
    if season.is_empty() { 0.0 } else { season[row.rem_euclid(season.len() as i64) as usize] }
}

impl Weights {
    /// Takes one row into level, trend and pattern.
    fn smooth(self, users: f64, row: i64, carried: &mut [f64]) {
        let season = season_at(carried, row);
        if carried[SEEN] == 0.0 {
            carried[SEEN] = 1.0;
            carried[LEVEL] = users - season;
            carried[TREND] = 0.0;
            return;
        }
        let (level, trend) = (carried[LEVEL], carried[TREND]);
        let smoothed = self.alpha * (users - season) + (1.0 - self.alpha) * (level + trend);
        carried[LEVEL] = smoothed;
        carried[TREND] = self.beta * (smoothed - level) + (1.0 - self.beta) * trend;
        let pattern = &mut carried[SEASON..];
        if !pattern.is_empty() {
            let place = row.rem_euclid(pattern.len() as i64) as usize;
            pattern[place] = self.gamma * (users - level - trend) + (1.0 - self.gamma) * season;
        }
    }
}

impl Smoothing {
    fn fit(training: &Training) -> Option<Self> {
        let longest = training
            .stretches
            .iter()
            .enumerate()
            .max_by_key(|(index, stretch)| (stretch.users.len(), std::cmp::Reverse(*index)))?
            .0;
        if training.stretches[longest].users.len() <= WINDOW {
            return None;
        }
        let rows = training.stretches[longest].users.len();
        let seasonal = training.period > 1 && rows >= (FIRST_SEASONS + 1) * training.period;
        let skip = if seasonal { FIRST_SEASONS * training.period } else { 1 };
        let mut judge = Judge { training, longest, skip, carried: Vec::new() };
        let (plain, plain_error) = judge.search(&[], &[0.0]);
        if seasonal {
            let season = first_season(training, longest);
            let (weights, error) = judge.search(&season, &GAMMAS);
            if error < plain_error {
                return Some(Self { weights, season });
            }
        }
        Some(Self { weights: plain, season: Vec::new() })
    }
}

/// The mean over the first days of each time of day, less the days' own means.
fn first_season(training: &Training, stretch: usize) -> Vec<f64> {
    let (stretch, period) = (&training.stretches[stretch], training.period);
    let mut season = vec![0.0; period];
    for (day, rows) in stretch.users.chunks_exact(period).take(FIRST_SEASONS).enumerate() {
        let mean = rows.iter().sum::<f64>() / period as f64;
        for (index, users) in rows.iter().enumerate() {
            let row = stretch.clock + (day * period + index) as i64;
            season[row.rem_euclid(period as i64) as usize] += (users - mean) / FIRST_SEASONS as f64;
        }
    }
    season
}

/// Judges weights by their squared one-step error over the training rows.
struct Judge<'a> {
    training: &'a Training,
    /// The stretch whose first `skip` rows are not counted.
    longest: usize,
    skip: usize,
    carried: Vec<f64>,
}

impl Judge<'_> {
    fn squared_error(&mut self, weights: Weights, season: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (index, stretch) in self.training.stretches.iter().enumerate() {
            self.carried.clear();
            self.carried.extend_from_slice(&[0.0; SEASON]);
            self.carried.extend_from_slice(season);
            let skip = if index == self.longest { self.skip } else { 1 };
            for (offset, &users) in stretch.users.iter().enumerate() {
                let row = stretch.clock + offset as i64;
                if offset >= skip {
                    let carried = &self.carried;
                    let expected = carried[LEVEL] + carried[TREND] + season_at(carried, row);
                    sum += (users - expected).powi(2);
                }
                weights.smooth(users, row, &mut self.carried);
            }
        }
        sum
    }

    /// The weights with the least error, and that error.
    fn search(&mut self, season: &[f64], gammas: &[f64]) -> (Weights, f64) {
        let mut best = (Weights { alpha: 1.0, beta: 0.0, gamma: gammas[0] }, f64::INFINITY);
        let mut consider = |weights: Weights, best: &mut (Weights, f64)| {
            let error = self.squared_error(weights, season);
            let better = error < best.1;
            if better {
                *best = (weights, error);
            }
            better
        };
        for alpha in ALPHAS {
            for beta in BETAS {
                for &gamma in gammas {
                    consider(Weights { alpha, beta, gamma }, &mut best);
                }
            }
        }
        let mut step = FIRST_STEP / 2.0;
        while step >= LAST_STEP {
            let mut better = false;
            for signed in [step, -step] {
                let moved = |weight: f64| (weight + signed).clamp(0.0, 1.0);
                let from = best.0;
                better |= consider(Weights { alpha: moved(from.alpha), ..from }, &mut best);
                let from = best.0;
                better |= consider(Weights { beta: moved(from.beta), ..from }, &mut best);
                if !season.is_empty() {
                    let from = best.0;
                    better |= consider(Weights { gamma: moved(from.gamma), ..from }, &mut best);
                }
            }
            if !better {
                step /= 2.0;
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::Forecast;

    #[test]
    fn smoothing_by_hand() {
        let weights = Weights { alpha: 0.5, beta: 0.25, gamma: 0.2 };
        // Level 10; then level 0.5*14 + 0.5*10 = 12, trend 0.25*2 = 0.5; then level
        // 0.5*11 + 0.5*12.5 = 11.75, trend 0.25*(-0.25) + 0.75*0.5 = 0.3125.
        let mut carried = vec![0.0; SEASON];
        for (row, users) in [10.0, 14.0, 11.0].into_iter().enumerate() {
            weights.smooth(users, row as i64, &mut carried);
        }
        assert_eq!(carried, [1.0, 11.75, 0.3125]);
        // With a pattern of (+2, -2): level 8; then level 0.5*(14+2) + 0.5*8 = 12, trend 1, pattern
        // 0.2*(14-8) + 0.8*(-2) = -0.4.
        let mut carried = vec![0.0, 0.0, 0.0, 2.0, -2.0];
        for (row, users) in [10.0, 14.0].into_iter().enumerate() {
            weights.smooth(users, row as i64, &mut carried);
        }
        let expected = [1.0, 12.0, 1.0, 2.0, 0.2 * 6.0 + 0.8 * -2.0];
        assert_eq!(carried, expected);
    }

    fn next(model: &HoltWinters, past: &[f64], clock: i64, horizon: usize) -> Vec<f64> {
        let mut state = model.start(&[past]);
        state.services[0].clock += clock;
        let mut forecast = Forecast::default();
        model.forecast(&state, horizon, &mut forecast);
        forecast.users(0).to_vec()
    }

    #[test]
    fn a_line_is_continued_and_a_constant_kept() {
        let line: Vec<f64> = (0..200).map(|row| 3.0 + 2.0 * f64::from(row)).collect();
        let model = HoltWinters::fit(&[Training::of(&line, 1)]);
        for (got, want) in next(&model, &line, 0, 2).iter().zip([403.0, 405.0]) {
            assert!((got - want).abs() < 0.5, "{got}");
        }
        let model = HoltWinters::fit(&[Training::of(&[6.0; 50], 7)]);
        assert_eq!(next(&model, &[6.0; 3], 0, 2), [6.0, 6.0]);
        assert!(!model.is_seasonal(0));
    }

    #[test]
    fn a_daily_pattern_is_found_and_kept_to_its_time_of_day() {
        let day = [5.0, 5.0, 40.0, 80.0, 10.0];
        let rows: Vec<f64> = (0..30).map(|row| day[row % 5]).collect();
        let model = HoltWinters::fit(&[Training::of(&rows, 5)]);
        assert!(model.is_seasonal(0));
        // The history ends before row 0, the third of a day that begins two rows earlier.
        let past = [day[3], day[4]];
        let got = next(&model, &past, 0, 5);
        for (got, want) in got.iter().zip(day) {
            assert!((got - want).abs() < 1.0, "{got} {want}");
        }
        // Two days do not tell a pattern from chance.
        let short = HoltWinters::fit(&[Training::of(&rows[..14], 5)]);
        assert!(!short.is_seasonal(0));
    }

    #[test]
    fn without_rows_the_latest_users_stand_in() {
        for training in [Training::default(), Training::of(&[4.0; 7], 1)] {
            let model = HoltWinters::fit(&[training]);
            assert_eq!(next(&model, &[9.0], 0, 1), [9.0]);
        }
    }
}
