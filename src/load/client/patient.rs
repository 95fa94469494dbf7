//! A stream whose failed writes wait for what the server has to say.
//!
//! A server that hangs up sends its reason (an alert, a GOAWAY) and closes; the next write then
//! breaks before the reason is read. So a broken write is kept quiet until reading comes to its end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Failure;
use super::http2::Reason;

pub(super) struct Patient<S> {
    stream: S,
    write_error: Option<io::Error>,
    broken: bool,
    /// Where a failed read says why: h2 keeps only the words of an error.
    reason: Reason,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, reason: Reason) -> Patient<S> {
        Patient {
            stream,
            reason,
            write_error: None,
            broken: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                Poll::Ready(this.write_error.take().map_or(Ok(()), Err))
            }
            Poll::Ready(Err(error)) => {
                let mut reason = this.reason.borrow_mut();
                reason.get_or_insert(Failure::cut_off(&error));
                Poll::Ready(Err(error))
            }
            polled => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.broken {
            return Poll::Ready(Ok(bytes.len()));
        }
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(Err(error)) => {
                this.broken = true;
                this.write_error = Some(error);
                Poll::Ready(Ok(bytes.len()))
            }
            polled => polled,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.broken {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => {
                this.broken = true;
                this.write_error = Some(error);
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.broken {
            return Poll::Ready(Ok(()));
        }
        // Nobody can be told of the end any more.
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        polled.map(|_| Ok(()))
    }
}
