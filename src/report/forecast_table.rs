//! Forecasters in a terminal: a table a trace, in the order asked for.

use super::forecast::{ForecastReport, ModelScores, Score, TraceScores};
use super::table::{BEST, TableStyle, TextColumn, block, colour, with_interval};

/// The tables of a report, ending in a line break.
pub fn render(report: &ForecastReport, style: TableStyle) -> String {
    let mut text = String::new();
    for trace in &report.traces {
        text.push_str(&format!(
            "{}: {} rows, tested on {} from row {}\n",
            trace.name, trace.rows, trace.targets, trace.test_from
        ));
        text.push_str(&table(trace));
        text.push('\n');
    }
    let ahead = match report.horizon {
        1 => "one row ahead".to_owned(),
        horizon => format!("over 1 to {horizon} rows ahead"),
    };
    text.push_str(&format!(
        "errors in users (or what the column counts), {ahead}; {BEST} best of its column\n"
    ));
    text.push_str(
        "MASE: MAE over the mean change from row to row before the test; pinball: mean over the \
         quantiles 0.1, 0.5, 0.9\n",
    );
    if style.colour { colour(&text) } else { text }
}

/// The same for other media: the header and a row a model.
pub(crate) fn cells(trace: &TraceScores) -> (Vec<String>, Vec<Vec<String>>) {
    let (names, columns) = columns(trace);
    let all = || std::iter::once(&names).chain(&columns);
    let header = all().map(|column| column.header.clone()).collect();
    let row = |index: usize| all().map(|column| column.cells[index].clone()).collect();
    (header, (0..trace.models.len()).map(row).collect())
}

fn table(trace: &TraceScores) -> String {
    let (names, columns) = columns(trace);
    block(&names, &columns)
}

/// The models' names and what is said of each.
fn columns(trace: &TraceScores) -> (TextColumn, [TextColumn; 5]) {
    let column = |header: &str, cell: &dyn Fn(&ModelScores) -> String| TextColumn {
        header: header.to_owned(),
        cells: trace.models.iter().map(cell).collect(),
    };
    let lowest = |of: fn(&ModelScores) -> &Score| {
        let means = trace.models.iter().filter_map(|model| of(model).all.mean);
        means.min_by(f64::total_cmp)
    };
    let error = |header: &str, of: fn(&ModelScores) -> &Score| {
        let best = lowest(of);
        column(header, &|model| {
            let score = &of(model).all;
            let text = with_interval(score.mean, score.ci95, 1.0);
            if score.mean.is_some() && score.mean == best { format!("{BEST} {text}") } else { text }
        })
    };
    let names = column("model", &|model| {
        if model.by_persistence > 0.0 {
            let share = (model.by_persistence * 100.0).ceil();
            format!("{} ({share} % by persistence)", model.name)
        } else {
            model.name.clone()
        }
    });
    let columns = [
        error("MAE", |model| &model.mae),
        error("RMSE", |model| &model.rmse),
        error("MASE", |model| &model.mase),
        error("pinball", |model| &model.pinball.mean),
        column("in 80 % band, %", &|model| {
            let score = &model.coverage80.all;
            with_interval(score.mean, score.ci95, 100.0)
        }),
    ];
    (names, columns)
}
