//! Host side of `dchat:http-more`: what few scripts use, installed when that is first evaluated.

use std::rc::Rc;

use cookie_store::RawCookie;
use rquickjs::function::Opt;
use rquickjs::{ArrayBuffer, Ctx, Exception, Object, Value};

use super::super::bytes::go_type;
use super::super::set;
use super::answer::canonical;
use super::jars;
use crate::load::js::ffi::buffer_bytes;
use crate::load::js::host::Host;

/// Milliseconds of Go's zero time as k6 computes them (its nanoseconds overflow), for cookies
/// without an expiry.
const NO_EXPIRY_MS: f64 = -6_795_364_578_871.0;

pub(in crate::load::js::modules) fn install<'js>(
    bridge: &Object<'js>,
    host: &Rc<Host>,
) -> rquickjs::Result<()> {
    jars::install(bridge, host)?;
    set(bridge, "join", |ctx: Ctx<'js>, parts: Vec<Value<'js>>| {
        join(&ctx, &parts)
    })?;
    set(bridge, "text", |bytes: ArrayBuffer<'js>| {
        String::from_utf8_lossy(&buffer_bytes(&bytes)).into_owned()
    })?;
    set(bridge, "goType", |value: Value<'js>| go_type(&value))?;
    set(bridge, "warnNested", |value: Value<'js>| {
        tracing::warn!(
            "cannot urlencode a nested {} value in a request form body; encoding it as an empty \
             value, use JSON.stringify() to send structured data",
            go_type(&value)
        );
    })?;
    set(bridge, "parseCookie", |ctx: Ctx<'js>, text: String| {
        cookie(&ctx, text)
    })?;
    set(bridge, "jsonError", |text: String| json_error(&text))?;
    let vm = host.clone();
    let sent =
        move |ctx: Ctx<'js>, given: Vec<String>, cookies: String, coding: Opt<Value<'js>>| {
            sent_headers(&ctx, &vm, &given, cookies, coding.0)
        };
    set(bridge, "sentHeaders", sent)
}

/// Texts and buffers one after the other, for multipart bodies.
fn join<'js>(ctx: &Ctx<'js>, parts: &[Value<'js>]) -> rquickjs::Result<ArrayBuffer<'js>> {
    let mut bytes: Vec<u8> = Vec::new();
    for part in parts {
        if let Some(text) = part.as_string() {
            bytes.extend_from_slice(text.to_string()?.as_bytes());
        } else if let Some(buffer) = part.as_object().and_then(|object| object.as_array_buffer()) {
            bytes.extend(buffer_bytes(buffer));
        } else {
            let text = "file data must be a string or an ArrayBuffer";
            return Err(Exception::throw_type(ctx, text));
        }
    }
    ArrayBuffer::new(ctx.clone(), bytes)
}

/// A `Set-Cookie` as an entry of `response.cookies`; `None` for what is no cookie.
fn cookie<'js>(ctx: &Ctx<'js>, text: String) -> rquickjs::Result<Option<Object<'js>>> {
    let Ok(cookie) = RawCookie::parse(text) else {
        return Ok(None);
    };
    let object = Object::new(ctx.clone())?;
    object.set("name", cookie.name())?;
    object.set("value", cookie.value())?;
    object.set("domain", cookie.domain().unwrap_or_default())?;
    object.set("path", cookie.path().unwrap_or_default())?;
    object.set("http_only", cookie.http_only().unwrap_or(false))?;
    object.set("secure", cookie.secure().unwrap_or(false))?;
    // Go keeps 0 for "not said" and makes `Max-Age=0` a negative one.
    let age = cookie.max_age().map_or(0, |age| match age.whole_seconds() {
        seconds if seconds <= 0 => -1,
        seconds => seconds,
    });
    object.set("max_age", age as f64)?;
    let expires = cookie
        .expires_datetime()
        .map_or(NO_EXPIRY_MS, |at| (at.unix_timestamp() * 1_000) as f64);
    object.set("expires", expires)?;
    Ok(Some(object))
}

/// k6's complaint about a body that is no JSON; `None` where this parser sees nothing wrong.
fn json_error(text: &str) -> Option<String> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    Some(format!(
        "cannot parse json due to an error at line {}, character {} , error: {reason}",
        error.line(),
        error.column()
    ))
}

/// `response.request.headers`: names as Go spells them, each with the list of its values.
fn sent_headers<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    given: &[String],
    cookies: String,
    coding: Option<Value<'js>>,
) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    if let Some(run) = &host.run {
        let agent = &run.shared.settings.user_agent;
        object.set("User-Agent", vec![&**agent])?;
    }
    let coding = coding.and_then(|coding| coding.as_string()?.to_string().ok());
    if let Some(coding) = coding.filter(|coding| !coding.is_empty()) {
        object.set("Content-Encoding", vec![coding])?;
    }
    for pair in given.chunks_exact(2) {
        let name = canonical(&pair[0]);
        if name != "Content-Length" {
            object.set(name, vec![pair[1].as_str()])?;
        }
    }
    if !cookies.is_empty() {
        object.set("Cookie", vec![cookies])?;
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_is_told_by_line_and_character() {
        let error = json_error("{\n \"a\": oops}").expect("broken");
        let begins = "cannot parse json due to an error at line 2, character 7 , error: ";
        assert!(error.starts_with(begins), "{error}");
        assert_eq!(json_error("[1]"), None);
    }
}
