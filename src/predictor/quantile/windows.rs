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
const LEAST_DAYS: f64 = 28.0;
const DAY_S: f64 = 86_400.0;

/// Whether the network sees the time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeOfDay {
    /// Where every trace gives dates and its training part has four weeks: fewer days are learned by
    /// heart.
    #[default]
    Auto,
    /// Where every trace gives dates.
    Always,
    /// Never.
    Never,
}

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
    pub fn new(
        series: &[Series],
        fractions: Fractions,
        horizon: usize,
        time_of_day: TimeOfDay,
    ) -> Self {
        let (mut train, mut validation, mut changes) = (Vec::new(), Vec::new(), false);
        for series in series {
            let split = fractions.split(series.len());
            let change = mean_change(series, split.train.clone());
            changes |= change.is_some();
            train.push(Views::of(series, split.train, horizon, change));
            validation.push(Views::of(series, split.validation, horizon, change));
        }
        let long = |series: &Series| {
            let days = fractions.split(series.len()).train.len() as f64 * series.row_s / DAY_S;
            days >= LEAST_DAYS || time_of_day == TimeOfDay::Always
        };
        let calendar = time_of_day != TimeOfDay::Never
            && series.iter().all(|series| series.start_s.is_some() && long(series));
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
        if train.weights.iter().all(|weight| *weight == 0.0) {
            // It stood still. How it errs once it moves, the others say.
            own.lines.fill(Line::STILL);
            return own;
        }
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
            let hidden = hide && (from + index).is_multiple_of(WITHOUT_TIME);
            let now_s = if hidden { None } else { time };
            once(view, lines, now_s, self.calendar, &mut self.once);
            for ((line, error), followed) in lines.lines.iter().zip(&lines.errors).zip(followed) {
                self.targets.residuals.push(((followed - line.after(view)) / error) as f32);
                self.targets.weights.push((weight * error) as f32);
            }
            self.targets.moved.push(view.moved());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Series of 300 rows of 2 minutes: noise, one that repeats itself, and one that stands still.
    fn series() -> Vec<Series> {
        let noise = (0..300_u32).map(|row| f64::from(40 + row * row % 17 * (row % 5)));
        let exact = (0..300).map(|row| [900.0, 20.0, 350.0, 20.0][row % 4]);
        let users = [("a", noise.collect()), ("b", exact.collect()), ("c", vec![70.0; 300])];
        let series = |(name, users): (&str, Vec<f64>)| Series {
            name: format!("t/{name}"),
            row_s: 120.0,
            masked: vec![false; users.len()],
            users,
            start_s: Some(1e9),
            ..Series::default()
        };
        users.map(series).into()
    }

    fn parts(series: &[Series], time_of_day: TimeOfDay) -> Parts {
        Parts::new(series, Fractions::default(), 2, time_of_day)
    }

    #[test]
    fn a_service_that_repeats_itself_has_a_line_of_its_own_without_error() {
        let (shared, own) = parts(&series(), TimeOfDay::Auto).lines();
        assert_eq!(own.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(shared.errors.iter().all(|error| *error > 0.1), "{:?}", shared.errors);
        for (error, all) in own["b"].errors.iter().zip(&shared.errors) {
            assert_eq!(*error, all * LEAST_OWN_ERROR);
        }
        let view = View::of(&[70.0; 40]);
        for line in &own["c"].lines {
            assert!(
                (line.after(&view) * view.scale()).abs() < 1e-3,
                "it expects what it always saw"
            );
        }
        let windows = parts(&series(), TimeOfDay::Auto).windows(&shared, &own);
        assert_eq!(windows[0].series, [0..184, 184..368, 368..552]);
        // Without the first windows, which have fewer rows than the line looks at.
        let of_b = &windows[0].targets.residuals[2 * 190..2 * 368];
        let largest = of_b.iter().fold(0.0_f32, |largest, residual| largest.max(residual.abs()));
        assert!(largest < 0.1, "{largest}");
        assert!(windows[0].targets.moved[..368].iter().all(|moved| *moved));
        assert!(windows[0].targets.moved[368..].iter().all(|moved| !*moved));
        // One series is its own line.
        assert!(parts(&series()[..1], TimeOfDay::Auto).lines().1.is_empty());
    }

    #[test]
    fn the_time_of_day_needs_a_clock_and_four_weeks_and_is_hidden_from_some() {
        let mut series = series();
        for (rule, expected) in
            [(TimeOfDay::Auto, false), (TimeOfDay::Always, true), (TimeOfDay::Never, false)]
        {
            assert_eq!(parts(&series, rule).calendar, expected, "{rule:?}");
        }
        let parts = parts(&series, TimeOfDay::Always);
        let (shared, own) = parts.lines();
        let [train, validation] = parts.windows(&shared, &own);
        assert_eq!(train.once_size, once_size(2, true));
        let known = |windows: &Windows| -> Vec<f32> {
            let at = windows.once_size - CALENDAR;
            windows.once.chunks_exact(windows.once_size).map(|once| once[at]).collect()
        };
        assert_eq!(known(&train)[..6], [0.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
        assert!(known(&validation).iter().all(|known| *known == 1.0));
        for series in &mut series {
            series.row_s = 86_400.0;
        }
        assert!(self::parts(&series, TimeOfDay::Auto).calendar, "192 days");
        series[1].start_s = None;
        assert!(!self::parts(&series, TimeOfDay::Always).calendar);
    }

    #[test]
    fn services_that_are_called_alike_go_by_their_whole_name() {
        let mut series = series();
        series[1].name = "u/a".to_owned();
        assert_eq!(names(&series), ["t/a", "u/a", "c"]);
    }
}
