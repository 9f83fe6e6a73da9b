//! The panel of a timeline that holds the measured p95 against the SLO: lines, or for many services
//! a strip each.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Point, Stroke, TextLook, fit};
use super::keys::{Key, cross};
use super::style::{
    BLACK, Colour, INK, LINE_WIDTH, SOFT_INK, TEXT_SIZE, VERMILION, service_colour, service_dashes,
};
use super::timeline::{Frame, LABEL_GAP};
use super::timeline_data::{P95, TimelineData};

/// Lines of more services than this cannot be told apart.
const MOST_LINES: usize = 6;
/// Above this a linear axis would press the rest against the floor.
const LINEAR_P95_PERCENT: f64 = 300.0;
const HEADING: &str = "p95 latency against the SLO";
const OUTAGE: &str = "no request completed";

impl Frame<'_> {
    /// Draws the panel into the right column.
    pub(super) fn p95_panel(&mut self, data: &TimelineData, top: f64, bottom: f64) {
        self.heading(1, HEADING, top);
        if data.services.len() > MOST_LINES {
            self.p95_strips(data, top, bottom);
        } else {
            self.p95_lines(data, top, bottom);
        }
    }

    fn p95_lines(&mut self, data: &TimelineData, top: f64, bottom: f64) {
        let mut keys = vec![Key::Line("SLO", BLACK, &[])];
        if has_outage(data) {
            keys.push(Key::Cross(OUTAGE));
        }
        self.keys(1, top - 10.0, &keys);
        let panel = self.panel(1, top, bottom, percent_axis(data));
        panel.draw_grid(self.canvas);
        let slo_y = panel.at_y(100.0);
        let ends = [(panel.left, slo_y), (panel.right, slo_y)];
        self.canvas.line(&ends, Stroke::solid(BLACK, LINE_WIDTH));
        for (index, line) in data.services.iter().enumerate() {
            let colour = service_colour(index);
            let stroke = Stroke { colour, width: LINE_WIDTH, dashes: service_dashes(index) };
            let mut path: Vec<Point> = Vec::new();
            for p95 in &line.p95 {
                let [from, to] = self.ends(&panel, p95);
                let Some(share) = p95.share else {
                    self.canvas.line(&std::mem::take(&mut path), stroke);
                    // Below each other where several services are out at once.
                    cross(self.canvas, ((from + to) / 2.0, top + 6.0 + index as f64 * 9.0), colour);
                    continue;
                };
                let y = panel.at_y(share * 100.0);
                path.extend([(from, y), (to, y)]);
            }
            self.canvas.line(&path, stroke);
        }
        panel.draw_frame(self.canvas);
        panel.draw_y_labels(self.canvas, "p95, % of SLO", LABEL_GAP);
        panel.draw_x_labels(self.canvas, &self.time_label);
    }

    fn p95_strips(&mut self, data: &TimelineData, top: f64, bottom: f64) {
        let mut keys = vec![
            Key::Area("0", strip_colour(Some(0.0))),
            Key::Area("100 %", strip_colour(Some(1.0))),
            Key::Area("over SLO", strip_colour(Some(1.01))),
            Key::Area("200 %", strip_colour(Some(2.0))),
        ];
        if has_outage(data) {
            keys.push(Key::Area(OUTAGE, strip_colour(None)));
        }
        self.keys(1, top - 10.0, &keys);
        let panel = self.panel(1, top, bottom, Axis::linear(0.0, 1.0, 1));
        let height = (bottom - top) / data.services.len() as f64;
        // Names stay clear of the panel on the left.
        let room = LABEL_GAP + 10.0;
        for (index, line) in data.services.iter().enumerate() {
            let top = top + index as f64 * height;
            for p95 in &line.p95 {
                let [from, to] = self.ends(&panel, p95);
                let bottom = top + (height - 1.0).max(height * 0.7);
                self.canvas.rectangle((from, top), (to, bottom), strip_colour(p95.share));
            }
            let size = (height * 0.75).min(TEXT_SIZE);
            let look = TextLook::new(size, SOFT_INK, Align::Right);
            let name = fit(&line.name, size, false, room);
            self.canvas.text((panel.left - 5.0, top + height / 2.0), name, look);
        }
        panel.draw_frame(self.canvas);
        panel.draw_x_labels(self.canvas, &self.time_label);
    }

    fn ends(&self, panel: &Panel, p95: &P95) -> [f64; 2] {
        [p95.from_s, p95.to_s].map(|time_s| panel.at_x(time_s / self.unit_s))
    }
}

fn has_outage(data: &TimelineData) -> bool {
    data.services.iter().any(|line| line.p95.iter().any(|p95| p95.share.is_none()))
}

/// Up to the highest share, and at least past the SLO.
fn percent_axis(data: &TimelineData) -> Axis {
    let shares: Vec<f64> = data
        .services
        .iter()
        .flat_map(|line| line.p95.iter().filter_map(|p95| p95.share))
        .map(|share| share * 100.0)
        .filter(|share| share.is_finite())
        .collect();
    let highest = shares.iter().copied().fold(120.0, f64::max);
    if highest > LINEAR_P95_PERCENT {
        let lowest = shares.iter().copied().filter(|share| *share > 0.0).fold(100.0, f64::min);
        Axis::logarithmic(lowest * 0.9, highest * 1.1)
    } else {
        Axis::linear(0.0, highest * 1.06, 5)
    }
}

/// Blue up to the SLO, vermilion above it up to twice the SLO, black without completions.
fn strip_colour(share: Option<f64>) -> Colour {
    match share {
        None => INK,
        Some(share) if share <= 1.0 => service_colour(0).tint(0.06 + 0.5 * share.max(0.0)),
        Some(share) => VERMILION.tint(0.5 + 0.5 * (share - 1.0).min(1.0)),
    }
}
