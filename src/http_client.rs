//! A small HTTP/1.1 client for the command line and the results reporter.
//!
//! A leaf. One [`Client`] keeps one idle connection and uses it again for the same origin; it is
//! not the load engine's client, which needs exact timings and thousands of connections. Runs on
//! any tokio runtime. Dropping a request future closes its connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use url::{Host, Position, Url};

/// Largest answer that [`Client::request`] reads, in bytes; a relay's pages end at 8 MiB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("'{url}' is not an http or https address")]
    Address { url: String },
    #[error("cannot connect to {origin}: {source}")]
    Connect { origin: String, source: io::Error },
    #[error("request to {origin} failed: {source}")]
    Exchange {
        origin: String,
        source: hyper::Error,
    },
    #[error("{origin} did not answer within {seconds} s")]
    Timeout { origin: String, seconds: f64 },
    #[error("the answer of {origin} is unreadable or larger than {ANSWER_BYTES_MAX} bytes")]
    Answer { origin: String },
}

impl Error {
    /// Whether nothing listens there: the caller may say what to start.
    pub fn is_connect(&self) -> bool {
        matches!(self, Error::Connect { .. })
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A request body with its media type.
#[derive(Clone, Debug)]
pub struct Payload {
    pub bytes: Bytes,
    pub content_type: &'static str,
}

impl Payload {
    pub fn json(bytes: impl Into<Bytes>) -> Payload {
        Payload {
            bytes: bytes.into(),
            content_type: "application/json",
        }
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

/// Keeps at most one idle connection. Concurrent requests open further ones.
#[derive(Debug)]
pub struct Client {
    idle: Mutex<Option<(String, Sender)>>,
    /// Sent with every request.
    headers: HeaderMap,
    /// Instead of the usual trust.
    tls: Option<Arc<ClientConfig>>,
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl Client {
    pub fn new() -> Client {
        Client {
            idle: Mutex::new(None),
            headers: HeaderMap::new(),
            tls: None,
        }
    }

    /// Sends `headers` with every request and speaks TLS by `tls` where given.
    pub fn with(headers: HeaderMap, tls: Option<Arc<ClientConfig>>) -> Client {
        Client {
            headers,
            tls,
            ..Client::new()
        }
    }

    /// Sends `Authorization: Bearer TOKEN` with every request. The token never shows in `Debug`.
    pub fn with_token(token: &str) -> Option<Client> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        Some(Client::with(headers, None))
    }

    /// One exchange; `timeout` covers connecting, sending and the whole answer.
    ///
    /// A kept connection that the server has closed meanwhile is replaced once, before anything of
    /// the request was processed; otherwise nothing is retried.
    ///
    /// # Errors
    /// See [`Error`]; any status code is an answer, not an error.
    pub async fn request(
        &self,
        method: Method,
        url: &Url,
        payload: Option<Payload>,
        timeout: Duration,
    ) -> Result<Response, Error> {
        self.request_with(HeaderMap::new(), method, url, payload, timeout)
            .await
    }

    /// The same with headers of this request alone.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_with(
        &self,
        headers: HeaderMap,
        method: Method,
        url: &Url,
        payload: Option<Payload>,
        timeout: Duration,
    ) -> Result<Response, Error> {
        let origin = origin(url)?;
        let exchange = async {
            let request = self.build(&origin, headers, method, url, payload)?;
            let (response, sender) = self.exchange(&origin, url, request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|_| Error::Answer {
                    origin: origin.clone(),
                })?
                .to_bytes();
            *self.idle.lock().await = Some((origin.clone(), sender));
            Ok(Response {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                origin: origin.clone(),
                seconds: timeout.as_secs_f64(),
            }),
        }
    }

    /// Opens an answer without an end (server-sent events). `timeout` covers the head only; the
    /// body is read with [`Stream::next`].
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn stream(&self, url: &Url, timeout: Duration) -> Result<Stream, Error> {
        let origin = origin(url)?;
        let request = self.build(&origin, HeaderMap::new(), Method::GET, url, None)?;
        let open = self.exchange(&origin, url, request);
        match tokio::time::timeout(timeout, open).await {
            Ok(Ok((response, sender))) => Ok(Stream {
                status: response.status(),
                body: response.into_body(),
                _connection: sender,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Timeout {
                origin,
                seconds: timeout.as_secs_f64(),
            }),
        }
    }

    async fn exchange(
        &self,
        origin: &str,
        url: &Url,
        request: Request<Full<Bytes>>,
    ) -> Result<(hyper::Response<Incoming>, Sender), Error> {
        let kept = match self.idle.lock().await.take() {
            Some((of, sender)) if of == origin && !sender.is_closed() => Some(sender),
            _ => None,
        };
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(response) => Ok((response, sender)),
                Err(mut failed) => match failed.take_message() {
                    // The server closed the kept connection before it read anything.
                    Some(request) => self.send_fresh(origin, url, request).await,
                    None => Err(Error::Exchange {
                        origin: origin.to_owned(),
                        source: failed.into_error(),
                    }),
                },
            }
        } else {
            self.send_fresh(origin, url, request).await
        }
    }

    async fn send_fresh(
        &self,
        origin: &str,
        url: &Url,
        request: Request<Full<Bytes>>,
    ) -> Result<(hyper::Response<Incoming>, Sender), Error> {
        let mut sender = connect(origin, url, self.tls.clone()).await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|source| Error::Exchange {
                origin: origin.to_owned(),
                source,
            })?;
        Ok((response, sender))
    }

    fn build(
        &self,
        origin: &str,
        own: HeaderMap,
        method: Method,
        url: &Url,
        payload: Option<Payload>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let mut request = Request::builder()
            .method(method)
            .uri(&url[Position::BeforePath..Position::AfterQuery])
            .header(header::HOST, host)
            .header(
                header::USER_AGENT,
                concat!("dchat/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in self.headers.iter().chain(&own) {
            request = request.header(name, value.clone());
        }
        let body = match payload {
            Some(payload) => {
                request = request.header(header::CONTENT_TYPE, payload.content_type);
                Full::new(payload.bytes)
            }
            None => Full::new(Bytes::new()),
        };
        request.body(body).map_err(|_| Error::Address {
            url: origin.to_owned(),
        })
    }
}

/// An answer that is still arriving.
#[derive(Debug)]
pub struct Stream {
    pub status: StatusCode,
    body: Incoming,
    _connection: Sender,
}

impl Stream {
    /// The next bytes, `None` at the end or when the connection broke. Cancellation safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(bytes);
                    }
                }
                Some(Err(_)) | None => return None,
            }
        }
    }
}

