//! A request with its redirects: round trips, cookies, samples. Touches no JavaScript, so that it
//! can run while the script is suspended.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cookie_store::RawCookie;

use super::answer::Performed;
use super::leg::Leg;
use super::spec::{Auth, Spec};
use super::stream::{self, Measured, Streamed};
use super::{auth, debug};
use crate::load::client::{Answer, Body, Failure, Request, RoundTrip, decode};
use crate::load::js::host::{Host, RunSide};
use crate::load::js::tagging::HttpTags;
use crate::load::metrics::sample::Value;
use crate::load::metrics::{HttpSample, RequestTags};
use crate::load::options::{HttpDebug, SystemTag};

/// Performs `spec`; each leg of a redirect is a sample of its own, in the group of the call.
pub(super) fn perform(host: Rc<Host>, spec: Spec) -> impl Future<Output = Performed> {
    let group = host.tagging.group();
    in_group(host, spec, group)
}

async fn in_group(host: Rc<Host>, mut spec: Spec, group: Rc<str>) -> Performed {
    let run = host.run.as_ref().expect("a VM that runs has its run");
    if let Some(rate) = &run.shared.settings.request_rate {
        rate.place().await;
    }
    let work = Work {
        host: &host,
        group,
        run,
        deadline: Instant::now() + spec.timeout,
    };
    let mut as_given = None;
    if !spec.codings.is_empty() {
        as_given = Some((spec.headers.clone(), spec.body.clone()));
        compress(&mut spec);
    }
    let mut leg = match (&spec.address, spec.problem.take()) {
        (Some(address), None) => Leg::first(&spec, address.clone()),
        (_, problem) => {
            // A request that can't be sent counts as one that failed.
            let failure = problem.unwrap_or_else(|| Failure::invalid_url("no address"));
            let trip = RoundTrip::failed(failure);
            work.emit(&spec, &Leg::nowhere(&spec), &trip, spec.expected.matches(0));
            let url = Arc::from(spec.text.as_str());
            return Performed::new(&run.keeping, spec, url, trip, String::new());
        }
    };
    let mut sent_cookies = None;
    let mut followed = 0;
    loop {
        let request = leg.request(&spec, work.run);
        sent_cookies.get_or_insert_with(|| cookies_of(&request));
        let mut trip = match spec.auth {
            Auth::Basic => work.round(&request).await,
            _ => authenticated(&work, &spec, &mut leg, request).await,
        };
        let mut next = None;
        if let Ok(answer) = &trip.outcome {
            work.keep_cookies(&spec, &leg, answer);
            match leg.next(answer, &spec) {
                Ok(found) => next = found,
                Err(failure) => trip.outcome = Err(failure),
            }
        }
        let status = trip.outcome.as_ref().map_or(0, |answer| answer.status);
        // One that switches protocols is no answer to a request; the script sees it thrown.
        if status != 101 {
            work.emit(&spec, &leg, &trip, spec.expected.matches(status));
        }
        match next {
            Some(onward) if followed < spec.redirects_max => {
                followed += 1;
                leg = onward;
            }
            onward => {
                if onward.is_some() && spec.redirects_default {
                    tracing::warn!(
                        url = spec.address.as_ref().map_or("", |address| &*address.shown),
                        "Stopped after {} redirects and returned the redirection; pass \
                         {{ redirects: n }} in request params or set global maxRedirects to \
                         silence this",
                        followed + 1
                    );
                }
                let sent_cookies = sent_cookies.unwrap_or_default();
                if let Some((headers, body)) = as_given {
                    (spec.headers, spec.body) = (headers, body);
                }
                let url = leg.address_text(&spec);
                return Performed::new(&work.run.keeping, spec, url, trip, sent_cookies);
            }
        }
    }
}

