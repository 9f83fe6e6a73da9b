//! Forecasts of one trace: what was expected one row ahead and what came, a panel a model, over the
//! stretch of the test part that has its peak in the middle.

use super::axes::{Axis, Panel};
use super::canvas::{Align, Canvas, Point, Stroke, TextLook, fit};
use super::keys::{Key, draw_keys};
use super::style::{
    Colour, HEADING_SIZE, INK, LINE_WIDTH, SOFT_INK, TEXT_SIZE, TITLE_SIZE, VERMILION, WIDTH,
    service_colour,
};
use crate::predictor::backtest::Prediction;
use crate::report::forecast::{Forecasts, TraceScores};
use crate::report::table::mean_text;

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const LABEL_GAP: f64 = 46.0;
const PANELS_TOP: f64 = 84.0;
const NAME_HEIGHT: f64 = 22.0;
const PANEL_HEIGHT: f64 = 104.0;
const X_LABELS_HEIGHT: f64 = 44.0;
const BAND_TINT: f64 = 0.28;
/// Rows of the stretch: more would hide how far the lines are apart.
const STRETCH_ROWS: usize = 180;

/// Draws the first seed of every model. All `forecasts` are of one trace, whose scores are `scores`.
pub fn draw(forecasts: &[Forecasts<'_>], scores: &TraceScores) -> Canvas {
    let models: Vec<&Forecasts<'_>> =
        forecasts.iter().filter(|forecasts| forecasts.seed == 0).collect();
    let lines: Vec<Vec<&Prediction>> = models
        .iter()
        .map(|model| {
            model.judged.predictions.iter().filter(|prediction| prediction.ahead == 1).collect()
        })
        .collect();
    let rows = lines.first().map_or((0, 0), |line| stretch(line));
    let shown: Vec<Vec<&Prediction>> = lines
        .into_iter()
        .map(|line| line.into_iter().filter(|p| (rows.0..=rows.1).contains(&p.row)).collect())
        .collect();

    let panels_bottom = PANELS_TOP + models.len().max(1) as f64 * (NAME_HEIGHT + PANEL_HEIGHT);
    let mut canvas = Canvas::new(WIDTH, panels_bottom + X_LABELS_HEIGHT);
    let row_s = models.first().map_or(1.0, |model| model.series.row_s);
    draw_titles(&mut canvas, scores, rows, row_s);
    let (unit, unit_s) = match (rows.1 - rows.0) as f64 * row_s {
        length if length > 4.0 * 86_400.0 => ("d", 86_400.0),
        length if length > 2.0 * 3600.0 => ("h", 3600.0),
        length if length > 300.0 => ("min", 60.0),
        _ => ("s", 1.0),
    };
    let time = |row: usize| (row as f64 - scores.test_from as f64) * row_s / unit_s;
    let x = Axis::linear(time(rows.0), time(rows.1), 8);
    let y = users_axis(&shown);
    for (index, (model, line)) in models.iter().zip(&shown).enumerate() {
        let top = PANELS_TOP + index as f64 * (NAME_HEIGHT + PANEL_HEIGHT) + NAME_HEIGHT;
        let panel = Panel {
            left: LEFT,
            right: WIDTH - RIGHT,
            top,
            bottom: top + PANEL_HEIGHT,
            x: x.clone(),
            y: y.clone(),
        };
        panel.draw_grid(&mut canvas);
        draw_lines(&mut canvas, &panel, line, &time);
        panel.draw_frame(&mut canvas);
        let counted = fit(&model.series.unit, TEXT_SIZE, false, PANEL_HEIGHT);
        panel.draw_y_labels(&mut canvas, &counted, LABEL_GAP);
        let look = TextLook::new(HEADING_SIZE, INK, Align::Left).bold();
        let name = fit(model.model, HEADING_SIZE, true, 400.0);
        canvas.text((LEFT, top - 10.0), name, look);
        let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Right);
        canvas.text((WIDTH - RIGHT, top - 10.0), errors(scores, model.model), look);
        if index + 1 == models.len() {
            let label = format!("time from the start of the test part, {unit}");
            panel.draw_x_labels(&mut canvas, &label);
        }
    }
    canvas
}

