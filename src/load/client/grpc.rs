//! gRPC over HTTP/2 (the protocol of grpc.io, "gRPC over HTTP2"): calls, length-prefixed messages,
//! status in the trailers. Messages are bytes here; who knows their types is the module above.
//!
//! A channel is one connection; its driver is a task on the VU's worker that ends with the channel.

mod status;

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use tokio::task::AbortHandle;
use url::Url;

pub(crate) use self::status::{Code, Status};

use super::{Client, Failure, Tls};

/// Largest message received unless the script says otherwise, as in k6.
const RECEIVE_BYTES_MAX: usize = 4 << 20;
/// Window of a stream and of the connection: as large as a usual message.
const WINDOW_BYTES: u32 = 1 << 20;

/// Names and values that travel before or behind the messages; binary ones decoded.
pub(crate) type Metadata = Vec<(String, Vec<u8>)>;

/// How a channel is made.
pub(crate) struct Setting {
    /// `http` or `https`, host and port.
    pub(crate) url: Url,
    pub(crate) authority: Option<String>,
    pub(crate) user_agent: String,
    pub(crate) receive_bytes_max: Option<usize>,
    pub(crate) send_bytes_max: Option<usize>,
}

pub(crate) struct Channel {
    send: SendRequest<Bytes>,
    driver: AbortHandle,
    scheme: &'static str,
    authority: String,
    user_agent: String,
    receive_bytes_max: usize,
    send_bytes_max: usize,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One call; its path is `/package.Service/Method`.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) metadata: Metadata,
    pub(crate) timeout: Option<Duration>,
}

/// What a unary call came to.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    pub(crate) headers: Metadata,
    pub(crate) trailers: Metadata,
    pub(crate) message: Option<Bytes>,
}

impl Reply {
    fn failed(status: Status) -> Reply {
        Reply {
            status,
            headers: Metadata::new(),
            trailers: Metadata::new(),
            message: None,
        }
    }
}

impl Channel {
    /// Connects and greets. `tls`: instead of the run's own settings.
    pub(crate) async fn open(
        client: &Client,
        setting: Setting,
        tls: Option<Tls>,
    ) -> Result<Channel, Failure> {
        let stream = client.dial_http2(&setting.url, tls).await?;
        let handshake = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .enable_push(false)
            .handshake(stream)
            .await;
        let (send, connection) = handshake.map_err(|error| Failure::new(1000, words(&error)))?;
        let driver = tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a gRPC connection ended: {error}");
            }
        });
        let url = &setting.url;
        let own = &url[url::Position::BeforeHost..url::Position::AfterPort];
        Ok(Channel {
            send,
            driver: driver.abort_handle(),
            scheme: if url.scheme() == "https" {
                "https"
            } else {
                "http"
            },
            authority: setting.authority.unwrap_or_else(|| own.to_owned()),
            user_agent: setting.user_agent,
            receive_bytes_max: setting.receive_bytes_max.unwrap_or(RECEIVE_BYTES_MAX),
            send_bytes_max: setting.send_bytes_max.unwrap_or(i32::MAX as usize),
        })
    }

    /// One message there, one back.
    pub(crate) async fn unary(&self, call: &Call, message: Bytes) -> Reply {
        let work = self.unary_unlimited(call, message);
        match call.timeout {
            None => work.await,
            Some(limit) => match tokio::time::timeout(limit, work).await {
                Ok(reply) => reply,
                Err(_) => Reply::failed(Status::deadline_exceeded()),
            },
        }
    }

    async fn unary_unlimited(&self, call: &Call, message: Bytes) -> Reply {
        let (mut sender, mut receiver) = match self.begin(call).await {
            Ok(begun) => begun,
            Err(status) => return Reply::failed(status),
        };
        // A server may answer without having read: its status says more than our failed write.
        let sent = sender.send(message, End::Yes).await;
        if let Err(status) = sent.as_ref()
            && status.code == Code::RESOURCE_EXHAUSTED
        {
            return Reply::failed(status.clone());
        }
        let mut message = None;
        let status = loop {
            match receiver.next().await {
                Ok(Some(_)) if message.is_some() => {
                    break Status::new(
                        Code::INTERNAL,
                        "cardinality violation: received a second message",
                    );
                }
                Ok(Some(bytes)) => message = Some(bytes),
                Ok(None) if message.is_none() => {
                    break Status::new(
                        Code::INTERNAL,
                        "cardinality violation: received no response message from non-server-streaming RPC",
                    );
                }
                Ok(None) => break Status::ok(),
                Err(status) => break status,
            }
        };
        Reply {
            status,
            headers: receiver.headers,
            trailers: receiver.trailers,
            message,
        }
    }

    /// A call whose messages are sent and received one by one.
    pub(crate) async fn begin(&self, call: &Call) -> Result<(Sender, Receiver), Status> {
        let request = self.request(call)?;
        let ready = self.send.clone().ready().await;
        let mut send = ready.map_err(|error| Status::unavailable(words(&error)))?;
        let (response, stream) = send
            .send_request(request, false)
            .map_err(|error| Status::unavailable(words(&error)))?;
        let sender = Sender {
            stream,
            bytes_max: self.send_bytes_max,
        };
        let receiver = Receiver {
            state: State::Head(Box::pin(response)),
            buffer: BytesMut::new(),
            bytes_max: self.receive_bytes_max,
            headers: Metadata::new(),
            trailers: Metadata::new(),
        };
        Ok((sender, receiver))
    }

    fn request(&self, call: &Call) -> Result<Request<()>, Status> {
        let invalid = |what: &str| Status::new(Code::INTERNAL, format!("invalid {what}"));
        let mut request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("{}://{}{}", self.scheme, self.authority, call.path))
            .header("content-type", "application/grpc")
            .header("user-agent", &self.user_agent)
            .header("te", "trailers");
        if let Some(timeout) = call.timeout {
            request = request.header("grpc-timeout", timeout_text(timeout));
        }
        for (name, value) in &call.metadata {
            let key = HeaderName::try_from(name.to_ascii_lowercase())
                .map_err(|_| invalid(&format!("metadata key {name:?}")))?;
            let value = if key.as_str().ends_with("-bin") {
                HeaderValue::try_from(STANDARD_NO_PAD.encode(value))
            } else {
                HeaderValue::try_from(value.as_slice())
            };
            let value = value.map_err(|_| invalid(&format!("value of metadata key {name:?}")))?;
            request = request.header(key, value);
        }
        request.body(()).map_err(|_| invalid("method"))
    }
}

