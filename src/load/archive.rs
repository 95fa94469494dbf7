//! Archives of a test: a tar that holds script, files, options and environment, as k6 writes them.
//!
//! `metadata.json`, `data` (the script), `file/…` and `https/…`. Names of users in paths become
//! `nobody`, as in k6: an archive is made to be given away. Pure: bytes in, bytes out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tar::{Builder, EntryType, Header};

use super::js::{Bundle, ScriptSource};

/// Version of k6 whose form the archives have.
const K6_VERSION: &str = "2.2.0";

/// What an archive is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The script's own absolute path.
    pub main: &'a str,
    pub script: &'a str,
    /// By absolute path or `https://` address.
    pub files: &'a [(String, Arc<[u8]>)],
    /// As `Layer::to_json` gives them.
    pub options: Value,
    pub env: BTreeMap<String, String>,
    /// Go's name of the system.
    pub system: &'a str,
}

/// A test out of an archive.
#[derive(Debug)]
pub struct Archived {
    pub source: ScriptSource,
    /// Take the place of what the script exports.
    pub options_json: String,
    pub env: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive can't be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the archive's metadata.json can't be read: {0}")]
    Metadata(#[from] serde_json::Error),
    #[error("the archive has no {0}")]
    Missing(&'static str),
    #[error("the archive holds a test of the type '{0}', only 'js' can be run")]
    Type(String),
    #[error("the archive's script is not UTF-8")]
    NoText,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(rename = "type")]
    kind: String,
    options: Value,
    filename: String,
    pwd: String,
    env: Option<BTreeMap<String, String>>,
    #[serde(default)]
    compatibility_mode: String,
    #[serde(default, rename = "k6version")]
    k6_version: String,
    #[serde(default)]
    goos: String,
}

/// Whether a file is a tar rather than a script.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// # Errors
/// What is wrong with the archive.
pub fn read(bytes: &[u8]) -> Result<Archived, ArchiveError> {
    let (mut metadata, mut script) = (None, None);
    let mut files: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        match name.split_once('/') {
            None if name == "metadata.json" => metadata = Some(serde_json::from_slice(&content)?),
            None if name == "data" => script = Some(content),
            Some(("file", path)) => {
                files.insert(format!("/{path}"), content.into());
            }
            Some(("https", address)) => {
                files.insert(format!("https://{address}"), content.into());
            }
            _ => {}
        }
    }
    let metadata: Metadata = metadata.ok_or(ArchiveError::Missing("metadata.json"))?;
    let script = script.ok_or(ArchiveError::Missing("data"))?;
    if metadata.kind != "js" {
        return Err(ArchiveError::Type(metadata.kind));
    }
    let path = local_path(&metadata.filename);
    let text = String::from_utf8(script).map_err(|_| ArchiveError::NoText)?;
    let mut source = ScriptSource::new(PathBuf::from(path), text);
    source.bundle = Some(Arc::new(Bundle { files }));
    Ok(Archived {
        source,
        options_json: metadata.options.to_string(),
        env: metadata.env.unwrap_or_default(),
    })
}

/// # Errors
/// What `out` says.
pub fn write(out: impl Write, parts: &Parts<'_>) -> Result<(), ArchiveError> {
    let main = anonymous(parts.main);
    let directory = main.rsplit_once('/').map_or("", |(directory, _)| directory);
    let metadata = Metadata {
        kind: "js".to_owned(),
        options: parts.options.clone(),
        filename: address(&main),
        pwd: format!("{}/", address(directory)),
        env: Some(parts.env.clone()),
        compatibility_mode: "extended".to_owned(),
        k6_version: K6_VERSION.to_owned(),
        goos: parts.system.to_owned(),
    };
    let mut tar = Builder::new(out);
    put(
        &mut tar,
        "metadata.json",
        &serde_json::to_vec_pretty(&metadata)?,
    )?;
    put(&mut tar, "data", parts.script.as_bytes())?;
    let named: BTreeMap<String, &Arc<[u8]>> = parts
        .files
        .iter()
        .map(|(path, content)| (place(path), content))
        .collect();
    let main = place(&main);
    let mut directories = BTreeSet::new();
    for name in named.keys().chain([&main]) {
        let slashes = name.match_indices('/').map(|(at, _)| name[..at].to_owned());
        directories.extend(slashes);
    }
    for directory in directories {
        let mut header = header(0o755, 0);
        header.set_entry_type(EntryType::Directory);
        tar.append_data(&mut header, directory, io::empty())?;
    }
    for (name, content) in named {
        put(&mut tar, &name, content)?;
    }
    // The script itself, for those who unpack the archive.
    let mut link = header(0o644, 0);
    link.set_entry_type(EntryType::Link);
    tar.append_link(&mut link, main, "data")?;
    tar.into_inner()?.flush()?;
    Ok(())
}

