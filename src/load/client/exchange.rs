//! One request written and its answer read on one connection, with k6's phases.

use std::borrow::Cow;
use std::io;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::connection::Connection;
use super::upload::{self, Sent};
use super::{Answer, Body, Failure, Request, Reuse};
use crate::load::metrics::Timings;

/// Largest answer head, and most header lines in it.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// Enough for nearly all.
const HEADERS_USUAL: usize = 24;
/// Bytes of a line that an error shows.
const LINE_SHOWN_MAX: usize = 80;
/// Longest line that frames a chunk.
const CHUNK_LINE_MAX: usize = 4 * 1024;
/// Largest body that is copied behind its head.
const SMALL_BODY_BYTES: usize = 16 * 1024;
/// Room made for a body on the word of its length.
const RESERVED_BYTES_MAX: u64 = 1 << 20;
/// Bytes asked for at a time.
const READ_BYTES: usize = 8 * 1024;

/// Whether the connection may serve another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

/// A failed exchange.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// A kept connection that was closed before anything came back, and the request may be sent
    /// again without doing its work twice.
    pub(super) stale: bool,
}

impl Broken {
    /// Whatever the connection was, repeating does not help.
    pub(super) fn finally(failure: Failure) -> Broken {
        Broken {
            failure,
            stale: false,
        }
    }
}

struct Head {
    status: u16,
    reason: String,
    proto: &'static str,
    headers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Sets `sending`, `waiting` and `receiving`.
pub(super) async fn exchange(
    connection: &mut Connection,
    request: &Request,
    timings: &mut Timings,
) -> Result<(Answer, Keep), Broken> {
    let reused = connection.reused;
    let repeatable = matches!(&*request.method, "GET" | "HEAD" | "OPTIONS");
    let tls = connection.tls.clone();
    let (stream, buffer) = connection.io();
    let wire = write_request(request);
    let begun = Instant::now();
    let broken = |error: &io::Error, stale: bool| Broken {
        failure: Failure::exchange(error),
        stale: stale && reused && repeatable,
    };
    let sent = upload::send(stream, [&wire, rest(request)], buffer)
        .await
        .map_err(|error| broken(&error, true))?;
    timings.sending = begun.elapsed();
    if sent == Sent::All {
        let written = Instant::now();
        fill(stream, buffer)
            .await
            .map_err(|error| broken(&error, true))?;
        timings.waiting = written.elapsed();
    }
    let first_byte = Instant::now();
    let answered = async {
        let head = read_head(stream, buffer).await?;
        let framing = framing(&head, &request.method)?;
        let body = read_body(stream, buffer, &framing, request.take).await?;
        Ok((head, framing, body))
    };
    let answered: Result<_, ReadError> = answered.await;
    timings.receiving = first_byte.elapsed();
    let (head, framing, body) = answered.map_err(|error| Broken::finally(error.into_failure()))?;
    let keep = match sent {
        Sent::All => keep(&head, &framing, request.reuse),
        Sent::Part => Keep::No,
    };
    Ok((
        Answer {
            status: head.status,
            reason: head.reason,
            headers: head.headers,
            body,
            proto: head.proto,
            tls,
        },
        keep,
    ))
}

#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Malformed(Cow<'static, str>),
    /// The body has more bytes than this.
    TooLarge(usize),
}

impl ReadError {
    pub(super) fn into_failure(self) -> Failure {
        match self {
            ReadError::Io(error) => Failure::cut_off(&error),
            ReadError::Malformed(what) => Failure::malformed(&what),
            ReadError::TooLarge(bytes_max) => Failure::body_too_large(bytes_max),
        }
    }

