//! Answers that say yes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use warp::Reply;

pub(crate) use warp::reply::Response;

/// 200 with JSON text that the caller has written.
pub(crate) fn json_text(body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 200 with a wire struct as JSON.
pub(crate) fn json(body: &impl Serialize) -> Response {
    json_text(serde_json::to_vec(body).expect("wire structs have string keys and finite numbers"))
}

/// JSON under another status.
pub(crate) fn json_with_status(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = json(body);
    *response.status_mut() = status;
    response
}

/// 204.
pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 200 with any text.
pub(crate) fn text(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Server-sent events: `events` yields finished event text. Proxies must neither cache nor buffer.
pub(crate) fn event_stream<S>(events: S) -> Response
where
    S: Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
{
    let events = Shareable(Mutex::new(Box::pin(events)));
    let mut response = warp::reply::stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// warp wants a stream that is `Sync`, though only one task ever polls it.
struct Shareable<S>(Mutex<Pin<Box<S>>>);

impl<S: Stream> Stream for Shareable<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let events = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        events.as_mut().poll_next(context)
    }
}
