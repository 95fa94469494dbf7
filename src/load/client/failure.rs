//! Why a request got no answer: k6's error codes and texts (K6 documentation, "Error codes").

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// A failed request: status 0, with these in `error_code` and `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) text: String,
    /// What the log and a thrown error say, where that is more than `text`.
    detail: Option<Box<str>>,
}

impl Failure {
    pub(crate) fn new(code: u16, text: impl Into<String>) -> Failure {
        Failure {
            code,
            text: text.into(),
            detail: None,
        }
    }

    fn detailed(self, detail: impl Into<Box<str>>) -> Failure {
        Failure {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The longer text, for people.
    pub(crate) fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.text)
    }

    pub(crate) fn timeout() -> Failure {
        Failure::new(1050, "request timeout")
    }

    pub(crate) fn invalid_url(reason: impl std::fmt::Display) -> Failure {
        Failure::new(1020, format!("invalid URL: {reason}"))
    }

    /// A name without addresses.
    pub(crate) fn lookup(name: &str) -> Failure {
        let detail = format!("lookup {name}: no such host");
        Failure::new(1101, "lookup: no such host").detailed(detail)
    }

    /// The resolver's word tells a missing name from one that can't be looked up now.
    pub(crate) fn lookup_error(name: &str, error: &io::Error) -> Failure {
        let text = error.to_string();
        if text.to_ascii_lowercase().contains("temporary failure") {
            let text = format!("lookup {name}: temporary failure in name resolution");
            return Failure::new(1100, text);
        }
        Failure::lookup(name)
    }

    pub(crate) fn blacklisted(ip: IpAddr, range: &IpNet) -> Failure {
        let detail = format!("IP ({ip}) is in a blacklisted range ({range})");
        Failure::new(1110, "ip is blacklisted").detailed(detail)
    }

    pub(crate) fn blocked_host(name: &str, pattern: &str) -> Failure {
        let detail = format!("hostname ({name}) is in a blocked pattern ({pattern})");
        Failure::new(1111, "hostname is blocked").detailed(detail)
    }

    pub(crate) fn dial(remote: SocketAddr, error: &io::Error) -> Failure {
        let (code, text, said) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                1212,
                "dial: connection refused".to_owned(),
                "connection refused".to_owned(),
            ),
            io::ErrorKind::TimedOut => return Failure::dial_timeout(remote),
            io::ErrorKind::ConnectionReset => (
                1220,
                "dial: connection reset by peer".to_owned(),
                "connection reset by peer".to_owned(),
            ),
            _ => {
                // Rust adds the number: "Network is unreachable (os error 101)".
                let said = error.to_string().to_ascii_lowercase();
                let said = said
                    .split(" (os error")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                match error.raw_os_error() {
                    Some(number) => (
                        1213,
                        format!("dial: unknown errno {number} error with msg `{said}`"),
                        said,
                    ),
                    None => (1210, format!("dial tcp {remote}: {said}"), said),
                }
            }
        };
        let detail = format!("dial tcp {remote}: connect: {said}");
        Failure::new(code, text).detailed(detail)
    }

    pub(crate) fn dial_timeout(remote: SocketAddr) -> Failure {
        let detail = format!("dial tcp {remote}: i/o timeout");
        Failure::new(1211, "dial: i/o timeout").detailed(detail)
    }

    /// A handshake that did not come to its end.
    pub(crate) fn tls(error: &io::Error) -> Failure {
        let Some(inner) = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>())
        else {
            return Failure::exchange(error);
        };
        let unverified = |said: &str| format!("tls: failed to verify certificate: {said}");
        match inner {
            rustls::Error::InvalidCertificate(why) => match why {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    let text = "x509: certificate doesn't match hostname";
                    Failure::new(1311, text).detailed(unverified(text))
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    let text = "x509: certificate has expired or is not yet valid";
                    Failure::new(1000, text).detailed(unverified(text))
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    let text = "x509: certificate has expired or is not yet valid";
                    Failure::new(1000, text).detailed(unverified(text))
                }
                // A certificate that signed itself is one of an authority that nobody knows.
                CertificateError::UnknownIssuer | CertificateError::Other(_) => {
                    let said = "x509: certificate signed by unknown authority";
                    Failure::new(1310, "x509: unknown authority").detailed(unverified(said))
                }
                other => Failure::new(1300, format!("x509: {other}")),
            },
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                let text = "tls: first record does not look like a TLS handshake";
                Failure::new(1301, text)
            }
            rustls::Error::AlertReceived(alert) => {
                let text = format!("remote error: tls: {}", alert_name(*alert));
                Failure::new(1010, text)
            }
            other => Failure::new(1300, format!("tls: {other}")),
        }
    }

    pub(crate) fn exchange(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(1201, "write: broken pipe"),
            io::ErrorKind::ConnectionReset => Failure::new(1220, "read: connection reset by peer"),
            io::ErrorKind::UnexpectedEof => Failure::new(1000, "EOF"),
            _ => match error
                .get_ref()
                .and_then(|e| e.downcast_ref::<rustls::Error>())
            {
                Some(rustls::Error::AlertReceived(_)) => Failure::tls(error),
                Some(inner) => Failure::new(1300, format!("tls: {inner}")),
                None => match error.raw_os_error() {
                    Some(number) => {
                        let system = std::env::consts::OS;
                        let text = format!(
                            "read: unknown errno `{number}` on {system} with message `{error}`"
                        );
                        Failure::new(1202, text)
                    }
                    None => Failure::new(1000, error.to_string()),
                },
            },
        }
    }

    /// The answer broke off after its first byte.
    pub(crate) fn cut_off(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::new(1000, "unexpected EOF"),
            _ => Failure::exchange(error),
        }
    }

    pub(crate) fn malformed(what: &str) -> Failure {
        Failure::new(1000, what)
    }

    pub(crate) fn decompression(reason: impl std::fmt::Display) -> Failure {
        let text = format!("error decompressing response body ({reason})");
        Failure::new(1701, text)
    }

    pub(crate) fn body_too_large(bytes_max: usize) -> Failure {
        let mebibytes = bytes_max >> 20;
        let text = format!("the response body is larger than {mebibytes} MiB");
        let hint = "hint: responseType 'none' takes any, --vu-memory-max raises the limit";
        let detail = format!("{text}; {hint}");
        Failure::new(1000, text).detailed(detail)
    }

    pub(crate) fn http2(error: &h2::Error) -> Failure {
        if let Some(error) = error.get_io() {
            // What the library calls a broken pipe is the end of what the server says.
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Failure::cut_off(&io::ErrorKind::UnexpectedEof.into());
            }
            return Failure::cut_off(error);
        }
        let Some(reason) = error.reason() else {
            return Failure::new(1000, error.to_string());
        };
        let number = u32::from(reason);
        let offset = u16::try_from(number).ok().filter(|code| *code <= 13);
        let offset = offset.map_or(0, |code| code + 1);
        let name = http2_name(number);
        match (error.is_go_away(), error.is_remote()) {
            (true, true) => Failure::new(
                1610 + offset,
                format!("http2: received GoAway with http2 ErrCode {name}"),
            ),
            (true, false) => Failure::new(
                1650 + offset,
                format!("http2: connection error with http2 ErrCode {name}"),
            ),
            _ => Failure::new(
                1630 + offset,
                format!("http2: stream error with http2 ErrCode {name}"),
            ),
        }
    }
}