    fn malformed(what: impl Into<Cow<'static, str>>) -> ReadError {
        ReadError::Malformed(what.into())
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

/// Head and, unless it is large, body: one write for most requests.
fn write_request(request: &Request) -> Vec<u8> {
    let mut wire = wire_head(request).into_bytes();
    if request.body.len() <= SMALL_BODY_BYTES {
        wire.extend_from_slice(&request.body);
    }
    wire
}

/// What is sent behind [`write_request`], from where it is: files are shared by all VUs.
fn rest(request: &Request) -> &[u8] {
    if request.body.len() <= SMALL_BODY_BYTES {
        return &[];
    }
    &request.body
}

/// A request as it goes onto the wire, without its body.
pub(crate) fn wire_head(request: &Request) -> String {
    let address = &request.address;
    let given = |name: &str| {
        request
            .headers
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let mut wire = String::with_capacity(256 + request.body.len().min(SMALL_BODY_BYTES));
    let mut put = |parts: &[&str]| wire.extend(parts.iter().copied());
    put(&[&request.method, " ", &address.target, " HTTP/1.1\r\n"]);
    if !given("host") {
        put(&["Host: ", &address.authority, "\r\n"]);
    }
    for (name, value) in &request.headers {
        put(&[name, ": ", value, "\r\n"]);
    }
    let has_body = matches!(&*request.method, "POST" | "PUT" | "PATCH") || !request.body.is_empty();
    if has_body && !given("content-length") {
        put(&["Content-Length: ", &request.body.len().to_string(), "\r\n"]);
    }
    if request.reuse == Reuse::Close {
        put(&["Connection: close\r\n"]);
    }
    put(&["\r\n"]);
    wire
}

/// Sends the request and reads the head of its answer; what follows is framed as told.
pub(super) async fn begin(
    connection: &mut Connection,
    request: &Request,
    timings: &mut Timings,
) -> Result<(Answer, Framing), Broken> {
    let tls = connection.tls.clone();
    let (stream, buffer) = connection.io();
    let begun = Instant::now();
    let failed = |error: io::Error| Broken::finally(Failure::exchange(&error));
    let wire = [&write_request(request)[..], rest(request)];
    let sent = upload::send(stream, wire, buffer).await;
    let sent = sent.map_err(failed)?;
    timings.sending = begun.elapsed();
    if sent == Sent::All {
        let written = Instant::now();
        fill(stream, buffer).await.map_err(failed)?;
        timings.waiting = written.elapsed();
    }
    let answered = async {
        let head = read_head(stream, buffer).await?;
        let framing = framing(&head, &request.method)?;
        Ok((head, framing))
    };
    let answered: Result<_, ReadError> = answered.await;
    let (head, framing) = answered.map_err(|error| Broken::finally(error.into_failure()))?;
    let answer = Answer {
        status: head.status,
        reason: head.reason,
        headers: head.headers,
        body: Vec::new(),
        proto: head.proto,
        tls,
    };
    Ok((answer, framing))
}

/// Reads more; the end of the stream is an error.
pub(super) async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<()> {
    buffer.reserve(READ_BYTES);
    if stream.read_buf(buffer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The final head; interim ones (1xx) are skipped.
async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Head, ReadError> {
    loop {
        if let Some((length, head)) = parse_head(buffer)? {
            buffer.advance(length);
            if head.status == 101 || head.status >= 200 {
                return Ok(head);
            }
            continue;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            let text = format!("server response headers exceeded {HEAD_BYTES_MAX} bytes; aborted");
            return Err(ReadError::malformed(text));
        }
        fill(stream, buffer).await?;
    }
}

fn parse_head(buffer: &[u8]) -> Result<Option<(usize, Head)>, ReadError> {
    match parse_with::<HEADERS_USUAL>(buffer) {
        Err(httparse::Error::TooManyHeaders) => parse_many(buffer),
        parsed => parsed,
    }
    .map_err(|error| malformed_head(buffer, error))
}

/// On its own, because its frame is large.
#[inline(never)]
fn parse_many(buffer: &[u8]) -> Result<Option<(usize, Head)>, httparse::Error> {
    parse_with::<HEADERS_MAX>(buffer)
}

fn parse_with<const MOST: usize>(buffer: &[u8]) -> Result<Option<(usize, Head)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MOST];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(buffer)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let head = Head {
        status: response.code.unwrap_or(0),
        reason: response.reason.unwrap_or_default().to_owned(),
        proto: if response.version == Some(0) {
            "HTTP/1.0"
        } else {
            "HTTP/1.1"
        },
        headers: response
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), text(header.value)))
            .collect(),
    };
    Ok(Some((length, head)))
}

/// In Go's words, with the line that is wrong as far as it is the first.
fn malformed_head(buffer: &[u8], error: httparse::Error) -> ReadError {
    if error == httparse::Error::TooManyHeaders {
        return ReadError::malformed(format!("server response has over {HEADERS_MAX} headers"));
    }
    let line = buffer
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(&line[..line.len().min(LINE_SHOWN_MAX)]);
    let line = line.trim_end();
    if line.starts_with("HTTP/1.") {
        return ReadError::malformed(format!("malformed MIME header: {error}"));
    }
    ReadError::malformed(format!("malformed HTTP response {line:?}"))
}

fn header<'h>(head: &'h Head, name: &str) -> Option<&'h str> {
    head.headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// RFC 9112 §6.3.
fn framing(head: &Head, method: &str) -> Result<Framing, ReadError> {
    if method == "HEAD" || matches!(head.status, 101 | 204 | 304) {
        return Ok(Framing::None);
    }
    let chunked = header(head, "transfer-encoding")
        .is_some_and(|coding| coding.to_ascii_lowercase().ends_with("chunked"));
    if chunked {
        return Ok(Framing::Chunked);
    }
    match header(head, "content-length") {
        Some(length) => length
            .trim()
            .parse()
            .map(Framing::Length)
            .map_err(|_| ReadError::malformed(format!("bad Content-Length {length:?}"))),
        None => Ok(Framing::UntilClose),
    }
}

