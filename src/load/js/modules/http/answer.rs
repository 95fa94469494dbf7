//! A performed request as a Response: an object with `status` and `body` that keeps what else is
//! known in Rust, from where the getters of `http.js` take it at the first look.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::object::Property;
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, Function, IntoJs, Object, Value};

use super::super::set;
use super::kept::{Keeping, Kept};
use super::perform::milliseconds;
use super::pick::Picked;
use super::spec::{BodyType, Refused, Spec};
use crate::load::client::{RoundTrip, TlsFacts};
use crate::load::js::events::Completion;
use crate::load::js::ffi::Reply;
use crate::load::metrics::Timings;

/// Bytes of a Response beside its texts, and of a line of a head beside its own, about.
const OWN_BYTES: usize = 1_024;
const LINE_BYTES: usize = 48;

/// What came of a request.
pub(crate) struct Performed {
    spec: Option<Spec>,
    /// Of the last leg; of a refused request the text that was no address.
    url: Arc<str>,
    sent_cookies: String,
    throw: bool,
    trip: RoundTrip,
    /// `None` where nothing was sent.
    kept: Option<Kept>,
}

impl Completion for Performed {
    fn settle<'js>(self: Box<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.refusal() {
            Some(text) => Exception::from_message(ctx.clone(), &text)?.into_js(ctx),
            None => (*self).into_js(ctx),
        }
    }
}

impl Performed {
    pub(super) fn new(
        keeping: &Rc<Keeping>,
        spec: Spec,
        url: Arc<str>,
        trip: RoundTrip,
        sent_cookies: String,
    ) -> Performed {
        let heads = [
            Some(&spec.headers),
            trip.outcome.as_ref().ok().map(|answer| &answer.headers),
        ];
        let lines = heads.into_iter().flatten().flatten();
        let heads: usize = lines.map(|(k, v)| k.len() + v.len() + LINE_BYTES).sum();
        let kept = Kept::new(keeping, spec.own_body_bytes + heads + OWN_BYTES);
        Performed {
            kept: Some(kept),
            throw: spec.throw,
            spec: Some(spec),
            url,
            sent_cookies,
            trip,
        }
    }

    /// A request that was neither sent nor counted; `throw` is the option of the run.
    pub(super) fn refused(refused: Refused, throw: bool) -> Performed {
        Performed {
            spec: None,
            kept: None,
            url: refused.text.into(),
            sent_cookies: String::new(),
            throw,
            trip: RoundTrip::failed(refused.failure),
        }
    }

    /// For a blocking call: a failure throws where the script asked for that.
    pub(super) fn into_js_or_throw<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.refusal() {
            Some(text) => Err(Exception::throw_message(ctx, &text)),
            None => self.into_js(ctx),
        }
    }

    /// Says a failure in the log; gives its text where it must throw.
    fn refusal(&self) -> Option<String> {
        match &self.trip.outcome {
            Ok(answer) if answer.status == 101 => {
                Some("unsupported response status: 101 Switching Protocols".to_owned())
            }
            Ok(_) => None,
            Err(failure) => {
                let text = match &self.spec {
                    // It was never understood: there is no method and address to name.
                    None => failure.detail().to_owned(),
                    Some(spec) => {
                        let method = canonical(&spec.method);
                        format!("{method} {:?}: {}", self.url, failure.detail())
                    }
                };
                if self.throw {
                    return Some(text);
                }
                tracing::warn!(error = text, "Request Failed");
                None
            }
        }
    }

    /// The Response.
    pub(super) fn into_js<'js>(mut self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        if let Some(kept) = &self.kept {
            kept.refuse_too_much(ctx)?;
        }
        let (status, content) = match &mut self.trip.outcome {
            Ok(answer) => {
                let content = std::mem::take(&mut answer.body);
                let has_body = !matches!(answer.status, 100..=199 | 204 | 304);
                (answer.status, has_body.then_some(content))
            }
            Err(_) => (0, None),
        };
        let wanted = self
            .spec
            .as_ref()
            .map_or(BodyType::Text, |spec| spec.body_type);
        let response = Reply::wrap(ctx, self)?;
        response.set("status", status)?;
        match content {
            Some(content) => response.set("body", body(ctx, content, wanted)?)?,
            None => response.set("body", Value::new_null(ctx.clone()))?,
        }
        Ok(response.into_value())
    }

    fn error_code(&self) -> u16 {
        match &self.trip.outcome {
            Ok(answer) if answer.status >= 400 => 1_000 + answer.status,
            Ok(_) => 0,
            Err(failure) => failure.code,
        }
    }

    /// What went out first: method, body as text, names and values of headers, coding.
    fn sent<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Array<'js>> {
        let list = Array::new(ctx.clone())?;
        let Some(spec) = &self.spec else {
            list.set(0, "")?;
            list.set(1, "")?;
            list.set(2, Vec::<String>::new())?;
            return Ok(list);
        };
        let headers = spec.headers.iter().flat_map(|(name, value)| [name, value]);
        list.set(0, &*spec.method)?;
        list.set(1, &*String::from_utf8_lossy(&spec.body))?;
        list.set(2, headers.map(String::as_str).collect::<Vec<_>>())?;
        if !spec.codings.is_empty() {
            let names: Vec<&str> = spec.codings.iter().map(|coding| coding.name()).collect();
            list.set(3, names.join(", "))?;
        }
        Ok(list)
    }

    /// What few scripts look at, as lines in the order of `REASON` … `HEADERS` of `more.js`. None
    /// of the parts can contain a line break.
    fn lines(&self) -> String {
        let mut lines = String::with_capacity(256);
        let answer = self.trip.outcome.as_ref().ok();
        let (proto, tls) = match answer {
            Some(answer) => (answer.proto, answer.tls.as_deref()),
            None => ("", None),
        };
        if let Some(answer) = answer {
            push(
                &mut lines,
                format_args!("{} {}", answer.status, answer.reason),
            );
        }
        push(
            &mut lines,
            format_args!("\n{}\n{proto}\n", one_line(&self.url)),
        );
        match self.trip.remote {
            Some(remote) => push(
                &mut lines,
                format_args!("{}\n{}\n", remote.ip(), remote.port()),
            ),
            None => lines.push_str("\n0\n"),
        }
        match tls {
            Some(tls) => tls_lines(&mut lines, tls),
            None => lines.push_str("\n\n\n"),
        }
        if let Err(failure) = &self.trip.outcome {
            lines.push_str(&one_line(&failure.text));
        }
        let address = self.spec.as_ref().and_then(|spec| spec.address.as_ref());
        // Of the first leg, where that is another one.
        let sent_url = address
            .map(|address| &*address.text)
            .filter(|text| **text != *self.url)
            .unwrap_or_default();
        let (cookies, url) = (&self.sent_cookies, one_line(sent_url));
        push(&mut lines, format_args!("\n{cookies}\n{url}"));
        for (name, value) in answer.iter().flat_map(|answer| &answer.headers) {
            push(&mut lines, format_args!("\n{}\n{value}", canonical(name)));
        }
        lines
    }
}