/// RFC 9113 §7.
fn http2_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    match NAMES.get(code as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("unknown error code 0x{code:x}"),
    }
}

/// Alerts in the words of Go's TLS, which scripts may compare.
fn alert_name(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CloseNotify => "close notify",
        AlertDescription::UnexpectedMessage => "unexpected message",
        AlertDescription::BadRecordMac => "bad record MAC",
        AlertDescription::RecordOverflow => "record overflow",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::IllegalParameter => "illegal parameter",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::DecodeError => "error decoding message",
        AlertDescription::DecryptError => "error decrypting message",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InsufficientSecurity => "insufficient security level",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UserCanceled => "user canceled",
        AlertDescription::NoRenegotiation => "no renegotiation",
        AlertDescription::MissingExtension => "missing extension",
        AlertDescription::UnsupportedExtension => "unsupported extension",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        _ => "unknown alert",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts_are_k6s() {
        let remote: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        let refused = Failure::dial(remote, &io::ErrorKind::ConnectionRefused.into());
        assert_eq!(
            (refused.code, &*refused.text),
            (1212, "dial: connection refused")
        );
        assert_eq!(
            refused.detail(),
            "dial tcp 127.0.0.1:9: connect: connection refused"
        );
        let unreachable = Failure::dial(remote, &io::Error::from_raw_os_error(101));
        assert_eq!(unreachable.code, 1213);
        assert_eq!(http2_name(11), "ENHANCE_YOUR_CALM");
        assert_eq!(http2_name(0x7f), "unknown error code 0x7f");
    }

    #[test]
    fn tls_failures_are_told_apart() {
        let tls = |error: rustls::Error| {
            Failure::tls(&io::Error::new(io::ErrorKind::InvalidData, error)).code
        };
        let certificate = |why| tls(rustls::Error::InvalidCertificate(why));
        assert_eq!(certificate(CertificateError::UnknownIssuer), 1310);
        assert_eq!(certificate(CertificateError::NotValidForName), 1311);
        assert_eq!(certificate(CertificateError::Expired), 1000);
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        assert_eq!(tls(alert), 1010);
    }
}
