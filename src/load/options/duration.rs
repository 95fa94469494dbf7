//! k6's duration syntax: a number is milliseconds, a string is Go style with days.

use std::time::Duration;

/// Longest duration that is accepted: ten thousand days, so that adding durations can't overflow.
const LONGEST: Duration = Duration::from_secs(10_000 * 86_400);

/// Reads `1h2m3.5s100ms`, also with `d` for days; a bare number is milliseconds. `None` for
/// anything else, negative ones included.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(ms) = text.parse::<f64>() {
        return from_ms(ms);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let seconds = match &rest[..unit_length] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += number * seconds;
        rest = &rest[unit_length..];
    }
    if text.is_empty() {
        None
    } else {
        bounded(total)
    }
}

/// A number of milliseconds; `None` when negative, not finite or too long.
pub fn from_ms(ms: f64) -> Option<Duration> {
    bounded(ms / 1e3)
}

/// As Go prints durations, which k6 shows and writes: `1m30s`, `2.5s`, `150ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    // Every nanosecond, and no zeros after the last.
    let trimmed = |whole: u128, part: u128, digits: usize, unit: &str| {
        let text = format!("{whole}.{part:0digits$}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanos {
        0 => "0s".to_owned(),
        1..=999 => format!("{nanos}ns"),
        1_000..=999_999 => trimmed(nanos / 1_000, nanos % 1_000, 3, "µs"),
        1_000_000..=999_999_999 => trimmed(nanos / 1_000_000, nanos % 1_000_000, 6, "ms"),
        _ => {
            let seconds = duration.as_secs();
            let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
            let part = u128::from(duration.subsec_nanos());
            let seconds = trimmed(u128::from(seconds % 60), part, 9, "s");
            match (hours, minutes) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

fn bounded(seconds: f64) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    (duration <= LONGEST).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_style_and_milliseconds_are_read() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1h2m3.5s100ms", 3_723_600),
            ("1.5d", 129_600_000),
            ("250", 250),
            ("0", 0),
            (" 2m ", 120_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "-5s",
            "5x",
            "s",
            "5s5",
            "1..5s",
            "-3",
            "NaN",
            "1e99",
            "99999999d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn text_is_what_go_prints() {
        for (ms, text) in [
            (0, "0s"),
            (150, "150ms"),
            (2_500, "2.5s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(format(Duration::from_millis(ms)), text);
        }
    }
}
