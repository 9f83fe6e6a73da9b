//! Query texts: what is replaced in them, and what is read out of them.

use std::time::Duration;

use crate::scenario::parse_duration;

/// What stands for the words in `${ }`.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The service's name in the scenario.
    pub service: &'a str,
    /// The service's name in Kubernetes.
    pub target: &'a str,
    /// The Kubernetes namespace.
    pub namespace: &'a str,
}

/// Replaces `${service}`, `${target}` and `${namespace}` and nothing else: PromQL has braces and
/// dollar signs of its own. The words are escaped for a quoted string of PromQL.
///
/// # Errors
/// The word in `${ }` that is none of the three.
pub fn fill_in(text: &str, words: &Words<'_>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let Some(end) = after.find('}') else { return Err(after.to_owned()) };
        let word = match &after[..end] {
            "service" => words.service,
            "target" => words.target,
            "namespace" => words.namespace,
            unknown => return Err(unknown.to_owned()),
        };
        for letter in word.chars() {
            if matches!(letter, '"' | '\'' | '\\') {
                filled.push('\\');
            }
            filled.push(letter);
        }
        rest = &after[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether a query is a plain selector, `name{labels}`: only then does `timestamp()` give the time
/// of its sample rather than that of the evaluation.
pub fn is_selector(query: &str) -> bool {
    let query = query.trim();
    let name_end = query
        .find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':')))
        .unwrap_or(query.len());
    let (name, labels) = query.split_at(name_end);
    let labels = labels.trim_start();
    if name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return false;
    }
    if labels.is_empty() {
        return !name.is_empty();
    }
    labels.starts_with('{')
        && outside_quotes(labels)
            .find(|&(_, letter)| letter == '}')
            .is_some_and(|(at, _)| at + 1 == labels.len())
}

/// The letters of a query that are not within a quoted string, each with its byte offset.
fn outside_quotes(query: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut quote = None;
    let mut escaped = false;
    query.char_indices().filter(move |&(_, letter)| match quote {
        None => {
            if matches!(letter, '"' | '\'' | '`') {
                quote = Some(letter);
                return false;
            }
            true
        }
        Some(open) => {
            if escaped {
                escaped = false;
            } else if letter == '\\' && open != '`' {
                escaped = true;
            } else if letter == open {
                quote = None;
            }
            false
        }
    })
}

/// Divides the durations in `[ ]` by `speed`: Prometheus knows only wall time, in which an
/// accelerated rehearsal is so much shorter. What is no duration stays as it is.
pub fn scale_windows(query: &str, speed: f64) -> String {
    let mut scaled = String::with_capacity(query.len());
    let (mut copied, mut open) = (0, None);
    for (at, letter) in outside_quotes(query) {
        match (letter, open) {
            ('[', _) => open = Some(at + 1),
            (']', Some(from)) => {
                scaled.push_str(&query[copied..from]);
                let parts: Vec<String> = query[from..at]
                    .split(':')
                    .map(|part| {
                        scale_duration(part.trim(), speed).unwrap_or_else(|| part.to_owned())
                    })
                    .collect();
                scaled.push_str(&parts.join(":"));
                (copied, open) = (at, None);
            }
            _ => {}
        }
    }
    scaled.push_str(&query[copied..]);
    scaled
}

fn scale_duration(text: &str, speed: f64) -> Option<String> {
    let millis = promql_duration(text)?.as_secs_f64() * 1000.0 / speed;
    Some(format!("{}ms", millis.round().max(1.0)))
}

/// A duration of PromQL: Go's units, and d, w and y.
pub fn promql_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    for (unit, hours) in [("y", 8760), ("w", 168), ("d", 24)] {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        if digits > 0
            && let Some(tail) = rest[digits..].strip_prefix(unit)
        {
            let count: u64 = rest[..digits].parse().ok()?;
            let seconds = count.checked_mul(hours)?.checked_mul(3600)?;
            total = total.checked_add(Duration::from_secs(seconds))?;
            rest = tail;
        }
    }
    if rest.is_empty() && rest.len() < text.len() {
        return Some(total);
    }
    total.checked_add(parse_duration(rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_are_replaced_and_nothing_else() {
        let words = Words { service: "house", target: "deploy-a", namespace: "a\"b" };
        let fill = |text| fill_in(text, &words);
        assert_eq!(
            fill(
                r#"sum by (x) (m{s="${service}",pod=~"${target}-.*",n="${namespace}"}[5m]) $1 {}"#
            ),
            Ok(r#"sum by (x) (m{s="house",pod=~"deploy-a-.*",n="a\"b"}[5m]) $1 {}"#.to_owned())
        );
        assert_eq!(fill("m{s=\"${svc}\"}"), Err("svc".to_owned()));
        assert_eq!(fill("${service"), Err("service".to_owned()));
    }

    #[test]
    fn selectors_are_told_from_expressions() {
        for selector in [
            "up",
            " up ",
            "a:b{}",
            r#"locust_users{instance="192.168.26.42:9646", job="}"}"#,
            r#"{__name__="x"}"#,
        ] {
            assert!(is_selector(selector), "{selector}");
        }
        for expression in
            ["", "5", "sum(up)", "up{a=\"b\"} + 1", "up[5m]", "up offset 5m", "a{b=\"c\"", "-up"]
        {
            assert!(!is_selector(expression), "{expression}");
        }
    }

    #[test]
    fn windows_are_divided_outside_of_strings() {
        assert_eq!(
            scale_windows(r#"max_over_time(rate(a{b="[5m]"}[1m])[1d:30s]) + c[x]"#, 60.0),
            r#"max_over_time(rate(a{b="[5m]"}[1000ms])[1440000ms:500ms]) + c[x]"#
        );
        assert_eq!(promql_duration("1d12h"), Some(Duration::from_secs(36 * 3600)));
        assert_eq!(promql_duration("2w"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!(promql_duration("d"), None);
        assert_eq!(promql_duration(""), None);
    }
}
