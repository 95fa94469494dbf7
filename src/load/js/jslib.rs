//! Our own implementations of widely used libraries of `https://jslib.k6.io`, so that scripts that
//! import them run offline. Written from their documentation; every version is served by one text.

use url::Url;

const HOST: &str = "jslib.k6.io";

/// Library and source. The name of its module is the address without the version.
const LIBRARIES: &[(&str, &str)] = &[
    // What several of them need.
    ("dchat:compare", include_str!("jslib/compare.js")),
    ("dchat:tracing", include_str!("jslib/tracing.js")),
    (
        "https://jslib.k6.io/formdata",
        include_str!("jslib/formdata.js"),
    ),
    (
        "https://jslib.k6.io/http-instrumentation-pyroscope",
        include_str!("jslib/http-instrumentation-pyroscope.js"),
    ),
    (
        "https://jslib.k6.io/http-instrumentation-tempo",
        include_str!("jslib/http-instrumentation-tempo.js"),
    ),
    ("https://jslib.k6.io/httpx", include_str!("jslib/httpx.js")),
    (
        "https://jslib.k6.io/k6-summary",
        include_str!("jslib/k6-summary.js"),
    ),
    (
        "https://jslib.k6.io/k6-testing",
        include_str!("jslib/k6-testing.js"),
    ),
    (
        "https://jslib.k6.io/k6-utils",
        include_str!("jslib/k6-utils.js"),
    ),
    (
        "https://jslib.k6.io/k6chaijs",
        include_str!("jslib/k6chaijs.js"),
    ),
    (
        "https://jslib.k6.io/papaparse",
        include_str!("jslib/papaparse.js"),
    ),
    ("https://jslib.k6.io/totp", include_str!("jslib/totp.js")),
    ("https://jslib.k6.io/url", include_str!("jslib/url.js")),
];

/// The name of our implementation of what stands at `address`.
pub(crate) fn known(address: &Url) -> Option<&'static str> {
    if address.host_str() != Some(HOST) {
        return None;
    }
    let library = address.path_segments()?.next()?;
    let known = LIBRARIES.iter().map(|(name, _)| *name);
    known
        .into_iter()
        .find(|name| name.rsplit('/').next() == Some(library))
}

/// The text of one of our implementations.
pub(crate) fn source(name: &str) -> Option<&'static str> {
    let found = LIBRARIES.iter().find(|(known, _)| *known == name);
    found.map(|(_, source)| *source)
}
