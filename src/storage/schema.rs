//! The files' identity: the embedded schema, versions, and how a connection is set up.
//!
//! Everything that must hold before a row is touched is checked here: SQLite's own version, that
//! the file is ours, that no newer dchat wrote it. Serves `messages.db` and `runs.db` alike.

use std::path::Path;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use r2d2_sqlite::rusqlite::{self, Connection, OpenFlags, config::DbConfig};

use super::Error;

const SCHEMA: &str = include_str!("../../schema.sql");

/// Before 3.51.3 two connections that write and checkpoint at the same instant can corrupt the
/// file (the WAL-reset bug, sqlite.org/wal.html).
const SQLITE_NEEDED: (i32, &str) = (3_051_003, "3.51.3");

/// Of both connections that write: more than any lock is ever held in this process, so that only
/// a stranger with the file open can make it run out.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What tells one kind of database file from all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Name of the section in `schema.sql`.
    pub(super) section: &'static str,
    /// In the file's header; also what `file` and other tools show.
    pub(super) application_id: i64,
    /// The schema version that this binary writes.
    pub(super) version: i64,
    pub(super) page_bytes: u32,
    /// Page cache of the writing connection; grows only as it is used.
    pub(super) cache_bytes: u64,
}

/// The text between a section's mark and the next one.
pub(super) fn section(name: &str) -> &'static str {
    let mark = format!("-- === {name} ===");
    let start = SCHEMA.find(&mark).expect("schema.sql has this section") + mark.len();
    let rest = &SCHEMA[start..];
    rest.find("\n-- === ").map_or(rest, |end| &rest[..end])
}

/// Opens the connection that writes; creates the file where it is missing.
pub(super) fn open_writer(path: &Path, kind: &Kind) -> Result<Connection, Error> {
    assert_sqlite()?;
    let failed = |source| refuse(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    match identity(&connection).map_err(failed)? {
        Identity::Empty => create(&mut connection, kind).map_err(failed)?,
        Identity::Written { application_id, .. } if application_id != kind.application_id => {
            return Err(Error::NotOurs {
                file: path.to_owned(),
                reason: format!("its application id is {application_id:#x}"),
            });
        }
        Identity::Written { version, .. } if version > kind.version => {
            return Err(Error::Newer {
                file: path.to_owned(),
                found: version,
                known: kind.version,
            });
        }
        // Version 1 is the only one there has been; older ones will be migrated here.
        Identity::Written { .. } => {}
    }
    set_up(&connection, kind).map_err(failed)?;
    Ok(connection)
}

/// The one other writable connection of a file; it only checkpoints.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, Error> {
    let failed = |source| refuse(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    make_durable(&connection).map_err(failed)?;
    Ok(connection)
}

/// Read-only connections: a stray write fails instead of waiting.
pub(super) fn reader_manager(path: &Path) -> SqliteConnectionManager {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    SqliteConnectionManager::file(path)
        .with_flags(flags)
        .with_init(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.pragma_update(None, "query_only", true)
        })
}

enum Identity {
    Empty,
    Written { application_id: i64, version: i64 },
}

fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application_id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    if application_id == 0 && version == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(Identity::Empty);
    }
    Ok(Identity::Written {
        application_id,
        version,
    })
}

/// One transaction under a rollback journal: a crash leaves either an empty file or the whole schema.
fn create(connection: &mut Connection, kind: &Kind) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", kind.page_bytes)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(section(kind.section))?;
    transaction.pragma_update(None, "application_id", kind.application_id)?;
    transaction.pragma_update(None, "user_version", kind.version)?;
    transaction.commit()
}

fn set_up(connection: &Connection, kind: &Kind) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    assert_eq!(mode, "wal", "a database on a local disk takes WAL");
    make_durable(connection)?;
    connection.pragma_update(None, "cache_size", -(kind.cache_bytes as i64 / 1024))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Every commit is synced, checkpoints come only from the schedule, and closing copies nothing:
/// after a failed sync the WAL must stay as it is.
fn make_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if cfg!(target_os = "macos") {
        // A plain fsync does not reach the disk there.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    }
    Ok(())
}

fn assert_sqlite() -> Result<(), Error> {
    if rusqlite::version_number() < SQLITE_NEEDED.0 {
        return Err(Error::OldSqlite {
            found: rusqlite::version(),
            needed: SQLITE_NEEDED.1,
        });
    }
    Ok(())
}

fn refuse(path: &Path, source: rusqlite::Error) -> Error {
    let file = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => Error::NotOurs {
            file,
            reason: "it is no SQLite file".into(),
        },
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => Error::NotOurs {
            file,
            reason: "it is damaged".into(),
        },
        _ => Error::Open { file, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_sqlite_has_no_wal_reset_bug() {
        assert!(
            rusqlite::version_number() >= SQLITE_NEEDED.0,
            "{}",
            rusqlite::version()
        );
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let messages = section("messages.db");
        assert!(messages.contains("CREATE TABLE message"));
        assert!(!messages.contains("=== "), "{messages}");
    }
}
