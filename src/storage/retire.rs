//! Retention in small slices: what has expired leaves the lists, what is past its reservation
//! leaves the file, and free pages go back to the disk.
//!
//! Runs on the writer thread, a slice between two batches, so that no post waits for long.

use r2d2_sqlite::rusqlite::{self, Connection, params};

use super::messages::{Found, Work, found_columns};

/// Rows of one slice: about 5 ms of the writer.
const SLICE_ROWS: usize = 256;

/// Free pages given back in one step.
const VACUUM_PAGES: u32 = 256;

/// Whether a slice has left anything that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retired {
    AllDue,
    More,
}

/// One slice of each kind, in the transaction of `work`.
pub(super) fn slice(work: &mut Work<'_>) -> rusqlite::Result<Retired> {
    let by_time = expire_by_index(work)?;
    let by_order = expire_by_walking(work)?;
    Ok(if by_time == Retired::More || by_order == Retired::More {
        Retired::More
    } else {
        Retired::AllDue
    })
}

/// Whether [`slice`] would find anything; spares an idle database its commits.
pub(super) fn is_due(work: &Work<'_>) -> rusqlite::Result<bool> {
    let due_by_index = work
        .connection
        .prepare_cached(DUE_BY_INDEX)?
        .exists([work.times.expiry_now_ms])?;
    if due_by_index {
        return Ok(true);
    }
    let oldest = work
        .times
        .expiry_now_ms
        .saturating_sub(work.times.retention_ms);
    work.connection
        .prepare_cached(DUE_BY_WALKING)?
        .exists([work.staged.totals.tally.walked_to, oldest])
}

/// Gives free pages back once they are a quarter of the file, or any when the disk is short.
/// Call outside a transaction. `true`: there are more.
pub(super) fn vacuum(connection: &Connection, disk: Disk) -> rusqlite::Result<bool> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (pages, free) = (
        number("PRAGMA page_count")?,
        number("PRAGMA freelist_count")?,
    );
    let enough = match disk {
        Disk::Short => 1,
        Disk::Roomy => (pages / 4).max(i64::from(VACUUM_PAGES)),
    };
    if free < enough {
        return Ok(false);
    }
    let mut statement =
        connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(free - i64::from(VACUUM_PAGES) >= enough)
}

/// Whether the disk is below its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Roomy,
    Short,
}

fn expire_by_index(work: &mut Work<'_>) -> rusqlite::Result<Retired> {
    let due = rows(work, EXPIRED, [work.times.expiry_now_ms, SLICE_ROWS as i64])?;
    for found in &due {
        match found.removed {
            None => work.expire(found)?,
            Some(_) => work.erase(found.sequence)?,
        }
    }
    Ok(if due.len() == SLICE_ROWS {
        Retired::More
    } else {
        Retired::AllDue
    })
}

fn expire_by_walking(work: &mut Work<'_>) -> rusqlite::Result<Retired> {
    let walked_to = work.staged.totals.tally.walked_to;
    let next = rows(work, WALK, [walked_to, SLICE_ROWS as i64])?;
    let oldest = work
        .times
        .expiry_now_ms
        .saturating_sub(work.times.retention_ms);
    for found in &next {
        if found.received_at_ms > oldest {
            return Ok(Retired::AllDue);
        }
        if found.expires_by_walking() {
            work.expire(found)?;
        }
        work.staged.totals.tally.walked_to = found.sequence;
    }
    Ok(if next.len() == SLICE_ROWS {
        Retired::More
    } else {
        Retired::AllDue
    })
}

fn rows(work: &Work<'_>, sql: &str, values: [i64; 2]) -> rusqlite::Result<Vec<Found>> {
    let mut statement = work.connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![values[0], values[1]], Found::read)?;
    rows.collect()
}

const EXPIRED: &str = concat!(
    "SELECT ",
    found_columns!(),
    " FROM message INDEXED BY message_expires WHERE expires_at_ms IS NOT NULL \
     AND expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2"
);

const WALK: &str = concat!(
    "SELECT ",
    found_columns!(),
    " FROM message WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
);

const DUE_BY_INDEX: &str = "SELECT 1 FROM message INDEXED BY message_expires \
    WHERE expires_at_ms IS NOT NULL AND expires_at_ms <= ?1";

/// Only the next row counts: the walk stops at the first that is too young.
const DUE_BY_WALKING: &str = "SELECT 1 FROM (SELECT received_at_ms FROM message \
    WHERE sequence > ?1 ORDER BY sequence LIMIT 1) WHERE received_at_ms <= ?2";
