//! The timeline of one run: users and pods of every service, CPU against the quota, latency against
//! the SLO.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, Stroke, TextLook, fit, text_width};
use super::keys::{Key, draw_keys};
use super::style::{
    BLACK, Colour, HEADING_SIZE, INK, LINE_WIDTH, SOFT_INK, TEXT_SIZE, TITLE_SIZE, VERMILION,
    WIDTH, service_colour, service_dashes,
};
use super::timeline_data::{Cpu, Pods, ServiceLine, Step, TimelineData};
use crate::report::table::mean_text;
use crate::run::Summary;

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const COLUMN_GAP: f64 = 66.0;
/// Distance from a panel to the label of its vertical axis.
pub(super) const LABEL_GAP: f64 = 46.0;
const TITLES_HEIGHT: f64 = 58.0;
const HEADING_HEIGHT: f64 = 44.0;
const SERVICE_NAME_HEIGHT: f64 = 21.0;
const X_LABELS_HEIGHT: f64 = 44.0;
const TOTALS_HEIGHT: f64 = 200.0;
const OVERLAP_HEIGHT: f64 = 150.0;
/// Room for half of a second's number of many digits.
const OVERLAP_MARGIN: f64 = 8.0;
const LEGEND_ROW_HEIGHT: f64 = 19.0;

const STARTING_TINT: f64 = 0.42;
const SERVING_TINT: f64 = 0.38;
const TERMINATING: Colour = Colour(196, 196, 196);

/// Draws the timeline.
pub fn draw(data: &TimelineData, summary: &Summary) -> Canvas {
    let count = data.services.len();
    let row_height = match count {
        0..=3 => 92.0,
        4..=6 => 74.0,
        _ => 58.0,
    };
    let rows_top = TITLES_HEIGHT + HEADING_HEIGHT;
    let rows_bottom = rows_top + count as f64 * (SERVICE_NAME_HEIGHT + row_height);
    let totals_top = rows_bottom + X_LABELS_HEIGHT + HEADING_HEIGHT;
    let totals_bottom = totals_top + TOTALS_HEIGHT;
    let overlap = data.around_overlap();
    let overlap_top = totals_bottom + X_LABELS_HEIGHT + HEADING_HEIGHT;
    let panels_bottom = match overlap {
        Some(_) => overlap_top + OVERLAP_HEIGHT,
        None => totals_bottom,
    };
    let legend = legend_rows(data);
    let legend_top = panels_bottom + X_LABELS_HEIGHT + 4.0;
    let mut canvas = Canvas::new(WIDTH, legend_top + legend.len() as f64 * LEGEND_ROW_HEIGHT + 6.0);

    draw_titles(&mut canvas, summary);
    let column_width = (WIDTH - LEFT - RIGHT - COLUMN_GAP) / 2.0;
    let columns = [LEFT, LEFT + column_width + COLUMN_GAP].map(|left| (left, left + column_width));
    let (time, label, unit_s) = time_axis(data);
    let frame = Frame { canvas: &mut canvas, columns, time, time_label: label, unit_s };
    frame.draw(data, rows_top, row_height, totals_top, totals_bottom);
    if let Some(overlap) = overlap {
        // Over the whole width.
        let columns = [(LEFT, WIDTH - RIGHT - OVERLAP_MARGIN); 2];
        let (time, time_label, unit_s) = time_axis(&overlap);
        let mut frame = Frame { canvas: &mut canvas, columns, time, time_label, unit_s };
        let heading = "The overlap of revisions with the highest peak, second by second";
        frame.cpu_panel(&overlap, heading, overlap_top, panels_bottom);
    }
    for (row, entries) in legend.iter().enumerate() {
        draw_legend_row(&mut canvas, entries, legend_top + row as f64 * LEGEND_ROW_HEIGHT);
    }
    canvas
}

