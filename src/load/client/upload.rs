//! Sends a request with an ear to the server: it may answer, or hang up with a reason, before it
//! has read everything.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::exchange::fill;

/// How long a reason is waited for after a failed write, as in Go's client.
const REASON_WAIT: Duration = Duration::from_millis(50);
/// Room for what comes early; the rest is read when the request is done.
const EARLY_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// Something has come back before all was sent; the rest is not.
    Part,
}

/// Both parts of `wire`, one after the other. What came early is in `buffer`.
///
/// # Errors
/// The connection is broken; the server's reason where it gave one.
pub(super) async fn send(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    wire: [&[u8]; 2],
    buffer: &mut BytesMut,
) -> io::Result<Sent> {
    let mut sent = write(stream, wire[0], buffer).await;
    if matches!(sent, Ok(Sent::All)) && !wire[1].is_empty() {
        sent = write(stream, wire[1], buffer).await;
    }
    match sent {
        Ok(sent) => Ok(sent),
        Err(error) => match tokio::time::timeout(REASON_WAIT, fill(stream, buffer)).await {
            Ok(Ok(())) => Ok(Sent::Part),
            // An alert says more than a broken pipe.
            Ok(Err(reason)) if reason.get_ref().is_some() => Err(reason),
            _ => Err(error),
        },
    }
}

async fn write(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    wire: &[u8],
    buffer: &mut BytesMut,
) -> io::Result<Sent> {
    let mut written = 0;
    let mut early = [0; EARLY_BYTES];
    while written < wire.len() {
        let progress = poll_fn(|cx| {
            if let Poll::Ready(count) = Pin::new(&mut *stream).poll_write(cx, &wire[written..]) {
                return Poll::Ready(count.map(|count| (count, 0)));
            }
            let mut room = ReadBuf::new(&mut early);
            let read = Pin::new(&mut *stream).poll_read(cx, &mut room);
            read.map_ok(|()| (0, room.filled().len()))
        });
        match progress.await? {
            (0, 0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (count, 0) => written += count,
            (_, came) => {
                buffer.extend_from_slice(&early[..came]);
                return Ok(Sent::Part);
            }
        }
    }
    stream.flush().await?;
    Ok(Sent::All)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn early_answers_end_the_sending() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let server = async {
            let mut some = [0; 16];
            there
                .read_exact(&mut some)
                .await
                .expect("the request begins");
            there
                .write_all(b"HTTP/1.1 413")
                .await
                .expect("the pipe is open");
            there
        };
        let mut buffer = BytesMut::new();
        let request = [b'x'; 10_000];
        let (sent, _there) =
            tokio::join!(send(&mut here, [b"head", &request], &mut buffer), server);
        assert_eq!(sent.expect("it is open"), Sent::Part);
        assert_eq!(&buffer[..], b"HTTP/1.1 413");
    }
}
