//! Durations as Kubernetes and Knative write them, which is Go's notation.

use std::time::Duration;

/// A duration in Go's notation: `60s`, `1m30s`, `1.5h`, `0`. `None` also for a negative one.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanos = 0_u128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !whole.is_empty() {
            nanos = nanos.checked_add(whole.parse::<u128>().ok()?.checked_mul(unit_nanos)?)?;
        }
        // Digits beyond the nanosecond are cut, in decimal arithmetic so that 0.1s is exact.
        let mut digit_nanos = unit_nanos * 1_000_000_000;
        for digit in fraction.bytes() {
            if !digit.is_ascii_digit() {
                return None;
            }
            digit_nanos /= 10;
            nanos += u128::from(digit - b'0') * digit_nanos / 1_000_000_000;
        }
        rest = tail;
    }
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("60s"), Some(60.0));
        assert_eq!(seconds("1m30s"), Some(90.0));
        assert_eq!(seconds("1h"), Some(3600.0));
        assert_eq!(seconds("1.5m"), Some(90.0));
        assert_eq!(seconds(".5s"), Some(0.5));
        assert_eq!(seconds("1500ms"), Some(1.5));
        assert_eq!(seconds("0"), Some(0.0));
        assert_eq!(seconds("0s"), Some(0.0));
        assert_eq!(seconds("+2s"), Some(2.0));
        for bad in ["", "60", "s", ".s", "1x", "-1s", "1s 2s", "1.2.3s", "99999999999999999999h"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
