//! Names of requests as series know them: the path with its ids cut out, so that a run has tens of
//! series, not thousands. Pure.
//!
//! A name that the script gave with a `name` tag stays as it is. Otherwise the URL becomes
//! its path, in which segments that look like ids read `{id}`, and the names of its query parameters:
//! `http://r:7071/api/v1/messages/0192…?user=bob&limit=5` is `/api/v1/messages/{id}?user&limit`. The
//! host stands before the path if it isn't the first one that the run called. Credentials,
//! fragments and query values are never kept.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use url::Url;

/// Names remembered; with ids in every URL the memory would grow for ever.
const REMEMBERED_MAX: usize = 4_096;
/// Longest name kept, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Segments of hexadecimal digits from this length on are ids.
const HEX_ID_MIN: usize = 8;
/// Segments with a digit from this length on are ids, whatever else they have.
const TOKEN_ID_MIN: usize = 20;

/// Turns names and URLs of samples into names of series.
#[derive(Debug, Default)]
pub(crate) struct Names {
    remembered: HashMap<Arc<str>, Arc<str>>,
    /// Scheme, host and port of the first URL.
    origin: Option<String>,
}

impl Names {
    /// `name` and `url` as the sample has them; k6 sets the name to the URL where the script gave
    /// none.
    pub(crate) fn of(&mut self, name: Option<&Arc<str>>, url: Option<&Arc<str>>) -> Arc<str> {
        let Some(text) = name.or(url) else {
            return "".into();
        };
        if url.is_some_and(|url| url != text) {
            return cut(text);
        }
        if let Some(known) = self.remembered.get(text) {
            return known.clone();
        }
        let series_name: Arc<str> = match Url::parse(text) {
            Ok(url) if url.has_host() => self.template(&url).into(),
            _ => cut(text),
        };
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(text.clone(), series_name.clone());
        series_name
    }

    fn template(&mut self, url: &Url) -> String {
        let origin = url.origin().ascii_serialization();
        let first = self.origin.get_or_insert_with(|| origin.clone());
        let mut name = String::new();
        if *first != origin {
            name.push_str(&origin);
        }
        for segment in url.path().split('/').skip(1) {
            name.push('/');
            name.push_str(if is_id(segment) { "{id}" } else { segment });
        }
        let mut mark = '?';
        for (key, _) in url.query_pairs() {
            let _ = write!(name, "{mark}{key}");
            mark = '&';
        }
        cut(&name).to_string()
    }
}

/// UUIDs, numbers, hashes and long tokens: what differs from request to request.
fn is_id(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let all = |fits: fn(&u8) -> bool| segment.bytes().all(|byte| fits(&byte));
    let is_number = digits > 0 && digits == segment.len();
    let is_hex = segment.len() >= HEX_ID_MIN
        && digits > 0
        && all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    // "user-17", "m_0042_7": a counter behind a word.
    let counted = segment
        .rsplit_once(['-', '_'])
        .is_some_and(|(_, last)| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
    is_number || is_hex || counted || (segment.len() >= TOKEN_ID_MIN && digits > 0)
}

fn cut(name: &str) -> Arc<str> {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &mut Names, url: &str) -> String {
        let url: Arc<str> = url.into();
        names.of(Some(&url), Some(&url)).to_string()
    }

    #[test]
    fn ids_and_query_values_are_cut_out() {
        let mut names = Names::default();
        for (url, name) in [
            ("http://u:p@r:7071/health", "/health"),
            (
                "http://r:7071/api/v1/messages/0192f0c4-8a3b-7d10-8aaa-0123456789ab",
                "/api/v1/messages/{id}",
            ),
            (
                "http://r:7071/api/v1/messages?user=bob&limit=5#x",
                "/api/v1/messages?user&limit",
            ),
            ("http://r:7071/users/17/", "/users/{id}/"),
            ("http://r:7071/box/user-17", "/box/{id}"),
            ("http://r:7071/api/v2/feed", "/api/v2/feed"),
            ("http://other:1/health", "http://other:1/health"),
        ] {
            assert_eq!(of(&mut names, url), name, "{url}");
        }
    }

    #[test]
    fn a_name_that_the_script_gave_stays() {
        let (name, url): (Arc<str>, Arc<str>) = ("send 17".into(), "http://r/17".into());
        let mut names = Names::default();
        assert_eq!(&*names.of(Some(&name), Some(&url)), "send 17");
        assert_eq!(&*names.of(None, Some(&url)), "/{id}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut names = Names::default();
        for n in 0..3 * REMEMBERED_MAX {
            assert_eq!(of(&mut names, &format!("http://r/{n}")), "/{id}");
        }
        assert!(names.remembered.len() <= REMEMBERED_MAX);
    }
}
