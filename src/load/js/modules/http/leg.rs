//! One round trip of a chain of redirects: its address and headers, and where its answer leads.
//!
//! The rules are those of Go's client, which k6 is known for.

use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use url::Url;

use super::jars;
use super::perform::header;
use super::spec::{BodyType, Spec};
use crate::load::client::{Address, Answer, Body, Failure, Request, Reuse};
use crate::load::js::host::RunSide;

/// Headers that only the first host, and those below it, may see.
const SECRETS: [&str; 6] = [
    "authorization",
    "www-authenticate",
    "cookie",
    "cookie2",
    "proxy-authorization",
    "proxy-authenticate",
];

/// Headers about a body, gone with it.
const OF_BODY: [&str; 4] = [
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
];

#[derive(Clone)]
pub(super) struct Leg {
    pub(super) method: Rc<str>,
    /// `None`: there is nowhere to go.
    pub(super) address: Option<Rc<Address>>,
    with_body: bool,
    /// Still at the first host.
    with_secrets: bool,
    /// A `Host` of the script's is for the first address, and what it says relative to itself.
    with_host: bool,
    is_first: bool,
    referer: Option<String>,
}

impl Leg {
    pub(super) fn first(spec: &Spec, address: Rc<Address>) -> Leg {
        Leg {
            address: Some(address),
            ..Leg::nowhere(spec)
        }
    }

    /// For a request that can't be sent.
    pub(super) fn nowhere(spec: &Spec) -> Leg {
        Leg {
            method: spec.method.clone(),
            address: None,
            with_body: true,
            with_secrets: true,
            with_host: true,
            is_first: true,
            referer: None,
        }
    }

    /// Where the answer sends to, if anywhere.
    ///
    /// # Errors
    /// It says where, but not in a way that can be understood.
    pub(super) fn next(&self, answer: &Answer, spec: &Spec) -> Result<Option<Leg>, Failure> {
        if !matches!(answer.status, 301..=303 | 307 | 308) {
            return Ok(None);
        }
        let (Some(location), Some(from)) = (header(answer, "location"), &self.address) else {
            return Ok(None);
        };
        if location.is_empty() {
            return Ok(None);
        }
        let address = from.join(location)?;
        let keeps = matches!(answer.status, 307 | 308);
        let method = if keeps || matches!(&*self.method, "GET" | "HEAD") {
            self.method.clone()
        } else {
            "GET".into()
        };
        let first = spec.address.as_ref().unwrap_or(from);
        let is_relative = !location.contains("://") && !location.starts_with("//");
        Ok(Some(Leg {
            method,
            with_body: self.with_body && keeps,
            with_secrets: self.with_secrets && is_same_or_below(&address.url, &first.url),
            with_host: self.with_host && is_relative,
            is_first: false,
            referer: referer(from, &address),
            address: Some(Rc::new(address)),
        }))
    }

    /// The request of this leg. Its address is there unless the leg leads nowhere.
    pub(super) fn request(&self, spec: &Spec, run: &RunSide) -> Request {
        let address = self
            .address
            .clone()
            .expect("a leg that is sent has an address");
        let settings = &run.shared.settings;
        let mut headers = self.headers(spec);
        if !settings.user_agent.is_empty() && !given(&headers, "user-agent") {
            headers.push(("User-Agent".into(), settings.user_agent.to_string()));
        }
        if !address.url.username().is_empty() && !given(&headers, "authorization") {
            headers.push(("Authorization".into(), basic(&address.url)));
        }
        if let Some(referer) = self
            .referer
            .as_ref()
            .filter(|_| !given(&headers, "referer"))
        {
            headers.push(("Referer".into(), referer.clone()));
        }
        let jar = spec.jar.as_ref().unwrap_or(&run.jar).borrow();
        add_cookies(&mut headers, &jar, spec, &address.url);
        Request {
            method: self.method.clone(),
            address,
            headers,
            body: if self.with_body {
                spec.body.clone()
            } else {
                Bytes::new()
            },
            reuse: if settings.no_connection_reuse {
                Reuse::Close
            } else {
                Reuse::KeepAlive
            },
            take: match spec.body_type {
                BodyType::None => Body::Discard,
                // The script's copy has to fit into the VU's memory beside it.
                _ => Body::Keep {
                    bytes_max: settings.vm.memory_bytes_max / 2,
                },
            },
        }
    }

