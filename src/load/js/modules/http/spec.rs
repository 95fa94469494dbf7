//! A request as the script asked for it, read from what `http.js` hands over.
//!
//! What is wrong with it is, as in k6, an answer rather than an exception: [`Refused`] where
//! nothing is sent or counted, [`Spec::problem`] where it counts as a failed request.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rquickjs::{Array, Coerced, Ctx, Object, Value};

use super::super::bytes::{go_type, text_of};
use super::super::own_tags;
use super::jars::Jar;
use crate::load::client::{Address, Coding, Failure};
use crate::load::js::ffi::{Opaque, body_bytes};
use crate::load::js::host::{Host, RunSide};
use crate::load::js::tagging::OwnTags;
use crate::load::options::duration;

/// k6's default timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(60);
/// `maxRedirects` where nobody says anything: then going over it is worth a warning.
const REDIRECTS_DEFAULT: u32 = 10;

/// Statuses that count as success where the script says nothing.
const EXPECTED: &[(u16, u16)] = &[(200, 399)];

/// A request as `ask` in `http.js` gives it.
pub(super) struct Asked<'js> {
    pub(super) method: Value<'js>,
    /// A string; `null` where the script gave no address.
    pub(super) target: Value<'js>,
    /// A string, a buffer or nothing; anything else is refused.
    pub(super) body: Value<'js>,
    /// `params.headers` and `params.tags`, as the script made them.
    pub(super) headers: Value<'js>,
    pub(super) tags: Value<'js>,
    /// Undefined, or a list of what is unusual: name, content type, expected statuses, timeout,
    /// redirects, type of the response, and what `extras` in `more.js` makes.
    pub(super) rest: Value<'js>,
}

impl<'js> Asked<'js> {
    /// From a list of the same.
    pub(super) fn from_list(list: &Array<'js>) -> rquickjs::Result<Asked<'js>> {
        Ok(Asked {
            method: list.get(0)?,
            target: list.get(1)?,
            body: list.get(2)?,
            headers: list.get(3)?,
            tags: list.get(4)?,
            rest: list.get(5)?,
        })
    }
}

/// What becomes of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyType {
    Text,
    Binary,
    None,
}

/// How a request shows who sends it, beside credentials in its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    /// Credentials in the URL are sent at once.
    Basic,
    Digest,
    Ntlm,
}

/// Statuses that count as success.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    Usual,
    Ranges(Vec<(u16, u16)>),
    /// Nothing is counted.
    Uncounted,
}

impl Expected {
    /// `None` where nothing is counted.
    pub(super) fn matches(&self, status: u16) -> Option<bool> {
        let ranges = match self {
            Expected::Usual => EXPECTED,
            Expected::Ranges(ranges) => ranges,
            Expected::Uncounted => return None,
        };
        let within = |(low, high): &(u16, u16)| (*low..=*high).contains(&status);
        Some(ranges.iter().any(within))
    }
}

/// A cookie of this request only.
#[derive(Clone, Debug)]
pub(super) struct OwnCookie {
    pub(super) name: String,
    pub(super) value: String,
    /// Instead of one of the same name in the jar.
    pub(super) replace: bool,
}

#[derive(Clone)]
pub(super) struct Spec {
    pub(super) method: Rc<str>,
    /// As given.
    pub(super) text: String,
    /// `None` with a problem only.
    pub(super) address: Option<Rc<Address>>,
    /// Why nothing can be sent.
    pub(super) problem: Option<Failure>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// Bytes of `body` that nobody else holds.
    pub(super) own_body_bytes: usize,
    /// Without `name`.
    pub(super) tags: OwnTags,
    pub(super) name: Option<String>,
    pub(super) timeout: Duration,
    pub(super) redirects_max: u32,
    /// Nobody chose `redirects_max`.
    pub(super) redirects_default: bool,
    pub(super) body_type: BodyType,
    pub(super) expected: Expected,
    pub(super) throw: bool,
    pub(super) auth: Auth,
    pub(super) cookies: Vec<OwnCookie>,
    pub(super) codings: Vec<Coding>,
    /// `None` is the VU's own.
    pub(super) jar: Option<Jar>,
}

/// A request that can't be understood: neither sent nor counted.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) text: String,
    pub(super) failure: Failure,
}