fn draw_titles(canvas: &mut Canvas, summary: &Summary) {
    let title = format!("{} on {}, seed {}", summary.policy, summary.scenario, summary.seed);
    let width = WIDTH - LEFT - RIGHT;
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    canvas.text((LEFT, 22.0), fit(&title, TITLE_SIZE, true, width), look);
    let mut parts = vec![format!("reward {}", number(summary.reward))];
    if let Some(share) = summary.slo_violation_share {
        parts.push(format!("{} % of requests over SLO", number(share * 100.0)));
    }
    parts.push(format!("{} CPU-s over quota", number(summary.over_quota_cpu_seconds)));
    parts.push(format!("{} CPU-s in all", number(summary.cpu_seconds)));
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left);
    canvas.text((LEFT, 43.0), parts.join(" · "), look);
}

fn number(value: f64) -> String {
    mean_text(value, None, 1.0)
}

/// The time axis in a fitting unit, its label, and the seconds of that unit.
fn time_axis(data: &TimelineData) -> (Axis, String, f64) {
    let (unit, unit_s) = match data.end_s - data.start_s {
        length if length > 6.0 * 3600.0 => ("h", 3600.0),
        length if length > 300.0 => ("min", 60.0),
        _ => ("s", 1.0),
    };
    let axis = Axis::linear(data.start_s / unit_s, data.end_s / unit_s, 8);
    (axis, format!("time, {unit}"), unit_s)
}

/// The grid of panels in the making.
pub(super) struct Frame<'a> {
    pub(super) canvas: &'a mut Canvas,
    columns: [(f64, f64); 2],
    time: Axis,
    pub(super) time_label: String,
    /// Seconds of the unit of the time axis.
    pub(super) unit_s: f64,
}

