//! Durations and byte sizes as people write them, and back.

use std::time::Duration;

/// Reads `90s`, `1h30m`, `250ms`, `30d`. A unit is required except for `0`.
///
/// # Errors
/// A sentence that names the text and shows the form.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("'{text}' is not a duration; write it like 500ms, 30s, 10m, 1h30m or 7d");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |at| digits + at);
        let seconds = match &rest[digits..unit_end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    Ok(total)
}

/// The shortest text that [`parse_duration`] reads back as the same duration.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if ms > 0 && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    if ms == 0 {
        return "0".to_owned();
    }
    format!("{ms}ms")
}

/// Reads `64KiB`, `16MiB`, `1GiB`, `512B`, `512`, and the decimal `64kB`, `16MB`, `1GB`.
///
/// # Errors
/// A sentence that names the text and shows the form.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size; write it like 512, 64KiB, 16MiB or 1GiB");
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let number: u64 = text[..digits]
        .replace('_', "")
        .parse()
        .map_err(|_| wrong())?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// The shortest text that [`parse_bytes`] reads back as the same size.
pub fn format_bytes(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for text in ["75s", "10s", "100ms", "30d", "12h", "90m"] {
            let parsed = parse_duration(text);
            assert_eq!(parsed.map(format_duration), Ok(text.to_owned()));
        }
        for wrong in [
            "",
            "5",
            "5x",
            "s",
            "1h-3m",
            "1e400s",
            "99999999999999999999d",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_read_back() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("64 kB"), Ok(64_000));
        for text in ["0", "1000", "64KiB", "3MiB", "1GiB"] {
            assert_eq!(parse_bytes(text).map(format_bytes), Ok(text.to_owned()));
        }
        for wrong in ["", "KiB", "1.5MiB", "10 apples", "99999999999TiB", "-1"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
