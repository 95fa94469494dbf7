//! Host side of the module `k6/encoding`: base64 in its four variants, with Go's messages.

use std::rc::Rc;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rquickjs::{ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use super::bytes::bytes_of;
use super::set;
use crate::load::js::host::Host;

/// Go takes any value in the bits that the last digit has too many.
const PADDED: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
const BARE: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);

pub(super) const STD: GeneralPurpose = GeneralPurpose::new(&STANDARD, PADDED);
pub(super) const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, PADDED);
const RAW_STD: GeneralPurpose = GeneralPurpose::new(&STANDARD, BARE);
pub(super) const RAW_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, BARE);

pub(super) fn install<'js>(part: &Object<'js>, _host: &Rc<Host>) -> rquickjs::Result<()> {
    let encode = |ctx: Ctx<'js>, input: Value<'js>, variant: String| {
        let data = bytes_of(&ctx, &input)?;
        Ok::<_, rquickjs::Error>(engine(&variant).encode(data))
    };
    set(part, "encode", encode)?;
    let decode = |ctx: Ctx<'js>, input: String, variant: String, as_text: bool| {
        let data =
            decode(&input, &variant).map_err(|text| Exception::throw_message(&ctx, &text))?;
        if as_text {
            String::from_utf8_lossy(&data).into_js(&ctx)
        } else {
            ArrayBuffer::new(ctx.clone(), data)?.into_js(&ctx)
        }
    };
    set(part, "decode", decode)
}

/// An unknown variant is the standard one, as in k6.
fn engine(variant: &str) -> &'static GeneralPurpose {
    match variant {
        "rawstd" => &RAW_STD,
        "rawurl" => &RAW_URL,
        "url" => &URL,
        _ => &STD,
    }
}

/// Line ends within the text don't count.
fn decode(input: &str, variant: &str) -> Result<Vec<u8>, String> {
    let text: String = input
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .collect();
    engine(variant).decode(&text).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) => at,
            base64::DecodeError::InvalidLastSymbol(at, _) => at,
            // Go counts the quantum that is incomplete from its beginning.
            _ => text.trim_end_matches('=').len() / 4 * 4,
        };
        format!("illegal base64 data at input byte {at}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_4648_come_out_both_ways() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in vectors {
            assert_eq!(engine("").encode(plain), coded);
            assert_eq!(decode(coded, "std").expect("valid"), plain.as_bytes());
            let bare = coded.trim_end_matches('=');
            assert_eq!(engine("rawstd").encode(plain), bare);
            assert_eq!(decode(bare, "rawurl").expect("valid"), plain.as_bytes());
        }
        assert_eq!(engine("url").encode([0xfb, 0xff]), "-_8=");
        assert_eq!(engine("rawurl").encode([0xfb, 0xff]), "-_8");
    }

    #[test]
    fn broken_input_is_named_by_its_place() {
        assert_eq!(
            decode("Zm9v!mFy", "").expect_err("invalid"),
            "illegal base64 data at input byte 4"
        );
        assert!(decode("Zg", "std").is_err(), "padding is required");
        assert!(decode("Zg==", "rawstd").is_err(), "padding is refused");
        assert_eq!(decode("Zm9v\r\nYmFy", "").expect("valid"), b"foobar");
    }
}
