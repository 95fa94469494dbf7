//! Every answer that refuses: status, stable code, text for the client, and a source that is
//! logged, not sent. Domain failures are ordinary replies; a warp rejection only ever means "this
//! route does not match".

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use hyper::StatusCode;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};

use crate::http::call::RequestId;
use crate::http::json;
use crate::http::reply::Response;

type Source = Box<dyn StdError + Send + Sync>;

/// A refused request. Build it with the constructors below: they keep status and code together.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    allow: Option<String>,
    retry_after: Option<u32>,
    close: bool,
    unanswered: bool,
    source: Option<Source>,
}

/// Marks a response that must not be sent: the connection is closed instead, because nobody knows
/// whether the commit it waited for is on the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unanswered;

impl ApiError {
    fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError {
            status: StatusCode::from_u16(status).expect("our own statuses are valid"),
            code,
            message: message.into(),
            field: None,
            allow: None,
            retry_after: None,
            close: false,
            unanswered: false,
            source: None,
        }
    }

    /// Not JSON, with the place. Line and column count from 1.
    pub(crate) fn invalid_json(reason: impl fmt::Display, line: usize, column: usize) -> ApiError {
        ApiError::new(
            400,
            "INVALID_JSON",
            format!("{reason} at line {line} column {column}"),
        )
    }

    /// A `serde_json` failure; those of syntax carry their place.
    pub(crate) fn from_json(error: &serde_json::Error) -> ApiError {
        let text = error.to_string();
        let reason = text
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned();
        ApiError::invalid_json(reason, error.line(), error.column())
    }

    pub(crate) fn invalid_message(
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> ApiError {
        ApiError::new(400, "INVALID_MESSAGE", message).field(field)
    }

    pub(crate) fn invalid_query(
        parameter: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> ApiError {
        ApiError::new(400, "INVALID_QUERY", message).field(parameter)
    }

    pub(crate) fn invalid_run(
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> ApiError {
        ApiError::new(400, "INVALID_RUN", message).field(field)
    }

    /// 403 of the open mode's guards.
    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(403, "FORBIDDEN", message)
    }

    pub(crate) fn not_found(path: &str) -> ApiError {
        ApiError::new(404, "NOT_FOUND", format!("no such route: {path}"))
    }

    pub(crate) fn message_not_found(id: &str) -> ApiError {
        ApiError::new(
            404,
            "MESSAGE_NOT_FOUND",
            format!("no message has the id {id:?}"),
        )
    }

    pub(crate) fn run_not_found(id: &str) -> ApiError {
        ApiError::new(404, "RUN_NOT_FOUND", format!("no run has the id {id:?}"))
    }

    pub(crate) fn method_not_allowed(method: &str, allow: String) -> ApiError {
        let mut error = ApiError::new(
            405,
            "METHOD_NOT_ALLOWED",
            format!("{method} is not allowed here; allowed: {allow}"),
        );
        error.allow = Some(allow);
        error
    }

    /// A body that came too slowly. The connection closes: the rest of the body is not wanted.
    pub(crate) fn request_timeout(seconds: u64) -> ApiError {
        let message = format!("the body took longer than {seconds} s");
        ApiError::new(408, "REQUEST_TIMEOUT", message).closing()
    }

    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(409, "CONFLICT", message)
    }

    pub(crate) fn too_large(what: &str, bytes: usize, limit: usize) -> ApiError {
        ApiError::new(
            413,
            "TOO_LARGE",
            format!("{what} is {bytes} bytes; the limit is {limit}"),
        )
    }

    /// A body over its limit. How much more would have come is not known.
    pub(crate) fn body_too_large(limit: usize) -> ApiError {
        let message = format!("the body is larger than the limit of {limit} bytes");
        ApiError::new(413, "TOO_LARGE", message).closing()
    }

    pub(crate) fn unsupported_media_type(given: &str) -> ApiError {
        let message = format!("content type {given:?} is not accepted; send application/json");
        ApiError::new(415, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    pub(crate) fn headers_too_large(limit: usize) -> ApiError {
        let message = format!("the request head is larger than the limit of {limit} bytes");
        ApiError::new(431, "HEADERS_TOO_LARGE", message).closing()
    }

    pub(crate) fn starting() -> ApiError {
        ApiError::new(503, "STARTING", "the relay is opening its storage").retry_after(1)
    }

    pub(crate) fn draining() -> ApiError {
        ApiError::new(503, "DRAINING", "the relay is stopping")
            .retry_after(5)
            .closing()
    }

    pub(crate) fn overloaded(what: impl fmt::Display) -> ApiError {
        ApiError::new(503, "OVERLOADED", format!("{what}; nothing was stored")).retry_after(1)
    }

    pub(crate) fn storage_unavailable(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(503, "STORAGE_UNAVAILABLE", message).retry_after(5)
    }

    pub(crate) fn storage_full(what: impl fmt::Display) -> ApiError {
        ApiError::new(507, "STORAGE_FULL", format!("{what}; nothing was stored"))
    }

    /// A failed sync: no answer at all, the connection closes.
    pub(crate) fn outcome_unknown() -> ApiError {
        let mut error =
            ApiError::new(500, "OUTCOME_UNKNOWN", "the sync of a commit failed").closing();
        error.unanswered = true;
        error
    }

    pub(crate) fn field(mut self, field: impl Into<Cow<'static, str>>) -> ApiError {
        self.field = Some(field.into());
        self
    }

    /// Puts `prefix` before the field, or names `prefix` itself: `messages[17]` and `content`
    /// become `messages[17].content`.
    pub(crate) fn inside(mut self, prefix: &str) -> ApiError {
        self.field = Some(match self.field {
            Some(field) => format!("{prefix}.{field}").into(),
            None => prefix.to_owned().into(),
        });
        self
    }

    /// What went wrong inside, for the log.
    pub(crate) fn caused_by(mut self, source: impl Into<Source>) -> ApiError {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// Refused because something is at its limit that will have room again soon.
    pub(crate) fn is_overload(&self) -> bool {
        self.code == "OVERLOADED"
    }

    fn retry_after(mut self, seconds: u32) -> ApiError {
        self.retry_after = Some(seconds);
        self
    }

    fn closing(mut self) -> ApiError {
        self.close = true;
        self
    }

    /// The keys of the error body, without the outer braces: WebSocket frames put a `type` before.
    pub(crate) fn write_fields(&self, out: &mut Vec<u8>, request_id: &RequestId) {
        out.extend_from_slice(b"\"error\":\"");
        out.extend_from_slice(self.code.as_bytes());
        out.extend_from_slice(b"\",\"message\":");
        json::string(out, &self.message);
        out.extend_from_slice(b",\"code\":");
        json::integer(out, i64::from(self.status.as_u16()));
        if let Some(field) = &self.field {
            out.extend_from_slice(b",\"field\":");
            json::string(out, field);
        }
        out.extend_from_slice(b",\"request_id\":");
        json::string(out, &request_id.to_string());
    }

    /// The answer; logs the cause once, with the request id that the client sees.
    pub(crate) fn into_response(self, request_id: &RequestId) -> Response {
        if let Some(source) = &self.source {
            let status = self.status.as_u16();
            tracing::error!(%request_id, status, code = self.code, cause = %Chain(source.as_ref()), "request failed");
        } else {
            tracing::debug!(%request_id, status = self.status.as_u16(), code = self.code, reason = %self.message, "request refused");
        }
        let mut body = Vec::with_capacity(192);
        body.push(b'{');
        self.write_fields(&mut body, request_id);
        body.push(b'}');
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.allow {
            let allow = HeaderValue::try_from(allow).expect("method names are header text");
            headers.insert(ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.unanswered {
            response.extensions_mut().insert(Unanswered);
        }
        response
    }
}

/// An error with its sources on one line.
struct Chain<'a>(&'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}
