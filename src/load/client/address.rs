//! A request's address: what goes onto the wire and into tags, as the script wrote it.
//!
//! `url` would tidy addresses up (`http://h` becomes `http://h/`, `/a/../b` becomes `/b`), but k6
//! sends and reports them as they are; so the text is kept, and only what may not stand in a
//! request line is percent-encoded.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use url::Url;

use super::Failure;

/// Parsed once, shared by all that handle the request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// For host, port, joining and cookies.
    pub(crate) url: Url,
    /// Path and query of the request line.
    pub(crate) target: String,
    /// Value of `Host`.
    pub(crate) authority: String,
    /// Scheme, host and port: what connections are kept by.
    pub(crate) origin: String,
    /// In full, credentials included: `response.url`.
    pub(crate) text: Arc<str>,
    /// In full with credentials hidden: for tags and logs. The same as `text` without any.
    pub(crate) shown: Arc<str>,
}

/// Addresses parsed lately: scripts ask for the same ones again and again.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    known: RefCell<HashMap<Box<str>, Rc<Address>>>,
}

/// Addresses remembered per worker.
const ADDRESSES_MAX: usize = 1_024;

impl AddressBook {
    /// # Errors
    /// As [`Address::parse`].
    pub(crate) fn parse(&self, text: &str) -> Result<Rc<Address>, Failure> {
        if let Some(known) = self.known.borrow().get(text) {
            return Ok(known.clone());
        }
        let address = Rc::new(Address::parse(text)?);
        let mut known = self.known.borrow_mut();
        if known.len() >= ADDRESSES_MAX {
            known.clear();
        }
        known.insert(text.into(), address.clone());
        Ok(address)
    }
}

impl Address {
    /// # Errors
    /// Code 1020: no URL at all. Code 1000: one that HTTP can't be spoken with; k6 counts such a
    /// request.
    pub(crate) fn parse(text: &str) -> Result<Address, Failure> {
        let unparsable = |reason: &str| Failure::invalid_url(format!("parse {text:?}: {reason}"));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(unparsable("net/url: invalid control character in URL"));
        }
        let Some((scheme, rest)) = split_scheme(text).map_err(unparsable)? else {
            return Err(Failure::new(1000, "unsupported protocol scheme \"\""));
        };
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            let text = format!("unsupported protocol scheme {scheme:?}");
            return Err(Failure::new(1000, text));
        }
        let no_host = || Failure::new(1000, "http: no Host in request URL");
        let rest = rest.strip_prefix("//").ok_or_else(no_host)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (place, after) = rest.split_at(end);
        let (user, authority) = match place.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, place),
        };
        if authority.is_empty() || authority.starts_with(':') {
            return Err(no_host());
        }
        if let Some(bad) = authority.chars().find(|c| " \"<>\\^`{|}".contains(*c)) {
            return Err(unparsable(&format!(
                "invalid character {:?} in host name",
                bad.to_string()
            )));
        }
        let (without_fragment, fragment) = match after.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (after, None),
        };
        let (path, query) = match without_fragment.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (without_fragment, None),
        };
        if let Some(at) = broken_escape(path) {
            let shown: String = path[at..].chars().take(3).collect();
            return Err(unparsable(&format!("invalid URL escape {shown:?}")));
        }
        let url = Url::parse(text).map_err(|error| unparsable(&error.to_string()))?;
        let host = url.host_str().ok_or_else(no_host)?;
        let port = url.port_or_known_default().unwrap_or_default();
        let origin = format!("{scheme}://{host}:{port}");
        let path = encoded(path);
        let mut tail = path.to_string();
        if let Some(query) = query {
            tail.push('?');
            tail.push_str(&encoded(query));
        }
        let target = if path.is_empty() {
            format!("/{tail}")
        } else {
            tail.clone()
        };
        if let Some(fragment) = fragment {
            tail.push('#');
            tail.push_str(fragment);
        }
        let full = |user: Option<&str>| match user {
            Some(user) => format!("{scheme}://{user}@{authority}{tail}"),
            None => format!("{scheme}://{authority}{tail}"),
        };
        let text: Arc<str> = full(user).into();
        let hidden = user.map(|user| {
            if user.contains(':') {
                "****:****"
            } else {
                "****"
            }
        });
        Ok(Address {
            shown: hidden.map_or_else(|| text.clone(), |hidden| full(Some(hidden)).into()),
            text,
            authority: authority.to_owned(),
            target,
            origin,
            url,
        })
    }

    /// Where a `Location` leads to from here.
    pub(crate) fn join(&self, location: &str) -> Result<Address, Failure> {
        let bad = |reason: &dyn std::fmt::Display| {
            let text = format!("failed to parse Location header {location:?}: {reason}");
            Failure::new(1000, text)
        };
        if location.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(bad(&"net/url: invalid control character in URL"));
        }
        match split_scheme(location) {
            Ok(Some((_, rest))) if rest.starts_with("//") => Address::parse(location),
            _ => {
                let url = self.url.join(location).map_err(|error| bad(&error))?;
                Address::parse(url.as_str())
            }
        }
    }

    /// The same place without its credentials.
    pub(crate) fn without_credentials(&self) -> Address {
        let mut url = self.url.clone();
        // Both fail only for URLs that can't have credentials.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let text: Arc<str> = match self.text.split_once('@') {
            Some((_, rest)) if self.text != self.shown => {
                format!("{}://{rest}", url.scheme()).into()
            }
            _ => self.text.clone(),
        };
        Address {
            url,
            target: self.target.clone(),
            authority: self.authority.clone(),
            origin: self.origin.clone(),
            shown: text.clone(),
            text,
        }
    }
}

