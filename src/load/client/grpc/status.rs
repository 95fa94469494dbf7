//! How calls end: gRPC's codes, their texts, and the details that servers attach.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::StatusCode;
use hyper::http::HeaderMap;
use percent_encoding::percent_decode;

/// A status code of gRPC, as numbered by the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

impl Code {
    pub(crate) const OK: Code = Code(0);
    pub(crate) const CANCELED: Code = Code(1);
    pub(crate) const UNKNOWN: Code = Code(2);
    pub(crate) const DEADLINE_EXCEEDED: Code = Code(4);
    pub(crate) const PERMISSION_DENIED: Code = Code(7);
    pub(crate) const RESOURCE_EXHAUSTED: Code = Code(8);
    pub(crate) const UNIMPLEMENTED: Code = Code(12);
    pub(crate) const INTERNAL: Code = Code(13);
    pub(crate) const UNAVAILABLE: Code = Code(14);
    pub(crate) const UNAUTHENTICATED: Code = Code(16);

    /// As Go prints it.
    fn name(self) -> String {
        const NAMES: [&str; 17] = [
            "OK",
            "Canceled",
            "Unknown",
            "InvalidArgument",
            "DeadlineExceeded",
            "NotFound",
            "AlreadyExists",
            "PermissionDenied",
            "ResourceExhausted",
            "FailedPrecondition",
            "Aborted",
            "OutOfRange",
            "Unimplemented",
            "Internal",
            "Unavailable",
            "DataLoss",
            "Unauthenticated",
        ];
        let known = NAMES.get(self.0 as usize);
        known.map_or_else(|| format!("Code({})", self.0), |name| (*name).to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// An encoded `google.rpc.Status`, where the server sent one.
    pub(crate) details: Vec<u8>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.name();
        write!(f, "rpc error: code = {code} desc = {}", self.message)
    }
}

impl Status {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Status {
        Status {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    pub(crate) fn ok() -> Status {
        Status::new(Code::OK, "")
    }

    pub(crate) fn unavailable(message: String) -> Status {
        Status::new(Code::UNAVAILABLE, message)
    }

    pub(crate) fn deadline_exceeded() -> Status {
        Status::new(Code::DEADLINE_EXCEEDED, "context deadline exceeded")
    }

    pub(super) fn of_trailers(trailers: &HeaderMap) -> Status {
        let code = trailers
            .get("grpc-status")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let Some(code) = code else {
            let text = "server closed the stream without sending trailers";
            return Status::new(Code::INTERNAL, text);
        };
        let message = trailers.get("grpc-message").map_or_else(String::new, |m| {
            percent_decode(m.as_bytes())
                .decode_utf8_lossy()
                .into_owned()
        });
        let details = trailers
            .get("grpc-status-details-bin")
            .and_then(|value| unpadded(value.as_bytes()))
            .unwrap_or_default();
        Status {
            code: Code(code),
            message,
            details,
        }
    }

    /// An answer that is not gRPC's (the protocol's table of HTTP statuses).
    pub(super) fn of_http(status: StatusCode) -> Status {
        let code = match status.as_u16() {
            400 => Code::INTERNAL,
            401 => Code::UNAUTHENTICATED,
            403 => Code::PERMISSION_DENIED,
            404 => Code::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Code::UNAVAILABLE,
            _ => Code::UNKNOWN,
        };
        let (number, reason) = (status.as_u16(), status.canonical_reason().unwrap_or(""));
        let text = format!("unexpected HTTP status code received from server: {number} ({reason})");
        Status::new(code, text)
    }
}

/// Base64 with or without padding: servers write both.
pub(super) fn unpadded(text: &[u8]) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config);
    engine.decode(text).ok()
}
