//! A request as the script asked for it, read from the flat list that `http.js` makes.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rquickjs::{Array, Ctx, Exception, Value};
use url::Url;

use super::super::own_tags;
use crate::load::js::ffi::buffer_bytes;
use crate::load::js::host::Host;
use crate::load::js::tagging::OwnTags;
use crate::load::options::duration;

/// k6's default timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Statuses that count as success where the script says nothing.
const EXPECTED: (u16, u16) = (200, 399);

/// What becomes of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyType {
    Text,
    Binary,
    None,
}

/// A cookie of this request only.
#[derive(Clone, Debug)]
pub(super) struct OwnCookie {
    pub(super) name: String,
    pub(super) value: String,
    /// Instead of one of the same name in the jar.
    pub(super) replace: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) method: Rc<str>,
    /// As given; an invalid one fails when it is performed, as a network error would.
    pub(super) url: Result<Url, String>,
    pub(super) address: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// Without `name`.
    pub(super) tags: OwnTags,
    pub(super) name: Option<String>,
    pub(super) timeout: Duration,
    pub(super) redirects_max: u32,
    pub(super) body_type: BodyType,
    /// Ranges of statuses that count as success; `None`: nothing is counted.
    pub(super) expected: Option<Vec<(u16, u16)>>,
    pub(super) cookies: Vec<OwnCookie>,
    pub(super) throw: bool,
    pub(super) jar: usize,
}

impl Spec {
    /// Places in the list are those of `flatten` in `http.js`.
    pub(super) fn read<'js>(
        ctx: &Ctx<'js>,
        host: &Host,
        flat: &Array<'js>,
    ) -> rquickjs::Result<Spec> {
        let settings = &host
            .run
            .as_ref()
            .expect("a VM that runs has its run")
            .shared
            .settings;
        let method: String = flat.get(0)?;
        if method.is_empty() || !method.bytes().all(is_token) {
            let text = format!("invalid method {method:?}");
            return Err(Exception::throw_message(ctx, &text));
        }
        let address: String = flat.get(1)?;
        let mut tags = own_tags(ctx, &flat.get::<Value<'js>>(5)?)?;
        // It travels beside the set.
        tags.retain(|(key, _)| key != "name");
        refuse_auth(ctx, &flat.get(11)?)?;
        Ok(Spec {
            method: method.into(),
            url: parse(&address),
            headers: headers(ctx, flat.get(4)?)?,
            body: body(&flat.get(3)?)?,
            tags,
            name: flat.get(2)?,
            timeout: timeout(ctx, &flat.get(6)?)?,
            redirects_max: flat
                .get::<Option<u32>>(7)?
                .unwrap_or(settings.redirects_max),
            body_type: body_type(ctx, flat.get(8)?, settings.discard_response_bodies)?,
            expected: expected(&flat.get(9)?)?,
            cookies: cookies(flat.get(10)?),
            throw: flat.get::<Option<bool>>(12)?.unwrap_or(settings.throw),
            jar: flat.get(13)?,
            address,
        })
    }

    /// For the limit per host of a batch.
    pub(super) fn host_name(&self) -> Option<String> {
        let url = self.url.as_ref().ok()?;
        url.host_str().map(str::to_owned)
    }
}

fn parse(address: &str) -> Result<Url, String> {
    let url = Url::parse(address).map_err(|error| format!("{error}: {address:?}"))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        (scheme, _) => Err(format!("unsupported protocol scheme {scheme:?}")),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn headers(ctx: &Ctx<'_>, flat: Vec<String>) -> rquickjs::Result<Vec<(String, String)>> {
    let mut pairs = Vec::with_capacity(flat.len() / 2 + 3);
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        // What could end the header would let a script's data write the request.
        let bad_value = value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        if name.is_empty() || !name.bytes().all(is_token) || bad_value {
            let text = format!("invalid header {name:?}");
            return Err(Exception::throw_message(ctx, &text));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn body(payload: &Value<'_>) -> rquickjs::Result<Bytes> {
    if let Some(text) = payload.as_string() {
        return Ok(text.to_string()?.into());
    }
    let buffer = payload
        .as_object()
        .and_then(|object| object.as_array_buffer());
    Ok(buffer.map(buffer_bytes).unwrap_or_default().into())
}

/// Milliseconds, or a text like `1m30s`.
fn timeout(ctx: &Ctx<'_>, given: &Value<'_>) -> rquickjs::Result<Duration> {
    if given.is_null() || given.is_undefined() {
        return Ok(TIMEOUT);
    }
    let read = match (given.as_number(), given.as_string()) {
        (Some(ms), _) => duration::from_ms(ms),
        (_, Some(text)) => duration::parse(&text.to_string()?),
        _ => None,
    };
    read.ok_or_else(|| Exception::throw_message(ctx, "invalid timeout: milliseconds or '1m30s'"))
}

fn body_type(ctx: &Ctx<'_>, given: Option<String>, discard: bool) -> rquickjs::Result<BodyType> {
    match given.as_deref() {
        None if discard => Ok(BodyType::None),
        None | Some("text") => Ok(BodyType::Text),
        Some("binary") => Ok(BodyType::Binary),
        Some("none") => Ok(BodyType::None),
        Some(other) => {
            let text = format!("invalid responseType {other:?}: text, binary or none");
            Err(Exception::throw_message(ctx, &text))
        }
    }
}

/// Undefined is the default, null counts nothing.
fn expected(given: &Value<'_>) -> rquickjs::Result<Option<Vec<(u16, u16)>>> {
    if given.is_undefined() {
        return Ok(Some(vec![EXPECTED]));
    }
    let flat: Option<Vec<u16>> = given.get()?;
    Ok(flat.map(|flat| {
        flat.chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect()
    }))
}

fn cookies(flat: Vec<String>) -> Vec<OwnCookie> {
    let mut cookies = Vec::with_capacity(flat.len() / 3);
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value), Some(replace)) = (flat.next(), flat.next(), flat.next()) {
        let replace = !replace.is_empty();
        cookies.push(OwnCookie {
            name,
            value,
            replace,
        });
    }
    cookies
}

/// Basic is what credentials in a URL mean anyway; the others are not here yet.
fn refuse_auth(ctx: &Ctx<'_>, auth: &Option<String>) -> rquickjs::Result<()> {
    match auth.as_deref() {
        None | Some("basic") => Ok(()),
        Some(other) => {
            let text = format!("auth {other:?} is not part of this version");
            Err(Exception::throw_message(ctx, &text))
        }
    }
}