fn put(tar: &mut Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = header(0o644, content.len() as u64);
    tar.append_data(&mut header, name, content)
}

/// Without a time: the same test gives the same archive.
fn header(mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

/// Where a file is in the archive.
fn place(path: &str) -> String {
    match path.strip_prefix("https://") {
        Some(address) => format!("https/{address}"),
        None => format!("file{}", anonymous(path)),
    }
}

/// The path of a `file://` address.
fn local_path(address: &str) -> &str {
    address.strip_prefix("file://").unwrap_or(address)
}

fn address(path: &str) -> String {
    if path.contains("://") {
        path.to_owned()
    } else {
        format!("file://{path}")
    }
}

/// With slashes, and without the name of a user.
fn anonymous(path: &str) -> String {
    let path = path.replace('\\', "/");
    let path = match path.split_once(":/") {
        // A drive of Windows.
        Some((drive, rest)) if drive.len() == 1 => format!("/{drive}/{rest}"),
        _ => path,
    };
    let parts: Vec<&str> = path.split('/').collect();
    let homes = ["home", "Users", "Documents and Settings"];
    let home = parts.iter().take(3).position(|part| homes.contains(part));
    let mut parts = parts;
    if let Some(user) = home.and_then(|at| parts.get_mut(at + 1)) {
        *user = "nobody";
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_again() {
        let files = [
            ("/home/ann/t/lib/a.js".to_owned(), Arc::from(&b"export"[..])),
            ("https://x.test/b.js".to_owned(), Arc::from(&b"b"[..])),
        ];
        let parts = Parts {
            main: "/home/ann/t/s.js",
            script: "import './lib/a.js'",
            files: &files,
            options: serde_json::json!({ "vus": 2 }),
            env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            system: "linux",
        };
        let mut bytes = Vec::new();
        write(&mut bytes, &parts).expect("memory takes it");
        assert!(is_archive(&bytes));
        assert!(!String::from_utf8_lossy(&bytes).contains("ann"));
        let archived = read(&bytes).expect("it was just written");
        assert_eq!(archived.source.path, PathBuf::from("/home/nobody/t/s.js"));
        assert_eq!(archived.source.text, parts.script);
        assert_eq!(archived.options_json, r#"{"vus":2}"#);
        assert_eq!(archived.env, parts.env);
        let bundle = archived.source.bundle.expect("an archive has files");
        let names: Vec<&String> = bundle.files.keys().collect();
        assert_eq!(names, ["/home/nobody/t/lib/a.js", "https://x.test/b.js"]);
    }

    #[test]
    fn broken_archives_are_refused_without_a_panic() {
        let parts = Parts {
            main: "/s.js",
            script: "x",
            files: &[],
            options: Value::Null,
            env: BTreeMap::new(),
            system: "linux",
        };
        let mut bytes = Vec::new();
        write(&mut bytes, &parts).expect("memory takes it");
        for length in (0..bytes.len()).step_by(97) {
            let _ = read(&bytes[..length]);
        }
        assert!(matches!(read(&[]), Err(ArchiveError::Missing(_))));
    }
}
