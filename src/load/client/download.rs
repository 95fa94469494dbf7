//! A request whose body is taken piece by piece, on a connection of its own.
//!
//! The connection ends with its body: dropping one that goes on hangs up.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::connection::Connection;
use super::exchange::{self, Framing, ReadError};
use super::http2::{self, Session};
use super::tls::Alpn;
use super::{Answer, Client, Failure, Request, RoundTrip, Trip};

/// What comes behind the head of an answer.
pub(crate) struct Download {
    source: Source,
    is_over: bool,
}

enum Source {
    Http1(Box<Http1>),
    Http2(Box<http2::Incoming>),
}

struct Http1 {
    connection: Connection,
    framing: Framing,
    /// Bytes left of the body, or of the chunk.
    left: u64,
    /// A chunk has been begun, so its end has to be read.
    within_chunk: bool,
}

impl Client {
    /// As `round_trip`, until the head has come: the answer's body is empty and comes by the
    /// download, which is there unless the request failed.
    pub(crate) async fn open(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> (RoundTrip, Option<Download>) {
        let mut trip = Trip::default();
        let begun = Instant::now();
        let opened = within(timeout, self.open_now(request, begun, &mut trip)).await;
        let (outcome, download) = match opened {
            Ok((answer, source)) => {
                let is_over = false;
                (Ok(answer), Some(Download { source, is_over }))
            }
            Err(failure) => (Err(failure), None),
        };
        (trip.end(begun, outcome), download)
    }

    async fn open_now(
        &self,
        request: &Request,
        begun: Instant,
        trip: &mut Trip,
    ) -> Result<(Answer, Source), Failure> {
        let network = &self.0.network;
        let url = &request.address.url;
        let mut connection = Connection::open(url, Alpn::Both, network, &mut trip.timings).await?;
        trip.timings.blocked = begun.elapsed();
        trip.remote = Some(connection.remote);
        if connection.is_http2 {
            let session = Session::begin(connection).await?;
            let opened = session.open(request, &mut trip.timings).await;
            let (answer, incoming) = opened.map_err(|broken| broken.failure)?;
            return Ok((answer, Source::Http2(Box::new(incoming))));
        }
        let begun = exchange::begin(&mut connection, request, &mut trip.timings).await;
        let (answer, framing) = begun.map_err(|broken| broken.failure)?;
        let left = match framing {
            Framing::Length(length) => length,
            _ => 0,
        };
        let source = Http1 {
            connection,
            framing,
            left,
            within_chunk: false,
        };
        Ok((answer, Source::Http1(Box::new(source))))
    }
}

impl Download {
    /// The next piece as it comes over the wire; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or nothing came for `patience`. There is no more after an error.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Failure> {
        if self.is_over {
            return Ok(None);
        }
        let next = async {
            match &mut self.source {
                Source::Http1(source) => source.next().await.map_err(ReadError::into_failure),
                Source::Http2(incoming) => incoming.next().await,
            }
        };
        let piece = within(patience, next).await;
        self.is_over = !matches!(piece, Ok(Some(_)));
        piece
    }
}

impl Http1 {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let (stream, buffer) = self.connection.io();
        match self.framing {
            Framing::None => Ok(None),
            Framing::UntilClose => {
                if buffer.is_empty() {
                    match exchange::fill(stream, buffer).await {
                        Ok(()) => {}
                        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                            return Ok(None);
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(Some(buffer.split().freeze()))
            }
            Framing::Length(_) if self.left == 0 => Ok(None),
            Framing::Chunked if self.left == 0 => {
                if self.within_chunk {
                    exchange::end_chunk(stream, buffer).await?;
                }
                self.left = exchange::begin_chunk(stream, buffer).await?;
                if self.left == 0 {
                    return Ok(None);
                }
                self.within_chunk = true;
                part(stream, buffer, &mut self.left).await
            }
            Framing::Length(_) | Framing::Chunked => part(stream, buffer, &mut self.left).await,
        }
    }
}

/// At most `left` bytes, at least one.
async fn part(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    buffer: &mut BytesMut,
    left: &mut u64,
) -> Result<Option<Bytes>, ReadError> {
    if buffer.is_empty() {
        exchange::fill(stream, buffer).await?;
    }
    let count = buffer
        .len()
        .min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    Ok(Some(buffer.copy_to_bytes(count)))
}

async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(time, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::timeout()),
    }
}
