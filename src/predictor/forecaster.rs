//! The seam between forecasters and whoever asks them.
//!
//! A [`Forecaster`] never changes; what it remembers of the services is in a [`ForecasterState`],
//! which can be saved. Evaluation, training and live make the same calls: [`Forecaster::start`], then
//! for every decision [`Forecaster::observe`] and [`Forecaster::forecast`].
//!
//! Whatever a model does, three things hold. Where it cannot forecast yet, the latest users stand in
//! ([`Forecast::by_persistence`]), never zero: zero would scale a service down to nothing. Users are
//! never expected to be fewer than none. A missing sample (not a number) repeats the one before it, so
//! that the clock of the series goes on.

use serde::{Deserialize, Serialize};

/// The quantiles of a [`Band`].
pub const QUANTILES: [f64; 3] = [0.1, 0.5, 0.9];

/// Users at the [`QUANTILES`]: the ends hold 80 % of what comes.
pub type Band = [f64; 3];

/// What a forecaster remembers of all services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForecasterState {
    /// One entry a service.
    pub services: Vec<SeriesState>,
}

/// What a forecaster remembers of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesState {
    /// Row of the next observation: 0 is the first after the start, what came before is negative.
    pub clock: i64,
    /// The latest users, oldest first; at least as many as the model's memory once they were seen.
    pub recent: Vec<f64>,
    /// Numbers of the model's own.
    pub carried: Vec<f64>,
    /// Whether there was no sample for the last row, which repeats the one before it.
    #[serde(default)]
    pub missing: bool,
    /// The time of the last row, seconds since 1970-01-01, where there is a clock.
    #[serde(default)]
    pub now_s: Option<f64>,
}

impl SeriesState {
    /// The latest `count` users, oldest first, if so many were seen.
    pub fn latest(&self, count: usize) -> Option<&[f64]> {
        self.recent.len().checked_sub(count).map(|from| &self.recent[from..])
    }

    /// The last users seen.
    pub fn last(&self) -> Option<f64> {
        self.recent.last().copied()
    }

    /// Takes in one row; `false` where there is nothing to take in. `memory` values are kept.
    fn push(&mut self, users: f64, memory: usize) -> bool {
        self.missing = !users.is_finite();
        let users = if self.missing { self.last() } else { Some(users) };
        if let Some(users) = users {
            // Moved rarely rather than at every row.
            if self.recent.len() >= 2 * memory {
                let from = self.recent.len() - (memory - 1);
                self.recent.copy_within(from.., 0);
                self.recent.truncate(memory - 1);
            }
            self.recent.push(users);
        }
        self.clock += 1;
        users.is_some()
    }
}

/// How a model answered for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It cannot forecast yet; nothing was written.
    TooShort,
    /// The expected users are written.
    Point,
    /// The expected users and their bands are written.
    Banded,
}

/// Users expected at the coming rows. Reused from call to call, so that forecasting does not allocate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    horizon: usize,
    users: Vec<f64>,
    bands: Vec<Band>,
    next: Vec<f64>,
    answers: Vec<Answer>,
}

impl Forecast {
    /// How many rows ahead.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Users of each service one row ahead: what a policy plans for. Not a number where nothing is known.
    pub fn next(&self) -> &[f64] {
        &self.next
    }

    /// Users of a service 1, 2, … rows ahead. The median of a model that forecasts quantiles.
    pub fn users(&self, service: usize) -> &[f64] {
        &self.users[service * self.horizon..(service + 1) * self.horizon]
    }

    /// The bands of a service 1, 2, … rows ahead, where the model has them.
    pub fn bands(&self, service: usize) -> Option<&[Band]> {
        (self.answers[service] == Answer::Banded)
            .then(|| &self.bands[service * self.horizon..(service + 1) * self.horizon])
    }

    /// Whether the model could not forecast a service yet, so that its latest users stand in.
    pub fn by_persistence(&self, service: usize) -> bool {
        self.answers.get(service) == Some(&Answer::TooShort)
    }

