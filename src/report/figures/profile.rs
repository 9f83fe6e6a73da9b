//! A fitted profile: the points of load tests, the curve of every CPU size, and the options chosen.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, Stroke, TextLook, fit, text_width};
use super::keys::{Key, cross, draw_keys, ring};
use super::style::{
    BLACK, INK, LINE_WIDTH, SOFT_INK, TEXT_SIZE, TITLE_SIZE, WIDTH, service_colour, service_dashes,
};
use crate::profiling::FittedProfile;

const LEFT: f64 = 76.0;
/// Room for the names at the ends of the lines.
const RIGHT: f64 = 132.0;
const TOP: f64 = 84.0;
const HEIGHT: f64 = 380.0;
const X_LABELS_HEIGHT: f64 = 44.0;
const LABEL_GAP: f64 = 58.0;
const STEPS: usize = 120;

/// Draws the profile; `slo_p95_ms` as a line where it is known.
pub fn draw(title: &str, profile: &FittedProfile, slo_p95_ms: Option<f64>) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, TOP + HEIGHT + X_LABELS_HEIGHT);
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    canvas.text((LEFT, 22.0), fit(title, TITLE_SIZE, true, WIDTH - LEFT - 14.0), look);
    let note = format!(
        "{} points, {} options; lines: fitted p95 with its root-mean-square error",
        profile.points.len(),
        profile.options.len()
    );
    canvas.text((LEFT, 43.0), note, TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left));
    let mut keys = vec![
        Key::Cross("measured"),
        Key::Line("fitted", service_colour(0), &[]),
        Key::Ring("option chosen", service_colour(0)),
    ];
    if slo_p95_ms.is_some() {
        keys.push(Key::Line("SLO", BLACK, &[]));
    }
    draw_keys(&mut canvas, &keys, LEFT, 66.0, WIDTH - LEFT - RIGHT);

    let panel = panel(profile, slo_p95_ms);
    panel.draw_grid(&mut canvas);
    if let Some(slo) = slo_p95_ms {
        let ends = [(panel.left, panel.at_y(slo)), (panel.right, panel.at_y(slo))];
        canvas.line(&ends, Stroke::solid(BLACK, LINE_WIDTH));
    }
    let mut ends = Vec::new();
    for (index, curve) in profile.curves.iter().enumerate() {
        let colour = service_colour(index);
        let stroke = Stroke { colour, width: LINE_WIDTH, dashes: service_dashes(index) };
        let [low, high] = curve.loads;
        let line: Vec<Point> = (0..=STEPS)
            .map(|step| low + (high - low) * step as f64 / STEPS as f64)
            .map(|users| panel.at(users, curve.p95_ms(users)))
            .collect();
        canvas.line(&line, stroke);
        for point in profile.points.iter().filter(|point| point.cpu_m == curve.cpu_m) {
            let at = panel.at(point.users, point.p95_ms);
            cross(&mut canvas, at, colour);
        }
        for option in profile.options.iter().filter(|option| option.cpu_m == curve.cpu_m) {
            let at = panel.at(f64::from(option.concurrency), option.p95_ms);
            ring(&mut canvas, at, colour);
        }
        let name = format!("{} CPU ± {:.0} %", cores(curve.cpu_m), curve.rms_error * 100.0);
        ends.push((line.last().map_or(panel.bottom, |point| point.1), name, colour));
    }
    panel.draw_frame(&mut canvas);
    for (y, name, colour) in apart(ends, panel.top, panel.bottom) {
        let at = (panel.right + 8.0, y);
        canvas.rectangle((at.0, y - 4.0), (at.0 + 8.0, y + 4.0), colour);
        let look = TextLook::new(TEXT_SIZE, INK, Align::Left);
        let room = RIGHT - 26.0;
        let size =
            if text_width(&name, TEXT_SIZE, false) > room { TEXT_SIZE - 1.0 } else { TEXT_SIZE };
        canvas.text((at.0 + 13.0, y), name, TextLook { size, ..look });
    }
    panel.draw_y_labels(&mut canvas, "p95 latency, ms", LABEL_GAP);
    panel.draw_x_labels(&mut canvas, "users a pod");
    canvas
}

fn panel(profile: &FittedProfile, slo_p95_ms: Option<f64>) -> Panel {
    let users = profile.points.iter().map(|point| point.users).fold(1.0, f64::max);
    let fitted = profile.curves.iter().map(|curve| curve.p95_ms(curve.loads[1]));
    let p95 = profile.points.iter().map(|point| point.p95_ms).chain(fitted).chain(slo_p95_ms);
    let highest = p95.filter(|p95| p95.is_finite()).fold(1.0, f64::max);
    Panel {
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        bottom: TOP + HEIGHT,
        x: Axis::linear(0.0, users * 1.02, 10),
        y: Axis::rounded(0.0, highest * 1.02, 6),
    }
}

fn cores(cpu_m: u64) -> String {
    crate::report::table::plain(cpu_m as f64 / 1000.0, 3)
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Labels at the ends of lines, moved apart where they would overlap.
pub(super) fn apart<T>(
    mut labels: Vec<(f64, String, T)>,
    top: f64,
    bottom: f64,
) -> Vec<(f64, String, T)> {
    const LINE: f64 = 15.0;
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least = top;
    for label in &mut labels {
        label.0 = label.0.max(least);
        least = label.0 + LINE;
    }
    let mut most = bottom;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(most);
        most = label.0 - LINE;
    }
    labels
}