impl Frame<'_> {
    fn draw(
        mut self,
        data: &TimelineData,
        rows_top: f64,
        row_height: f64,
        totals_top: f64,
        totals_bottom: f64,
    ) {
        self.heading(0, "Users", rows_top);
        let mut keys = vec![Key::Line("users", service_colour(0), &[])];
        if data.services.iter().any(|line| !line.forecasts.is_empty()) {
            keys.push(Key::Line("forecast", INK, FORECAST_DASHES));
        }
        self.keys(0, rows_top - 10.0, &keys);
        self.heading(1, "Pods", rows_top);
        let first = service_colour(0);
        let mut keys = vec![Key::Area(data.pods_are, first)];
        let any = |of: fn(&Pods) -> f64| {
            data.services.iter().flat_map(|line| &line.pods).any(|pods| of(pods) > 0.0)
        };
        if data.by_tick {
            keys.push(Key::Area("starting", first.tint(STARTING_TINT)));
            keys.push(Key::Area("terminating", TERMINATING));
        }
        if any(|pods| pods.refused) {
            keys.push(Key::Area("denied, pending", INK));
        }
        if data.services.iter().any(|line| self.shows_revisions(line)) {
            keys.push(Key::Tick("revision"));
        }
        self.keys(1, rows_top - 10.0, &keys);

        let count = data.services.len();
        for (index, line) in data.services.iter().enumerate() {
            let top =
                rows_top + index as f64 * (SERVICE_NAME_HEIGHT + row_height) + SERVICE_NAME_HEIGHT;
            self.users_panel(data, line, index, top, top + row_height, index + 1 == count);
            self.pods_panel(data, line, index, top, top + row_height, index + 1 == count);
        }
        self.cpu_panel(data, "CPU against the quota", totals_top, totals_bottom);
        self.p95_panel(data, totals_top, totals_bottom);
    }

    /// Marks of very many revisions would run into a bar.
    fn shows_revisions(&self, line: &ServiceLine) -> bool {
        let (left, right) = self.columns[1];
        (1.0..(right - left) / 4.0).contains(&(line.revisions_s.len() as f64))
    }

    /// A panel in a column, over the whole time.
    pub(super) fn panel(&self, column: usize, top: f64, bottom: f64, y: Axis) -> Panel {
        let (left, right) = self.columns[column];
        Panel { left, top, right, bottom, x: self.time.clone(), y }
    }

    pub(super) fn heading(&mut self, column: usize, text: &str, top: f64) {
        let look = TextLook::new(HEADING_SIZE, INK, Align::Left).bold();
        self.canvas.text((self.columns[column].0, top - 28.0), text, look);
    }

    /// Keys below a heading, from the left.
    pub(super) fn keys(&mut self, column: usize, y: f64, keys: &[Key<'_>]) {
        let (left, right) = self.columns[column];
        draw_keys(self.canvas, keys, left, y, right - left);
    }

    fn users_panel(
        &mut self,
        data: &TimelineData,
        line: &ServiceLine,
        index: usize,
        top: f64,
        bottom: f64,
        last: bool,
    ) {
        let colour = service_colour(index);
        let users = line.users.iter().map(|step| step.1);
        let highest = users.chain(line.forecasts.iter().map(|step| step.2)).fold(3.0, f64::max);
        let panel = self.panel(0, top, bottom, Axis::linear(0.0, highest * 1.06, 3));
        panel.draw_grid(self.canvas);
        let path = self.step_path(&panel, &line.users, data.end_s);
        self.canvas.line(&path, Stroke::solid(colour, LINE_WIDTH));
        for &(from_s, to_s, users) in &line.forecasts {
            let y = panel.at_y(users);
            let ends = [from_s, to_s].map(|time_s| (panel.at_x(time_s / self.unit_s), y));
            let stroke = Stroke { colour: INK, width: 1.25, dashes: FORECAST_DASHES };
            self.canvas.line(&ends, stroke);
        }
        panel.draw_frame(self.canvas);
        panel.draw_y_labels(self.canvas, "users", LABEL_GAP);
        if last {
            panel.draw_x_labels(self.canvas, &self.time_label);
        }
        let name = fit(&line.name, TEXT_SIZE, true, panel.right - panel.left - 16.0);
        let middle = top - SERVICE_NAME_HEIGHT / 2.0;
        self.canvas.rectangle(
            (panel.left, middle - 5.0),
            (panel.left + 10.0, middle + 5.0),
            colour,
        );
        let look = TextLook::new(TEXT_SIZE, INK, Align::Left).bold();
        self.canvas.text((panel.left + 16.0, middle), name, look);
    }

    fn pods_panel(
        &mut self,
        data: &TimelineData,
        line: &ServiceLine,
        index: usize,
        top: f64,
        bottom: f64,
        last: bool,
    ) {
        let colour = service_colour(index);
        let highest = line.pods.iter().map(Pods::total).fold(3.0, f64::max);
        let panel = self.panel(1, top, bottom, Axis::linear(0.0, highest * 1.06, 3));
        panel.draw_grid(self.canvas);
        let pods = thinned(&line.pods, &panel, |pods| pods.from_s / self.unit_s, Pods::total);
        let layers: [PodLayer; 4] = [
            (|pods| pods.ready, colour),
            (|pods| pods.starting, colour.tint(STARTING_TINT)),
            (|pods| pods.terminating, TERMINATING),
            (|pods| pods.refused, INK),
        ];
        let mut base = vec![0.0; pods.len()];
        for (of, colour) in layers {
            let upper: Vec<f64> =
                pods.iter().zip(&base).map(|(pods, base)| base + of(pods)).collect();
            let times: Vec<f64> = pods.iter().map(|pods| pods.from_s).collect();
            self.band(&panel, &times, &base, &upper, data.end_s, colour);
            base = upper;
        }
        panel.draw_frame(self.canvas);
        let revisions_s: &[f64] = if self.shows_revisions(line) { &line.revisions_s } else { &[] };
        for &created_s in revisions_s {
            let x = panel.at_x(created_s / self.unit_s);
            self.canvas.line(&[(x, top - 6.0), (x, top - 1.0)], Stroke::solid(INK, 1.25));
        }
        panel.draw_y_labels(self.canvas, "pods", LABEL_GAP);
        if last {
            panel.draw_x_labels(self.canvas, &self.time_label);
        }
    }

    fn cpu_panel(&mut self, data: &TimelineData, heading: &str, top: f64, bottom: f64) {
        self.heading(0, heading, top);
        let first = service_colour(0);
        let mut keys = vec![Key::Line("quota", BLACK, &[])];
        if data.by_tick {
            keys.push(Key::Area("serving revision", first.tint(SERVING_TINT)));
            keys.push(Key::Area("overlap with others", first));
        } else {
            keys.push(Key::Area(data.cpu_is, first.tint(SERVING_TINT)));
        }

        let totals = data.cpu_totals();
        if totals.iter().any(|step| step.1 > data.quota_cores) {
            keys.push(Key::Line("over quota", VERMILION, &[]));
        }
        self.keys(0, top - 10.0, &keys);
        let highest = totals.iter().map(|step| step.1).fold(data.quota_cores, f64::max);
        let panel = self.panel(0, top, bottom, Axis::linear(0.0, highest * 1.06, 5));
        panel.draw_grid(self.canvas);
        let indices: Vec<usize> = (0..totals.len()).collect();
        let kept = thinned(&indices, &panel, |&i| totals[i].0 / self.unit_s, |&i| totals[i].1);
        let kept_s: Vec<f64> = kept.iter().map(|&index| totals[index].0).collect();
        let mut base = vec![0.0; kept.len()];
        for (number, line) in data.services.iter().enumerate() {
            let colour = service_colour(number);
            let at = |&index: &usize| line.cpu.get(index).copied().unwrap_or_default();
            let cpu: Vec<Cpu> = kept.iter().map(at).collect();
            let serving: Vec<f64> =
                cpu.iter().zip(&base).map(|(cpu, base)| base + cpu.total - cpu.overlap).collect();
            let upper: Vec<f64> =
                cpu.iter().zip(&base).map(|(cpu, base)| base + cpu.total).collect();
            self.band(&panel, &kept_s, &base, &serving, data.end_s, colour.tint(SERVING_TINT));
            self.band(&panel, &kept_s, &serving, &upper, data.end_s, colour);
            base = upper;
        }
        let steps: Vec<Step> = kept.iter().map(|&index| totals[index]).collect();
        let path = self.step_path(&panel, &steps, data.end_s);
        self.canvas.line(&path, Stroke::solid(SOFT_INK, 0.75));
        for (index, &(from_s, total)) in steps.iter().enumerate() {
            if total > data.quota_cores {
                let to_s = steps.get(index + 1).map_or(data.end_s, |next| next.0);
                let ends = [from_s, to_s].map(|t_s| panel.at(t_s / self.unit_s, total));
                self.canvas.line(&ends, Stroke::solid(VERMILION, 2.5));
            }
        }
        let quota_y = panel.at_y(data.quota_cores);
        self.canvas.line(
            &[(panel.left, quota_y), (panel.right, quota_y)],
            Stroke::solid(BLACK, LINE_WIDTH),
        );
        panel.draw_frame(self.canvas);
        panel.draw_y_labels(self.canvas, "CPU, cores", LABEL_GAP);
        panel.draw_x_labels(self.canvas, &self.time_label);
    }

    /// The line of values that hold until the next, thinned to what a panel can show.
    fn step_path(&self, panel: &Panel, steps: &[Step], end_s: f64) -> Vec<Point> {
        let steps = thinned(steps, panel, |step| step.0 / self.unit_s, |step| step.1);
        let mut path: Vec<Point> = Vec::new();
        for (index, &(from_s, value)) in steps.iter().enumerate() {
            let to_s = steps.get(index + 1).map_or(end_s, |next| next.0);
            let y = panel.at_y(value);
            if path.last().is_none_or(|last| last.1 != y) {
                path.push((panel.at_x(from_s / self.unit_s), y));
            }
            // A step that goes on is one piece.
            if path.len() > 1 && path[path.len() - 1].1 == y && path[path.len() - 2].1 == y {
                path.pop();
            }
            path.push((panel.at_x(to_s / self.unit_s), y));
        }
        path
    }

    /// Fills between two step lines, where there is anything between them.
    fn band(
        &mut self,
        panel: &Panel,
        times_s: &[f64],
        lower: &[f64],
        upper: &[f64],
        end_s: f64,
        colour: Colour,
    ) {
        let mut start = 0;
        while start < times_s.len() {
            if upper[start] <= lower[start] {
                start += 1;
                continue;
            }
            let length = (start..times_s.len()).take_while(|&i| upper[i] > lower[i]).count();
            let piece = start..start + length;
            let end = times_s.get(piece.end).copied().unwrap_or(end_s);
            let mut points = Vec::with_capacity(length * 4);
            for index in piece.clone() {
                let to_s = if index + 1 < piece.end { times_s[index + 1] } else { end };
                push_step(&mut points, panel, [times_s[index], to_s], self.unit_s, upper[index]);
            }
            for index in piece.clone().rev() {
                let to_s = if index + 1 < piece.end { times_s[index + 1] } else { end };
                push_step(&mut points, panel, [to_s, times_s[index]], self.unit_s, lower[index]);
            }
            self.canvas.polygon(points, colour);
            start = piece.end;
        }
    }
}

