//! HTTP/2: one session per origin and VU, its requests side by side on it.
//!
//! The session's own task moves frames; it runs on the VU's worker and ends with the last handle of
//! the session, or when the server is gone.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use hyper::http::{self, HeaderName, HeaderValue, StatusCode};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::connection::Connection;
use super::exchange::Broken;
use super::patient::Patient;
use super::tls::TlsFacts;
use super::{Answer, Body, Failure, Request};
use crate::load::metrics::Timings;

/// What a server may send ahead, as Go's client grants: 4 MiB a stream, 1 GiB a connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Largest answer head.
const HEADERS_BYTES_MAX: u32 = 1 << 20;

/// How long the end of a lost session is waited for.
const REASON_WAIT: Duration = Duration::from_millis(50);

/// Headers that belong to a connection of HTTP/1 (RFC 9113 §8.2.2) and those made here.
const NOT_FORWARDED: [&str; 7] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// A handle on a session. Cheap to clone.
#[derive(Clone)]
pub(super) struct Session {
    requests: SendRequest<Bytes>,
    remote: SocketAddr,
    tls: Option<Rc<TlsFacts>>,
    driver: Rc<Driver>,
    used: Rc<Cell<bool>>,
    reason: Reason,
    ended: Rc<Notify>,
}

/// Why the session as a whole has ended, where that is known.
pub(super) type Reason = Rc<RefCell<Option<Failure>>>;

/// Ends the session's task with its last handle.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Begins a session on a connection that has agreed on `h2`.
    pub(super) async fn begin(connection: Connection) -> Result<Session, Failure> {
        let (remote, tls) = (connection.remote, connection.tls.clone());
        let (stream, _) = connection.into_stream();
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADERS_BYTES_MAX);
        let reason = Reason::default();
        let stream = Patient::new(stream, reason.clone());
        let greeted = builder.handshake(stream).await;
        let (requests, driver) = greeted.map_err(|error| named(&error, &reason))?;
        let (known, ended) = (reason.clone(), Rc::new(Notify::new()));
        let over = ended.clone();
        let task = tokio::task::spawn_local(async move {
            // Its requests learn only that it has ended.
            if let Err(error) = driver.await
                && error.is_go_away()
            {
                *known.borrow_mut() = Some(Failure::http2(&error));
            }
            over.notify_waiters();
        });
        Ok(Session {
            requests,
            remote,
            tls,
            driver: Rc::new(Driver(task.abort_handle())),
            used: Rc::default(),
            reason,
            ended,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.driver.0.is_finished()
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// One request and its answer; sets `sending`, `waiting` and `receiving`.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        timings: &mut Timings,
    ) -> Result<Answer, Broken> {
        let reused = self.used.replace(true);
        let exchanged = self.try_exchange(request, timings).await;
        match exchanged {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => Err(Broken::finally(failure)),
            Err(error) => {
                if error.is_io() {
                    // The session's task may still be about to learn why.
                    let ended = self.ended.notified();
                    let _ = tokio::time::timeout(REASON_WAIT, ended).await;
                }
                let failure = named(&error, &self.reason);
                // A goodbye with a reason holds for whoever comes next, too.
                let is_final = (1610..1630).contains(&failure.code);
                Err(Broken {
                    stale: may_repeat(&error, reused, &request.method) && !is_final,
                    failure,
                })
            }
        }
    }

    /// The outer error is the session's.
    async fn try_exchange(
        &self,
        request: &Request,
        timings: &mut Timings,
    ) -> Result<Result<Answer, Failure>, h2::Error> {
        let (mut answer, mut incoming) = match self.try_open(request, timings).await? {
            Ok(opened) => opened,
            Err(failure) => return Ok(Err(failure)),
        };
        let first_byte = Instant::now();
        let body = receive(&mut incoming.download, request.take).await;
        timings.receiving = first_byte.elapsed();
        Ok(body?.map(|body| {
            answer.body = body;
            answer
        }))
    }

    /// Until the head of the answer has come.
    pub(super) async fn open(
        &self,
        request: &Request,
        timings: &mut Timings,
    ) -> Result<(Answer, Incoming), Broken> {
        match self.try_open(request, timings).await {
            Ok(opened) => opened.map_err(Broken::finally),
            Err(error) => Err(Broken::finally(named(&error, &self.reason))),
        }
    }

    async fn try_open(
        &self,
        request: &Request,
        timings: &mut Timings,
    ) -> Result<Result<(Answer, Incoming), Failure>, h2::Error> {
        let begun = Instant::now();
        let head = match head(request) {
            Ok(head) => head,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut requests = self.requests.clone().ready().await?;
        let ends = request.body.is_empty();
        let (mut response, mut upload) = requests.send_request(head, ends)?;
        let early = send_body(&mut upload, &request.body, &mut response).await?;
        timings.sending = begun.elapsed();
        let sent = Instant::now();
        let answered = match early {
            Some(answered) => answered,
            None => response.await?,
        };
        timings.waiting = sent.elapsed();
        let (parts, download) = answered.into_parts();
        let answer = Answer {
            status: parts.status.as_u16(),
            reason: reason(parts.status).to_owned(),
            headers: headers(&parts.headers),
            body: Vec::new(),
            proto: "HTTP/2.0",
            tls: self.tls.clone(),
        };
        let incoming = Incoming {
            download,
            session: self.clone(),
            _upload: upload,
        };
        Ok(Ok((answer, incoming)))
    }
}

/// The body of an answer that is still to come.
pub(super) struct Incoming {
    download: RecvStream,
    session: Session,
    /// Dropping it before its end would reset the stream.
    _upload: SendStream<Bytes>,
}

impl Incoming {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let download = &mut self.download;
        match poll_fn(|cx| download.poll_data(cx)).await {
            None => Ok(None),
            Some(Ok(piece)) => {
                // Failing to give room back means that the stream is over, as the next read says.
                let _ = download.flow_control().release_capacity(piece.len());
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(named(&error, &self.session.reason)),
        }
    }
}

/// A lost session is lost for all its requests; why, it has been told once.
fn named(error: &h2::Error, reason: &Reason) -> Failure {
    let known = reason.borrow();
    match &*known {
        Some(known) if error.is_io() => known.clone(),
        _ => Failure::http2(error),
    }
}

fn head(request: &Request) -> Result<http::Request<()>, Failure> {
    let address = &request.address;
    let invalid = |error: http::Error| Failure::invalid_url(error);
    let given_host = request
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let authority = match given_host {
        Some((_, host)) => host.as_str(),
        None => &address.authority,
    };
    let uri = http::Uri::builder()
        .scheme(address.url.scheme())
        .authority(authority)
        .path_and_query(address.target.as_str())
        .build()
        .map_err(invalid)?;
    let mut head = http::Request::builder()
        .method(&*request.method)
        .uri(uri)
        .version(http::Version::HTTP_2)
        .body(())
        .map_err(invalid)?;
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        if NOT_FORWARDED.contains(&name.as_str()) {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| invalid(e.into()))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|e| invalid(e.into()))?;
        head.headers_mut().append(name, value);
    }
    let has_body = matches!(&*request.method, "POST" | "PUT" | "PATCH") || !request.body.is_empty();
    if has_body {
        let length = HeaderValue::from(request.body.len());
        head.headers_mut()
            .insert(http::header::CONTENT_LENGTH, length);
    }
    Ok(head)
}

