//! One TCP or TLS connection with its read buffer, its bytes counted as they cross the socket.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use url::Url;

use super::tls::{Alpn, TlsFacts};
use super::{Dns, Failure, Tls};
use crate::load::metrics::Timings;

/// What connections are made with.
pub(super) struct Network {
    pub(super) dns: Rc<Dns>,
    pub(super) tls: Rc<Tls>,
    pub(super) meter: Rc<Meter>,
    /// Where they go out from (`localIPs`).
    pub(super) local_ip: Option<IpAddr>,
}

/// Bytes of a VU on the wire, headers and TLS included.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: Cell<u64>,
    received: Cell<u64>,
}

impl Meter {
    /// Sent and received since the last call.
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.sent.take(), self.received.take())
    }
}

pub(crate) struct Connection {
    stream: Stream,
    pub(super) remote: SocketAddr,
    pub(super) tls: Option<Rc<TlsFacts>>,
    /// The server has chosen HTTP/2.
    pub(super) is_http2: bool,
    /// Received and not yet used.
    pub(super) buffer: BytesMut,
    /// It has served a request before.
    pub(super) reused: bool,
}

/// Socket or TLS session, for protocols that read and write it themselves.
pub(crate) enum Stream {
    Plain(Counted),
    Tls(Box<TlsStream<Counted>>),
}

impl Connection {
    /// Resolves, connects and greets; sets `connecting` and `tls_handshaking`.
    pub(super) async fn open(
        url: &Url,
        alpn: Alpn,
        network: &Network,
        timings: &mut Timings,
    ) -> Result<Connection, Failure> {
        let host = url.host().ok_or_else(|| Failure::invalid_url("no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let remote = network.dns.resolve(host, port).await?;
        let begun = Instant::now();
        let stream = dial(remote, network.local_ip).await?;
        timings.connecting = begun.elapsed();
        // A request is one write; failing to set this costs speed only.
        let _ = stream.set_nodelay(true);
        let stream = Counted {
            stream,
            meter: network.meter.clone(),
        };
        let mut connection = Connection {
            stream: Stream::Plain(stream),
            remote,
            tls: None,
            is_http2: false,
            buffer: BytesMut::new(),
            reused: false,
        };
        if url.scheme() == "https" {
            let begun = Instant::now();
            connection = connection.greet(url, alpn, &network.tls).await?;
            timings.tls_handshaking = begun.elapsed();
        }
        Ok(connection)
    }

    async fn greet(self, url: &Url, alpn: Alpn, tls: &Tls) -> Result<Connection, Failure> {
        let Stream::Plain(stream) = self.stream else {
            return Ok(self);
        };
        let host = url.host_str().unwrap_or_default();
        let stream = tls.greet(host, alpn, stream).await?;
        Ok(Connection {
            tls: Some(tls.facts(&stream)),
            is_http2: stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            stream: Stream::Tls(Box::new(stream)),
            ..self
        })
    }

    /// Whether an idle connection is still open and has nothing unasked-for to say.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        self.buffer.is_empty()
            && Pin::new(&mut self.stream)
                .poll_read(&mut context, &mut buffer)
                .is_pending()
    }

    /// Out of the client's hands: the stream, and what has been received and not yet used.
    pub(super) fn into_stream(self) -> (Stream, BytesMut) {
        (self.stream, self.buffer)
    }

    pub(super) fn io(&mut self) -> (&mut (impl AsyncRead + AsyncWrite + Unpin), &mut BytesMut) {
        (&mut self.stream, &mut self.buffer)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// k6's limit for establishing a TCP connection.
const DIAL_MAX: Duration = Duration::from_secs(30);

async fn dial(remote: SocketAddr, local: Option<IpAddr>) -> Result<TcpStream, Failure> {
    let connecting = async {
        let Some(local) = local else {
            return TcpStream::connect(remote).await;
        };
        let socket = if remote.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind((local, 0).into())?;
        socket.connect(remote).await
    };
    match tokio::time::timeout(DIAL_MAX, connecting).await {
        Ok(connected) => connected.map_err(|error| Failure::dial(remote, &error)),
        Err(_) => Err(Failure::dial_timeout(remote)),
    }
}

/// A socket whose bytes are counted.
pub(crate) struct Counted {
    stream: TcpStream,
    meter: Rc<Meter>,
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        let received = &this.meter.received;
        received.set(received.get() + count as u64);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            let sent = &this.meter.sent;
            sent.set(sent.get() + count as u64);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
