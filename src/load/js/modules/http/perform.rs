//! A request with its redirects: cookies, round trips, samples. Touches no JavaScript, so that it
//! can run while the script is suspended.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cookie_store::{CookieStore, RawCookie};
use percent_encoding::percent_decode_str;
use url::Url;

use super::answer::{Performed, SetCookie};
use super::spec::{BodyType, Spec};
use crate::load::client::{Answer, Body, Failure, Request, Reuse, RoundTrip, decode};
use crate::load::js::host::{Host, RunSide};
use crate::load::js::tagging::HttpTags;
use crate::load::metrics::sample::Value;
use crate::load::metrics::{HttpSample, RequestTags, Timings};
use crate::load::options::SystemTag;

/// Performs `spec`; each leg of a redirect is a sample of its own.
pub(super) async fn perform(host: Rc<Host>, spec: Spec) -> Performed {
    let run = host.run.as_ref().expect("a VM that runs has its run");
    let deadline = Instant::now() + spec.timeout;
    let mut leg = match Leg::first(&spec) {
        Ok(leg) => leg,
        Err(failure) => {
            // Nothing went out, so there is nothing to measure.
            return Performed::failed(&spec, spec.address.clone(), Timings::default(), failure);
        }
    };
    let mut redirects = 0;
    loop {
        let request = leg.request(&spec, run);
        let left = deadline.saturating_duration_since(Instant::now());
        let RoundTrip {
            timings, outcome, ..
        } = run.client.round_trip(&request, left).await;
        let outcome = match outcome {
            Ok(answer) => decoded(answer, request.take).await,
            Err(failure) => Err(failure),
        };
        let mut answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                emit(&host, run, &spec, &leg, &timings, Err(&failure));
                let url = masked(&leg.url);
                return Performed::failed(&spec, url, timings, failure);
            }
        };
        let set_cookies = keep_cookies(run, &spec, &leg.url, &answer);
        emit(&host, run, &spec, &leg, &timings, Ok(&answer));
        match leg.next(&answer) {
            Some(next) if redirects < spec.redirects_max => {
                redirects += 1;
                leg = next;
            }
            Some(_) if spec.redirects_max > 0 => {
                let text = format!("stopped after {redirects} redirects");
                tracing::warn!(
                    url = masked(&leg.url),
                    "{text} and returned the redirection"
                );
                return Performed::answered(&spec, masked(&leg.url), timings, answer, set_cookies);
            }
            _ => {
                if spec.body_type == BodyType::None {
                    answer.body = Vec::new();
                }
                return Performed::answered(&spec, masked(&leg.url), timings, answer, set_cookies);
            }
        }
    }
}

/// One round trip of a chain.
struct Leg {
    method: Rc<str>,
    url: Url,
    with_body: bool,
    /// Still at the first URL's scheme, host and port: only it gets credentials of the script's.
    same_origin: bool,
}

impl Leg {
    fn first(spec: &Spec) -> Result<Leg, Failure> {
        let url = spec.url.clone().map_err(Failure::invalid_url)?;
        Ok(Leg {
            method: spec.method.clone(),
            url,
            with_body: true,
            same_origin: true,
        })
    }

    /// Where the answer sends to, by the rules of Go's client, which k6 is known for.
    fn next(&self, answer: &Answer) -> Option<Leg> {
        let (method, with_body): (Rc<str>, bool) = match answer.status {
            301..=303 if &*self.method == "HEAD" => (self.method.clone(), false),
            301..=303 => ("GET".into(), false),
            307 | 308 => (self.method.clone(), self.with_body),
            _ => return None,
        };
        let location = header(answer, "location")?;
        let url = self.url.join(location).ok()?;
        let same_origin = self.same_origin && url.origin() == self.url.origin();
        matches!(url.scheme(), "http" | "https").then_some(Leg {
            method,
            url,
            with_body,
            same_origin,
        })
    }

