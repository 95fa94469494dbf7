//! A performed request as the flat list that `http.js` makes a Response from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use cookie_store::RawCookie;
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use super::perform::milliseconds;
use super::spec::{BodyType, Spec};
use crate::load::client::{Answer, Failure};
use crate::load::js::events::Completion;
use crate::load::metrics::Timings;

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Performed {
    method: Rc<str>,
    url: String,
    timings: Timings,
    body_type: BodyType,
    throw: bool,
    set_cookies: Vec<SetCookie>,
    outcome: Result<Answer, Failure>,
}

/// A cookie of the answer, for `response.cookies`.
#[derive(Debug)]
pub(super) struct SetCookie {
    name: String,
    value: String,
    domain: String,
    path: String,
    http_only: bool,
    secure: bool,
    max_age: i64,
}

impl SetCookie {
    pub(super) fn of(cookie: &RawCookie<'_>) -> SetCookie {
        SetCookie {
            name: cookie.name().to_owned(),
            value: cookie.value().to_owned(),
            domain: cookie.domain().unwrap_or_default().to_owned(),
            path: cookie.path().unwrap_or_default().to_owned(),
            http_only: cookie.http_only().unwrap_or(false),
            secure: cookie.secure().unwrap_or(false),
            max_age: cookie.max_age().map_or(0, |age| age.whole_seconds()),
        }
    }

    fn to_js<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        object.set("name", self.name.as_str())?;
        object.set("value", self.value.as_str())?;
        object.set("domain", self.domain.as_str())?;
        object.set("path", self.path.as_str())?;
        object.set("http_only", self.http_only)?;
        object.set("secure", self.secure)?;
        object.set("max_age", self.max_age as f64)?;
        Ok(object)
    }
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
    pub(super) fn answered(
        spec: &Spec,
        url: String,
        timings: Timings,
        answer: Answer,
        set_cookies: Vec<SetCookie>,
    ) -> Performed {
        Performed {
            method: spec.method.clone(),
            url,
            timings,
            body_type: spec.body_type,
            throw: spec.throw,
            set_cookies,
            outcome: Ok(answer),
        }
    }

    pub(super) fn failed(
        spec: &Spec,
        url: String,
        timings: Timings,
        failure: Failure,
    ) -> Performed {
        Performed {
            method: spec.method.clone(),
            url,
            timings,
            body_type: spec.body_type,
            throw: spec.throw,
            set_cookies: Vec::new(),
            outcome: Err(failure),
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
        match &self.outcome {
            Ok(answer) if answer.status == 101 => {
                Some("unsupported response status: 101 Switching Protocols".to_owned())
            }
            Ok(_) => None,
            Err(failure) => {
                let method = method_name(&self.method);
                let text = format!("{method} {:?}: {}", self.url, failure.text);
                if self.throw {
                    return Some(text);
                }
                tracing::warn!(error = text, "Request Failed");
                None
            }
        }
    }

    /// Places in the list are the constants `STATUS` … `COOKIES` of `http.js`; filled in order,
    /// because QuickJS turns an array with holes into a slow one.
    fn into_js<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let list = Array::new(ctx.clone())?;
        let lines = self.lines();
        let (status, code, content) = match self.outcome {
            Ok(answer) if answer.status >= 400 => {
                (answer.status, 1_000 + answer.status, Some(answer.body))
            }
            Ok(answer) => (answer.status, 0, Some(answer.body)),
            Err(failure) => (0, failure.code, None),
        };
        list.set(0, status)?;
        match content {
            Some(content) => list.set(1, body(ctx, content, self.body_type)?)?,
            None => list.set(1, Value::new_null(ctx.clone()))?,
        }
        for (place, time) in times(&self.timings).into_iter().enumerate() {
            list.set(2 + place, time)?;
        }
        list.set(9, code)?;
        list.set(10, lines)?;
        if !self.set_cookies.is_empty() {
            let cookies: rquickjs::Result<Vec<Object<'js>>> = self
                .set_cookies
                .iter()
                .map(|cookie| cookie.to_js(ctx))
                .collect();
            list.set(11, cookies?)?;
        }
        list.into_js(ctx)
    }

    /// What few scripts look at, as lines in the order of `REASON` … `HEADERS` of `http.js`. None
    /// of the parts can contain a line break.
    fn lines(&self) -> String {
        let mut lines = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = match &self.outcome {
            Ok(answer) => {
                let remote = answer.remote;
                let tls = answer.tls.as_deref().map_or("", |tls| tls.version);
                write!(
                    lines,
                    "{} {}\n{}\n{}\n{}\n{}\n{tls}\n",
                    answer.status,
                    answer.reason,
                    self.url,
                    answer.proto,
                    remote.ip(),
                    remote.port(),
                )
            }
            Err(failure) => {
                let text = failure.text.replace('\n', " ");
                write!(lines, "\n{}\n\n\n0\n\n{text}", self.url.replace('\n', " "))
            }
        };
        if let Ok(answer) = &self.outcome {
            headers(&answer.headers, &mut lines);
        }
        lines
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

/// Names as Go spells them, several of one name joined by commas: two lines each.
fn headers(received: &[(String, String)], lines: &mut String) {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in received {
        joined
            .entry(canonical(name))
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    for (name, value) in joined {
        let _ = write!(lines, "\n{name}\n{value}");
    }
}

/// `content-TYPE` becomes `Content-Type`.
fn canonical(name: &str) -> String {
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

/// As Go names methods in its errors: `Get`, `Post`.
fn method_name(method: &str) -> String {
    canonical(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_canonical_and_joined() {
        let received = [("x-a-B", "1"), ("content-type", "t"), ("X-A-b", "2")];
        let received = received.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut lines = String::new();
        headers(&received, &mut lines);
        assert_eq!(lines, "\nContent-Type\nt\nX-A-B\n1, 2");
    }
}
