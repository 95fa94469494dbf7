//! One TCP or TLS connection with its read buffer, its bytes counted as they cross the socket.

use std::cell::{Cell, OnceCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
};
use url::Url;

use super::{Dns, Failure};
use crate::load::metrics::Timings;

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

/// TLS settings of a run; the trust anchors are read at the first https request.
#[derive(Debug)]
pub(crate) struct Tls {
    insecure: bool,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    /// `insecure`: any certificate will do (`insecureSkipTLSVerify`).
    pub(crate) fn new(insecure: bool) -> Tls {
        Tls {
            insecure,
            config: OnceCell::new(),
        }
    }

    fn connector(&self) -> TlsConnector {
        self.config
            .get_or_init(|| Arc::new(client_config(self.insecure)))
            .clone()
            .into()
    }
}

pub(super) struct Connection {
    stream: Stream,
    pub(super) remote: SocketAddr,
    pub(super) tls_version: Option<&'static str>,
    /// Received and not yet used.
    pub(super) buffer: BytesMut,
    /// It has served a request before.
    pub(super) reused: bool,
}

enum Stream {
    Plain(Counted),
    Tls(Box<TlsStream<Counted>>),
}

impl Connection {
    /// Resolves, connects and greets; sets `connecting` and `tls_handshaking`.
    pub(super) async fn open(
        url: &Url,
        dns: &Dns,
        tls: &Tls,
        meter: &Rc<Meter>,
        timings: &mut Timings,
    ) -> Result<Connection, Failure> {
        let host = url.host().ok_or_else(|| Failure::invalid_url("no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let remote = dns.resolve(host, port).await?;
        let begun = Instant::now();
        let stream = TcpStream::connect(remote)
            .await
            .map_err(|error| Failure::dial(&error))?;
        timings.connecting = begun.elapsed();
        // A request is one write; failing to set this costs speed only.
        let _ = stream.set_nodelay(true);
        let stream = Counted {
            stream,
            meter: meter.clone(),
        };
        let (stream, tls_version) = if url.scheme() == "https" {
            let begun = Instant::now();
            let name = ServerName::try_from(url.host_str().unwrap_or_default().to_owned())
                .map_err(Failure::invalid_url)?;
            let stream = tls
                .connector()
                .connect(name, stream)
                .await
                .map_err(|error| Failure::tls(&error))?;
            timings.tls_handshaking = begun.elapsed();
            let version = match stream.get_ref().1.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "tls1.2",
                _ => "tls1.3",
            };
            (Stream::Tls(Box::new(stream)), Some(version))
        } else {
            (Stream::Plain(stream), None)
        };
        Ok(Connection {
            stream,
            remote,
            tls_version,
            buffer: BytesMut::new(),
            reused: false,
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

/// A socket whose bytes are counted.
struct Counted {
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

/// Trusts the machine's own anchors and, where it has none, Mozilla's.
fn client_config(insecure: bool) -> ClientConfig {
    if insecure {
        return ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
    }
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Accepts every certificate: the script has asked for it with `insecureSkipTLSVerify`.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
