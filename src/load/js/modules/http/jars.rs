//! Cookie jars: a VU's own, which each iteration finds empty, and those that its script makes.
//!
//! A script's jar lives as long as its JavaScript object.

use std::cell::RefCell;
use std::rc::Rc;

use cookie_store::{CookieStore, RawCookie};
use rquickjs::{Coerced, Ctx, Exception, Object, Value};
use url::Url;

use super::super::{must_run, set};
use crate::load::js::ffi::Opaque;
use crate::load::js::host::{Host, RunSide};

/// Cookies of one jar; the oldest state goes when a server makes up more.
const COOKIES_MAX: usize = 3_000;

pub(crate) type Jar = Rc<RefCell<CookieStore>>;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    set(bridge, "newJar", |ctx: Ctx<'js>| {
        Opaque::wrap(&ctx, Jar::default())
    })?;
    let vm = host.clone();
    set(bridge, "mustRun", move |ctx: Ctx<'js>, what: String| {
        must_run(&ctx, &vm, &what)
    })?;
    let vm = host.clone();
    let cookies = move |ctx: Ctx<'js>, jar: Value<'js>, url: String| {
        let (jar, url) = (kept(&ctx, &vm, &jar)?, parse(&ctx, &url)?);
        let jar = jar.borrow();
        let pairs = pairs(&jar, &url);
        Ok::<_, rquickjs::Error>(
            pairs
                .map(|(name, value)| vec![name.to_owned(), value.to_owned()])
                .collect::<Vec<_>>(),
        )
    };
    set(bridge, "jarCookies", cookies)?;
    let vm = host.clone();
    let put = move |ctx: Ctx<'js>,
                    jar: Value<'js>,
                    url: String,
                    name: String,
                    value: String,
                    given: Object<'js>| {
        let (jar, url) = (kept(&ctx, &vm, &jar)?, parse(&ctx, &url)?);
        let cookie = made(&ctx, name, value, &given)?;
        put(&mut jar.borrow_mut(), &cookie, &url);
        Ok::<_, rquickjs::Error>(true)
    };
    set(bridge, "jarSet", put)?;
    let vm = host.clone();
    let delete = move |ctx: Ctx<'js>, jar: Value<'js>, url: String, name: Option<String>| {
        let (jar, url) = (kept(&ctx, &vm, &jar)?, parse(&ctx, &url)?);
        remove(&mut jar.borrow_mut(), &url, name.as_deref());
        Ok::<_, rquickjs::Error>(())
    };
    set(bridge, "jarDelete", delete)
}

/// Keeps a cookie of an answer from `url`, as far as the rules allow it.
pub(super) fn put(jar: &mut CookieStore, cookie: &RawCookie<'_>, url: &Url) {
    if jar.iter_any().count() >= COOKIES_MAX {
        jar.clear();
    }
    // A cookie that the rules refuse (another domain) is not kept; that is no error.
    let _ = jar.insert_raw(cookie, url);
}

/// What a request to `url` carries: longest path first, as RFC 6265 §5.4 wants it.
pub(super) fn pairs<'j>(
    jar: &'j CookieStore,
    url: &Url,
) -> impl Iterator<Item = (&'j str, &'j str)> {
    let mut cookies = jar.matches(url);
    cookies.sort_by(|a, b| {
        let order = |cookie: &cookie_store::Cookie<'_>| String::from(&cookie.path).len();
        order(b).cmp(&order(a)).then_with(|| a.name().cmp(b.name()))
    });
    cookies
        .into_iter()
        .map(|cookie| (cookie.name(), cookie.value()))
}

/// The jar behind a script's object; `null` stands for the VU's own.
fn kept(ctx: &Ctx<'_>, host: &Host, jar: &Value<'_>) -> rquickjs::Result<Jar> {
    if jar.is_null() {
        must_run(ctx, host, "Using cookie jars")?;
        let run = host.run.as_ref().expect("a VM that runs has its run");
        return Ok(run.jar.clone());
    }
    Opaque::lend(jar, Jar::clone)
}

/// As [`kept`], for modules that have checked that there is a run.
pub(crate) fn jar_of(run: &RunSide, jar: &Value<'_>) -> rquickjs::Result<Jar> {
    if jar.is_null() || jar.is_undefined() {
        return Ok(run.jar.clone());
    }
    Opaque::lend(jar, Jar::clone)
}

/// A cookie from a script's words; the keys of `given` are in lower case.
fn made(
    ctx: &Ctx<'_>,
    name: String,
    value: String,
    given: &Object<'_>,
) -> rquickjs::Result<RawCookie<'static>> {
    let text = |key: &str| -> rquickjs::Result<Option<String>> {
        let given: Value<'_> = given.get(key)?;
        if given.is_undefined() {
            return Ok(None);
        }
        Ok(Some(given.get::<Coerced<String>>()?.0))
    };
    let is = |key: &str| Ok::<_, rquickjs::Error>(given.get::<_, Coerced<bool>>(key)?.0);
    let mut attributes = String::new();
    if let Some(expires) = text("expires")?.filter(|expires| !expires.is_empty()) {
        attributes = format!("x=; Expires={expires}");
        let parsed = RawCookie::parse(attributes.as_str());
        if parsed.is_ok_and(|cookie| cookie.expires_datetime().is_none()) {
            let text = format!("unable to parse \"expires\" date string \"{expires}\"");
            return Err(Exception::throw_message(ctx, &text));
        }
    }
    let expires = RawCookie::parse(attributes)
        .ok()
        .and_then(|cookie| cookie.expires());
    let mut cookie = RawCookie::new(name, value);
    if let Some(expires) = expires {
        cookie.set_expires(expires);
    }
    cookie.set_secure(is("secure")?);
    cookie.set_http_only(is("http_only")?);
    if let Some(domain) = text("domain")? {
        cookie.set_domain(domain);
    }
    if let Some(path) = text("path")? {
        cookie.set_path(path);
    }
    if let Some(seconds) = text("max_age")?.and_then(|age| age.parse::<f64>().ok())
        && seconds as i64 != 0
    {
        let with_age = format!("x=; Max-Age={}", seconds as i64);
        let age = RawCookie::parse(with_age)
            .ok()
            .and_then(|cookie| cookie.max_age());
        cookie.set_max_age(age);
    }
    Ok(cookie)
}

/// Removes the cookies that a request to `url` would carry, all or those of one name.
fn remove(jar: &mut CookieStore, url: &Url, name: Option<&str>) {
    let places: Vec<(String, String, String)> = jar
        .matches(url)
        .into_iter()
        .filter(|cookie| name.is_none_or(|name| cookie.name() == name))
        .map(|cookie| {
            let domain = String::from(&cookie.domain);
            (domain, String::from(&cookie.path), cookie.name().to_owned())
        })
        .collect();
    for (domain, path, name) in places {
        jar.remove(&domain, &path, &name);
    }
}

fn parse(ctx: &Ctx<'_>, url: &str) -> rquickjs::Result<Url> {
    Url::parse(url).map_err(|error| {
        let text = format!("invalid URL {url:?}: {error}");
        Exception::throw_message(ctx, &text)
    })
}
