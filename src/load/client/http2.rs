//! HTTP/2: one session per origin and VU, its requests side by side on it.
//!
//! The session's own task moves frames; it runs on the VU's worker and ends with the last handle of
//! the session, or when the server is gone.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use hyper::http::{self, HeaderName, HeaderValue, StatusCode};
use tokio::task::AbortHandle;

use super::connection::Connection;
use super::exchange::Broken;
use super::tls::TlsFacts;
use super::{Answer, Body, Failure, Request};
use crate::load::metrics::Timings;

/// What a server may send ahead, as Go's client grants: 4 MiB a stream, 1 GiB a connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Largest answer head.
const HEADERS_BYTES_MAX: u32 = 1 << 20;

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
}

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
        let greeted = builder.handshake(stream).await;
        let (requests, driver) = greeted.map_err(|error| Failure::http2(&error))?;
        let task = tokio::task::spawn_local(async move {
            // Its end is seen by the requests on it.
            let _ = driver.await;
        });
        Ok(Session {
            requests,
            remote,
            tls,
            driver: Rc::new(Driver(task.abort_handle())),
            used: Rc::default(),
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
        let begun = Instant::now();
        let broken = |error: h2::Error| Broken {
            stale: may_repeat(&error, reused),
            failure: Failure::http2(&error),
        };
        let head = head(request).map_err(Broken::finally)?;
        let mut requests = self.requests.clone().ready().await.map_err(broken)?;
        let ends = request.body.is_empty();
        let (mut response, mut upload) = requests.send_request(head, ends).map_err(broken)?;
        let early = send_body(&mut upload, &request.body, &mut response).await;
        let early = early.map_err(broken)?;
        timings.sending = begun.elapsed();
        let sent = Instant::now();
        let answered = match early {
            Some(answered) => answered,
            None => response.await.map_err(broken)?,
        };
        timings.waiting = sent.elapsed();
        let first_byte = Instant::now();
        let (parts, mut download) = answered.into_parts();
        let body = receive(&mut download, request.take).await;
        timings.receiving = first_byte.elapsed();
        // An upload that the answer came before ends here.
        drop(upload);
        Ok(Answer {
            status: parts.status.as_u16(),
            reason: reason(parts.status).to_owned(),
            headers: headers(&parts.headers),
            body: body.map_err(Broken::finally)?,
            proto: "HTTP/2.0",
            tls: self.tls.clone(),
        })
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

async fn receive(download: &mut RecvStream, take: Body) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(part) = poll_fn(|cx| download.poll_data(cx)).await {
        let part = part.map_err(|error| Failure::http2(&error))?;
        // Failing to give room back means that the stream is over, which the next read says.
        let _ = download.flow_control().release_capacity(part.len());
        match take {
            Body::Discard => {}
            Body::Keep { bytes_max } if body.len() + part.len() > bytes_max => {
                return Err(Failure::body_too_large(bytes_max));
            }
            Body::Keep { .. } => body.extend_from_slice(&part),
        }
    }
    Ok(body)
}

/// What the server has surely not worked on may be sent again on a new session (RFC 9113 §8.7).
fn may_repeat(error: &h2::Error, reused: bool) -> bool {
    let refused = error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    let said_goodbye =
        error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    refused || said_goodbye || (reused && error.is_io())
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
