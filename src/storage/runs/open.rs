//! Opening `runs.db`: pragmas, version check, schema.

use std::path::Path;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use r2d2_sqlite::rusqlite::{self, Connection, OpenFlags};

use crate::storage::Error;

/// "dchR": tells a runs.db from any other SQLite file.
const APPLICATION_ID: i64 = 0x6463_6852;
/// Schema that this version writes; see the runs section of `schema.sql`.
const VERSION: i64 = 1;
/// Starts the section of this file in `schema.sql`.
const SECTION: &str = "-- === runs.db ===";
/// Readers wait this long for a lock (WAL readers wait only while a WAL is being recovered).
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// The one writable connection, with the schema in place.
pub(super) fn writable(file: &Path) -> Result<Connection, Error> {
    let failed = |source| Error::Open {
        file: file.to_owned(),
        source,
    };
    let connection = Connection::open(file).map_err(failed)?;
    connection.busy_timeout(BUSY_WAIT).map_err(failed)?;
    let number = |pragma: &str| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, pragma, |row| row.get(0))
    };
    let application_id = number("application_id").map_err(failed)?;
    let version = number("user_version").map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if version > VERSION {
        return Err(Error::Newer {
            file: file.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    if tables > 0 && application_id != APPLICATION_ID {
        return Err(Error::NotOurs {
            file: file.to_owned(),
            reason: format!("its application id is {application_id}, not {APPLICATION_ID}"),
        });
    }
    prepare(&connection, version).map_err(failed)?;
    Ok(connection)
}

/// A pool of read-only connections, opened now.
pub(super) fn readers(
    file: &Path,
    count: usize,
) -> Result<r2d2::Pool<SqliteConnectionManager>, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connections = SqliteConnectionManager::file(file)
        .with_flags(flags)
        .with_init(|connection| connection.busy_timeout(BUSY_WAIT));
    r2d2::Pool::builder()
        .max_size(count as u32)
        .test_on_check_out(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .build(connections)
        .map_err(|error| Error::Pool {
            file: file.to_owned(),
            reason: error.to_string(),
        })
}

fn prepare(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    if version == 0 {
        // Both take effect only before the first table exists.
        connection.pragma_update(None, "page_size", 4096)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // macOS: a plain fsync does not reach the disk. No effect elsewhere.
    connection.pragma_update(None, "fullfsync", true)?;
    if version == 0 {
        let begin = format!("BEGIN IMMEDIATE; {}", schema());
        connection.execute_batch(&begin)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        connection.execute_batch("COMMIT")?;
    }
    Ok(())
}

/// The part of `schema.sql` that describes this file.
fn schema() -> &'static str {
    let whole = include_str!("../../../schema.sql");
    let start = whole.find(SECTION).expect("schema.sql has a runs section");
    let section = &whole[start + SECTION.len()..];
    let end = section.find("-- === ").unwrap_or(section.len());
    &section[..end]
}