/// What reading gives: exceptions are those of the VM.
pub(super) type Read = rquickjs::Result<Result<Spec, Refused>>;

impl Spec {
    pub(super) fn read<'js>(ctx: &Ctx<'js>, host: &Host, asked: &Asked<'js>) -> Read {
        let run = host.run.as_ref().expect("a VM that runs has its run");
        let settings = &run.shared.settings;
        let Some(target) = asked.target.as_string() else {
            return refuse(String::new(), Failure::invalid_url("'#<nil>'"));
        };
        let text = target.to_string()?;
        let (address, mut problem) = match address(run, &text) {
            Ok(address) => (Some(address), None),
            Err(failure) if failure.code == 1020 => return refuse(text, failure),
            Err(failure) => (None, Some(failure)),
        };
        let method: String = asked.method.get()?;
        if method.is_empty() || !method.bytes().all(is_token) {
            let text = format!("net/http: invalid method {method:?}");
            problem.get_or_insert_with(|| Failure::new(1000, text));
        }
        let headers = headers(&asked.headers, &mut problem)?;
        let (body, own_body_bytes) = match body(&asked.body)? {
            Ok(body) => body,
            Err(why) => return refuse(text, Failure::new(0, why)),
        };
        let mut tags = own_tags(ctx, &asked.tags)?;
        // It travels beside the set.
        let named = tags.iter().position(|(key, _)| key == "name");
        let mut spec = Spec {
            method: method.into(),
            text,
            address,
            problem,
            headers,
            body,
            own_body_bytes,
            name: named.map(|place| tags.remove(place).1),
            tags,
            timeout: TIMEOUT,
            redirects_max: settings.redirects_max,
            redirects_default: settings.redirects_max == REDIRECTS_DEFAULT,
            body_type: if settings.discard_response_bodies {
                BodyType::None
            } else {
                BodyType::Text
            },
            expected: Expected::Usual,
            throw: settings.throw,
            auth: Auth::Basic,
            cookies: Vec::new(),
            codings: Vec::new(),
            jar: None,
        };
        match asked.rest.as_array() {
            None => Ok(Ok(spec)),
            Some(rest) => match spec.read_rest(rest)? {
                Ok(()) => Ok(Ok(spec)),
                Err(why) => refuse(spec.text, Failure::new(0, why)),
            },
        }
    }

    fn read_rest<'js>(&mut self, rest: &Array<'js>) -> rquickjs::Result<Result<(), String>> {
        if self.name.is_none() {
            self.name = rest.get(0)?;
        }
        let content_type: Option<String> = rest.get(1)?;
        if let Some(content_type) = content_type
            && !self
                .headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            let header = ("Content-Type".to_owned(), content_type);
            self.headers.insert(0, header);
        }
        match expected(&rest.get(2)?)? {
            Some(expected) => self.expected = expected,
            None => return Ok(Err("unsupported responseCallback".to_owned())),
        }
        match timeout(&rest.get(3)?)? {
            Ok(timeout) => self.timeout = timeout,
            Err(why) => return Ok(Err(why)),
        }
        if let Some(redirects) = rest.get::<Option<f64>>(4)? {
            self.redirects_max = redirects as u32;
            self.redirects_default = false;
        }
        match body_type(rest.get(5)?, self.body_type) {
            Ok(body_type) => self.body_type = body_type,
            Err(why) => return Ok(Err(why)),
        }
        match rest.get::<Option<Object<'js>>>(6)? {
            None => Ok(Ok(())),
            Some(extras) => self.read_extras(&extras),
        }
    }

    /// What `extras` in `more.js` makes.
    fn read_extras(&mut self, extras: &Object<'_>) -> rquickjs::Result<Result<(), String>> {
        let flat: Option<Vec<String>> = extras.get("cookies")?;
        self.cookies = cookies(flat.unwrap_or_default());
        let auth: Option<String> = extras.get("auth")?;
        self.auth = match auth.as_deref() {
            Some("digest") => Auth::Digest,
            Some("ntlm") => Auth::Ntlm,
            _ => Auth::Basic,
        };
        let throw: Option<bool> = extras.get("throw")?;
        self.throw = throw.unwrap_or(self.throw);
        let jar: Value<'_> = extras.get("jar")?;
        if !jar.is_null() && !jar.is_undefined() {
            self.jar = Some(Opaque::lend(&jar, Jar::clone)?);
        }
        let codings: Option<String> = extras.get("compression")?;
        for name in codings.iter().flat_map(|list| list.split(',')) {
            let name = name.trim();
            match Coding::parse(name) {
                Some(coding) => self.codings.push(coding),
                None if codings.as_deref() == Some("") => {}
                None => {
                    return Ok(Err(format!(
                        "unknown compression algorithm {name}, \
                         supported algorithms are [gzip deflate zstd br]"
                    )));
                }
            }
        }
        Ok(Ok(()))
    }
}