    fn headers(&self, spec: &Spec) -> Vec<(String, String)> {
        let mut headers = Vec::with_capacity(spec.headers.len() + 3);
        for (name, value) in &spec.headers {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            if is("content-length") {
                if self.is_first && value.parse() != Ok(spec.body.len()) {
                    warn_length(spec, value);
                }
                continue;
            }
            let withheld = !self.is_first
                && ((!self.with_body && OF_BODY.iter().any(|wanted| is(wanted)))
                    || (!self.with_secrets && SECRETS.iter().any(|wanted| is(wanted)))
                    || (!self.with_host && is("host"))
                    || is("cookie"));
            if !withheld {
                headers.push((name.clone(), value.clone()));
            }
        }
        headers
    }

    /// As `response.url` shows it.
    pub(super) fn address_text(&self, spec: &Spec) -> Arc<str> {
        match &self.address {
            Some(address) => address.text.clone(),
            None => spec.text.as_str().into(),
        }
    }

    /// As tags show it.
    pub(super) fn shown(&self, spec: &Spec) -> Arc<str> {
        match &self.address {
            Some(address) => address.shown.clone(),
            None => spec.text.as_str().into(),
        }
    }
}

fn given(headers: &[(String, String)], wanted: &str) -> bool {
    headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
}

fn warn_length(spec: &Spec, said: &str) {
    tracing::warn!(
        "The specified Content-Length header {said:?} in the {} request for {} doesn't match the \
         actual request body length of {}, so it will be ignored!",
        spec.method,
        spec.text,
        spec.body.len()
    );
}

/// After a header of the script's come its cookies for this request, then those of the jar.
fn add_cookies(
    headers: &mut Vec<(String, String)>,
    jar: &cookie_store::CookieStore,
    spec: &Spec,
    url: &Url,
) {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.extend([name, "=", value]);
    };
    for cookie in &spec.cookies {
        add(&cookie.name, &cookie.value);
    }
    for (name, value) in jars::pairs(jar, url) {
        let is_replaced = |cookie: &super::spec::OwnCookie| cookie.replace && cookie.name == name;
        if !spec.cookies.iter().any(is_replaced) {
            add(name, value);
        }
    }
    if text.is_empty() {
        return;
    }
    let known = headers
        .iter_mut()
        .find(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    match known {
        Some((_, value)) => value.extend(["; ", &text]),
        None => headers.push(("Cookie".into(), text)),
    }
}

fn is_same_or_below(host: &Url, first: &Url) -> bool {
    let (Some(host), Some(first)) = (host.host_str(), first.host_str()) else {
        return false;
    };
    let below = host
        .strip_suffix(first)
        .is_some_and(|rest| rest.ends_with('.'));
    host == first || (below && first.parse::<std::net::IpAddr>().is_err())
}

/// None from https to http, and never with credentials.
fn referer(from: &Address, to: &Address) -> Option<String> {
    if from.url.scheme() == "https" && to.url.scheme() == "http" {
        return None;
    }
    Some(from.without_credentials().text.to_string())
}

/// RFC 7617.
fn basic(url: &Url) -> String {
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    format!("Basic {}", STANDARD.encode(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_a_header() {
        let url = Url::parse("http://al%20ice:s3@h/x").expect("a URL");
        assert_eq!(basic(&url), "Basic YWwgaWNlOnMz");
    }

    #[test]
    fn secrets_go_to_the_first_host_and_those_below_it_only() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let first = url("http://example.com/");
        assert!(is_same_or_below(&url("https://example.com:99/"), &first));
        assert!(is_same_or_below(&url("http://api.example.com/"), &first));
        assert!(!is_same_or_below(&url("http://badexample.com/"), &first));
        assert!(!is_same_or_below(&first, &url("http://api.example.com/")));
    }
}
