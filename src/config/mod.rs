//! Validated configuration of the relay: flags over `DCHAT_*` environment over `dchat.toml` over
//! defaults.
//!
//! A leaf; below it nobody re-checks. The environment and the command line come in as values, so
//! that every rule can be tested without a process.

pub mod file;
pub mod knobs;
pub mod show;
pub mod units;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::limits::Limits;
use crate::telemetry::{self, LogConfig, LogFormat};

pub use self::file::FileConfig;

/// Default port of the relay.
pub const PORT: u16 = 7071;

/// Everything that `Server::bind` needs, already validated.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Absolute path; created with mode 0700 if missing.
    pub data_dir: PathBuf,
    /// Addresses to listen on, the first one is the main one. Empty means 127.0.0.1 and, where the
    /// machine has it, ::1.
    pub bind: Vec<IpAddr>,
    /// 0 takes a free port; further addresses then take the first one's port.
    pub port: u16,
    /// `--open`: anyone who can reach the relay may act for any user, said in words.
    pub open: bool,
    pub limits: Limits,
}

/// The whole effective configuration of the `relay` command.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: ServerConfig,
    pub log: LogConfig,
    /// The file that took part, if any.
    pub file: Option<PathBuf>,
}

/// What flags and their environment variables say; absent ones leave the next layer in force.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    pub bind: Vec<IpAddr>,
    pub port: Option<u16>,
    pub open: Option<bool>,
    /// `NAME=VALUE`, later ones win.
    pub limits: Vec<String>,
    pub log_filter: Option<String>,
    pub log_format: Option<LogFormat>,
    pub log_dir: Option<PathBuf>,
    pub log_keep_files: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {reason}")]
    Syntax { path: PathBuf, reason: String },
    #[error("{origin}: {reason}")]
    Value { origin: String, reason: String },
    #[error(
        "{address} is not a loopback address, and in open mode anyone who reaches it may act for any user\nhint: bind to 127.0.0.1, or say --open if that is meant"
    )]
    Exposed { address: IpAddr },
    #[error("there is no home directory to keep data in\nhint: name one with --data-dir")]
    NoDataDir,
    #[error(transparent)]
    Log(#[from] telemetry::Error),
}

/// Looks up environment variables; tests pass a map.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Merges all layers and validates the result.
///
/// `cwd` must be absolute; relative paths of all layers are taken from it.
///
/// # Errors
/// The first thing that cannot be used, with its origin.
pub fn resolve(flags: &Flags, env: Environment<'_>, cwd: &Path) -> Result<Config, Error> {
    let (path, file) = match file::locate(flags.config.as_deref(), env, cwd) {
        Some(path) => {
            let file = FileConfig::read(&path)?;
            (Some(path), file)
        }
        None => (None, FileConfig::default()),
    };
    let config = Config {
        server: ServerConfig {
            data_dir: cwd.join(data_dir(flags, &file, env, cwd)?),
            bind: bind(flags, &file, path.as_deref())?,
            port: flags.port.or(file.port).unwrap_or(PORT),
            open: flags.open.or(file.open).unwrap_or(false),
            limits: limits(flags, &file, env, path.as_deref())?,
        },
        log: log(flags, &file, cwd, path.as_deref())?,
        file: path,
    };
    if !config.server.open
        && let Some(&address) = config.server.bind.iter().find(|a| !a.is_loopback())
    {
        return Err(Error::Exposed { address });
    }
    Ok(config)
}

fn data_dir(
    flags: &Flags,
    file: &FileConfig,
    env: Environment<'_>,
    cwd: &Path,
) -> Result<PathBuf, Error> {
    if let Some(said) = flags.data_dir.as_ref().or(file.data_dir.as_ref()) {
        return Ok(said.clone());
    }
    // systemd gives several directories separated by colons; the first one is ours.
    if let Some(state) = env("STATE_DIRECTORY").filter(|s| !s.is_empty()) {
        return Ok(PathBuf::from(state.split(':').next().unwrap_or(&state)));
    }
    let beside = cwd.join("dchat-data");
    if beside.is_dir() {
        return Ok(beside);
    }
    if let Some(xdg) = env("XDG_DATA_HOME").filter(|s| Path::new(s).is_absolute()) {
        return Ok(Path::new(&xdg).join("dchat"));
    }
    let home = env("HOME").or_else(|| env("LOCALAPPDATA"));
    match home.filter(|s| !s.is_empty()) {
        Some(home) => Ok(Path::new(&home).join(".local/share/dchat")),
        None => Err(Error::NoDataDir),
    }
}

