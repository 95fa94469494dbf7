//! Content codings: those of answers undone, those that a script asks for done to its bodies.
//!
//! A small answer can hold gigabytes: what comes out is limited, and long work gives the other VUs
//! of the worker their turns.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use super::Failure;

/// Decoded bytes after which others get a turn.
const SLICE_BYTES: usize = 256 * 1024;
/// Go's encoders' defaults.
const BROTLI_QUALITY: u32 = 6;
const BROTLI_WINDOW: u32 = 22;
const ZSTD_LEVEL: i32 = 3;

/// The codings that k6 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Zstd,
    Br,
}

impl Coding {
    pub(crate) fn parse(name: &str) -> Option<Coding> {
        match name.to_ascii_lowercase().as_str() {
            "gzip" => Some(Coding::Gzip),
            "deflate" => Some(Coding::Deflate),
            "zstd" => Some(Coding::Zstd),
            "br" => Some(Coding::Br),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Zstd => "zstd",
            Coding::Br => "br",
        }
    }

    /// The fixed part in front (RFC 1952 §2.3, RFC 1950 §2.2).
    fn head_bytes(self) -> usize {
        match self {
            Coding::Gzip => 10,
            Coding::Deflate => 2,
            Coding::Zstd | Coding::Br => 0,
        }
    }

    pub(crate) fn encode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Coding::Zstd => zstd::stream::encode_all(body, ZSTD_LEVEL),
            Coding::Br => {
                let mut encoded = Vec::new();
                let mut encoder =
                    brotli::CompressorReader::new(body, 4096, BROTLI_QUALITY, BROTLI_WINDOW);
                encoder.read_to_end(&mut encoded)?;
                Ok(encoded)
            }
        }
    }
}

/// Undoes `Content-Encoding`, the last coding first; those that are not known stay as they are.
///
/// # Errors
/// Code 1701: a coding is broken, or more than `bytes_max` come out.
pub(crate) async fn decode(
    body: Vec<u8>,
    codings: &str,
    bytes_max: usize,
) -> Result<Vec<u8>, Failure> {
    let mut body = body;
    for coding in codings
        .rsplit(',')
        .filter_map(|name| Coding::parse(name.trim()))
    {
        let source = std::mem::take(&mut body);
        // Without a whole head there is no coding at all; one that breaks off later is a transfer
        // that has failed. k6 draws the same line.
        match source.len() {
            0 => return Err(Failure::decompression("EOF")),
            length if length < coding.head_bytes() => {
                return Err(Failure::decompression("unexpected EOF"));
            }
            _ => {}
        }
        body = match coding {
            Coding::Gzip => read_all(MultiGzDecoder::new(&source[..]), bytes_max).await?,
            Coding::Deflate => read_all(ZlibDecoder::new(&source[..]), bytes_max).await?,
            Coding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&source[..]);
                read_all(decoder.map_err(Failure::decompression)?, bytes_max).await?
            }
            Coding::Br => read_all(brotli::Decompressor::new(&source[..], 4096), bytes_max).await?,
        };
    }
    Ok(body)
}

async fn read_all(mut decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut decoded = Vec::new();
    loop {
        let slice = decoder.by_ref().take(SLICE_BYTES as u64);
        let count = { slice }.read_to_end(&mut decoded).map_err(broken)?;
        if decoded.len() > bytes_max {
            let mebibytes = bytes_max >> 20;
            let text = format!("it is larger than {mebibytes} MiB");
            return Err(Failure::decompression(text));
        }
        if count < SLICE_BYTES {
            return Ok(decoded);
        }
        tokio::task::yield_now().await;
    }
}

/// One that breaks off is, as in k6, no error of the coding.
fn broken(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::cut_off(&error),
        _ => Failure::decompression(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Br];

    #[tokio::test]
    async fn every_coding_is_undone_alone_and_after_another() {
        let text = b"hello hello hello".to_vec();
        for first in ALL {
            let once = first.encode(&text).expect("memory");
            let decoded = decode(once.clone(), first.name(), 100).await;
            assert_eq!(decoded.expect("it was just made"), text, "{first:?}");
            for second in ALL {
                let twice = second.encode(&once).expect("memory");
                let codings = format!("{}, {}", first.name(), second.name());
                let decoded = decode(twice, &codings, 100).await;
                assert_eq!(decoded.expect("it was just made"), text, "{codings}");
            }
        }
        let short = decode(b"no gzip".to_vec(), "gzip", 100).await;
        assert_eq!(short.expect_err("seven bytes").code, 1701);
        let half = Coding::Gzip.encode(&text).expect("memory")[..15].to_vec();
        assert_eq!(
            decode(half, "gzip", 100).await.expect_err("half").code,
            1000
        );
        let same = decode(b"x".to_vec(), "compress", 100).await;
        assert_eq!(same.expect("unknown codings stay"), b"x");
    }

    #[tokio::test]
    async fn broken_codings_and_bombs_fail_with_1701() {
        for coding in ALL {
            let nonsense = decode(b"this is no coding".to_vec(), coding.name(), 100).await;
            let code = nonsense.expect_err("nonsense").code;
            // Some nonsense is the beginning of something longer.
            assert!(matches!(code, 1701 | 1000), "{coding:?}: {code}");
            let bomb = coding.encode(&vec![0; 4 << 20]).expect("memory");
            assert!(bomb.len() < 8 << 10, "{coding:?}");
            let exploded = decode(bomb, coding.name(), 1 << 20).await;
            let failure = exploded.expect_err("too much");
            assert_eq!(failure.code, 1701, "{coding:?}");
            assert!(
                failure.text.contains("larger than 1 MiB"),
                "{}",
                failure.text
            );
        }
    }
}
