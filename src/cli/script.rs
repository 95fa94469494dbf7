//! Where a script comes from: a file, an archive, stdin, or the binary.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::Context;

use super::flags::TestType;
use super::run::Manner;
use crate::load::archive;
use crate::load::builtin_scripts;
use crate::load::js::{self, Remote, ScriptSource};

/// A script, and what an archive says beside it.
pub(crate) struct Found {
    pub(crate) source: ScriptSource,
    /// Options that take the place of those that the script exports.
    pub(crate) options_json: Option<String>,
    /// Under the variables of `-e` and the system.
    pub(crate) env: BTreeMap<String, String>,
}

/// A file, an `https://` address, `-` for stdin, or the name of a built-in script where no such file exists; `None` is
/// the built-in stress test. The latter two are not for those who call us k6.
///
/// # Errors
/// What can't be found or read.
pub(crate) fn find(
    argument: Option<&str>,
    kind: Option<TestType>,
    manner: Manner,
    remote: &Remote,
) -> anyhow::Result<Found> {
    let name = argument.unwrap_or(builtin_scripts::DEFAULT);
    if name == "-" {
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .context("the script on stdin can't be read")?;
        // Imports and files are relative to the working directory.
        return of_bytes(PathBuf::from("-"), bytes, kind);
    }
    let path = PathBuf::from(name);
    if name.starts_with("https://") {
        let bytes = js::fetch(name, remote)
            .with_context(|| format!("the moduleSpecifier {name:?} couldn't be retrieved"))?;
        return of_bytes(path, bytes, kind);
    }
    if argument.is_some() && path.exists() {
        let bytes =
            std::fs::read(&path).with_context(|| format!("script '{name}' can't be read"))?;
        return of_bytes(path, bytes, kind);
    }
    if manner == Manner::K6 {
        anyhow::bail!(
            "The moduleSpecifier {name:?} couldn't be found on local disk. \
             Make sure that you've specified the right path to the file."
        );
    }
    if let Some(text) = builtin_scripts::text(name) {
        return Ok(plain(ScriptSource::new(path, text)));
    }
    let known: Vec<&str> = builtin_scripts::names().collect();
    anyhow::bail!(
        "script '{name}' does not exist\nhint: built-in scripts are {}; 'dchat new' writes one out",
        known.join(" and ")
    )
}

fn of_bytes(path: PathBuf, bytes: Vec<u8>, kind: Option<TestType>) -> anyhow::Result<Found> {
    let is_archive = match kind {
        Some(kind) => kind == TestType::Archive,
        None => archive::is_archive(&bytes),
    };
    let name = path.display().to_string();
    if is_archive {
        let archived = archive::read(&bytes).with_context(|| format!("'{name}'"))?;
        return Ok(Found {
            source: archived.source,
            options_json: Some(archived.options_json),
            env: archived.env,
        });
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("script '{name}' can't be read: it is not UTF-8"))?;
    Ok(plain(ScriptSource::new(path, text)))
}

fn plain(source: ScriptSource) -> Found {
    Found {
        source,
        options_json: None,
        env: BTreeMap::new(),
    }
}