/// Scheme and what follows its colon; `None` for a relative address.
fn split_scheme(text: &str) -> Result<Option<(&str, &str)>, &'static str> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme"),
            b':' => return Ok(Some((&text[..at], &text[at + 1..]))),
            b'/' | b'?' | b'#' => return Ok(None),
            _ => {
                let first = text.split(['/', '?', '#']).next().unwrap_or_default();
                if first.contains(':') {
                    return Err("first path segment in URL cannot contain colon");
                }
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Where a `%` is not followed by two hexadecimal digits.
fn broken_escape(path: &str) -> Option<usize> {
    let bytes = path.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    (0..bytes.len()).find(|&at| bytes[at] == b'%' && !(is_hex(at + 1) && is_hex(at + 2)))
}

/// With what may not stand in a request line percent-encoded.
fn encoded(part: &str) -> std::borrow::Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`');
    if part.bytes().all(is_plain) {
        return part.into();
    }
    let mut text = String::with_capacity(part.len() + 16);
    for byte in part.bytes() {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("%{byte:02X}"));
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        Address::parse(text).expect("an address")
    }

    #[test]
    fn addresses_stay_as_they_were_written() {
        let bare = parse("http://Host.test:80");
        assert_eq!((&*bare.text, &*bare.target), ("http://Host.test:80", "/"));
        assert_eq!(
            (&*bare.authority, &*bare.origin),
            ("Host.test:80", "http://host.test:80")
        );
        let dots = parse("https://h/a/../b?x=1&y=%20#part");
        assert_eq!(dots.target, "/a/../b?x=1&y=%20");
        assert_eq!(&*dots.text, "https://h/a/../b?x=1&y=%20#part");
        assert_eq!(parse("http://h/ü b?q=ä").target, "/%C3%BC%20b?q=%C3%A4");
        assert_eq!(parse("http://h?x").target, "/?x");
    }

    #[test]
    fn credentials_are_hidden_and_removed() {
        let full = parse("http://al:s3@h/x");
        assert_eq!(
            (&*full.shown, &*full.text),
            ("http://****:****@h/x", "http://al:s3@h/x")
        );
        assert_eq!(&*full.without_credentials().text, "http://h/x");
        assert_eq!(&*parse("http://al@h/x").shown, "http://****@h/x");
    }

    #[test]
    fn what_is_no_address_says_why_as_k6_does() {
        let failure = |text: &str| {
            let failure = Address::parse(text).expect_err(text);
            (failure.code, failure.text)
        };
        let (code, text) = failure("https:// test.k6.io");
        let said =
            r#"invalid URL: parse "https:// test.k6.io": invalid character " " in host name"#;
        assert_eq!((code, &*text), (1020, said));
        let missing = (1000, r#"unsupported protocol scheme """#.to_owned());
        assert_eq!(failure("dafsgdhfjg.com/"), missing);
        assert_eq!(failure("some://example.com").0, 1000);
        assert_eq!(failure("http://h:port/").0, 1020);
        assert_eq!(failure("http://h/%zz").0, 1020);
        assert_eq!(failure("http:///x").0, 1000);
    }

    #[test]
    fn locations_lead_on() {
        let from = parse("http://h:1/a/b?x");
        assert_eq!(
            from.join("c").expect("relative").text.as_ref(),
            "http://h:1/a/c"
        );
        assert_eq!(
            from.join("http://other.test")
                .expect("absolute")
                .text
                .as_ref(),
            "http://other.test"
        );
        assert_eq!(
            from.join("//o/p").expect("without scheme").text.as_ref(),
            "http://o/p"
        );
        let bad = from.join("h\t:/").expect_err("a tab");
        assert!(
            bad.text
                .starts_with(r#"failed to parse Location header "h\t:/": "#),
            "{}",
            bad.text
        );
    }
}