    fn request(&self, spec: &Spec, run: &RunSide) -> Request {
        let same_origin = self.same_origin;
        let mut headers: Vec<(String, String)> = spec
            .headers
            .iter()
            .filter(|(name, _)| {
                let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
                let of_body = is("content-type") || is("content-length");
                let secret = is("authorization") || is("cookie") || is("host");
                (self.with_body || !of_body) && (same_origin || !secret)
            })
            .cloned()
            .collect();
        let given = |headers: &[(String, String)], wanted: &str| {
            headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        let settings = &run.shared.settings;
        if !settings.user_agent.is_empty() && !given(&headers, "user-agent") {
            headers.push(("User-Agent".into(), settings.user_agent.to_string()));
        }
        if !self.url.username().is_empty() && !given(&headers, "authorization") {
            headers.push(("Authorization".into(), basic(&self.url)));
        }
        let jars = run.jars.borrow();
        let cookies = cookie_header(jars.get(spec.jar), spec, &self.url, same_origin);
        if !cookies.is_empty() && !given(&headers, "cookie") {
            headers.push(("Cookie".into(), cookies));
        }
        Request {
            method: self.method.clone(),
            url: self.url.clone(),
            headers,
            body: if self.with_body {
                spec.body.clone()
            } else {
                bytes::Bytes::new()
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
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

async fn decoded(mut answer: Answer, take: Body) -> Result<Answer, Failure> {
    let Body::Keep { bytes_max } = take else {
        return Ok(answer);
    };
    // These have no body, whatever their headers say.
    if matches!(answer.status, 204 | 304) {
        return Ok(answer);
    }
    let coding = header(&answer, "content-encoding").map(str::to_owned);
    if let Some(coding) = coding {
        let body = std::mem::take(&mut answer.body);
        answer.body = decode(body, &coding, bytes_max).await?;
    }
    Ok(answer)
}

fn cookie_header(jar: Option<&CookieStore>, spec: &Spec, url: &Url, own: bool) -> String {
    let replaced = |name: &str| {
        own && spec
            .cookies
            .iter()
            .any(|cookie| cookie.replace && cookie.name == name)
    };
    let mut pairs: Vec<String> = Vec::new();
    if let Some(jar) = jar {
        pairs.extend(
            jar.get_request_values(url)
                .filter(|(name, _)| !replaced(name))
                .map(|(name, value)| format!("{name}={value}")),
        );
    }
    if own {
        let cookies = spec.cookies.iter();
        pairs.extend(cookies.map(|cookie| format!("{}={}", cookie.name, cookie.value)));
    }
    pairs.join("; ")
}

fn keep_cookies(run: &RunSide, spec: &Spec, url: &Url, answer: &Answer) -> Vec<SetCookie> {
    let mut set = Vec::new();
    for (name, value) in &answer.headers {
        if !name.eq_ignore_ascii_case("set-cookie") {
            continue;
        }
        let Ok(cookie) = RawCookie::parse(value.clone()) else {
            continue;
        };
        set.push(SetCookie::of(&cookie));
        if let Some(jar) = run.jars.borrow_mut().get_mut(spec.jar) {
            // A cookie that the rules refuse (another domain) is not kept; that is no error.
            let _ = jar.insert_raw(&cookie, url);
        }
    }
    set
}

fn emit(
    host: &Host,
    run: &RunSide,
    spec: &Spec,
    leg: &Leg,
    timings: &Timings,
    outcome: Result<&Answer, &Failure>,
) {
    let status = outcome.map_or(0, |answer| answer.status);
    let expected = spec.expected.as_ref().map(|ranges| {
        ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&status))
    });
    let (error_code, error) = match outcome {
        Ok(answer) if answer.status >= 400 => (1_000 + answer.status, String::new()),
        Ok(_) => (0, String::new()),
        Err(failure) => (failure.code, failure.text.clone()),
    };
    let tls = outcome.ok().and_then(|answer| answer.tls.as_deref());
    let system = HttpTags {
        method: Arc::from(&*leg.method),
        status,
        proto: outcome.map_or("", |answer| answer.proto),
        tls_version: tls.map(|tls| tls.version),
        expected,
        error_code,
        error,
        ip: outcome
            .ok()
            .filter(|_| host.tagging.wants(SystemTag::Ip))
            .map(|answer| answer.remote.ip()),
    };
    // With a name of the script's own the URL says the same, so that it makes no more series.
    let name: Arc<str> = match &spec.name {
        Some(name) => name.as_str().into(),
        None => masked(&leg.url).into(),
    };
    let shared = host.tagging.http(&run.shared.interner, system, &spec.tags);
    host.emit(Value::Http(Box::new(HttpSample {
        timings: *timings,
        failed: expected.map(|expected| !expected),
        tags: RequestTags {
            shared,
            url: host.tagging.wants(SystemTag::Url).then(|| name.clone()),
            name: host.tagging.wants(SystemTag::Name).then_some(name),
        },
    })));
}

/// The URL with credentials hidden, as k6 does.
fn masked(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.to_string();
    }
    let mut url = url.clone();
    // Both fail only for URLs that can't have credentials.
    let _ = url.set_username("****");
    let _ = url.set_password(Some("****"));
    url.to_string()
}

/// RFC 7617.
fn basic(url: &Url) -> String {
    let plain = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = plain(url.username());
    pair.push(b':');
    pair.extend(plain(url.password().unwrap_or_default()));
    format!("Basic {}", base64(&pair))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// A timing as scripts see it.
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_a_header_and_are_hidden() {
        let url = Url::parse("http://al%20ice:s3@h/x").expect("a URL");
        assert_eq!(basic(&url), "Basic YWwgaWNlOnMz");
        assert_eq!(masked(&url), "http://****:****@h/x");
        assert_eq!(base64(b"a"), "YQ==");
    }
}