/// Sends the body as the server makes room for it. A server may answer before it has all: then the
/// answer is returned, and the rest is not sent.
async fn send_body(
    upload: &mut SendStream<Bytes>,
    body: &Bytes,
    response: &mut ResponseFuture,
) -> Result<Option<http::Response<RecvStream>>, h2::Error> {
    let mut left = body.clone();
    while !left.is_empty() {
        upload.reserve_capacity(left.len());
        let room = tokio::select! {
            biased;
            room = poll_fn(|cx| upload.poll_capacity(cx)) => room,
            answered = &mut *response => return answered.map(Some),
        };
        let room = match room {
            Some(room) => room?,
            // The stream is closed; the answer says why.
            None => return Ok(None),
        };
        let part = left.split_to(room.min(left.len()));
        upload.send_data(part, left.is_empty())?;
    }
    Ok(None)
}

async fn receive(
    download: &mut RecvStream,
    take: Body,
) -> Result<Result<Vec<u8>, Failure>, h2::Error> {
    let mut body = Vec::new();
    while let Some(part) = poll_fn(|cx| download.poll_data(cx)).await {
        let part = part?;
        // Failing to give room back means that the stream is over, which the next read says.
        let _ = download.flow_control().release_capacity(part.len());
        match take {
            Body::Discard => {}
            Body::Keep { bytes_max } if body.len() + part.len() > bytes_max => {
                return Ok(Err(Failure::body_too_large(bytes_max)));
            }
            Body::Keep { .. } => body.extend_from_slice(&part),
        }
    }
    Ok(Ok(body))
}

/// What the server has surely not worked on may be sent again on a new session (RFC 9113 §8.7).
fn may_repeat(error: &h2::Error, reused: bool, method: &str) -> bool {
    let refused = error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let said_goodbye =
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    let harmless = matches!(method, "GET" | "HEAD" | "OPTIONS");
    refused || said_goodbye || (reused && harmless && error.is_io())
}

fn headers(received: &http::HeaderMap) -> Vec<(String, String)> {
    received
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), value.into_owned())
        })
        .collect()
}

/// Go's word for a status, where it differs from the registry's of today.
fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        413 => "Request Entity Too Large",
        416 => "Requested Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or_default(),
    }
}