    /// Users that are given rather than forecast, one row ahead.
    pub fn set_known(&mut self, users: &[f64]) {
        self.resize(users.len(), 1);
        self.users.copy_from_slice(users);
        self.next.copy_from_slice(users);
    }

    /// Users and their bands that are given rather than forecast, one row ahead.
    pub fn set_banded(&mut self, users: &[f64], bands: &[Band]) {
        self.set_known(users);
        self.bands.copy_from_slice(bands);
        self.answers.fill(Answer::Banded);
    }

    fn resize(&mut self, services: usize, horizon: usize) {
        self.horizon = horizon;
        self.users.resize(services * horizon, 0.0);
        self.bands.resize(services * horizon, Band::default());
        self.next.resize(services, 0.0);
        self.answers.clear();
        self.answers.resize(services, Answer::Point);
    }
}

/// Expects something of the coming rows.
///
/// A model implements the calls for one series; those for all services are given, and a model that
/// gains by treating services together replaces [`Self::forecast`].
pub trait Forecaster: Send + Sync {
    /// The name that tables use.
    fn name(&self) -> &str;

    /// How many past rows it looks at.
    fn memory(&self) -> usize;

    /// The numbers of its own that it carries for a service, before any row.
    fn carried(&self, _service: usize) -> Vec<f64> {
        Vec::new()
    }

    /// Takes in the newest row of `series`, its last one, for `row` on its clock.
    fn update(&self, _service: usize, _row: i64, _series: &mut SeriesState) {}

    /// Expects `users.len()` rows of a service. What is written may be negative.
    fn predict(
        &self,
        service: usize,
        series: &SeriesState,
        users: &mut [f64],
        bands: &mut [Band],
    ) -> Answer;

    /// The state before the first row, given what was seen of each service before that, oldest first.
    fn start(&self, past: &[&[f64]]) -> ForecasterState {
        let memory = self.memory().max(1);
        let services = past
            .iter()
            .enumerate()
            .map(|(service, rows)| {
                let mut series = SeriesState {
                    clock: -(rows.len() as i64),
                    recent: Vec::with_capacity(2 * memory),
                    carried: self.carried(service),
                    ..SeriesState::default()
                };
                for &users in *rows {
                    self.take_in(service, users, memory, &mut series);
                }
                series
            })
            .collect();
        ForecasterState { services }
    }

    /// Whether a saved state is this model's, of so many services.
    fn accepts(&self, state: &ForecasterState, services: usize) -> bool {
        state.services.len() == services
            && state.services.iter().enumerate().all(|(service, series)| {
                series.carried.len() == self.carried(service).len()
                    && series.recent.iter().chain(&series.carried).all(|value| value.is_finite())
            })
    }

    /// Takes in one row of one service.
    fn take_in(&self, service: usize, users: f64, memory: usize, series: &mut SeriesState) {
        let row = series.clock;
        if series.push(users, memory) {
            self.update(service, row, series);
        }
    }

    /// Takes in the users of each service at one row, whose time is `now_s` (seconds since 1970-01-01)
    /// where there is a clock.
    fn observe(
        &self,
        users: &mut dyn Iterator<Item = f64>,
        now_s: Option<f64>,
        state: &mut ForecasterState,
    ) {
        let memory = self.memory().max(1);
        for (service, (series, users)) in state.services.iter_mut().zip(users).enumerate() {
            series.now_s = now_s;
            self.take_in(service, users, memory, series);
        }
    }

    /// Forecasts `horizon` rows of every service.
    fn forecast(&self, state: &ForecasterState, horizon: usize, forecast: &mut Forecast) {
        forecast.resize(state.services.len(), horizon);
        for (service, series) in state.services.iter().enumerate() {
            let places = service * horizon..(service + 1) * horizon;
            let users = &mut forecast.users[places.clone()];
            let bands = &mut forecast.bands[places];
            let answer = self.predict(service, series, users, bands);
            forecast.answers[service] = answer;
            if answer == Answer::TooShort {
                users.fill(series.last().unwrap_or(f64::NAN));
            }
            at_least_none(users);
            if answer == Answer::Banded {
                at_least_none(bands.as_flattened_mut());
            }
            if let Some(&first) = users.first() {
                forecast.next[service] = first;
            }
        }
    }
}