/// Whether a message is a call's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Yes,
    No,
}

pub(crate) struct Sender {
    stream: SendStream<Bytes>,
    bytes_max: usize,
}

impl Sender {
    /// Waits until the server has room for the message.
    pub(crate) async fn send(&mut self, message: Bytes, end: End) -> Result<(), Status> {
        if message.len() > self.bytes_max {
            let (size, most) = (message.len(), self.bytes_max);
            let text = format!("trying to send message larger than max ({size} vs. {most})");
            return Err(Status::new(Code::RESOURCE_EXHAUSTED, text));
        }
        let mut wire = BytesMut::with_capacity(message.len() + 5);
        wire.put_u8(0);
        wire.put_u32(message.len() as u32);
        wire.put(message);
        let mut wire = wire.freeze();
        let broken = |error: h2::Error| Status::unavailable(words(&error));
        while !wire.is_empty() {
            self.stream.reserve_capacity(wire.len());
            let room = match poll_fn(|cx| self.stream.poll_capacity(cx)).await {
                Some(room) => room.map_err(broken)?,
                None => return Err(Status::unavailable("the stream is closed".to_owned())),
            };
            let part = wire.split_to(room.min(wire.len()));
            let last = wire.is_empty() && end == End::Yes;
            self.stream.send_data(part, last).map_err(broken)?;
        }
        Ok(())
    }

    /// No more messages.
    pub(crate) fn finish(&mut self) {
        // The server may have ended the stream already.
        let _ = self.stream.send_data(Bytes::new(), true);
    }
}

enum State {
    Head(std::pin::Pin<Box<h2::client::ResponseFuture>>),
    Body(RecvStream),
    Over,
}

pub(crate) struct Receiver {
    state: State,
    buffer: BytesMut,
    bytes_max: usize,
    pub(crate) headers: Metadata,
    pub(crate) trailers: Metadata,
}

