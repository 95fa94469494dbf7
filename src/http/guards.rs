//! The guards of open mode: no web page may talk to a local relay.
//!
//! A browser sends the page's `Origin` (or at least `Sec-Fetch-Site`), and a rebound DNS name shows
//! in `Host`. Programs send neither and pass.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use crate::http::error::ApiError;

/// Whether a request may name any host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Loopback names and addresses.
    Loopback,
    /// `--open` was said.
    Any,
}

/// 403 for a foreign `Host`, `Origin` or `Sec-Fetch-Site`.
pub(super) fn check(headers: &HeaderMap, hosts: Hosts) -> Result<(), ApiError> {
    let host = text(headers.get(HOST));
    if hosts == Hosts::Loopback && !is_loopback(host) {
        return Err(ApiError::forbidden(format!(
            "host {host:?} is not a loopback name; an open relay answers others only with --open"
        )));
    }
    if headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site")
    {
        return Err(ApiError::forbidden(
            "requests of web pages from other sites are not answered",
        ));
    }
    match headers.get(ORIGIN) {
        Some(origin) if !is_own(text(Some(origin)), host) => Err(ApiError::forbidden(format!(
            "origin {:?} is not this server's own",
            text(Some(origin))
        ))),
        _ => Ok(()),
    }
}

fn text(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// An origin is scheme, host and port; the port that was asked stands in `Host`.
fn is_own(origin: &str, host: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_told_from_others() {
        for host in [
            "localhost",
            "LocalHost:80",
            "127.0.0.1:7071",
            "127.9.9.9",
            "[::1]:1",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil:80",
            "10.0.0.1",
            "[::2]:1",
            "0.0.0.0:80",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn own_origin_is_the_host_that_was_asked() {
        assert!(is_own("http://localhost:7071", "localhost:7071"));
        assert!(!is_own("http://localhost:3000", "localhost:7071"));
        assert!(!is_own("null", "localhost:7071"));
        assert!(!is_own("http://", ""));
    }
}
