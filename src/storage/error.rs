//! Why storage does not open, and why a job was not done.

use std::path::PathBuf;
use std::sync::Arc;

use r2d2_sqlite::rusqlite;

/// Why a data directory is refused; nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the data directory {dir} is in use by another dchat\nhint: stop it, or choose another directory with --data-dir"
    )]
    InUse { dir: PathBuf },
    #[error(
        "the data directory {dir} cannot be used\nhint: it must be a directory that this user may write"
    )]
    Directory {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the data directory {dir} is on a network file system ({kind}), where locks and syncs are not reliable\nhint: choose a directory on a local disk with --data-dir"
    )]
    NetworkFileSystem { dir: PathBuf, kind: &'static str },
    #[error(
        "{file} was written by a newer dchat (schema {found}; this one knows up to {known})\nhint: run the newer version"
    )]
    Newer {
        file: PathBuf,
        found: i64,
        known: i64,
    },
    #[error(
        "{file} is not a dchat database: {reason}\nhint: move it away, or choose another directory with --data-dir"
    )]
    NotOurs { file: PathBuf, reason: String },
    #[error(
        "SQLite {found} is too old: versions before {needed} can corrupt a WAL\nhint: build with the bundled SQLite"
    )]
    OldSqlite {
        found: &'static str,
        needed: &'static str,
    },
    #[error("{file} cannot be opened")]
    Open {
        file: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the reader pool on {file} cannot be opened: {reason}")]
    Pool { file: PathBuf, reason: String },
    #[error("a storage thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Why one job was not done, by what its caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JobError {
    #[error("the id belongs to another message: {field} differs")]
    Conflict {
        /// The item's place in a batch.
        index: Option<usize>,
        field: &'static str,
    },
    #[error("{what}")]
    Overloaded { what: &'static str },
    #[error("{what}")]
    Full { what: &'static str },
    /// Stopping, or failed before this job was begun: it has changed nothing.
    #[error("storage is stopping")]
    Unavailable,
    #[error("the outcome of the commit is unknown: its sync failed")]
    OutcomeUnknown,
    #[error("SQLite refused")]
    Sqlite(#[source] Arc<rusqlite::Error>),
}
