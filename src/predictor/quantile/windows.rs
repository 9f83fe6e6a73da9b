//! What the quantile model is trained on: views of every series, its lines, and the windows of both.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::calendar::{self, CALENDAR};
use super::line::{self, Line, Lines};
use super::loss::Targets;
use super::view::{LEAST_ROWS, ROWS, STEP_INPUTS, STEPS, SUMMARY, View, scaled, squashed};
use crate::predictor::backtest::mean_change;
use crate::predictor::baselines::Stretch;
use crate::predictor::dataset::{Fractions, training};
use crate::trace::series::Series;

/// Bound of a window's weight: one burst must not outweigh all the rest.
const MOST_WEIGHT: f64 = 20.0;
/// Fewest windows that a service's own line is fitted on, and chosen by.
const LEAST_FITTED: usize = 100;
const LEAST_CHOSEN: usize = 20;
/// Least error of a line that others are measured in, in units of the scale; of a service's own line, as
/// a share of the error of the line of all.
const LEAST_ERROR: f64 = 1e-3;
const LEAST_OWN_ERROR: f64 = 0.01;
/// One in so many windows does not know the time, so that the model can do without.
const WITHOUT_TIME: usize = 4;
/// Fewest days of a series in its training part that the time of day is learned from.
const LEAST_DAYS: f64 = 7.0;
const DAY_S: f64 = 86_400.0;

/// Views of one series and what followed each.
#[derive(Default)]
pub struct Views {
    views: Vec<View>,
    /// [views, horizon], relative to the view's last row, in units of its scale.
    followed: Vec<f64>,
    weights: Vec<f64>,
    times: Vec<Option<f64>>,
}

impl Views {
    /// Every window in some rows of a series whose mean change is `change`.
    fn of(series: &Series, rows: Range<usize>, horizon: usize, change: Option<f64>) -> Self {
        let mut all = Self::default();
        for Stretch { users, clock } in training(series, rows).stretches {
            for next in LEAST_ROWS..(users.len() + 1).saturating_sub(horizon) {
                let view = View::of(&users[next.saturating_sub(ROWS)..next]);
                let relative = |users: &f64| scaled(users - view.last(), view.scale());
                all.followed.extend(users[next..next + horizon].iter().map(relative));
                // So that the loss is in users, relative to how much the series changes.
                let weight = change.map_or(0.0, |change| view.scale() / change);
                all.weights.push(weight.min(MOST_WEIGHT));
                all.times.push(series.time_s(clock as usize + next - 1));
                all.views.push(view);
            }
        }
        all
    }

    /// The users that followed each view so many rows ahead (from 0), and its weight.
    fn followed(&self, horizon: usize, ahead: usize) -> impl Iterator<Item = (f64, f64)> {
        let followed = self.followed.iter().skip(ahead).step_by(horizon).copied();
        followed.zip(self.weights.iter().copied())
    }
}

fn fit(all: &[&Views], horizon: usize, ahead: usize) -> Line {
    let views = all.iter().flat_map(|views| &views.views);
    let inputs: Vec<f64> = views.flat_map(|view| line::inputs(view).iter().copied()).collect();
    let followed: Vec<(f64, f64)> =
        all.iter().flat_map(|views| views.followed(horizon, ahead)).collect();
    Line::fit(&inputs, &followed)
}

/// The weighted mean error of a line; `None` where there is no weight.
fn error(all: &[&Views], horizon: usize, ahead: usize, line: &Line) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for views in all {
        for (view, (followed, weight)) in views.views.iter().zip(views.followed(horizon, ahead)) {
            sum += weight * (followed - line.after(view)).abs();
            weights += weight;
        }
    }
    (weights > 0.0).then(|| sum / weights)
}

/// Views of all series: to fit on, and to stop by.
pub struct Parts {
    horizon: usize,
    /// A name each, by which its service goes.
    names: Vec<String>,
    train: Vec<Views>,
    validation: Vec<Views>,
    /// Whether every series has a clock and is long enough to learn the time of day from.
    pub calendar: bool,
    /// Whether there is a series that changes.
    pub changes: bool,
}

impl Parts {
    /// Of `series`, split by `fractions`.
    pub fn new(series: &[Series], fractions: Fractions, horizon: usize) -> Self {
        let (mut train, mut validation, mut changes) = (Vec::new(), Vec::new(), false);
        for series in series {
            let split = fractions.split(series.len());
            let change = mean_change(series, split.train.clone());
            changes |= change.is_some();
            train.push(Views::of(series, split.train, horizon, change));
            validation.push(Views::of(series, split.validation, horizon, change));
        }
        let calendar = series.iter().all(|series| {
            let days = fractions.split(series.len()).train.len() as f64 * series.row_s / DAY_S;
            series.start_s.is_some() && days >= LEAST_DAYS
        });
        Self { horizon, names: names(series), train, validation, calendar, changes }
    }

    /// How many views there are to fit on, and to stop by.
    pub fn counts(&self) -> [usize; 2] {
        [&self.train, &self.validation]
            .map(|part| part.iter().map(|views| views.views.len()).sum::<usize>())
    }

    /// Users at the end of the first view.
    pub fn first_users(&self) -> Option<f64> {
        self.train.iter().find_map(|views| views.views.first()).map(View::last)
    }