/// What the getters of `http.js` and `more.js` ask.
pub(super) fn install<'js>(bridge: &Object<'js>) -> rquickjs::Result<()> {
    set(bridge, "prototype", |ctx: Ctx<'js>| Reply::prototype(&ctx))?;
    set(bridge, "lines", |response: Value<'js>| {
        Reply::lend(&response, Performed::lines)
    })?;
    set(bridge, "errorCode", |response: Value<'js>| {
        Reply::lend(&response, Performed::error_code)
    })?;
    set(bridge, "sent", |ctx: Ctx<'js>, response: Value<'js>| {
        Reply::lend(&response, |performed: &Performed| performed.sent(&ctx))?
    })?;
    set(
        bridge,
        "timings",
        |response: Object<'js>, make: Function<'js>| timings(&response, &make),
    )?;
    set(
        bridge,
        "pick",
        |ctx: Ctx<'js>, body: String, key: String| pick(&ctx, &body, &key),
    )
}

/// Made by `make` at the first look, and the Response's own from then on.
fn timings<'js>(response: &Object<'js>, make: &Function<'js>) -> rquickjs::Result<Value<'js>> {
    let times = Reply::lend(response.as_value(), |performed: &Performed| {
        times(&performed.trip.timings)
    })?;
    let [a, b, c, d, e, f, g] = times;
    let made: Value<'js> = make.call((a, b, c, d, e, f, g))?;
    let kept = Property::from(made.clone());
    response.prop("timings", kept.writable().enumerable().configurable())?;
    Ok(made)
}

/// `response.json(key)` without making values of all the others. Undefined where there is no such
/// key, or it takes more than this to say.
fn pick<'js>(ctx: &Ctx<'js>, body: &str, key: &str) -> rquickjs::Result<Value<'js>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let nothing = || Value::new_undefined(ctx.clone());
    if key.is_empty() || !key.bytes().all(plain) {
        return Ok(nothing());
    }
    match Picked::from(body, key) {
        None => Ok(nothing()),
        Some(Picked::Text(text)) => (*text).into_js(ctx),
        Some(Picked::Json(json)) => ctx.json_parse(json),
    }
}

fn push(lines: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = lines.write_fmt(text);
}

fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains('\n') {
        return text.replace('\n', " ").into();
    }
    text.into()
}

/// Version, suite, and the parts of `response.ocsp`.
fn tls_lines(lines: &mut String, tls: &TlsFacts) {
    push(
        lines,
        format_args!("{}\n{}\n", tls.version, tls.cipher_suite),
    );
    match &tls.staple {
        Some(staple) => push(
            lines,
            format_args!(
                "{} {} {} {} {} {}\n",
                staple.status,
                staple.produced_at,
                staple.this_update,
                staple.next_update,
                staple.revoked_at,
                staple.revocation_reason
            ),
        ),
        None => lines.push_str("unknown\n"),
    }
}

/// In the order that `timings` of `http.js` takes them.
fn times(timings: &Timings) -> [f64; 7] {
    [
        timings.duration(),
        timings.blocked,
        timings.connecting,
        timings.tls_handshaking,
        timings.sending,
        timings.waiting,
        timings.receiving,
    ]
    .map(milliseconds)
}

fn body<'js>(ctx: &Ctx<'js>, body: Vec<u8>, wanted: BodyType) -> rquickjs::Result<Value<'js>> {
    match wanted {
        BodyType::None => Ok(Value::new_null(ctx.clone())),
        BodyType::Binary => ArrayBuffer::new(ctx.clone(), body)?.into_js(ctx),
        BodyType::Text => match std::str::from_utf8(&body) {
            Ok(text) => text.into_js(ctx),
            Err(_) => String::from_utf8_lossy(&body).into_owned().into_js(ctx),
        },
    }
}

/// `content-TYPE` becomes `Content-Type`, and `GET` `Get`, as Go spells them.
pub(super) fn canonical(name: &str) -> String {
    let mut begin = true;
    name.chars()
        .map(|c| {
            let spelled = if begin {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            };
            begin = c == '-';
            spelled
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers_are_spelled_as_go_does() {
        assert_eq!(canonical("x-a-B"), "X-A-B");
        assert_eq!(canonical("content-TYPE"), "Content-Type");
        assert_eq!(canonical("GET"), "Get");
    }
}