/// The first and last row of the stretch.
fn stretch(line: &[&Prediction]) -> (usize, usize) {
    let (Some(first), Some(last)) = (line.first(), line.last()) else { return (0, 0) };
    let most = line
        .iter()
        .copied()
        .reduce(|most, prediction| if prediction.actual > most.actual { prediction } else { most })
        .map_or(0, |most| most.row);
    let from = most.saturating_sub(STRETCH_ROWS / 2);
    let from = from.min((last.row + 1).saturating_sub(STRETCH_ROWS)).max(first.row);
    (from, (from + STRETCH_ROWS - 1).min(last.row))
}

fn draw_titles(canvas: &mut Canvas, scores: &TraceScores, rows: (usize, usize), row_s: f64) {
    let width = WIDTH - LEFT - RIGHT;
    let look = TextLook::new(TITLE_SIZE, INK, Align::Left).bold();
    let title = format!("Forecasts on {}", scores.name);
    canvas.text((LEFT, 22.0), fit(&title, TITLE_SIZE, true, width), look);
    let look = TextLook::new(TEXT_SIZE, SOFT_INK, Align::Left);
    let text = format!(
        "one row of {} s ahead · rows {} to {} of {}, around the peak of the test part",
        mean_text(row_s, None, 1.0),
        rows.0,
        rows.1,
        scores.rows
    );
    canvas.text((LEFT, 43.0), fit(&text, TEXT_SIZE, false, width), look);
    let keys = [
        Key::Line("what came", INK, &[]),
        Key::Line("forecast", VERMILION, &[]),
        Key::Area("10 % to 90 % quantile", band_colour()),
    ];
    draw_keys(canvas, &keys, LEFT, 66.0, width);
}

/// The errors that the model's name stands beside: those of one row ahead, as the lines are.
fn errors(scores: &TraceScores, model: &str) -> String {
    let Some(model) = scores.models.iter().find(|known| known.name == model) else {
        return String::new();
    };
    let figure = |by_horizon: &[Option<f64>], factor: f64| {
        by_horizon.first().copied().flatten().map(|value| mean_text(value, None, factor))
    };
    let parts = [
        figure(&model.mae.by_horizon, 1.0).map(|value| format!("MAE {value}")),
        figure(&model.rmse.by_horizon, 1.0).map(|value| format!("RMSE {value}")),
        figure(&model.coverage80.by_horizon, 100.0).map(|value| format!("{value} % in the band")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn band_colour() -> Colour {
    service_colour(0).tint(BAND_TINT)
}

/// From zero to the most users that came or were expected; a band may leave the axis.
fn users_axis(lines: &[Vec<&Prediction>]) -> Axis {
    let values =
        lines.iter().flatten().flat_map(|prediction| [prediction.actual, prediction.users]);
    let most = values.filter(|users| users.is_finite()).fold(0.0, f64::max);
    Axis::rounded(0.0, most, 4)
}

fn draw_lines(
    canvas: &mut Canvas,
    panel: &Panel,
    line: &[&Prediction],
    time: &dyn Fn(usize) -> f64,
) {
    // Rows that are not judged leave a gap.
    let pieces = || line.chunk_by(|one, next| next.row == one.row + 1);
    for piece in pieces() {
        let edge = |side: usize| {
            piece.iter().filter_map(move |prediction| {
                prediction.band.map(|band| panel.at(time(prediction.row), band[side]))
            })
        };
        let mut outline: Vec<Point> = edge(2).collect();
        outline.extend(edge(0).collect::<Vec<_>>().into_iter().rev());
        canvas.polygon(outline, band_colour());
    }
    let came = Stroke::solid(INK, 1.25);
    let expected = Stroke::solid(VERMILION, LINE_WIDTH);
    for (is_forecast, stroke) in [(false, came), (true, expected)] {
        for piece in pieces() {
            let points: Vec<Point> = piece
                .iter()
                .map(|prediction| {
                    let users = if is_forecast { prediction.users } else { prediction.actual };
                    panel.at(time(prediction.row), users)
                })
                .collect();
            canvas.line(&points, stroke);
        }
    }
}
