//! How the summary writes numbers: times, bytes, shares and counts, as k6's users know them.

use crate::load::metrics::ValueKind;
use crate::load::options::TimeUnit;

/// A figure of a trend or gauge by what the metric contains.
pub(super) fn figure(value: f64, contains: ValueKind, unit: Option<TimeUnit>) -> String {
    match contains {
        ValueKind::Time => time(value, unit),
        ValueKind::Data => bytes(value),
        ValueKind::Default => number(value),
    }
}

/// Milliseconds, in a fixed unit or in the one that suits the value.
pub(super) fn time(ms: f64, unit: Option<TimeUnit>) -> String {
    match unit {
        Some(TimeUnit::Seconds) => format!("{:.2}s", ms / 1e3),
        Some(TimeUnit::Milliseconds) => format!("{ms:.2}ms"),
        Some(TimeUnit::Microseconds) => format!("{:.2}µs", ms * 1e3),
        None if ms < 0.0 => format!("-{}", time(-ms, None)),
        None if ms == 0.0 => "0s".to_owned(),
        None if ms < 0.001 => format!("{}ns", (ms * 1e6).trunc()),
        None if ms < 1.0 => format!("{}µs", cut(ms * 1e3, 2)),
        None if ms < 1e3 => format!("{}ms", cut(ms, 2)),
        None => {
            let digits = if ms > 60_000.0 { 0 } else { 2 };
            let seconds = cut(ms % 60_000.0 / 1e3, digits);
            let minutes = (ms / 60_000.0).trunc();
            if minutes < 1.0 {
                format!("{seconds}s")
            } else if minutes < 60.0 {
                format!("{minutes}m{seconds}s")
            } else {
                format!("{}h{}m{seconds}s", (minutes / 60.0).trunc(), minutes % 60.0)
            }
        }
    }
}

/// Bytes in decimal units.
pub(super) fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled.abs() >= 1e3 && unit + 1 < UNITS.len() {
        scaled /= 1e3;
        unit += 1;
    }
    if scaled.abs() < 10.0 && unit > 0 {
        format!("{scaled:.1} {}", UNITS[unit])
    } else {
        format!("{scaled:.0} {}", UNITS[unit])
    }
}

/// A plain number with at most six decimals.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// A share as percent, cut (not rounded) so that 99.999 % never reads 100 %.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}%", (share * 1e4 + 1e-9).trunc() / 1e2)
}

/// Cut to `digits` decimals, trailing zeros dropped.
fn cut(value: f64, digits: i32) -> String {
    let scale = 10_f64.powi(digits);
    // The tiny addition keeps 0.29 * 100 from becoming 28.
    let cut = (value * scale + 1e-9).trunc() / scale;
    number(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_choose_their_unit() {
        for (ms, text) in [
            (0.0, "0s"),
            (0.000_5, "500ns"),
            (0.123_456, "123.45µs"),
            (140.356, "140.35ms"),
            (1_500.0, "1.5s"),
            (61_500.0, "1m1s"),
            (3_723_000.0, "1h2m3s"),
        ] {
            assert_eq!(time(ms, None), text);
        }
        assert_eq!(time(1_500.0, Some(TimeUnit::Seconds)), "1.50s");
    }

    #[test]
    fn bytes_and_shares_read_as_k6_writes_them() {
        assert_eq!(bytes(4_900.0), "4.9 kB");
        assert_eq!(bytes(519_000.0), "519 kB");
        assert_eq!(bytes(7.0), "7 B");
        assert_eq!(percent(0.999_99), "99.99%");
        assert_eq!(percent(1.0), "100.00%");
        assert_eq!(number(6.561_09), "6.56109");
        assert_eq!(number(45.0), "45");
    }
}
