//! Host side of `http.CookieJar`: a VU's own jar (number 0) and those that its script makes.

use std::rc::Rc;

use cookie_store::CookieStore;
use rquickjs::function::Opt;
use rquickjs::{Ctx, Exception, Object};
use url::Url;

use super::{must_run, set};
use crate::load::js::host::Host;

/// Jars of one VU; an iteration starts with one again.
const JARS_MAX: usize = 256;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(bridge, "newJar", move |ctx: Ctx<'js>| {
        with_jars(&ctx, &vm, |jars| {
            if jars.len() >= JARS_MAX {
                return Err(Exception::throw_range(&ctx, "too many cookie jars"));
            }
            jars.push(CookieStore::default());
            Ok(jars.len() - 1)
        })
    })?;
    let vm = host.clone();
    let cookies = move |ctx: Ctx<'js>, jar: usize, url: String| {
        let url = parse(&ctx, &url)?;
        with_jars(&ctx, &vm, |jars| {
            let pairs: Vec<Vec<String>> = jars.get(jar).map_or_else(Vec::new, |jar| {
                jar.get_request_values(&url)
                    .map(|(name, value)| vec![name.to_owned(), value.to_owned()])
                    .collect()
            });
            Ok(pairs)
        })
    };
    set(bridge, "jarCookies", cookies)?;
    let vm = host.clone();
    let put = move |ctx: Ctx<'js>, jar: usize, url: String, cookie: String| {
        let url = parse(&ctx, &url)?;
        with_jars(&ctx, &vm, |jars| {
            Ok(jars
                .get_mut(jar)
                .is_some_and(|jar| jar.parse(&cookie, &url).is_ok()))
        })
    };
    set(bridge, "jarSet", put)?;
    let vm = host.clone();
    let delete = move |ctx: Ctx<'js>, jar: usize, url: String, name: Opt<Option<String>>| {
        let url = parse(&ctx, &url)?;
        with_jars(&ctx, &vm, |jars| {
            if let Some(jar) = jars.get_mut(jar) {
                remove(jar, &url, name.0.flatten().as_deref());
            }
            Ok(())
        })
    };
    set(bridge, "jarDelete", delete)
}

fn with_jars<T>(
    ctx: &Ctx<'_>,
    host: &Host,
    work: impl FnOnce(&mut Vec<CookieStore>) -> rquickjs::Result<T>,
) -> rquickjs::Result<T> {
    must_run(ctx, host, "Using cookie jars")?;
    let run = host.run.as_ref().expect("a VM that runs has its run");
    work(&mut run.jars.borrow_mut())
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
