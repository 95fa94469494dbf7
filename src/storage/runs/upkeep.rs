//! What the writer of `runs.db` does beside its jobs: retention, and removing what deleted runs
//! leave behind, in steps short enough that a waiting job is not held up.

use r2d2_sqlite::rusqlite::{Connection, OptionalExtension, Result, params};

use crate::limits::Limits;

/// Points removed in one transaction: some 10 ms.
const POINTS_PER_STEP: i64 = 10_000;
/// Pages given back to the file system in one step.
const VACUUM_PAGES: i64 = 2_000;

/// Dooms the oldest unpinned run that is over a limit; returns whether there was one.
pub(super) fn retire_one(connection: &Connection, limits: &Limits, now_ms: i64) -> Result<bool> {
    let oldest_ms = now_ms.saturating_sub(limits.runs_retention.as_millis() as i64);
    let (runs, bytes): (i64, i64) = connection.query_row(
        "SELECT count(*), coalesce(sum(bytes), 0) FROM run WHERE pinned = 0",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let over = runs > limits.runs_max as i64 || bytes > limits.runs_bytes_max as i64;
    // By age counts when something last came, so that an old run that was brought in from a file
    // stays; by number and size the oldest goes first. The newest run stays, however large: it is
    // the one that somebody is looking at.
    let retired: Option<i64> = connection
        .query_row(
            "SELECT run_key FROM run
             WHERE pinned = 0 AND (seen_at_ms < ?1 OR ?2)
             ORDER BY seen_at_ms < ?1 DESC, started_at_ms, run_id LIMIT 1",
            params![oldest_ms, over && runs > 1],
            |row| row.get(0),
        )
        .optional()?;
    let Some(run_key) = retired else {
        return Ok(false);
    };
    tracing::info!(run_key, "removing a run by retention");
    connection.execute_batch("BEGIN IMMEDIATE")?;
    doom(connection, run_key)?;
    connection.execute_batch("COMMIT")?;
    Ok(true)
}

/// Takes a run out of every read; inside the caller's transaction.
pub(super) fn doom(connection: &Connection, run_key: i64) -> Result<()> {
    connection.execute("DELETE FROM run WHERE run_key = ?1", [run_key])?;
    connection.execute("DELETE FROM run_document WHERE run_key = ?1", [run_key])?;
    connection.execute("INSERT INTO doomed (run_key) VALUES (?1)", [run_key])?;
    Ok(())
}

/// Removes some of what doomed runs left; returns whether there may be more.
pub(super) fn sweep(connection: &Connection) -> Result<bool> {
    let doomed: Option<i64> = connection
        .query_row("SELECT run_key FROM doomed LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let Some(run_key) = doomed else {
        return Ok(false);
    };
    let series: Option<i64> = connection
        .query_row(
            "SELECT series_key FROM series WHERE run_key = ?1 LIMIT 1",
            [run_key],
            |row| row.get(0),
        )
        .optional()?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    match series {
        Some(series_key) => sweep_series(connection, series_key)?,
        None => {
            connection.execute("DELETE FROM batch WHERE run_key = ?1", [run_key])?;
            connection.execute("DELETE FROM doomed WHERE run_key = ?1", [run_key])?;
        }
    }
    connection.execute_batch("COMMIT")?;
    if series.is_none() {
        let vacuum = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
        connection.execute_batch(&vacuum)?;
    }
    Ok(true)
}

fn sweep_series(connection: &Connection, series_key: i64) -> Result<()> {
    let removed = connection.execute(
        "DELETE FROM point WHERE series_key = ?1 AND second <= coalesce(
             (SELECT second FROM point WHERE series_key = ?1 ORDER BY second LIMIT 1 OFFSET ?2),
             9223372036854775807)",
        params![series_key, POINTS_PER_STEP - 1],
    )?;
    if (removed as i64) < POINTS_PER_STEP {
        connection.execute("DELETE FROM series WHERE series_key = ?1", [series_key])?;
    }
    Ok(())
}
