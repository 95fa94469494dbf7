//! A performed request as the flat list that `http.js` makes a Response from.

use std::collections::BTreeMap;
use std::rc::Rc;

use cookie_store::RawCookie;
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use super::perform::milliseconds;
use super::spec::{BodyType, Spec};
use crate::load::client::{Answer, Failure};
use crate::load::js::host::Host;
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
    pub(super) fn into_js_or_throw<'js>(
        self,
        ctx: &Ctx<'js>,
        host: &Host,
    ) -> rquickjs::Result<Value<'js>> {
        match self.refusal(host) {
            Some(text) => Err(Exception::throw_message(ctx, &text)),
            None => self.into_js(ctx),
        }
    }

    /// For a promise: the answer, or the error that it is rejected with.
    pub(crate) fn into_js_settled<'js>(
        self,
        ctx: &Ctx<'js>,
        host: &Host,
    ) -> rquickjs::Result<Value<'js>> {
        match self.refusal(host) {
            Some(text) => Exception::from_message(ctx.clone(), &text)?.into_js(ctx),
            None => self.into_js(ctx),
        }
    }

    /// Says a failure in the log; gives its text where it must throw.
    fn refusal(&self, _host: &Host) -> Option<String> {
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
        let url = self.url.as_str();
        let times = times(&self.timings);
        match self.outcome {
            Ok(answer) => {
                let failed = answer.status >= 400;
                let code = if failed { 1_000 + answer.status } else { 0 };
                list.set(0, answer.status)?;
                list.set(1, format!("{} {}", answer.status, answer.reason))?;
                list.set(2, body(ctx, answer.body, self.body_type)?)?;
                list.set(3, headers(&answer.headers))?;
                list.set(4, url)?;
                list.set(5, answer.proto)?;
                list.set(6, answer.remote.ip().to_string())?;
                list.set(7, answer.remote.port())?;
                list.set(8, times)?;
                list.set(9, answer.tls_version.unwrap_or_default())?;
                list.set(10, "")?;
                list.set(11, code)?;
            }
            Err(failure) => {
                list.set(0, 0)?;
                list.set(1, "")?;
                list.set(2, Value::new_null(ctx.clone()))?;
                list.set(3, "")?;
                list.set(4, url)?;
                for place in 5..7 {
                    list.set(place, "")?;
                }
                list.set(7, 0)?;
                list.set(8, times)?;
                list.set(9, "")?;
                list.set(10, failure.text)?;
                list.set(11, failure.code)?;
            }
        }
        if !self.set_cookies.is_empty() {
            let cookies: rquickjs::Result<Vec<Object<'js>>> = self
                .set_cookies
                .iter()
                .map(|cookie| cookie.to_js(ctx))
                .collect();
            list.set(12, cookies?)?;
        }
        list.into_js(ctx)
    }
}

fn times(timings: &Timings) -> Vec<f64> {
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
    .to_vec()
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

/// Names as Go spells them, several of one name joined by commas: names and values as lines of one
/// text, which the script takes apart only if it looks at them.
fn headers(received: &[(String, String)]) -> String {
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
    let lines: Vec<String> = joined.into_iter().flat_map(|(k, v)| [k, v]).collect();
    lines.join("\n")
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
        assert_eq!(headers(&received), "Content-Type\nt\nX-A-B\n1, 2");
    }
}