/// No service has fewer users than none; what is not a number stays so, for the guard to see.
fn at_least_none(users: &mut [f64]) {
    for users in users {
        if *users < 0.0 {
            *users = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::{HoltWinters, MovingAverage, Persistence, Training};

    #[test]
    fn a_short_history_is_answered_by_persistence_and_said() {
        let model = MovingAverage::new(3);
        let mut state = model.start(&[&[4.0], &[]]);
        let mut forecast = Forecast::default();
        model.forecast(&state, 2, &mut forecast);
        assert_eq!(forecast.users(0), [4.0, 4.0]);
        assert!(forecast.by_persistence(0) && forecast.by_persistence(1));
        assert!(forecast.next()[1].is_nan(), "nothing is known: not zero");
        for users in [[7.0, 1.0], [10.0, f64::NAN]] {
            model.observe(&mut users.into_iter(), None, &mut state);
        }
        model.forecast(&state, 1, &mut forecast);
        assert_eq!(forecast.next(), [7.0, 1.0]);
        assert!(!forecast.by_persistence(0) && forecast.by_persistence(1));
        assert_eq!(state.services[1].recent, [1.0, 1.0], "a missing sample repeats the last");
        assert_eq!((state.services[0].clock, state.services[1].clock), (2, 2));
        assert!(state.services[1].missing && !state.services[0].missing);
    }

    #[test]
    fn memory_is_bounded_and_a_saved_state_goes_on_alike() {
        let model = MovingAverage::new(3);
        let mut state = model.start(&[&[]]);
        for row in 0..1000 {
            model.observe(&mut [f64::from(row)].into_iter(), None, &mut state);
            assert!(state.services[0].recent.len() <= 6);
        }
        let text = serde_json::to_string(&state).unwrap();
        let mut restored: ForecasterState = serde_json::from_str(&text).unwrap();
        assert_eq!(restored, state);
        assert!(model.accepts(&restored, 1) && !model.accepts(&restored, 3));
        let fitted = HoltWinters::fit(&[Training::of(&[1.0; 20], 1)]);
        assert!(!fitted.accepts(&restored, 1));
        for state in [&mut state, &mut restored] {
            model.observe(&mut [5.0].into_iter(), None, state);
        }
        assert_eq!(restored, state);
        let mut forecast = Forecast::default();
        model.forecast(&state, 1, &mut forecast);
        assert_eq!(forecast.next(), [(998.0 + 999.0 + 5.0) / 3.0]);
    }

    #[test]
    fn users_are_never_fewer_than_none() {
        struct Below;
        impl Forecaster for Below {
            fn name(&self) -> &'static str {
                "below"
            }
            fn memory(&self) -> usize {
                1
            }
            fn predict(
                &self,
                _: usize,
                _: &SeriesState,
                users: &mut [f64],
                bands: &mut [Band],
            ) -> Answer {
                users.fill(-3.0);
                bands.fill([-5.0, f64::NAN, 1.0]);
                Answer::Banded
            }
        }
        let mut forecast = Forecast::default();
        Below.forecast(&Below.start(&[&[]]), 2, &mut forecast);
        assert_eq!(forecast.users(0), [0.0, 0.0]);
        let band = forecast.bands(0).unwrap()[1];
        assert_eq!((band[0], band[2]), (0.0, 1.0));
        assert!(band[1].is_nan());
        forecast.set_known(&[9.0]);
        assert_eq!((forecast.next(), forecast.bands(0)), (&[9.0][..], None));
        Persistence.forecast(&Persistence.start(&[&[2.0]]), 1, &mut forecast);
        assert_eq!(forecast.next(), [2.0]);
    }
}
