//! A performed request as the flat list that `http.js` makes a Response from.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

use rquickjs::{Array, ArrayBuffer, Ctx, Exception, IntoJs, Value};

use super::perform::milliseconds;
use super::spec::{BodyType, Refused, Spec};
use crate::load::client::{RoundTrip, TlsFacts};
use crate::load::js::events::Completion;
use crate::load::metrics::Timings;

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Performed {
    method: Rc<str>,
    /// Of the last leg.
    url: String,
    /// Of the first leg, where that is another one.
    sent_url: String,
    sent_cookies: String,
    body_type: BodyType,
    throw: bool,
    /// It was never understood: there is no method and address to name.
    refused: bool,
    trip: RoundTrip,
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
        spec: &Spec,
        url: String,
        trip: RoundTrip,
        sent_cookies: String,
    ) -> Performed {
        let sent_url = match &spec.address {
            Some(address) if *address.text != *url => address.text.to_string(),
            _ => String::new(),
        };
        Performed {
            method: spec.method.clone(),
            url,
            sent_url,
            sent_cookies,
            body_type: spec.body_type,
            throw: spec.throw,
            refused: false,
            trip,
        }
    }

    /// A request that was neither sent nor counted; `throw` is the option of the run.
    pub(super) fn refused(refused: Refused, throw: bool) -> Performed {
        Performed {
            method: "".into(),
            url: refused.text,
            sent_url: String::new(),
            sent_cookies: String::new(),
            body_type: BodyType::Text,
            throw,
            refused: true,
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
                let text = if self.refused {
                    failure.detail().to_owned()
                } else {
                    let method = canonical(&self.method);
                    format!("{method} {:?}: {}", self.url, failure.detail())
                };
                if self.throw {
                    return Some(text);
                }
                tracing::warn!(error = text, "Request Failed");
                None
            }
        }
    }

    /// Places in the list are the constants `STATUS` … `LINES` of `http.js`; filled in order,
    /// because QuickJS turns an array with holes into a slow one.
    pub(super) fn into_js<'js>(mut self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let list = Array::new(ctx.clone())?;
        let lines = self.lines();
        let (status, code, content) = match &mut self.trip.outcome {
            Ok(answer) => {
                let code = if answer.status >= 400 {
                    1_000 + answer.status
                } else {
                    0
                };
                let content = std::mem::take(&mut answer.body);
                let has_body = !matches!(answer.status, 100..=199 | 204 | 304);
                (answer.status, code, has_body.then_some(content))
            }
            Err(failure) => (0, failure.code, None),
        };
        list.set(0, status)?;
        match content {
            Some(content) => list.set(1, body(ctx, content, self.body_type)?)?,
            None => list.set(1, Value::new_null(ctx.clone()))?,
        }
        for (place, time) in times(&self.trip.timings).into_iter().enumerate() {
            list.set(2 + place, time)?;
        }
        list.set(9, code)?;
        list.set(10, lines)?;
        list.into_js(ctx)
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
        let (cookies, url) = (&self.sent_cookies, one_line(&self.sent_url));
        push(&mut lines, format_args!("\n{cookies}\n{url}"));
        for (name, value) in answer.iter().flat_map(|answer| &answer.headers) {
            push(&mut lines, format_args!("\n{}\n{value}", canonical(name)));
        }
        lines
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

/// In the order of `DURATION` … `RECEIVING` of `http.js`.
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