/// Adds both ends of a step, merging it with one before it at the same height.
fn push_step(points: &mut Vec<Point>, panel: &Panel, ends_s: [f64; 2], unit_s: f64, value: f64) {
    let y = panel.at_y(value);
    let [from, to] = ends_s.map(|time_s| panel.at_x(time_s / unit_s));
    let goes_on = points.len() > 1
        && points[points.len() - 1] == (from, y)
        && points[points.len() - 2].1 == y;
    if goes_on {
        points.pop();
    } else {
        points.push((from, y));
    }
    points.push((to, y));
}

/// Which pods a layer of the stack holds, and its colour.
type PodLayer = (fn(&Pods) -> f64, Colour);

const FORECAST_DASHES: &[f64] = &[4.0, 2.5];
/// Most samples in one unit of width.
const SAMPLES_PER_UNIT: f64 = 2.0;

/// At most [`SAMPLES_PER_UNIT`]: of each slot the sample with the greatest size, so that peaks stay.
fn thinned<T: Clone>(
    samples: &[T],
    panel: &Panel,
    time: impl Fn(&T) -> f64,
    size: impl Fn(&T) -> f64,
) -> Vec<T> {
    let slots = (panel.right - panel.left) * SAMPLES_PER_UNIT;
    if samples.len() as f64 <= slots {
        return samples.to_vec();
    }
    let mut kept: Vec<(i64, T)> = Vec::new();
    for sample in samples {
        let slot = (panel.x.share(time(sample)) * slots) as i64;
        match kept.last_mut() {
            Some((last, best)) if *last == slot => {
                if size(sample) > size(best) {
                    *best = sample.clone();
                }
            }
            _ => kept.push((slot, sample.clone())),
        }
    }
    kept.into_iter().map(|(_, sample)| sample).collect()
}

