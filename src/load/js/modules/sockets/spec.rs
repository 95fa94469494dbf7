//! A socket as the script asked for it, read from the list that `websockets.js` and `ws.js` make.

use std::rc::Rc;

use cookie_store::{CookieStore, RawCookie};
use rquickjs::{Array, Ctx, Exception, Value};
use url::Url;

use super::super::own_tags;
use crate::load::client::websocket::{self, Wish};
use crate::load::client::{Address, Answer, Request};
use crate::load::js::host::Host;
use crate::load::js::modules::http::{Jar, jar_of};
use crate::load::js::tagging::OwnTags;

pub(super) struct Spec {
    /// As given: what the tags `url` and `name` say.
    pub(super) address: String,
    pub(super) request: Request,
    pub(super) wish: Wish,
    pub(super) tags: OwnTags,
    pub(super) jar: Jar,
}

impl Spec {
    /// `[url, [name, value, …], tags, [protocol, …], deflate, jar]`.
    pub(super) fn read<'js>(
        ctx: &Ctx<'js>,
        host: &Host,
        flat: &Array<'js>,
    ) -> rquickjs::Result<Spec> {
        let address: String = flat.get(0)?;
        let url = http_url(&address).map_err(|text| Exception::throw_message(ctx, &text))?;
        let run = host.run.as_ref().expect("a VM that runs has its run");
        let jar = jar_of(run, &flat.get(5)?)?;
        let mut headers = headers(ctx, flat.get(1)?)?;
        let given = |headers: &[(String, String)], wanted: &str| {
            let mut headers = headers.iter();
            headers.any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        let agent = &run.shared.settings.user_agent;
        if !agent.is_empty() && !given(&headers, "user-agent") {
            headers.push(("User-Agent".into(), agent.to_string()));
        }
        let cookies = cookies(&jar.borrow(), &url);
        if !cookies.is_empty() && !given(&headers, "cookie") {
            headers.push(("Cookie".into(), cookies));
        }
        Ok(Spec {
            address,
            request: websocket::request(address_of(ctx, &url)?, headers),
            wish: Wish {
                protocols: flat.get(3)?,
                deflate: flat.get(4)?,
            },
            tags: own_tags(ctx, &flat.get::<Value<'js>>(2)?)?,
            jar,
        })
    }

    /// Cookies of the answer go into the jar, as those of any other answer.
    pub(super) fn keep_cookies(&self, answer: &Answer) {
        let mut jar = self.jar.borrow_mut();
        for (name, value) in &answer.headers {
            if name.eq_ignore_ascii_case("set-cookie")
                && let Ok(cookie) = RawCookie::parse(value.clone())
            {
                // A cookie that the rules refuse (another domain) is not kept; that is no error.
                let _ = jar.insert_raw(&cookie, &self.request.address.url);
            }
        }
    }
}

fn address_of(ctx: &Ctx<'_>, url: &Url) -> rquickjs::Result<Rc<Address>> {
    let address = Address::parse(url.as_str());
    let address = address.map_err(|failure| Exception::throw_message(ctx, &failure.text))?;
    Ok(Rc::new(address))
}

/// Whether it is the address of a socket.
pub(super) fn is_address(text: &str) -> bool {
    http_url(text).is_ok()
}

/// The `http` or `https` form of a socket's address.
fn http_url(address: &str) -> Result<Url, String> {
    let url = match Url::parse(address) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err("WebSocket requires url with scheme ws or wss, but got \"\"".to_owned());
        }
        Err(error) => {
            let got = format!("got {address:?} which resulted in {error}");
            return Err(format!("WebSocket requires valid url, but {got}"));
        }
    };
    let scheme = match url.scheme() {
        "ws" => "http",
        "wss" => "https",
        other => {
            let wanted = "WebSocket requires url with scheme ws or wss";
            return Err(format!("{wanted}, but got {other:?}"));
        }
    };
    if let Some(fragment) = url.fragment().filter(|fragment| !fragment.is_empty()) {
        let wanted = "WebSocket requires no url fragment";
        return Err(format!("{wanted}, but got {fragment:?}"));
    }
    let rest = &url[url::Position::AfterScheme..];
    Url::parse(&format!("{scheme}{rest}")).map_err(|error| error.to_string())
}

fn headers(ctx: &Ctx<'_>, flat: Vec<String>) -> rquickjs::Result<Vec<(String, String)>> {
    let mut flat = flat.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let bad_value = value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        if name.is_empty() || !name.bytes().all(token) || bad_value {
            let text = format!("invalid header {name:?}");
            return Err(Exception::throw_message(ctx, &text));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn cookies(jar: &CookieStore, url: &Url) -> String {
    let pairs: Vec<String> = jar
        .get_request_values(url)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_sockets_or_refused_as_k6_does() {
        assert_eq!(
            http_url("wss://h:1/x?y").expect("it is valid").as_str(),
            "https://h:1/x?y"
        );
        assert_eq!(
            http_url("ws://h").expect("it is valid").as_str(),
            "http://h/"
        );
        let refused = |address: &str| http_url(address).expect_err("it is refused");
        assert!(refused("http://h").ends_with("scheme ws or wss, but got \"http\""));
        assert!(refused("nothing").ends_with("but got \"\""));
        assert!(refused("ws://h/#a").ends_with("no url fragment, but got \"a\""));
    }
}
