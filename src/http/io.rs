//! A connection's socket with its clocks: how long it idles, how long a head takes, how long the
//! peer takes nothing.
//!
//! hyper reads and writes through [`Io`]; the connection's task asks [`Clocks::deadline`] after
//! each poll. The service says when a request begins and its answer ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::Limits;

/// Time that a connection closed early stays half open, so that the answer is read before a reset.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of an unwanted body that are thrown away meanwhile.
const LINGER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Time for which a drain waits for a peer that takes nothing.
pub(super) const DRAIN_STALL_MAX: Duration = Duration::from_secs(1);

/// Between requests; also before the first byte of the first one.
const IDLE: u8 = 0;
/// Within a request head.
const HEAD: u8 = 1;
/// From the complete head to the end of the answer.
const SERVING: u8 = 2;
/// Shut down, waiting for the peer to close.
const LINGERING: u8 = 3;

/// Shared by the socket, the service and the task of one connection, which all run on one task;
/// the atomics only make it `Sync`.
#[derive(Debug)]
pub(super) struct Clocks {
    begun: Instant,
    phase: AtomicU8,
    /// Milliseconds after `begun` at which the phase began.
    since_ms: AtomicU64,
    /// Since when a write has been waiting for the peer, plus one; 0: none is.
    blocked_ms: AtomicU64,
    linger: AtomicBool,
}

impl Clocks {
    pub(super) fn new() -> Clocks {
        Clocks {
            begun: Instant::now(),
            phase: AtomicU8::new(IDLE),
            since_ms: AtomicU64::new(0),
            blocked_ms: AtomicU64::new(0),
            linger: AtomicBool::new(false),
        }
    }

    /// A head is complete.
    pub(super) fn serving(&self) {
        self.phase.store(SERVING, Ordering::Relaxed);
    }

    /// An answer has been handed over or given up.
    pub(super) fn idle(&self) {
        self.enter(IDLE);
    }

    /// The peer may still be sending what nobody wants: close in two steps.
    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    /// When the connection has to be closed unless something happens; `None`: not by a clock.
    /// `stopping`: a peer that takes nothing must not hold the drain.
    pub(super) fn deadline(&self, limits: &Limits, stopping: bool) -> Option<Instant> {
        let stall_max = if stopping {
            limits.socket_stall_max.min(DRAIN_STALL_MAX)
        } else {
            limits.socket_stall_max
        };
        let blocked = match self.blocked_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(self.at(ms - 1) + stall_max),
        };
        let since = self.at(self.since_ms.load(Ordering::Relaxed));
        let phase = match self.phase.load(Ordering::Relaxed) {
            IDLE => Some(since + limits.idle_timeout),
            HEAD => Some(since + limits.head_timeout),
            LINGERING => Some(since + LINGER),
            _ => None,
        };
        match (blocked, phase) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn enter(&self, phase: u8) {
        self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn at(&self, ms: u64) -> Instant {
        self.begun + Duration::from_millis(ms)
    }
}

#[derive(Debug)]
pub(super) struct Io<S> {
    stream: S,
    clocks: Arc<Clocks>,
    lingered_bytes: u64,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, clocks: Arc<Clocks>) -> Io<S> {
        Io {
            stream,
            clocks,
            lingered_bytes: 0,
        }
    }

    fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        let blocked = match &result {
            Poll::Ready(_) => 0,
            Poll::Pending => match self.clocks.blocked_ms.load(Ordering::Relaxed) {
                0 => self.clocks.now_ms() + 1,
                since => since,
            },
        };
        self.clocks.blocked_ms.store(blocked, Ordering::Relaxed);
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let first = buffer.filled().len() > before;
        if first && self.clocks.phase.load(Ordering::Relaxed) == IDLE {
            self.clocks.enter(HEAD);
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Closing while unread bytes wait makes the system send a reset, which can overtake our
    /// answer. So where that is likely, the sending side closes first and the rest is thrown away.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.clocks.phase.load(Ordering::Relaxed) != LINGERING {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if !self.clocks.linger.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            self.clocks.enter(LINGERING);
        }
        let mut bin = [0_u8; 4096];
        while self.lingered_bytes < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut bin);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.lingered_bytes += buffer.filled().len() as u64;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn first_byte_starts_the_clock_of_the_head() {
        let limits = Limits {
            idle_timeout: Duration::from_secs(75),
            head_timeout: Duration::from_secs(10),
            ..Limits::default()
        };
        let clocks = Arc::new(Clocks::new());
        let (mut peer, ours) = tokio::io::duplex(64);
        let mut io = Io::new(ours, clocks.clone());
        let left = |clocks: &Clocks| {
            clocks
                .deadline(&limits, false)
                .map(|at| at.duration_since(Instant::now()).as_secs())
        };
        assert!(left(&clocks) > Some(70));
        peer.write_all(b"G").await.expect("the pipe is open");
        io.read_u8().await.expect("a byte came");
        assert!(left(&clocks) <= Some(10));
        clocks.serving();
        assert_eq!(left(&clocks), None);
        clocks.idle();
        assert!(left(&clocks) > Some(70));
    }

    #[tokio::test]
    async fn peer_that_takes_nothing_starts_the_clock_of_the_stall() {
        let limits = Limits {
            socket_stall_max: Duration::from_secs(60),
            ..Limits::default()
        };
        let clocks = Arc::new(Clocks::new());
        clocks.serving();
        let (_peer, ours) = tokio::io::duplex(4);
        let mut io = Io::new(ours, clocks.clone());
        io.write_all(b"four").await.expect("four fit");
        let more = tokio::time::timeout(Duration::from_millis(10), io.write_all(b"more"));
        assert!(more.await.is_err());
        let left = |stopping| {
            clocks
                .deadline(&limits, stopping)
                .map(|at| at - Instant::now())
        };
        assert!(left(false) > Some(Duration::from_secs(50)));
        assert!(
            left(true) <= Some(DRAIN_STALL_MAX),
            "a drain waits less long"
        );
    }
}
