//! The writer thread of `runs.db`: one job, one transaction, one answer after its commit.
//!
//! Reporters send one batch a second, so there is nothing to gain from group commit here. A job
//! that fails is rolled back and answered; a failed commit or sync makes the store unusable until
//! the next start, because a retried sync lies. Messages are not affected. Between jobs the thread
//! does the upkeep. It ends when every sender is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use r2d2_sqlite::rusqlite::{self, Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::row::{NewBatch, NewEnd, NewPoint, NewRun, Point, Taken};
use super::{Clock, Error, SERIES_MAX, packed, read, upkeep};
use crate::limits::Limits;

/// Time between two looks at retention while nothing else happens.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);
/// What a point occupies beside its histogram, in bytes; measured on a stored run.
const POINT_BYTES: i64 = 40;

pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

pub(super) enum Job {
    Register(NewRun, Answer<()>),
    Add(NewBatch, Answer<Taken>),
    Finish(Arc<str>, NewEnd, Answer<()>),
    Delete(Arc<str>, Answer<()>),
}

pub(super) struct Writer {
    connection: Connection,
    dir: PathBuf,
    limits: Limits,
    clock: Clock,
    /// A commit has failed: nothing is written any more.
    broken: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, dir: &Path, limits: &Limits, clock: Clock) -> Writer {
        Writer {
            connection,
            dir: dir.to_owned(),
            limits: limits.clone(),
            clock,
            broken: false,
        }
    }

    /// Works until the queue has no sender left.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        let mut wait = Duration::ZERO;
        loop {
            match queue.recv_timeout(wait) {
                Ok(job) => {
                    self.work(job);
                    wait = Duration::ZERO;
                }
                Err(RecvTimeoutError::Timeout) => {
                    wait = if self.tidy() {
                        Duration::ZERO
                    } else {
                        UPKEEP_EVERY
                    };
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // A clean end leaves no WAL behind; a failure costs only that.
        let _ = self
            .connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn work(&mut self, job: Job) {
        // A waiter that has gone away is normal; the change stays.
        match job {
            Job::Register(run, answer) => {
                let done = self.commit(true, |connection, now| register(connection, &run, now));
                let _ = answer.send(done);
            }
            Job::Add(batch, answer) => {
                let done = self.commit(true, |connection, now| add(connection, &batch, now));
                let _ = answer.send(done);
            }
            Job::Finish(run_id, end, answer) => {
                let done = self.commit(false, |connection, now| {
                    finish(connection, &run_id, &end, now)
                });
                let _ = answer.send(done);
            }
            Job::Delete(run_id, answer) => {
                let done = self.commit(false, |connection, _| {
                    let run_key = key_of(connection, &run_id)?;
                    Ok(upkeep::doom(connection, run_key)?)
                });
                let _ = answer.send(done);
            }
        }
    }

    /// One step of upkeep; returns whether there is more to do.
    fn tidy(&mut self) -> bool {
        if self.broken {
            return false;
        }
        let now = (self.clock)();
        let step = upkeep::sweep(&self.connection)
            .and_then(|more| Ok(more || upkeep::retire_one(&self.connection, &self.limits, now)?));
        step.unwrap_or_else(|error| {
            tracing::warn!(%error, "upkeep of runs.db failed; it is tried again later");
            self.roll_back();
            false
        })
    }

    fn commit<T>(
        &mut self,
        adds: bool,
        change: impl FnOnce(&Connection, i64) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.broken {
            return Err(Error::Unavailable);
        }
        if adds && self.disk_is_low() {
            return Err(Error::Full {
                what: "the disk is down to its free floor",
            });
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let changed = change(&self.connection, (self.clock)());
        if changed.is_err() {
            self.roll_back();
            return changed;
        }
        if let Err(error) = self.connection.execute_batch("COMMIT") {
            self.roll_back();
            let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
            if !full {
                tracing::error!(%error, "a commit to runs.db failed; runs are refused from now on");
                self.broken = true;
                return Err(Error::Unavailable);
            }
            return Err(error.into());
        }
        changed
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // Fails only if SQLite has rolled back by itself meanwhile.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Runs must not use up the room that acknowledgements and deletes of messages need.
    #[cfg(unix)]
    fn disk_is_low(&self) -> bool {
        rustix::fs::statvfs(&self.dir).is_ok_and(|disk| {
            disk.f_bavail.saturating_mul(disk.f_frsize) < self.limits.free_disk_floor_bytes
        })
    }

    #[cfg(not(unix))]
    fn disk_is_low(&self) -> bool {
        let _ = &self.dir;
        false
    }
}

fn key_of(connection: &Connection, run_id: &str) -> Result<i64, Error> {
    let key = connection
        .prepare_cached("SELECT run_key FROM run WHERE run_id = ?1")?
        .query_row([run_id], |row| row.get(0))
        .optional()?;
    key.ok_or(Error::NotFound)
}

fn register(connection: &Connection, run: &NewRun, now_ms: i64) -> Result<(), Error> {
    let bytes = run.registered.len() + run.tags.len() + run.name.len();
    let added = connection.execute(
        "INSERT INTO run
             (run_id, name, script_name, target, tags, started_at_ms, seen_at_ms, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (run_id) DO UPDATE
             SET target = coalesce(target, excluded.target), seen_at_ms = excluded.seen_at_ms",
        params![
            &*run.run_id,
            run.name,
            run.script_name,
            run.target,
            run.tags,
            run.started_at_ms,
            now_ms,
            bytes as i64,
        ],
    )?;
    assert_eq!(added, 1, "an upsert touches one row");
    connection.execute(
        "INSERT INTO run_document (run_key, registered)
         SELECT run_key, ?2 FROM run WHERE run_id = ?1
         ON CONFLICT (run_key) DO NOTHING",
        params![&*run.run_id, run.registered],
    )?;
    Ok(())
}

fn add(connection: &Connection, batch: &NewBatch, now_ms: i64) -> Result<Taken, Error> {
    let run_key = key_of(connection, &batch.run_id)?;
    let fresh = connection
        .prepare_cached("INSERT OR IGNORE INTO batch (run_key, source, batch) VALUES (?1, ?2, ?3)")?
        .execute(params![run_key, batch.source, batch.batch as i64])?;
    let mut bytes = 0;
    if fresh == 1 {
        for point in &batch.points {
            bytes += add_point(connection, run_key, point)?;
        }
    }
    connection
        .prepare_cached("UPDATE run SET seen_at_ms = ?2, bytes = bytes + ?3 WHERE run_key = ?1")?
        .execute(params![run_key, now_ms, bytes])?;
    if fresh == 0 {
        return Ok(Taken::Repeated);
    }
    let seconds = || batch.points.iter().map(|point| point.second);
    Ok(Taken::Stored(seconds().min().zip(seconds().max())))
}

/// Adds to what the series has for that second; returns the bytes that this takes more.
fn add_point(connection: &Connection, run_key: i64, new: &NewPoint) -> Result<i64, Error> {
    let series_key = series_key(connection, run_key, new)?;
    let stored: Option<Point> = connection
        .prepare_cached(
            "SELECT count, sum, min, max, histogram FROM point
             WHERE series_key = ?1 AND second = ?2",
        )?
        .query_row(params![series_key, new.second], |row| read::point(row, 0))
        .optional()?;
    let added = if stored.is_none() { POINT_BYTES } else { 0 };
    let mut whole = stored.unwrap_or_default();
    whole.merge(&new.point);
    let histogram = whole.histogram.as_ref().map(packed::pack);
    let histogram_bytes = histogram.as_ref().map_or(0, Vec::len) as i64;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO point (series_key, second, count, sum, min, max, histogram)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            series_key,
            new.second,
            whole.count as i64,
            whole.sum,
            whole.min,
            whole.max,
            histogram,
        ])?;
    Ok(added + histogram_bytes)
}

fn series_key(connection: &Connection, run_key: i64, new: &NewPoint) -> Result<i64, Error> {
    let known: Option<(i64, String)> = connection
        .prepare_cached(
            "SELECT series_key, type FROM series WHERE run_key = ?1 AND metric = ?2 AND tags = ?3",
        )?
        .query_row(params![run_key, &*new.metric, &*new.tags], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match known {
        Some((key, kind)) if kind == new.kind => Ok(key),
        Some((_, stored)) => Err(Error::Kind {
            metric: new.metric.clone(),
            stored,
        }),
        None => {
            let count: i64 = connection
                .prepare_cached("SELECT count(*) FROM series WHERE run_key = ?1")?
                .query_row([run_key], |row| row.get(0))?;
            if count as usize >= SERIES_MAX {
                return Err(Error::Series);
            }
            connection
                .prepare_cached(
                    "INSERT INTO series (run_key, metric, tags, type) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![run_key, &*new.metric, &*new.tags, new.kind])?;
            Ok(connection.last_insert_rowid())
        }
    }
}

fn finish(connection: &Connection, run_id: &str, end: &NewEnd, now_ms: i64) -> Result<(), Error> {
    let run_key = key_of(connection, run_id)?;
    connection.execute(
        "UPDATE run SET finished_at_ms = ?2, aborted = ?3, exit_code = ?4, verdict = ?5,
             target = coalesce(?6, target), seen_at_ms = ?7, bytes = bytes + ?8
         WHERE run_key = ?1",
        params![
            run_key,
            end.finished_at_ms,
            end.aborted,
            end.exit_code,
            end.verdict,
            end.target,
            now_ms,
            end.finished.len() as i64,
        ],
    )?;
    connection.execute(
        "UPDATE run_document SET finished = ?2 WHERE run_key = ?1",
        params![run_key, end.finished],
    )?;
    Ok(())
}
