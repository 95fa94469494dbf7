//! The results viewer: plain files of `assets/`, embedded in release builds and read from disk in
//! debug builds, so that edit and reload is the whole toolchain.
//!
//! Everything is revalidated by ETag, which is the content's hash. The Content-Security-Policy
//! allows this server's own files and its API, nothing else and nothing inline.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Response;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// No inline script or style, no other host, no frame, no form that leaves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// `GET /` and `GET /index.html`
pub(crate) fn page(call: &Call) -> Result<Response, ApiError> {
    file(call, "index.html")
}

/// `GET /assets/{file}`
pub(crate) fn asset(call: &Call) -> Result<Response, ApiError> {
    file(call, call.parameter())
}

/// The names of all files.
pub(crate) fn names() -> impl Iterator<Item = String> {
    Assets::iter().map(|name| name.into_owned())
}

/// A file as text; `None` where there is no such file.
pub(crate) fn text(name: &str) -> Option<String> {
    String::from_utf8(Assets::get(name)?.data.into_owned()).ok()
}

fn file(call: &Call, name: &str) -> Result<Response, ApiError> {
    let path = || format!("/assets/{name}");
    // Debug builds read from disk: no name may lead out of the directory.
    if !is_plain(name) {
        return Err(ApiError::not_found(&path()));
    }
    let file = Assets::get(name).ok_or_else(|| ApiError::not_found(&path()))?;
    let etag = etag(&file);
    let known = call
        .header(IF_NONE_MATCH)
        .is_some_and(|tags| matches_etag(tags, &etag));
    let mut response = if known {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Bytes::from(file.data.into_owned()).into())
    };
    let headers = response.headers_mut();
    let etag = HeaderValue::try_from(etag).expect("hexadecimal digits are header text");
    headers.insert(ETAG, etag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

fn is_plain(name: &str) -> bool {
    !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let digits: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{digits}\"")
}

/// RFC 9110 §13.1.2: a list of tags, weak comparison, or `*`.
fn matches_etag(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        assert!(is_plain("viewer.js"));
        for name in ["../Cargo.toml", "a/b", ".git", "a\\b", "%2e"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn etags_compare_weakly_and_in_lists() {
        assert!(matches_etag("\"a\", W/\"b\"", "\"b\""));
        assert!(matches_etag("*", "\"b\""));
        assert!(!matches_etag("\"a\"", "\"b\""));
    }

    #[test]
    fn every_asset_has_a_type_and_nothing_inline() {
        for name in Assets::iter() {
            assert_ne!(content_type(&name), "application/octet-stream", "{name}");
            let file = Assets::get(&name).expect("listed files exist");
            let text = String::from_utf8(file.data.into_owned()).expect("assets are text");
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!text.contains(banned), "{name} uses {banned}");
            }
            if name.ends_with(".html") {
                assert!(!text.contains(" style=") && !text.contains(" on"), "{name}");
            }
        }
    }
}