async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    framing: &Framing,
    take: Body,
) -> Result<Vec<u8>, ReadError> {
    let mut body = Kept {
        bytes: Vec::new(),
        take,
    };
    match framing {
        Framing::None => {}
        Framing::Length(length) => {
            body.expect(*length)?;
            transfer(stream, buffer, *length, &mut body).await?;
        }
        Framing::Chunked => read_chunks(stream, buffer, &mut body).await?,
        Framing::UntilClose => loop {
            body.add(buffer)?;
            buffer.clear();
            match fill(stream, buffer).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
        },
    }
    Ok(body.bytes)
}

/// A body as far as it has come and is wanted.
struct Kept {
    bytes: Vec<u8>,
    take: Body,
}

impl Kept {
    /// A server that announces too much need not send it first.
    fn expect(&mut self, length: u64) -> Result<(), ReadError> {
        match self.take {
            Body::Keep { bytes_max } if length > bytes_max as u64 => {
                Err(ReadError::TooLarge(bytes_max))
            }
            Body::Keep { .. } => {
                // It may lie: more than this is reserved only as it comes.
                self.bytes
                    .reserve_exact(length.min(RESERVED_BYTES_MAX) as usize);
                Ok(())
            }
            Body::Discard => Ok(()),
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        match self.take {
            Body::Keep { bytes_max } if self.bytes.len() + bytes.len() > bytes_max => {
                Err(ReadError::TooLarge(bytes_max))
            }
            Body::Keep { .. } => {
                self.bytes.extend_from_slice(bytes);
                Ok(())
            }
            Body::Discard => Ok(()),
        }
    }
}

/// Moves exactly `length` bytes.
async fn transfer(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    length: u64,
    body: &mut Kept,
) -> Result<(), ReadError> {
    let mut left = length;
    loop {
        let now = left.min(buffer.len() as u64) as usize;
        body.add(&buffer[..now])?;
        buffer.advance(now);
        left -= now as u64;
        if left == 0 {
            return Ok(());
        }
        fill(stream, buffer).await?;
    }
}

async fn read_chunks(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    body: &mut Kept,
) -> Result<(), ReadError> {
    loop {
        let size = begin_chunk(stream, buffer).await?;
        if size == 0 {
            return Ok(());
        }
        transfer(stream, buffer, size, body).await?;
        end_chunk(stream, buffer).await?;
    }
}

/// The size of the next chunk; behind the last one, whose size is zero, trailers are read and
/// dropped.
pub(super) async fn begin_chunk(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<u64, ReadError> {
    let line = read_line(stream, buffer).await?;
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let size = std::str::from_utf8(size)
        .ok()
        .and_then(|size| u64::from_str_radix(size.trim(), 16).ok())
        .ok_or(ReadError::malformed("invalid byte in chunk length"))?;
    if size == 0 {
        skip_trailers(stream, buffer).await?;
    }
    Ok(size)
}

async fn skip_trailers(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<(), ReadError> {
    let mut trailers_bytes = 0;
    loop {
        let line = read_line(stream, buffer).await?;
        trailers_bytes += line.len();
        if line.is_empty() {
            return Ok(());
        }
        if trailers_bytes > HEAD_BYTES_MAX {
            let text = "suspiciously long trailer after chunked body";
            return Err(ReadError::malformed(text));
        }
    }
}

pub(super) async fn end_chunk(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<(), ReadError> {
    if read_line(stream, buffer).await?.is_empty() {
        return Ok(());
    }
    Err(ReadError::malformed("malformed chunked encoding"))
}

/// One line without its end.
async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Vec<u8>, ReadError> {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            return Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        }
        if buffer.len() > CHUNK_LINE_MAX {
            return Err(ReadError::malformed("header line too long"));
        }
        fill(stream, buffer).await?;
    }
}

fn keep(head: &Head, framing: &Framing, reuse: Reuse) -> Keep {
    let connection = header(head, "connection").unwrap_or_default();
    let says = |word: &str| connection.to_ascii_lowercase().contains(word);
    let open = match head.proto {
        "HTTP/1.0" => says("keep-alive"),
        _ => !says("close"),
    };
    let framed = !matches!(framing, Framing::UntilClose) && head.status != 101;
    if open && framed && reuse == Reuse::KeepAlive {
        Keep::Yes
    } else {
        Keep::No
    }
}

#[cfg(test)]
mod tests;