/// The services' legend, broken into rows: place across, index and name.
fn legend_rows(data: &TimelineData) -> Vec<Vec<(f64, usize, String)>> {
    let mut rows: Vec<Vec<(f64, usize, String)>> = Vec::new();
    let mut x = LEFT;
    for (index, line) in data.services.iter().enumerate() {
        let name = fit(&line.name, TEXT_SIZE, false, 200.0);
        let width = LEGEND_LINE + 5.0 + text_width(&name, TEXT_SIZE, false);
        if rows.is_empty() || x + width > WIDTH - RIGHT {
            rows.push(Vec::new());
            x = LEFT;
        }
        if let Some(row) = rows.last_mut() {
            row.push((x, index, name));
        }
        x += width + 18.0;
    }
    rows
}

const LEGEND_LINE: f64 = 24.0;

fn draw_legend_row(canvas: &mut Canvas, entries: &[(f64, usize, String)], y: f64) {
    for (x, index, name) in entries {
        let stroke =
            Stroke { colour: service_colour(*index), width: 3.0, dashes: service_dashes(*index) };
        canvas.line(&[(*x, y), (x + LEGEND_LINE, y)], stroke);
        let look = TextLook::new(TEXT_SIZE, INK, Align::Left);
        canvas.text((x + LEGEND_LINE + 5.0, y), name, look);
    }
}