impl Receiver {
    /// The next message; `None` after the last of a call that went well.
    ///
    /// # Errors
    /// The call ended with this status.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if let State::Head(response) = &mut self.state {
            let response = response.await.map_err(|error| of_error(&error))?;
            self.state = State::Over;
            match self.head(response)? {
                Some(body) => self.state = State::Body(body),
                None => return Ok(None),
            }
        }
        loop {
            if let Some(message) = self.message()? {
                return Ok(Some(message));
            }
            let State::Body(body) = &mut self.state else {
                return Ok(None);
            };
            match body.data().await {
                Some(Ok(part)) => {
                    // The window is the library's to count; what came is taken at once.
                    let _ = body.flow_control().release_capacity(part.len());
                    self.buffer.extend_from_slice(&part);
                }
                Some(Err(error)) => return Err(of_error(&error)),
                None => {
                    let trailers = body.trailers().await.map_err(|error| of_error(&error))?;
                    self.state = State::Over;
                    let trailers = trailers.unwrap_or_default();
                    self.trailers = metadata(&trailers);
                    if !self.buffer.is_empty() {
                        return Err(Status::new(Code::INTERNAL, "unexpected EOF"));
                    }
                    return of_trailers(&trailers).map(|()| None);
                }
            }
        }
    }

    /// The body to read, or the end where the head says all.
    fn head(&mut self, response: Response<RecvStream>) -> Result<Option<RecvStream>, Status> {
        let (head, body) = response.into_parts();
        self.headers = metadata(&head.headers);
        if head.status != hyper::StatusCode::OK {
            return Err(Status::of_http(head.status));
        }
        let content = head.headers.get("content-type");
        let is_grpc =
            content.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if !is_grpc {
            let got = content.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            let got = got.unwrap_or_default();
            let text = format!(
                "unexpected HTTP status code received from server: 200 (OK); transport: received unexpected content-type {got:?}"
            );
            return Err(Status::new(Code::UNKNOWN, text));
        }
        if head.headers.contains_key("grpc-status") {
            self.trailers = std::mem::take(&mut self.headers);
            return of_trailers(&head.headers).map(|()| None);
        }
        Ok(Some(body))
    }

    fn message(&mut self) -> Result<Option<Bytes>, Status> {
        if self.buffer.len() < 5 {
            return Ok(None);
        }
        if self.buffer[0] != 0 {
            let text = "grpc: compressed flag set with identity or empty encoding";
            return Err(Status::new(Code::INTERNAL, text));
        }
        let size = (&self.buffer[1..5]).get_u32() as usize;
        if size > self.bytes_max {
            let most = self.bytes_max;
            let text = format!("grpc: received message larger than max ({size} vs. {most})");
            return Err(Status::new(Code::RESOURCE_EXHAUSTED, text));
        }
        if self.buffer.len() < 5 + size {
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }
}

fn of_trailers(trailers: &HeaderMap) -> Result<(), Status> {
    let status = Status::of_trailers(trailers);
    if status.code == Code::OK {
        Ok(())
    } else {
        Err(status)
    }
}

/// What a failed stream means (the protocol's table of HTTP/2 errors).
fn of_error(error: &h2::Error) -> Status {
    use h2::Reason;
    if let Some(reason) = error.reason().filter(|_| error.is_reset()) {
        let code = match reason {
            Reason::CANCEL => Code::CANCELED,
            Reason::REFUSED_STREAM => Code::UNAVAILABLE,
            Reason::ENHANCE_YOUR_CALM => Code::RESOURCE_EXHAUSTED,
            Reason::INADEQUATE_SECURITY => Code::PERMISSION_DENIED,
            _ => Code::INTERNAL,
        };
        let text = format!("stream terminated by RST_STREAM with error code: {reason:?}");
        return Status::new(code, text);
    }
    Status::unavailable(format!("error reading from server: {}", words(error)))
}

fn words(error: &h2::Error) -> String {
    match error.get_io().map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => "EOF".into(),
        Some(io::ErrorKind::ConnectionReset) => "connection reset by peer".into(),
        Some(io::ErrorKind::BrokenPipe) => "EOF".into(),
        _ => error.to_string(),
    }
}

/// Without what is the protocol's own.
fn metadata(headers: &HeaderMap) -> Metadata {
    let ours = [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "date",
    ];
    let kept = headers
        .iter()
        .filter(|(name, _)| !ours.contains(&name.as_str()));
    kept.map(|(name, value)| {
        let value = if name.as_str().ends_with("-bin") {
            status::unpadded(value.as_bytes()).unwrap_or_default()
        } else {
            value.as_bytes().to_vec()
        };
        (name.as_str().to_owned(), value)
    })
    .collect()
}

/// At most eight digits and a unit.
fn timeout_text(timeout: Duration) -> String {
    let micros = timeout.as_micros();
    if micros < 100_000_000 {
        format!("{}u", micros.max(1))
    } else {
        format!("{}m", timeout.as_millis().min(99_999_999))
    }
}
