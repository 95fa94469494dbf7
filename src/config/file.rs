//! `dchat.toml`: where it is looked for and what it may say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Environment, Error};

/// The file as written; nothing is validated yet but names and types.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    pub data_dir: Option<PathBuf>,
    pub bind: Option<Vec<String>>,
    pub port: Option<u16>,
    pub open: Option<bool>,
    #[serde(default)]
    pub log: LogSection,
    /// Names as in [`super::knobs::KNOBS`]; numbers or text like `"64KiB"`.
    #[serde(default)]
    pub limits: BTreeMap<String, toml::Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    pub filter: Option<String>,
    pub format: Option<String>,
    pub dir: Option<PathBuf>,
    pub keep_files: Option<usize>,
}

impl FileConfig {
    /// Reads and parses `path`.
    ///
    /// # Errors
    /// An unreadable file, or a syntax error or unknown key with its line and column.
    pub fn read(path: &Path) -> Result<FileConfig, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| Error::Syntax {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }
}

/// The file to use: the one named, else the first of `./dchat.toml`, systemd's configuration
/// directory, the user's and `/etc/dchat/dchat.toml` that exists.
pub(super) fn locate(named: Option<&Path>, env: Environment<'_>, cwd: &Path) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(cwd.join(path));
    }
    let below = |variable: &str, rest: &str| {
        env(variable)
            .filter(|dir| !dir.is_empty())
            .map(|dir| Path::new(&dir).join(rest))
    };
    let places = [
        Some(cwd.join("dchat.toml")),
        below("CONFIGURATION_DIRECTORY", "dchat.toml"),
        below("XDG_CONFIG_HOME", "dchat/dchat.toml"),
        below("HOME", ".config/dchat/dchat.toml"),
        Some(PathBuf::from("/etc/dchat/dchat.toml")),
    ];
    places.into_iter().flatten().find(|path| path.is_file())
}

/// A TOML scalar as the text that a flag would have.
pub(super) fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