/// As [`perform`] until the head of the last answer has come; then the body is the script's to take.
pub(super) async fn open(host: Rc<Host>, spec: Spec) -> (Performed, Option<Streamed>) {
    let group = host.tagging.group();
    let vm = host.clone();
    let work = Work {
        host: &host,
        run: host.run.as_ref().expect("a VM that runs has its run"),
        group: group.clone(),
        deadline: Instant::now() + spec.timeout,
    };
    let (Some(address), None) = (spec.address.clone(), &spec.problem) else {
        return (in_group(vm, spec, group).await, None);
    };
    let mut leg = Leg::first(&spec, address);
    let mut sent_cookies = None;
    let mut followed = 0;
    loop {
        let request = leg.request(&spec, work.run);
        sent_cookies.get_or_insert_with(|| cookies_of(&request));
        let (mut trip, download) = Box::pin(work.run.client.open(&request, work.left())).await;
        let mut next = None;
        if let Ok(answer) = &trip.outcome {
            work.keep_cookies(&spec, &leg, answer);
            match leg.next(answer, &spec) {
                Ok(found) => next = found,
                Err(failure) => trip.outcome = Err(failure),
            }
        }
        let onward = next.filter(|_| followed < spec.redirects_max);
        if let (None, Ok(answer), Some(download)) = (&onward, &trip.outcome, download) {
            let measured = Measured {
                trip: RoundTrip {
                    timings: trip.timings,
                    remote: trip.remote,
                    outcome: Ok(stream::outline(answer)),
                },
                leg: leg.clone(),
                spec: spec.clone(),
                group,
            };
            let streamed = Streamed::new(vm, download, measured);
            let url = leg.address_text(&spec);
            let sent_cookies = sent_cookies.unwrap_or_default();
            return (
                Performed::new(&work.run.keeping, spec, url, trip, sent_cookies),
                Some(streamed),
            );
        }
        let status = trip.outcome.as_ref().map_or(0, |answer| answer.status);
        work.emit(&spec, &leg, &trip, spec.expected.matches(status));
        match onward {
            Some(onward) => {
                followed += 1;
                leg = onward;
            }
            None => {
                let url = leg.address_text(&spec);
                let sent_cookies = sent_cookies.unwrap_or_default();
                return (
                    Performed::new(&work.run.keeping, spec, url, trip, sent_cookies),
                    None,
                );
            }
        }
    }
}

/// Seldom used and large: made on the heap and not inlined, so that it costs no VU's stack while it
/// does not run.
#[inline(never)]
fn authenticated<'a>(
    work: &'a Work<'a>,
    spec: &'a Spec,
    leg: &'a mut Leg,
    request: Request,
) -> Pin<Box<dyn Future<Output = RoundTrip> + 'a>> {
    match spec.auth {
        Auth::Ntlm => Box::pin(auth::ntlm(work, spec, leg, request)),
        _ => Box::pin(auth::digest(work, spec, leg, request)),
    }
}

/// As [`authenticated`]: decoders are large.
#[inline(never)]
fn undone(
    body: Vec<u8>,
    coding: String,
    bytes_max: usize,
) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>>>> {
    Box::pin(async move { decode(body, &coding, bytes_max).await })
}

/// What one request of a script works with.
pub(super) struct Work<'a> {
    pub(super) host: &'a Host,
    pub(super) run: &'a RunSide,
    group: Rc<str>,
    deadline: Instant,
}

