//! Why a request got no answer: k6's error codes and texts (K6 documentation, "Error codes").

use std::io;

/// A failed request: status 0, with these in `error_code` and `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: u16, text: impl Into<String>) -> Failure {
        Failure {
            code,
            text: text.into(),
        }
    }

    pub(crate) fn timeout() -> Failure {
        Failure::new(1050, "request timeout")
    }

    pub(crate) fn invalid_url(reason: impl std::fmt::Display) -> Failure {
        Failure::new(1020, format!("invalid URL: {reason}"))
    }

    pub(crate) fn lookup() -> Failure {
        Failure::new(1101, "lookup: no such host")
    }

    pub(crate) fn dial(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::new(1212, "dial: connection refused"),
            io::ErrorKind::TimedOut => Failure::new(1211, "dial: i/o timeout"),
            _ => Failure::new(1210, format!("dial: {error}")),
        }
    }

    pub(crate) fn tls(error: &io::Error) -> Failure {
        let text = error.to_string();
        if text.contains("UnknownIssuer") {
            Failure::new(1310, "x509: unknown certificate authority")
        } else if text.contains("NotValidForName") {
            Failure::new(1311, "x509: certificate doesn't match hostname")
        } else {
            Failure::new(1300, format!("tls: {text}"))
        }
    }

    pub(crate) fn exchange(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(1201, "write: broken pipe"),
            io::ErrorKind::ConnectionReset => Failure::new(1220, "read: connection reset by peer"),
            io::ErrorKind::UnexpectedEof => Failure::new(1000, "EOF"),
            _ => Failure::new(1000, error.to_string()),
        }
    }

    pub(crate) fn malformed(what: &str) -> Failure {
        Failure::new(1000, format!("malformed HTTP response: {what}"))
    }
}
