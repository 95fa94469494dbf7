//! Host side of TextEncoder and TextDecoder: UTF-8 and UTF-16, whole or in pieces.

use std::rc::Rc;

use rquickjs::convert::List;
use rquickjs::{ArrayBuffer, Ctx, Object, Value};

use super::bytes::text_of;
use super::set;
use crate::load::js::ffi::buffer_bytes;
use crate::load::js::host::Host;

pub(super) fn install<'js>(part: &Object<'js>, _host: &Rc<Host>) -> rquickjs::Result<()> {
    set(part, "encode", |ctx: Ctx<'js>, text: Value<'js>| {
        ArrayBuffer::new(ctx, text_of(&text)?.into_bytes())
    })?;
    let decode = |encoding: String, bytes: ArrayBuffer<'js>, stream: bool| {
        let bytes = buffer_bytes(&bytes);
        let decoded = match encoding.as_str() {
            "utf-16le" => utf16(&bytes, u16::from_le_bytes, stream),
            "utf-16be" => utf16(&bytes, u16::from_be_bytes, stream),
            _ => utf8(&bytes, stream),
        };
        List((decoded.text, decoded.left, decoded.broken))
    };
    set(part, "decode", decode)
}

#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    text: String,
    /// Bytes at the end that begin a character which a stream may complete.
    left: usize,
    /// Something stood there that is no character.
    broken: bool,
}

fn utf8(bytes: &[u8], stream: bool) -> Decoded {
    let left = match std::str::from_utf8(bytes) {
        Ok(text) => {
            return Decoded {
                text: text.to_owned(),
                left: 0,
                broken: false,
            };
        }
        Err(_) if !stream => 0,
        Err(_) => incomplete(bytes),
    };
    let whole = &bytes[..bytes.len() - left];
    Decoded {
        text: String::from_utf8_lossy(whole).into_owned(),
        left,
        broken: std::str::from_utf8(whole).is_err(),
    }
}

/// Length of a sequence at the end that is right so far.
fn incomplete(bytes: &[u8]) -> usize {
    // A character has at most four bytes.
    (1..=bytes.len().min(3))
        .rev()
        .find(|&length| {
            let tail = &bytes[bytes.len() - length..];
            std::str::from_utf8(tail)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, stream: bool) -> Decoded {
    let pairs = bytes.chunks_exact(2);
    let odd = pairs.remainder().len();
    let mut units: Vec<u16> = pairs.map(|pair| unit([pair[0], pair[1]])).collect();
    let mut left = 0;
    if stream {
        left = odd;
        // The first half of a pair waits for the second.
        if units
            .last()
            .is_some_and(|last| (0xd800..0xdc00).contains(last))
        {
            units.pop();
            left += 2;
        }
    }
    let mut broken = odd > 0 && !stream;
    let mut text: String = char::decode_utf16(units)
        .map(|unit| {
            unit.unwrap_or_else(|_| {
                broken = true;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    if odd > 0 && !stream {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    Decoded { text, left, broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_come_in_pieces() {
        let euro = "€".as_bytes();
        assert_eq!(utf8(&euro[..2], true).left, 2);
        assert_eq!(utf8(&euro[..2], false).text, "\u{fffd}");
        assert_eq!(utf8(b"a\xff", true).text, "a\u{fffd}");
        assert!(utf8(b"a\xff", true).broken);
        let half = [0x3d, 0xd8, 0x00];
        assert_eq!(utf16(&half, u16::from_le_bytes, true).left, 3);
        assert_eq!(
            utf16(&half, u16::from_le_bytes, false).text,
            "\u{fffd}\u{fffd}"
        );
        let smile = [0xd8, 0x3d, 0xde, 0x00];
        assert_eq!(utf16(&smile, u16::from_be_bytes, false).text, "\u{1f600}");
    }
}
