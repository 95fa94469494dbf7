//! Content codings of answers: gzip and deflate, alone or one after the other.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::Failure;

/// Largest decoded body, so that a small answer can't fill the memory.
const DECODED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Undoes `Content-Encoding`; codings that are not known stay as they are, as in a browser's
/// raw view.
pub(crate) fn decode(body: Vec<u8>, codings: &str) -> Result<Vec<u8>, Failure> {
    let mut body = body;
    for coding in codings.split(',').rev().map(str::trim) {
        body = match coding.to_ascii_lowercase().as_str() {
            _ if body.is_empty() => body,
            "gzip" | "x-gzip" => read_all(MultiGzDecoder::new(&body[..]))?,
            // Servers send zlib or bare deflate under this name (RFC 9110 §8.4.1.2).
            "deflate" => read_all(ZlibDecoder::new(&body[..]))
                .or_else(|_| read_all(DeflateDecoder::new(&body[..])))?,
            _ => body,
        };
    }
    Ok(body)
}

fn read_all(decoder: impl Read) -> Result<Vec<u8>, Failure> {
    let mut decoded = Vec::new();
    decoder
        .take(DECODED_BYTES_MAX)
        .read_to_end(&mut decoded)
        .map_err(|error| Failure::new(1701, format!("decompression: {error}")))?;
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};

    use super::*;

    #[test]
    fn gzip_and_deflate_are_undone() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"hello").expect("memory");
        let gzip = gzip.finish().expect("memory");
        assert_eq!(decode(gzip, "gzip").expect("gzip"), b"hello");
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(b"hello").expect("memory");
        let bare = bare.finish().expect("memory");
        assert_eq!(decode(bare, "deflate").expect("deflate"), b"hello");
        assert_eq!(decode(b"x".to_vec(), "br").expect("unknown"), b"x");
        assert_eq!(
            decode(b"x".to_vec(), "gzip").expect_err("no gzip").code,
            1701
        );
    }
}
