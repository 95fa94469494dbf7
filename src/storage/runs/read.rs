//! Reads of `runs.db`, each one statement and so one short read transaction.

use r2d2_sqlite::rusqlite::{self, Connection, OptionalExtension, params};

use super::packed::{self, Bounds};
use super::row::{Document, Point, RunRow, RunsQuery, SeriesRow};

/// Newest first; one row more than the limit says that there are more.
pub(super) fn list(connection: &Connection, query: &RunsQuery) -> rusqlite::Result<Vec<RunRow>> {
    let sql = format!(
        "SELECT {} FROM run
         WHERE (?1 IS NULL OR (started_at_ms, run_id) < (?1, ?2))
           AND (?3 IS NULL
                OR instr(lower(name), ?3) > 0
                OR instr(lower(coalesce(script_name, '')), ?3) > 0
                OR instr(lower(coalesce(target, '')), ?3) > 0
                OR instr(run_id, ?3) > 0)
           AND (?4 IS NULL
                OR EXISTS (SELECT 1 FROM json_each(run.tags)
                           WHERE key = ?4 AND (?5 IS NULL OR value = ?5)))
         ORDER BY started_at_ms DESC, run_id DESC
         LIMIT ?6",
        RunRow::COLUMNS
    );
    let (before_ms, before_id) = query.before.clone().unzip();
    let (tag, value) = query.tag.clone().unzip();
    let text = query.text.as_ref().map(|text| text.to_lowercase());
    let limit = query.limit as i64 + 1;
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        params![before_ms, before_id, text, tag, value.flatten(), limit],
        RunRow::read,
    )?;
    rows.collect()
}

pub(super) fn run(connection: &Connection, run_id: &str) -> rusqlite::Result<Option<RunRow>> {
    let sql = format!("SELECT {} FROM run WHERE run_id = ?1", RunRow::COLUMNS);
    connection
        .prepare_cached(&sql)?
        .query_row([run_id], RunRow::read)
        .optional()
}

pub(super) fn document(
    connection: &Connection,
    run_key: i64,
) -> rusqlite::Result<Option<Document>> {
    connection
        .prepare_cached("SELECT registered, finished FROM run_document WHERE run_key = ?1")?
        .query_row([run_key], |row| {
            Ok(Document {
                registered: row.get(0)?,
                finished: row.get(1)?,
            })
        })
        .optional()
}

pub(super) fn series(connection: &Connection, run_key: i64) -> rusqlite::Result<Vec<SeriesRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT series_key, metric, tags, type FROM series
         WHERE run_key = ?1 ORDER BY metric, tags",
    )?;
    let rows = statement.query_map([run_key], |row| {
        Ok(SeriesRow {
            series_key: row.get(0)?,
            metric: row.get(1)?,
            tags: row.get(2)?,
            kind: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// The points of one series in time order.
pub(super) fn points(
    connection: &Connection,
    series_key: i64,
    (from, to): (i64, i64),
    each: &mut dyn FnMut(i64, Point),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT second, count, sum, min, max, histogram FROM point
         WHERE series_key = ?1 AND second BETWEEN ?2 AND ?3 ORDER BY second",
    )?;
    let mut rows = statement.query(params![series_key, from, to])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, point(row, 1)?);
    }
    Ok(())
}

/// Reads count, sum, min, max and histogram from column `first` on.
pub(super) fn point(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Point> {
    let count: i64 = row.get(first)?;
    let sum: f64 = row.get(first + 1)?;
    let min: Option<f64> = row.get(first + 2)?;
    let max: Option<f64> = row.get(first + 3)?;
    let bounds = Bounds {
        sum,
        min: min.unwrap_or(f64::MIN),
        max: max.unwrap_or(f64::MAX),
    };
    let blob = row.get_ref(first + 4)?.as_blob_or_null()?;
    Ok(Point {
        count: count.max(0) as u64,
        sum,
        min,
        max,
        histogram: blob.and_then(|blob| packed::unpack(blob, bounds)),
    })
}