/// `scheme://host:port`, without credentials.
fn origin(url: &Url) -> Result<String, Error> {
    let known = matches!(url.scheme(), "http" | "https");
    match (known, url.host_str(), url.port_or_known_default()) {
        (true, Some(host), Some(port)) => Ok(format!("{}://{host}:{port}", url.scheme())),
        _ => Err(Error::Address {
            url: url.to_string(),
        }),
    }
}

async fn connect(origin: &str, url: &Url, tls: Option<Arc<ClientConfig>>) -> Result<Sender, Error> {
    let refused = |source| Error::Connect {
        origin: origin.to_owned(),
        source,
    };
    let port = url.port_or_known_default().unwrap_or_default();
    let connected = match url.host() {
        Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
        None => Err(io::Error::other("the address has no host")),
    };
    let stream = connected.map_err(refused)?;
    // A request is one write; waiting for more only delays it. Failing to set this costs speed only.
    let _ = stream.set_nodelay(true);
    if url.scheme() == "https" {
        let name = url.host_str().unwrap_or_default().to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| refused(io::Error::other("the name cannot stand in a certificate")))?;
        let connector = tls.map_or_else(tls_connector, TlsConnector::from);
        let stream = connector.connect(name, stream).await.map_err(refused)?;
        handshake(origin, stream).await
    } else {
        handshake(origin, stream).await
    }
}

async fn handshake<S>(origin: &str, stream: S) -> Result<Sender, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| Error::Exchange {
            origin: origin.to_owned(),
            source,
        })?;
    // Ends by itself when the sender is dropped; its errors reach the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// Trusts the machine's own anchors and, where it has none, Mozilla's.
fn tls_connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