fn refuse(text: String, failure: Failure) -> Read {
    Ok(Err(Refused { text, failure }))
}

/// Parsed once per worker and text.
fn address(run: &RunSide, text: &str) -> Result<Rc<Address>, Failure> {
    run.shared.addresses.parse(text)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn headers<'js>(
    given: &Value<'js>,
    problem: &mut Option<Failure>,
) -> rquickjs::Result<Vec<(String, String)>> {
    let Some(given) = given.as_object() else {
        return Ok(Vec::new());
    };
    let mut pairs = Vec::with_capacity(4);
    for entry in given.props::<String, Coerced<String>>() {
        let (name, Coerced(value)) = entry?;
        // What could end the header would let a script's data write the request.
        if name.is_empty() || !name.bytes().all(is_token) {
            let text = format!("net/http: invalid header field name {name:?}");
            problem.get_or_insert_with(|| Failure::new(1000, text));
        } else if value
            .bytes()
            .any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
        {
            let text = format!("net/http: invalid header field value for {name:?}");
            problem.get_or_insert_with(|| Failure::new(1000, text));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// The body, and how many of its bytes are its own: files are shared by all VUs.
fn body(payload: &Value<'_>) -> rquickjs::Result<Result<(Bytes, usize), String>> {
    if payload.is_string() {
        let text = text_of(payload)?;
        let own = text.len();
        return Ok(Ok((text.into(), own)));
    }
    if payload.is_null() || payload.is_undefined() {
        return Ok(Ok((Bytes::new(), 0)));
    }
    let buffer = payload
        .as_object()
        .and_then(|object| object.as_array_buffer());
    Ok(match buffer {
        Some(buffer) => {
            let body = body_bytes(payload.ctx(), buffer);
            let given = buffer.as_bytes().unwrap_or_default();
            let is_shared = std::ptr::eq(given.as_ptr(), body.as_ptr());
            let own = if is_shared { 0 } else { body.len() };
            Ok((body, own))
        }
        None => Err(format!("unknown request body type {}", go_type(payload))),
    })
}

/// Milliseconds, or a text like `1m30s`.
fn timeout(given: &Value<'_>) -> rquickjs::Result<Result<Duration, String>> {
    if given.is_null() || given.is_undefined() {
        return Ok(Ok(TIMEOUT));
    }
    let (read, shown) = match (given.as_number(), given.as_string()) {
        (Some(ms), _) => (duration::from_ms(ms), ms.to_string()),
        (_, Some(text)) => {
            let text = text.to_string()?;
            (duration::parse(&text), text)
        }
        _ => (None, go_type(given).to_owned()),
    };
    Ok(read.ok_or_else(|| {
        format!("invalid timeout value: {shown:?} is neither milliseconds nor like '1m30s'")
    }))
}

fn body_type(given: Option<String>, usual: BodyType) -> Result<BodyType, String> {
    match given.as_deref() {
        None => Ok(usual),
        Some("text") => Ok(BodyType::Text),
        Some("binary") => Ok(BodyType::Binary),
        Some("none") => Ok(BodyType::None),
        Some(other) => Err(format!("{other} does not belong to ResponseType values")),
    }
}

/// Undefined is the default, null counts nothing, false is no callback.
fn expected(given: &Value<'_>) -> rquickjs::Result<Option<Expected>> {
    if given.is_undefined() {
        return Ok(Some(Expected::Usual));
    }
    if given.is_bool() {
        return Ok(None);
    }
    let flat: Option<Vec<f64>> = given.get()?;
    Ok(Some(flat.map_or(Expected::Uncounted, |flat| {
        // Casts of numbers saturate: no status is beyond.
        let pairs = flat.chunks_exact(2);
        Expected::Ranges(pairs.map(|pair| (pair[0] as u16, pair[1] as u16)).collect())
    })))
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
