//! Rows of `runs.db` as `results` hands them in and gets them back. Plain values; no JSON is
//! looked into here but the tags of the list's filter, which SQLite reads.

use std::sync::Arc;

use r2d2_sqlite::rusqlite;

use crate::histogram::Histogram;

/// What registering a run stores. A repeat changes nothing but a target that was missing.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub run_id: Arc<str>,
    pub name: String,
    pub script_name: Option<String>,
    pub target: Option<String>,
    /// JSON object of strings.
    pub tags: String,
    pub started_at_ms: i64,
    /// JSON object.
    pub registered: String,
}

/// How a run ended. A repeat replaces it.
#[derive(Clone, Debug)]
pub struct NewEnd {
    pub finished_at_ms: i64,
    pub aborted: bool,
    pub exit_code: Option<i64>,
    pub verdict: &'static str,
    pub target: Option<String>,
    /// JSON object.
    pub finished: String,
}

/// One second of one series.
#[derive(Clone, Debug)]
pub struct NewPoint {
    /// Unix time.
    pub second: i64,
    pub metric: Arc<str>,
    pub kind: &'static str,
    /// JSON object of strings, keys ascending.
    pub tags: Arc<str>,
    pub point: Point,
}

/// What one second of one series, or several of them added up, amount to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    pub count: u64,
    pub sum: f64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub histogram: Option<Histogram>,
}

impl Point {
    /// Adds another batch, another series or another second.
    pub fn merge(&mut self, other: &Point) {
        self.count = self.count.saturating_add(other.count);
        self.sum = (self.sum + other.sum).clamp(f64::MIN, f64::MAX);
        self.min = merged(self.min, other.min, f64::min);
        self.max = merged(self.max, other.max, f64::max);
        match (&mut self.histogram, &other.histogram) {
            (Some(own), Some(theirs)) => own.merge(theirs),
            (own @ None, Some(theirs)) => *own = Some(theirs.clone()),
            (_, None) => {}
        }
    }
}

fn merged(own: Option<f64>, other: Option<f64>, pick: fn(f64, f64) -> f64) -> Option<f64> {
    match (own, other) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (one, None) | (None, one) => one,
    }
}

/// One batch of points.
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub run_id: Arc<str>,
    /// Who counts the batches.
    pub source: String,
    pub batch: u64,
    pub points: Vec<NewPoint>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Stored; the first and last second that changed, `None` for an empty batch.
    Stored(Option<(i64, i64)>),
    /// It was stored before.
    Repeated,
}

/// One run of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    pub run_key: i64,
    pub run_id: String,
    pub name: String,
    pub script_name: Option<String>,
    pub target: Option<String>,
    /// JSON object of strings.
    pub tags: String,
    pub started_at_ms: i64,
    pub seen_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    pub aborted: bool,
    pub exit_code: Option<i64>,
    pub verdict: Option<String>,
    pub pinned: bool,
    pub bytes: i64,
}

impl RunRow {
    /// The columns that [`RunRow::read`] expects, in its order.
    pub(super) const COLUMNS: &str = "run_key, run_id, name, script_name, target, tags, \
         started_at_ms, seen_at_ms, finished_at_ms, aborted, exit_code, verdict, pinned, bytes";

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRow> {
        Ok(RunRow {
            run_key: row.get(0)?,
            run_id: row.get(1)?,
            name: row.get(2)?,
            script_name: row.get(3)?,
            target: row.get(4)?,
            tags: row.get(5)?,
            started_at_ms: row.get(6)?,
            seen_at_ms: row.get(7)?,
            finished_at_ms: row.get(8)?,
            aborted: row.get(9)?,
            exit_code: row.get(10)?,
            verdict: row.get(11)?,
            pinned: row.get(12)?,
            bytes: row.get(13)?,
        })
    }
}

/// The large texts of one run, JSON objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub registered: String,
    pub finished: Option<String>,
}

/// A metric with one set of tags.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRow {
    pub series_key: i64,
    pub metric: String,
    /// JSON object of strings, keys ascending.
    pub tags: String,
    pub kind: String,
}

/// Which runs a page of the list holds.
#[derive(Clone, Debug)]
pub struct RunsQuery {
    pub limit: usize,
    /// Only runs that stand after this one in the list: its start and id.
    pub before: Option<(i64, String)>,
    /// Part of name, script, target or id, in any case.
    pub text: Option<String>,
    /// A tag's name, and its value unless any will do.
    pub tag: Option<(String, Option<String>)>,
}
