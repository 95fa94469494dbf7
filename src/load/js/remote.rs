//! Modules from the net: fetched once over TLS, kept in a cache directory.
//!
//! Only VU 0 fetches, while the script loads, on a thread of its own: the VU's stack is too small
//! for a TLS handshake.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use url::Url;

use crate::http_client::Client;

/// Time for one file, as in k6.
const FETCH_TIME_MAX: Duration = Duration::from_secs(60);
/// Redirects on the way to one file.
const REDIRECTS_MAX: usize = 10;

/// Whether and with what help modules are fetched.
#[derive(Clone, Debug)]
pub enum Remote {
    /// Only what the binary or the cache holds.
    Forbidden,
    /// `None` keeps nothing.
    Allowed { cache: Option<PathBuf> },
}

impl Remote {
    /// With the user's cache directory.
    pub fn allowed() -> Remote {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        Remote::Allowed {
            cache: base.map(|base| base.join("dchat").join("imports")),
        }
    }
}

/// The content of `address`, from the cache if it is there.
pub(crate) fn fetch(address: &str, remote: &Remote) -> io::Result<Vec<u8>> {
    let Remote::Allowed { cache } = remote else {
        return Err(io::Error::other(
            "modules from the net are forbidden (--no-remote)\n\
             hint: keep a copy beside the script and import that",
        ));
    };
    let kept = cache.as_ref().map(|cache| cache.join(file_name(address)));
    if let Some(kept) = &kept
        && let Ok(content) = std::fs::read(kept)
    {
        return Ok(content);
    }
    let url = Url::parse(address).map_err(io::Error::other)?;
    let fetching = std::thread::Builder::new()
        .name("import".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(download(url))
        })?;
    let content = fetching
        .join()
        .map_err(|_| io::Error::other("the download panicked"))??;
    if let Some(kept) = kept {
        // Without a cache the next run fetches again.
        if let Err(error) = keep(&kept, &content) {
            tracing::debug!(%error, path = %kept.display(), "an imported module can't be cached");
        }
    }
    Ok(content)
}

/// k6 asks with `_k6=1` first, by which a server may tell a load test from a browser.
async fn download(url: Url) -> io::Result<Vec<u8>> {
    let mut marked = url.clone();
    let query = match url.query() {
        Some(query) => format!("{query}&_k6=1"),
        None => "_k6=1".to_owned(),
    };
    marked.set_query(Some(&query));
    match get(marked).await {
        Ok(content) => Ok(content),
        Err(_) => get(url).await,
    }
}

async fn get(mut url: Url) -> io::Result<Vec<u8>> {
    let client = Client::new();
    for _ in 0..REDIRECTS_MAX {
        let answer = client
            .request(hyper::Method::GET, &url, None, FETCH_TIME_MAX)
            .await
            .map_err(io::Error::other)?;
        let status = answer.status;
        if status.is_redirection()
            && let Some(to) = answer.headers.get("location")
        {
            let to = to.to_str().map_err(io::Error::other)?;
            url = url.join(to).map_err(io::Error::other)?;
            if url.scheme() != "https" {
                return Err(io::Error::other(format!(
                    "it redirects to {url}, not https"
                )));
            }
            continue;
        }
        return match status.as_u16() {
            200 => Ok(answer.body.to_vec()),
            404 => Err(io::Error::other(format!("not found: {url}"))),
            code => Err(io::Error::other(format!(
                "wrong status code ({code}) for: {url}"
            ))),
        };
    }
    Err(io::Error::other(format!(
        "more than {REDIRECTS_MAX} redirects"
    )))
}

fn keep(path: &std::path::Path, content: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // Another run must never read half a file.
    let part = path.with_extension(format!("part-{}", std::process::id()));
    std::fs::write(&part, content)?;
    std::fs::rename(&part, path)
}

/// Readable, and different for different addresses.
fn file_name(address: &str) -> String {
    let digest = Sha256::digest(address.as_bytes());
    let short: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let last = address.rsplit('/').next().unwrap_or_default();
    let readable: String = last
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        .take(40)
        .collect();
    format!("{short}-{readable}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_says_how_to_go_on() {
        let error = fetch("https://example.com/x.js", &Remote::Forbidden).err();
        let text = error.expect("an error").to_string();
        assert!(
            text.contains("--no-remote") && text.contains("hint:"),
            "{text}"
        );
    }

    #[test]
    fn the_cache_answers_without_the_net() {
        let cache = tempfile::tempdir().expect("a directory");
        let address = "https://nowhere.invalid/a/lib.js?v=1";
        let path = cache.path().join(file_name(address));
        keep(&path, b"export default 1;").expect("a kept file");
        let remote = Remote::Allowed {
            cache: Some(cache.path().to_owned()),
        };
        let content = fetch(address, &remote).expect("kept content");
        assert_eq!(content, b"export default 1;");
    }
}