fn bind(flags: &Flags, file: &FileConfig, path: Option<&Path>) -> Result<Vec<IpAddr>, Error> {
    if !flags.bind.is_empty() {
        return Ok(flags.bind.clone());
    }
    let said = file.bind.iter().flatten();
    said.map(|text| {
        text.parse().map_err(|_| Error::Value {
            origin: in_file(path, "bind"),
            reason: format!("'{text}' is not an IP address, like 127.0.0.1 or ::1"),
        })
    })
    .collect()
}

fn limits(
    flags: &Flags,
    file: &FileConfig,
    env: Environment<'_>,
    path: Option<&Path>,
) -> Result<Limits, Error> {
    let mut limits = Limits::default();
    let mut set = |name: &str, value: &str, origin: String| {
        knobs::knob(name)
            .and_then(|knob| knob.set(&mut limits, value))
            .map_err(|reason| Error::Value { origin, reason })
    };
    for (name, value) in &file.limits {
        set(name, &file::plain(value), in_file(path, name))?;
    }
    for knob in knobs::KNOBS {
        let variable = format!("DCHAT_{}", knob.name.to_ascii_uppercase());
        if let Some(value) = env(&variable) {
            set(knob.name, &value, variable)?;
        }
    }
    for pair in &flags.limits {
        let (name, value) = pair.split_once('=').ok_or_else(|| Error::Value {
            origin: format!("--limit {pair}"),
            reason: "the form is NAME=VALUE, like queue_jobs_max=1000".to_owned(),
        })?;
        set(name.trim(), value, format!("--limit {pair}"))?;
    }
    let steps = [
        limits.wal_checkpoint_bytes,
        limits.wal_restart_bytes,
        limits.wal_truncate_bytes,
        limits.wal_bytes_max,
    ];
    if !steps.is_sorted() {
        return Err(Error::Value {
            origin: "limits".to_owned(),
            reason: "wal_checkpoint_bytes, wal_restart_bytes, wal_truncate_bytes and wal_bytes_max must ascend in this order".to_owned(),
        });
    }
    Ok(limits)
}

fn log(
    flags: &Flags,
    file: &FileConfig,
    cwd: &Path,
    path: Option<&Path>,
) -> Result<LogConfig, Error> {
    let defaults = LogConfig::default();
    let format = match (flags.log_format, file.log.format.as_deref()) {
        (Some(format), _) => format,
        (None, None | Some("text")) => LogFormat::Text,
        (None, Some("json")) => LogFormat::Json,
        (None, Some(other)) => {
            return Err(Error::Value {
                origin: in_file(path, "log.format"),
                reason: format!("'{other}' is neither 'text' nor 'json'"),
            });
        }
    };
    let log = LogConfig {
        filter: flags
            .log_filter
            .clone()
            .or_else(|| file.log.filter.clone())
            .unwrap_or(defaults.filter),
        format,
        dir: flags
            .log_dir
            .clone()
            .or_else(|| file.log.dir.clone())
            .map(|dir| cwd.join(dir)),
        keep_files: flags
            .log_keep_files
            .or(file.log.keep_files)
            .unwrap_or(defaults.keep_files),
    };
    telemetry::check_filter(&log.filter)?;
    if log.keep_files == 0 {
        return Err(Error::Value {
            origin: "log.keep_files".to_owned(),
            reason: "at least one daily file must be kept".to_owned(),
        });
    }
    Ok(log)
}

fn in_file(path: Option<&Path>, key: &str) -> String {
    match path {
        Some(path) => format!("{}: {key}", path.display()),
        None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests;
