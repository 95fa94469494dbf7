//! JSON written by hand into one buffer, for the answers that are written most.

use std::io::Write;

/// A JSON string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        escape(out, byte);
        start = at + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

pub(crate) fn integer(out: &mut Vec<u8>, value: i64) {
    write!(out, "{value}").expect("writing to memory cannot fail");
}

pub(crate) fn string_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

pub(crate) fn integer_or_null(out: &mut Vec<u8>, value: Option<i64>) {
    match value {
        Some(value) => integer(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

#[cold]
fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => write!(out, "\\u{byte:04x}").expect("writing to memory cannot fail"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn strings_read_back_as_they_were() {
        for text in [
            "",
            "plain",
            "q\"b\\s",
            "a\nb\tc\rd\u{1}\u{1f}",
            "ünïcode \u{1F600}",
        ] {
            let mut out = Vec::new();
            super::string(&mut out, text);
            assert_eq!(
                serde_json::from_slice::<String>(&out).expect("valid JSON"),
                text
            );
        }
    }
}
