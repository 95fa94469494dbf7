//! Host side of our `URL` and `URLSearchParams`: parsing and changing by the WHATWG standard.

use std::rc::Rc;

use rquickjs::{Ctx, Object};
use url::{Position, Url, form_urlencoded, quirks};

use super::set;
use crate::load::js::host::Host;

pub(super) fn install<'js>(bridge: &Object<'js>, _host: &Rc<Host>) -> rquickjs::Result<()> {
    let parse = |ctx: Ctx<'js>, text: String, base: Option<String>| {
        let parsed = match base {
            None => Url::parse(&text),
            Some(base) => Url::parse(&base).and_then(|base| base.join(&text)),
        };
        parsed.ok().map(|url| parts(&ctx, &url)).transpose()
    };
    set(bridge, "parse", parse)?;
    let change = |ctx: Ctx<'js>, href: String, part: String, value: String| {
        let mut url = Url::parse(&href).ok()?;
        // What is invalid changes nothing, as the standard wants.
        let _ = match part.as_str() {
            "protocol" => quirks::set_protocol(&mut url, &value),
            "username" => quirks::set_username(&mut url, &value),
            "password" => quirks::set_password(&mut url, &value),
            "host" => quirks::set_host(&mut url, &value),
            "hostname" => quirks::set_hostname(&mut url, &value),
            "port" => quirks::set_port(&mut url, &value),
            "pathname" => {
                quirks::set_pathname(&mut url, &value);
                Ok(())
            }
            "search" => {
                quirks::set_search(&mut url, &value);
                Ok(())
            }
            _ => {
                quirks::set_hash(&mut url, &value);
                Ok(())
            }
        };
        Some(parts(&ctx, &url))
    };
    set(bridge, "change", move |ctx, href, part, value| {
        change(ctx, href, part, value).transpose()
    })?;
    set(bridge, "decodeForm", |text: String| -> Vec<Vec<String>> {
        form_urlencoded::parse(text.as_bytes())
            .map(|(name, value)| vec![name.into_owned(), value.into_owned()])
            .collect()
    })?;
    set(bridge, "encodeForm", |text: String| -> String {
        form_urlencoded::byte_serialize(text.as_bytes()).collect()
    })
}

/// What `URL` shows, by its names.
fn parts<'js>(ctx: &Ctx<'js>, url: &Url) -> rquickjs::Result<Object<'js>> {
    let parts = Object::new(ctx.clone())?;
    parts.set("href", url.as_str())?;
    parts.set("origin", quirks::origin(url))?;
    parts.set("protocol", quirks::protocol(url))?;
    parts.set("username", url.username())?;
    parts.set("password", url.password().unwrap_or(""))?;
    parts.set("host", quirks::host(url))?;
    parts.set("hostname", quirks::hostname(url))?;
    parts.set("port", quirks::port(url))?;
    parts.set("pathname", &url[Position::BeforePath..Position::AfterPath])?;
    parts.set("search", quirks::search(url))?;
    parts.set("hash", quirks::hash(url))?;
    Ok(parts)
}