    /// The lines of all series together, and of each service where there are several series.
    pub fn lines(&self) -> (Lines, BTreeMap<String, Lines>) {
        let every: Vec<&Views> = self.train.iter().collect();
        let aheads = || (0..self.horizon).into_par_iter();
        let lines: Vec<Line> = aheads().map(|ahead| fit(&every, self.horizon, ahead)).collect();
        let errors = lines.iter().enumerate().map(|(ahead, line)| {
            error(&every, self.horizon, ahead, line).unwrap_or(0.0).max(LEAST_ERROR)
        });
        let widths = vec![[1.0; 2]; self.horizon];
        let shared = Lines { errors: errors.collect(), lines, widths };
        if self.names.len() == 1 {
            return (shared, BTreeMap::new());
        }
        let each = self.names.par_iter().zip(&self.train).zip(&self.validation);
        let own = each.map(|((name, train), validation)| {
            (name.clone(), self.own(&shared, train, validation))
        });
        let own: BTreeMap<String, Lines> = own.collect();
        (shared, own)
    }

    /// Lines of one service: for each row ahead the one that does best on its validation part, of a line
    /// fitted to it, the line of all, and the last row again.
    fn own(&self, shared: &Lines, train: &Views, validation: &Views) -> Lines {
        let (horizon, few) = (self.horizon, train.views.len() < LEAST_FITTED);
        let few = few || validation.views.len() < LEAST_CHOSEN;
        let mut own = shared.clone();
        for (ahead, (line, error_of_own)) in own.lines.iter_mut().zip(&mut own.errors).enumerate() {
            let judged = |line: &Line| error(&[validation], horizon, ahead, line);
            if !few {
                let fitted = fit(&[train], horizon, ahead);
                for candidate in [fitted, Line::STILL] {
                    if let (Some(found), Some(best)) = (judged(&candidate), judged(line))
                        && found < best
                    {
                        *line = candidate;
                    }
                }
            }
            let least = LEAST_OWN_ERROR * *error_of_own;
            // A series that stood still says nothing of how it errs once it moves.
            if let Some(found) = error(&[train], horizon, ahead, line) {
                *error_of_own = found.max(least);
            }
        }
        own
    }

    /// The windows to fit on, and to stop by.
    pub fn windows(self, shared: &Lines, own: &BTreeMap<String, Lines>) -> [Windows; 2] {
        let lines: Vec<&Lines> =
            self.names.iter().map(|name| own.get(name).unwrap_or(shared)).collect();
        [(&self.train, true), (&self.validation, false)].map(|(part, hide)| {
            let mut windows = Windows::new(self.horizon, self.calendar);
            for (views, lines) in part.iter().zip(&lines) {
                let from = windows.count;
                windows.add(views, lines, hide);
                windows.series.push(from..windows.count);
            }
            windows
        })
    }

    /// Names of the services, one a series.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The service of each series; the whole name of those whose services are called alike.
fn names(series: &[Series]) -> Vec<String> {
    let twice = |name: &str| series.iter().filter(|other| other.service() == name).count() > 1;
    let name = |series: &Series| {
        let service = series.service();
        if twice(service) { series.name.clone() } else { service.to_owned() }
    };
    series.iter().map(name).collect()
}

/// Windows as the network sees them.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// How many.
    pub count: usize,
    /// [count, STEPS, STEP_INPUTS].
    pub steps: Vec<f32>,
    /// [count, once].
    pub once: Vec<f32>,
    /// Numbers that the network sees once a window.
    pub once_size: usize,
    /// What it is compared with.
    pub targets: Targets,
    /// The windows of each series.
    pub series: Vec<Range<usize>>,
    horizon: usize,
    calendar: bool,
}

/// Numbers that the network sees once a window.
pub fn once_size(horizon: usize, calendar: bool) -> usize {
    SUMMARY + 1 + horizon + if calendar { CALENDAR } else { 0 }
}

/// Writes what the network sees once: the view's summary, how the lines did lately, what they expect,
/// and the time.
pub fn once(view: &View, lines: &Lines, now_s: Option<f64>, calendar: bool, once: &mut Vec<f32>) {
    once.extend_from_slice(view.summary());
    once.push(lines.lately(view));
    once.extend(lines.lines.iter().map(|line| squashed(line.after(view)) as f32));
    if calendar {
        once.extend_from_slice(&calendar::inputs(now_s));
    }
}

impl Windows {
    fn new(horizon: usize, calendar: bool) -> Self {
        Self { once_size: once_size(horizon, calendar), horizon, calendar, ..Self::default() }
    }

    /// Adds the windows of one series; `hide` hides the time from some.
    fn add(&mut self, views: &Views, lines: &Lines, hide: bool) {
        let from = self.count;
        self.count += views.views.len();
        self.steps.resize(self.count * STEPS * STEP_INPUTS, 0.0);
        let steps = self.steps[from * STEPS * STEP_INPUTS..].chunks_exact_mut(STEPS * STEP_INPUTS);
        let each = views.views.iter().zip(&views.weights).zip(&views.times);
        let followed = views.followed.chunks_exact(self.horizon);
        for (index, (((view, weight), time), (followed, steps))) in each
            .map(|((view, weight), time)| ((view, weight), *time))
            .zip(followed.zip(steps))
            .enumerate()
        {
            view.steps(steps);
            let hidden = hide && (from + index) % WITHOUT_TIME == 0;
            let now_s = if hidden { None } else { time };
            once(view, lines, now_s, self.calendar, &mut self.once);
            for ((line, error), followed) in lines.lines.iter().zip(&lines.errors).zip(followed) {
                self.targets.residuals.push(((followed - line.after(view)) / error) as f32);
                self.targets.weights.push((weight * error) as f32);
            }
            self.targets.shares.push((view.change() / view.scale()) as f32);
        }
    }
}
