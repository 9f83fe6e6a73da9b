//! A comparison as a table in a terminal: the best policy first, differences to the reference last.
//!
//! Marks are characters, not colours, so that the table says the same in a log file. A table wider
//! than the terminal goes on below, under the policies' names again.

use comfy_table::{CellAlignment, LineStyle, Table};

use super::comparison::{Comparison, PolicyResult, Statistic};

pub(super) const BEST: &str = "●";
const BETTER: &str = "▲";
const WORSE: &str = "▼";

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStyle {
    /// Columns of the terminal; `None`: as wide as the table gets.
    pub width: Option<usize>,
    /// Whether marks have colours.
    pub colour: bool,
}

impl TableStyle {
    /// For stdout: its width and colours if it is a terminal; none under `NO_COLOR`.
    pub fn of_stdout() -> Self {
        let terminal = console::Term::stdout();
        Self {
            width: terminal.is_term().then(|| usize::from(terminal.size().1)),
            colour: terminal.is_term()
                && console::colors_enabled()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// One column: its header and a cell for each policy.
pub(super) struct TextColumn {
    pub header: String,
    pub cells: Vec<String>,
}

/// The table of a comparison, with a legend, ending in a line break.
pub fn render(comparison: &Comparison, style: TableStyle) -> String {
    let policies = comparison.by_reward();
    let names = TextColumn {
        header: "policy".into(),
        cells: policies.iter().map(|policy| policy.name.clone()).collect(),
    };
    let columns = columns(comparison, &policies);

    let mut text = String::new();
    let mut rest = columns.as_slice();
    while !rest.is_empty() {
        // As many columns as fit, at least one.
        let fitting = (1..=rest.len())
            .rev()
            .find(|&count| {
                style.width.is_none_or(|width| widest(&block(&names, &rest[..count])) <= width)
            })
            .unwrap_or(1);
        text.push_str(&block(&names, &rest[..fitting]));
        text.push('\n');
        rest = &rest[fitting..];
    }
    for line in legend(comparison, &text) {
        text.push_str(&line);
        text.push('\n');
    }
    if style.colour { colour(&text) } else { text }
}

/// The same for other media: the header, a row a policy, and the legend.
pub(super) fn cells(comparison: &Comparison) -> (Vec<String>, Vec<Vec<String>>, String) {
    let policies = comparison.by_reward();
    let columns = columns(comparison, &policies);
    let mut header = vec!["policy".to_owned()];
    header.extend(columns.iter().map(|column| column.header.clone()));
    let rows: Vec<Vec<String>> = policies
        .iter()
        .enumerate()
        .map(|(row, policy)| {
            let cells = columns.iter().map(|column| column.cells[row].clone());
            std::iter::once(policy.name.clone()).chain(cells).collect()
        })
        .collect();
    let text: String = rows.iter().flatten().map(String::as_str).collect();
    (header, rows, legend(comparison, &text).join("; "))
}

fn columns(comparison: &Comparison, policies: &[&PolicyResult]) -> Vec<TextColumn> {
    let mut columns =
        vec![metric("reward", policies, Best::Highest, 1.0, |policy| Some(&policy.reward))];
    if policies.iter().any(|policy| policy.oracle_share.is_some()) {
        columns.push(metric("of oracle, %", policies, Best::Highest, 100.0, |policy| {
            policy.oracle_share.as_ref()
        }));
    }
    columns.push(metric("over SLO, %", policies, Best::Lowest, 100.0, |policy| {
        Some(&policy.slo_violation_share)
    }));
    columns.push(metric("over quota, CPU-s", policies, Best::Lowest, 1.0, |policy| {
        Some(&policy.over_quota_cpu_seconds)
    }));
    columns.push(metric("CPU-s", policies, Best::Lowest, 1.0, |policy| Some(&policy.cpu_seconds)));
    if policies.iter().any(|policy| policy.cold_starts.is_some()) {
        columns.push(metric("cold starts", policies, Best::Lowest, 1.0, |policy| {
            policy.cold_starts.as_ref()
        }));
    }
    if policies.len() > 1 {
        columns.push(TextColumn {
            header: format!("reward vs {}", comparison.reference),
            cells: policies.iter().map(|policy| difference(comparison, policy)).collect(),
        });
        if comparison.has_intervals() {
            columns.push(TextColumn {
                header: "p".into(),
                cells: policies.iter().map(|policy| p_value(comparison, policy)).collect(),
            });
        }
    }
    columns
}

#[derive(Clone, Copy, PartialEq)]
enum Best {
    Highest,
    Lowest,
}

fn metric<'a>(
    header: &str,
    policies: &[&'a PolicyResult],
    best: Best,
    factor: f64,
    of: impl Fn(&'a PolicyResult) -> Option<&'a Statistic>,
) -> TextColumn {
    let means = policies.iter().map(|policy| of(policy).and_then(|statistic| statistic.mean));
    let marked = best_value(means, best);
    let cells = policies
        .iter()
        .map(|policy| {
            let Some(statistic) = of(policy) else { return "-".to_owned() };
            let text = with_interval(statistic.mean, statistic.ci95, factor);
            let is_best = marked.is_some() && statistic.mean == marked;
            if is_best { format!("{BEST} {text}") } else { text }
        })
        .collect();
    TextColumn { header: header.to_owned(), cells }
}

/// The best of several means; `None` where all are the same: then nobody is best.
fn best_value(means: impl Iterator<Item = Option<f64>>, best: Best) -> Option<f64> {
    let means: Vec<f64> = means.flatten().collect();
    let lowest = means.iter().copied().min_by(f64::total_cmp)?;
    let highest = means.iter().copied().max_by(f64::total_cmp)?;
    (lowest < highest).then_some(if best == Best::Highest { highest } else { lowest })
}

fn difference(comparison: &Comparison, policy: &PolicyResult) -> String {
    if policy.name == comparison.reference {
        return "reference".to_owned();
    }
    let Some(versus) = &policy.vs_reference else { return "-".to_owned() };
    let difference = &versus.reward;
    let Some(mean) = difference.mean else { return "-".to_owned() };
    let Some([low, high]) = difference.ci95 else { return signed(mean, decimals(mean.abs())) };
    let digits = interval_decimals(mean, Some([low, high]));
    let mark = match difference.clear_of_zero() {
        true if mean > 0.0 => BETTER,
        true => WORSE,
        false => " ",
    };
    format!("{} [{}, {}] {mark}", signed(mean, digits), signed(low, digits), signed(high, digits))
}

fn p_value(comparison: &Comparison, policy: &PolicyResult) -> String {
    if policy.name == comparison.reference {
        return String::new();
    }
    match policy.vs_reference.as_ref().and_then(|versus| versus.reward.p_holm) {
        Some(p) if p < 0.001 => "<0.001".to_owned(),
        Some(p) => format!("{p:.3}"),
        None => "-".to_owned(),
    }
}

/// `mean ± half the interval`, with as many decimals as the interval makes meaningful.
pub(crate) fn with_interval(mean: Option<f64>, ci95: Option<[f64; 2]>, factor: f64) -> String {
    let Some(mean) = mean.map(|mean| mean * factor) else { return "-".to_owned() };
    let ci95 = ci95.map(|[low, high]| [low * factor, high * factor]);
    let digits = interval_decimals(mean, ci95);
    match ci95 {
        Some([low, high]) if high > low => {
            format!("{} ± {:.digits$}", plain(mean, digits), (high - low) / 2.0)
        }
        _ => plain(mean, digits),
    }
}

/// The mean alone, with the decimals that its interval makes meaningful and a true minus sign.
pub(super) fn mean_text(mean: f64, ci95: Option<[f64; 2]>, factor: f64) -> String {
    let ci95 = ci95.map(|[low, high]| [low * factor, high * factor]);
    let text = plain(mean * factor, interval_decimals(mean * factor, ci95));
    text.replace("inf", "∞").replace('-', "−")
}

/// As [`mean_text`], with at most five digits that count: there is no room for more in a figure.
pub(super) fn short_mean_text(mean: f64, ci95: Option<[f64; 2]>, factor: f64) -> String {
    let value = mean * factor;
    let decimals = interval_decimals(value, ci95.map(|[low, high]| [low * factor, high * factor]));
    let most = match value == 0.0 || !value.is_finite() {
        true => decimals,
        false => (4.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize,
    };
    plain(value, decimals.min(most)).replace("inf", "∞").replace('-', "−")
}

/// Decimals that show two digits of half the interval; without one, those of [`decimals`].
fn interval_decimals(mean: f64, ci95: Option<[f64; 2]>) -> usize {
    match ci95 {
        Some([low, high]) if high > low => {
            let half = (high - low) / 2.0;
            (1.0 - half.log10().floor()).clamp(0.0, 6.0) as usize
        }
        _ => decimals(mean.abs()),
    }
}

/// Decimals for four significant digits, none for whole numbers.
fn decimals(size: f64) -> usize {
    if size == 0.0 || !size.is_finite() || size.fract() == 0.0 {
        return 0;
    }
    (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize
}

/// A number with `digits` decimals; never `-0`.
pub(super) fn plain(value: f64, digits: usize) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(size) if size.bytes().all(|byte| byte == b'0' || byte == b'.') => size.to_owned(),
        _ => text,
    }
}

fn signed(value: f64, digits: usize) -> String {
    let text = plain(value, digits);
    if text.starts_with('-') { text } else { format!("+{text}") }
}

/// A table of these columns, the names first.
pub(super) fn block(names: &TextColumn, columns: &[TextColumn]) -> String {
    let mut table = Table::new();
    let header = LineStyle::none().fill('─').junction('─');
    table.load_style(comfy_table::TableStyle::new().header_separator(header));
    table.set_header(std::iter::once(names).chain(columns).map(|column| &column.header));
    for (row, name) in names.cells.iter().enumerate() {
        let cells = columns.iter().map(|column| &column.cells[row]);
        table.add_row(std::iter::once(name).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn widest(text: &str) -> usize {
    text.lines().map(console::measure_text_width).max().unwrap_or(0)
}

/// Explains what the table holds, and nothing that it does not.
fn legend(comparison: &Comparison, table: &str) -> Vec<String> {
    let mut lines = vec![match comparison.seeds.len() {
        1 => format!("{}: seed {}, so no intervals", comparison.scenario, comparison.seeds[0]),
        count => format!(
            "{}: mean over {count} seeds ± half of its 95 % bootstrap interval",
            comparison.scenario
        ),
    }];
    if table.contains(BEST) {
        lines.push(format!("{BEST} best of its column"));
    }
    if table.contains(BETTER) || table.contains(WORSE) {
        lines.push(format!("{BETTER} better, {WORSE} worse: the interval leaves zero out"));
    }
    if comparison.policies.len() > 1 && comparison.has_intervals() {
        lines.push("p: sign-flip test, paired by seed, Holm-corrected".to_owned());
    }
    lines
}

/// Colours the marks. None of them changes its width.
pub(super) fn colour(text: &str) -> String {
    text.replace(BEST, &format!("\u{1b}[32m{BEST}\u{1b}[0m"))
        .replace(BETTER, &format!("\u{1b}[32m{BETTER}\u{1b}[0m"))
        .replace(WORSE, &format!("\u{1b}[31m{WORSE}\u{1b}[0m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;
    use crate::run::Summary;

    #[test]
    fn a_table_reads_well_wide_narrow_and_without_seeds() {
        let comparison = fixtures::comparison(&["kpa-latency", "kpa-resource", "hybrid"], 10);
        let wide = render(&comparison, TableStyle::default());
        insta::assert_snapshot!("wide", wide);
        let narrow = render(&comparison, TableStyle { width: Some(80), colour: false });
        assert!(narrow.lines().take(8).all(|line| line.chars().count() <= 80));
        insta::assert_snapshot!("narrow", narrow);
        let one = fixtures::comparison(&["kpa-latency", "hybrid"], 1);
        insta::assert_snapshot!("one_seed", render(&one, TableStyle::default()));
        let coloured = render(&comparison, TableStyle { width: None, colour: true });
        assert_eq!(console::strip_ansi_codes(&coloured), wide);
        assert_ne!(coloured, wide);
    }

    #[test]
    fn a_table_tells_infinities_and_gaps() {
        let mut runs: Vec<Summary> = Vec::new();
        for seed in 0..2 {
            runs.push(Summary {
                policy: "a".into(),
                seed,
                reward: 60_553.54,
                ..Summary::default()
            });
            let reward = if seed == 0 { f64::INFINITY } else { 65_015.14 };
            runs.push(Summary { policy: "b".into(), seed, reward, ..Summary::default() });
        }
        let optima = (0..2).map(|seed| (seed, 69_786.994)).collect();
        let comparison = Comparison::new(&runs, Some(&optima), None).unwrap();
        insta::assert_snapshot!("infinite", render(&comparison, TableStyle::default()));
    }

    #[test]
    fn numbers_show_the_digits_that_mean_something() {
        assert_eq!(with_interval(Some(-0.4321), Some([-0.45, -0.41]), 1.0), "-0.432 ± 0.020");
        assert_eq!(with_interval(Some(61_234.5), Some([60_000.0, 62_000.0]), 1.0), "61234 ± 1000");
        assert_eq!(with_interval(Some(0.123_456), None, 100.0), "12.35");
        assert_eq!(with_interval(Some(69_786.994_349), None, 1.0), "69787");
        assert_eq!(with_interval(Some(-1e-9), Some([-0.1, 0.1]), 1.0), "0.00 ± 0.10");
        assert_eq!(short_mean_text(-2.138_191, Some([-2.138_24, -2.138_14]), 1.0), "−2.1382");
        assert_eq!(short_mean_text(55_160.14, Some([55_159.0, 55_161.0]), 1.0), "55160");
        assert_eq!(short_mean_text(0.0, None, 1.0), "0");
        assert_eq!(with_interval(None, None, 1.0), "-");
        assert_eq!(with_interval(Some(f64::INFINITY), None, 1.0), "inf");
    }
}
