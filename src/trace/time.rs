//! Instants in tables: ISO 8601 text or a number of seconds.

/// Seconds of an ISO 8601 instant since 1970-01-01, as `1998-06-28T08:02:00Z`: with a space for
/// the `T`, without seconds or without a zone too. Text without a zone is taken as it stands.
pub(crate) fn parse_iso(text: &str) -> Option<f64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let mut parts = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, offset_s) = split_zone(time)?;
    let mut parts = time.split(':');
    let hour: u32 = parts.next()?.parse().ok()?;
    let minute: u32 = parts.next()?.parse().ok()?;
    let second: f64 = parts.next().map_or(Some(0.0), |text| text.parse().ok())?;
    if hour > 24 || minute > 59 || !(0.0..61.0).contains(&second) || parts.next().is_some() {
        return None;
    }
    let minutes = days_since_1970(year, month, day) * 1440 + i64::from(hour * 60 + minute);
    Some(minutes as f64 * 60.0 + second - offset_s)
}

/// The time of day and what the zone after it adds to UTC, seconds.
fn split_zone(text: &str) -> Option<(&str, f64)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0.0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0.0)) };
    let digits = text[at + 1..].replace(':', "");
    let zone: u32 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let seconds = f64::from(zone / 100 * 3600 + zone % 100 * 60);
    Some((&text[..at], if text[at..].starts_with('-') { -seconds } else { seconds }))
}

/// Days of a Gregorian date since 1970-01-01, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month_from_march + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_several_notations() {
        assert_eq!(parse_iso("1970-01-01T00:00Z"), Some(0.0));
        assert_eq!(parse_iso("1998-06-28T08:02:00Z"), Some(899_020_920.0));
        assert_eq!(parse_iso("1998-06-28 10:02:00.5+02:00"), Some(899_020_920.5));
        assert_eq!(parse_iso("2024-02-29T23:59:59-0130"), Some(1_709_256_599.0));
        for text in [
            "1998-06-28",
            "28.06.1998 08:02",
            "1998-13-28T08:02",
            "T08:02",
            "12",
            "99999999999999999-01-01T00:00",
        ] {
            assert_eq!(parse_iso(text), None, "{text}");
        }
    }
}