impl<'a> Work<'a> {
    /// For what is measured after the request is done.
    pub(super) fn after(host: &'a Host, group: Rc<str>) -> Work<'a> {
        Work {
            host,
            run: host.run.as_ref().expect("a VM that runs has its run"),
            group,
            deadline: Instant::now(),
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// One round trip, its body decoded.
    pub(super) async fn round(&self, request: &Request) -> RoundTrip {
        let level = self.run.shared.settings.network.http_debug;
        if level == HttpDebug::Off {
            return self.plain_round(request).await;
        }
        let id = debug::request(self.host, request, level);
        let trip = self.plain_round(request).await;
        debug::response(self.host, &trip, level, &id);
        trip
    }

    async fn plain_round(&self, request: &Request) -> RoundTrip {
        let mut trip = self.run.client.round_trip(request, self.left()).await;
        if let Ok(answer) = &mut trip.outcome
            && let Err(failure) = decoded(answer, request.take).await
        {
            trip.outcome = Err(failure);
        }
        trip
    }

    fn keep_cookies(&self, spec: &Spec, leg: &Leg, answer: &Answer) {
        for (name, value) in &answer.headers {
            if !name.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            if let Ok(cookie) = RawCookie::parse(value.as_str())
                && let Some(address) = &leg.address
            {
                let jar = spec.jar.as_ref().unwrap_or(&self.run.jar);
                super::jars::put(&mut jar.borrow_mut(), &cookie, &address.url);
            }
        }
    }

    /// `expected` is whether this status is a success; `None` where that is not counted.
    pub(super) fn emit(&self, spec: &Spec, leg: &Leg, trip: &RoundTrip, expected: Option<bool>) {
        let tagging = &self.host.tagging;
        let outcome = trip.outcome.as_ref();
        let (error_code, error) = match outcome {
            Ok(answer) if answer.status >= 400 => (1_000 + answer.status, String::new()),
            Ok(_) => (0, String::new()),
            Err(failure) => (failure.code, failure.text.clone()),
        };
        let tls = outcome.ok().and_then(|answer| answer.tls.as_deref());
        let system = HttpTags {
            method: Arc::from(&*leg.method),
            status: outcome.map_or(0, |answer| answer.status),
            proto: outcome.map_or("", |answer| answer.proto),
            tls_version: tls.map(|tls| tls.version),
            expected,
            error_code,
            error,
            ip: trip
                .remote
                .filter(|_| tagging.wants(SystemTag::Ip))
                .map(|remote| remote.ip()),
        };
        // With a name of the script's own the URL says the same, so that it makes no more series.
        let name: Arc<str> = match &spec.name {
            Some(name) => name.as_str().into(),
            None => leg.shown(spec),
        };
        let run = self.run;
        let interner = &run.shared.interner;
        let shared = tagging.within(&self.group, || tagging.http(interner, system, &spec.tags));
        self.host.emit(Value::Http(Box::new(HttpSample {
            timings: trip.timings,
            failed: expected.map(|expected| !expected),
            tags: RequestTags {
                shared,
                url: tagging.wants(SystemTag::Url).then(|| name.clone()),
                name: tagging.wants(SystemTag::Name).then_some(name),
            },
        })));
    }
}

/// `compression`: the body coded, and said so in a header.
fn compress(spec: &mut Spec) {
    if spec.body.is_empty() {
        return;
    }
    let mut body = spec.body.clone();
    for coding in &spec.codings {
        match coding.encode(&body) {
            Ok(coded) => body = coded.into(),
            Err(error) => {
                let text = format!("compressing the request body: {error}");
                spec.problem = Some(Failure::new(1000, text));
                return;
            }
        }
    }
    spec.body = body;
    let names: Vec<&str> = spec.codings.iter().map(|coding| coding.name()).collect();
    let names = names.join(", ");
    let given = spec
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    match given {
        None => spec.headers.push(("Content-Encoding".into(), names)),
        Some((_, value)) if *value != names => tracing::warn!(
            "There's a mismatch between the desired `compression` the manually set \
             `Content-Encoding` header in the {} request for '{}', the custom header has \
             precedence and won't be overwritten. This may result in invalid data being sent to \
             the server.",
            spec.method,
            spec.text,
        ),
        Some(_) => {}
    }
}

/// Undoes the content codings of a body that is kept.
async fn decoded(answer: &mut Answer, take: Body) -> Result<(), Failure> {
    let Body::Keep { bytes_max } = take else {
        return Ok(());
    };
    // These have no body, whatever their headers say.
    if matches!(answer.status, 100..=199 | 204 | 304) {
        return Ok(());
    }
    let Some(coding) = header(answer, "content-encoding").map(str::to_owned) else {
        return Ok(());
    };
    let body = std::mem::take(&mut answer.body);
    answer.body = undone(body, coding, bytes_max).await?;
    Ok(())
}

/// The first header of this name.
pub(super) fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

fn cookies_of(request: &Request) -> String {
    let headers = request.headers.iter();
    let found = headers
        .rev()
        .find(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    found.map_or_else(String::new, |(_, value)| value.clone())
}

/// A timing as scripts see it.
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
