//! One request as handlers see it: its row of the table, decoded parameter, query, headers and
//! request id; and its body, read under a limit and a deadline.

use std::borrow::Cow;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::http::error::ApiError;
use crate::http::table::Route;

/// A request that has passed the table and the guards. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Call(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    route: &'static Route,
    parameter: String,
    uri: Uri,
    headers: HeaderMap,
    request_id: RequestId,
}

impl Call {
    /// `parameter` is decoded already.
    pub(crate) fn new(
        route: &'static Route,
        parameter: String,
        uri: Uri,
        headers: HeaderMap,
        request_id: RequestId,
    ) -> Call {
        Call(Arc::new(Parts {
            route,
            parameter,
            uri,
            headers,
            request_id,
        }))
    }

    pub(crate) fn route(&self) -> &'static Route {
        self.0.route
    }

    /// The template's one parameter, decoded; "" where the template has none.
    pub(crate) fn parameter(&self) -> &str {
        &self.0.parameter
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query(self.0.uri.query().unwrap_or(""))
    }

    /// A header's value, if it is there and is plain ASCII.
    pub(crate) fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.0.headers.get(name.into())?.to_str().ok()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    pub(crate) fn request_id(&self) -> RequestId {
        self.0.request_id
    }
}

/// A path's parameter, percent-decoded once.
pub(crate) fn decoded(parameter: &str) -> Result<String, ApiError> {
    let decoded = percent_decode_str(parameter).decode_utf8();
    decoded
        .map(Cow::into_owned)
        .map_err(|_| ApiError::invalid_query("id", "the path is not UTF-8 once decoded"))
}

/// The raw query string of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'u>(&'u str);

impl<'u> Query<'u> {
    /// The decoded value of a parameter; of repeats the first. `None` if it is missing.
    pub(crate) fn get(&self, name: &'static str) -> Result<Option<Cow<'u, str>>, ApiError> {
        for pair in self.0.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !decode(key).is_ok_and(|key| key == name) {
                continue;
            }
            return decode(value)
                .map(Some)
                .map_err(|()| ApiError::invalid_query(name, format!("{name} is not UTF-8")));
        }
        Ok(None)
    }

    /// A whole number within `min..=max`.
    pub(crate) fn integer(
        &self,
        name: &'static str,
        min: i64,
        max: i64,
    ) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name)? else {
            return Ok(None);
        };
        match text.parse::<i64>() {
            Ok(value) if (min..=max).contains(&value) => Ok(Some(value)),
            _ if max == i64::MAX => Err(ApiError::invalid_query(
                name,
                format!("{name} is {text:?}; it must be a whole number from {min}"),
            )),
            _ => Err(ApiError::invalid_query(
                name,
                format!("{name} is {text:?}; it must be a whole number from {min} to {max}"),
            )),
        }
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, ()> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| ())?;
        return Ok(Cow::Owned(decoded.into_owned()));
    }
    percent_decode_str(text).decode_utf8().map_err(|_| ())
}

/// Names one request in errors and logs: the process's random start and a running number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId {
    process: u32,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.process, self.number)
    }
}

/// Hands out request ids.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> RequestIds {
        // The low half of a UUIDv7 is random.
        let random = uuid::Uuid::now_v7().as_u128() as u32;
        RequestIds {
            process: random,
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn next(&self) -> RequestId {
        RequestId {
            process: self.process,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Reads a whole body, chunked or not. The limit holds for the bytes really read; the deadline
/// for the whole body.
pub(crate) async fn read_body<S, B, E>(
    body: S,
    bytes_max: usize,
    deadline: Duration,
) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: std::error::Error + Send + Sync + 'static,
{
    let reading = collect(body, bytes_max);
    let mut reading = pin!(reading);
    // Nearly every body is there already: no timer for those.
    if let std::task::Poll::Ready(done) = futures_util::poll!(reading.as_mut()) {
        return done;
    }
    tokio::time::timeout(deadline, reading)
        .await
        .unwrap_or_else(|_| Err(ApiError::request_timeout(deadline.as_secs())))
}

async fn collect<S, B, E>(body: S, bytes_max: usize) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(part) = body.next().await {
        let mut part = part.map_err(|error| {
            ApiError::invalid_json("the body ended early", 1, 1).caused_by(error)
        })?;
        let read = rest.as_ref().map_or(first.len(), BytesMut::len);
        if part.remaining() > bytes_max - read {
            return Err(ApiError::body_too_large(bytes_max));
        }
        let part = part.copy_to_bytes(part.remaining());
        match &mut rest {
            Some(rest) => rest.extend_from_slice(&part),
            None if first.is_empty() => first = part,
            None => {
                let mut joined = BytesMut::with_capacity((first.len() + part.len()) * 2);
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&part);
                rest = Some(joined);
            }
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn parts(texts: &'static [&'static str]) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
        stream::iter(
            texts
                .iter()
                .map(|text| Ok(Bytes::from_static(text.as_bytes()))),
        )
    }

    #[tokio::test]
    async fn body_is_limited_by_what_is_really_read() {
        let second = Duration::from_secs(1);
        let body = read_body(parts(&["ab", "cd", "e"]), 5, second)
            .await
            .expect("five fit");
        assert_eq!(body, "abcde");
        let error = read_body(parts(&["ab", "cd", "ef"]), 5, second)
            .await
            .expect_err("six don't");
        assert_eq!(error.status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_body_is_a_request_timeout() {
        let never = parts(&["{"]).chain(stream::pending());
        let error = read_body(never, 5, Duration::from_secs(30))
            .await
            .expect_err("too slow");
        assert_eq!(error.status(), 408);
    }

    #[test]
    fn query_is_decoded_once() {
        let query = Query("user=a%252Fb&x=1+2&after=7&bad=%ff");
        let get = |name| query.get(name).expect("UTF-8").map(Cow::into_owned);
        assert_eq!(get("user").as_deref(), Some("a%2Fb"));
        assert_eq!(get("x").as_deref(), Some("1 2"));
        assert_eq!(get("missing"), None);
        assert_eq!(query.get("bad").expect_err("not UTF-8").status(), 400);
        assert_eq!(
            query.integer("after", 0, i64::MAX).expect("a number"),
            Some(7)
        );
        assert_eq!(
            query.integer("x", 0, 9).expect_err("no number").status(),
            400
        );
    }
}
