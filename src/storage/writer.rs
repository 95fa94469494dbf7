//! The one thread that changes messages: group commit.
//!
//! It takes what is queued, runs it in one `BEGIN IMMEDIATE .. COMMIT` with `synchronous=FULL`,
//! then updates what memory knows, answers, and tells the hub, in this order. While one commit
//! syncs, the next batch collects; no delay is added.
//!
//! A bad job in a batch: refused jobs leave the transaction by their savepoint; an error that
//! leaves the transaction open fails its job alone; one that rolled everything back fails the
//! batch. A full disk makes the batch run again job by job, so that acknowledgements and deletes
//! get through. A failed sync is final: its commit may or may not come back at recovery, so its
//! jobs are answered `OutcomeUnknown` and the thread ends.
//!
//! The thread ends when the queue is closed and drained, and gives its connection back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use r2d2_sqlite::rusqlite::{self, Connection, ErrorCode, params};

use super::JobError;
use super::checkpoint::{Turn, WriterPart};
use super::job::{Done, Job};
use super::messages::{Fault, Staged, Tally, Times, Work};
use super::queue::Queue;
use super::recent::Change;
use super::retire::{self, Disk, Retired};
use super::state::Shared;

const DISK_FULL: &str = "the disk or the configured database size is full";
pub(super) const DATABASE_FULL: &str = "the database has its configured size";

pub(super) struct Writer {
    pub(super) connection: Connection,
    shared: Arc<Shared>,
    queue: Arc<Queue<Job>>,
    wal: WriterPart,
    tally: Tally,
    /// Expiry or vacuum has left something; goes on after the next batch.
    upkeep_due: bool,
}

/// Why a whole batch was not committed. In every case it is rolled back.
enum BatchFault {
    /// Try its jobs one by one.
    Full,
    /// The outcome of the commit is unknown.
    Sync(rusqlite::Error),
    Other(rusqlite::Error),
}

type Results = Vec<Result<Done, JobError>>;

impl Writer {
    pub(super) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        queue: Arc<Queue<Job>>,
        turn: Arc<Turn>,
        tally: Tally,
    ) -> Writer {
        Writer {
            connection,
            shared,
            queue,
            wal: WriterPart::new(turn),
            tally,
            upkeep_due: false,
        }
    }

    /// The thread's whole life. A panic ends storage, never only the thread.
    pub(super) fn run(mut self) -> Option<Connection> {
        let ended = std::panic::catch_unwind(AssertUnwindSafe(|| self.serve()));
        if ended.is_err() {
            self.shared.fail("the writer panicked");
        }
        self.queue.close();
        self.refuse_the_rest();
        (!self.shared.has_failed()).then_some(self.connection)
    }

    fn serve(&mut self) {
        let (jobs_max, bytes_max) = {
            let limits = &self.shared.limits;
            (limits.commit_jobs_max.max(1), limits.commit_bytes_max)
        };
        let mut batch = Vec::new();
        loop {
            self.queue.take(&mut batch, jobs_max, bytes_max);
            if batch.is_empty() {
                return;
            }
            let ticks = batch.extract_if(.., |job| matches!(job, Job::Tick)).count();
            if !batch.is_empty() {
                self.commit_within_size(std::mem::take(&mut batch));
            }
            if self.shared.has_failed() {
                return;
            }
            if ticks > 0 || self.upkeep_due {
                self.upkeep();
            }
            self.wal.after_commit(&self.connection, &self.shared);
            if self.shared.has_failed() {
                return;
            }
        }
    }

    fn refuse_the_rest(&self) {
        let mut rest = Vec::new();
        loop {
            self.queue.take(&mut rest, usize::MAX, usize::MAX);
            if rest.is_empty() {
                return;
            }
            rest.drain(..)
                .for_each(|job| job.refuse(JobError::Unavailable));
        }
    }

    /// Posts that were queued before the configured size was reached must not use up the reserve
    /// that acknowledgements and deletes need.
    fn commit_within_size(&mut self, mut batch: Vec<Job>) {
        if self.shared.limits.database_bytes_max == 0 {
            return self.commit(batch);
        }
        if self.shared.database_is_full() {
            for post in batch.extract_if(.., |job| job.is_post()) {
                post.refuse(JobError::Full {
                    what: DATABASE_FULL,
                });
            }
        }
        if !batch.is_empty() {
            self.commit(batch);
            self.measure();
        }
    }

    /// Commits and answers one batch.
    fn commit(&mut self, batch: Vec<Job>) {
        match self.transaction(&batch) {
            Ok((results, staged)) => {
                self.settle(&staged);
                for (job, result) in batch.into_iter().zip(results) {
                    job.answer(result);
                }
                self.tell(&staged);
            }
            Err(BatchFault::Full) if batch.len() > 1 => {
                for job in batch {
                    if self.shared.has_failed() {
                        job.refuse(JobError::Unavailable);
                    } else {
                        self.commit(vec![job]);
                    }
                }
            }
            Err(fault) => self.refuse(batch, fault),
        }
    }

    fn refuse(&mut self, batch: Vec<Job>, fault: BatchFault) {
        let error = match fault {
            BatchFault::Full => {
                self.shared.full.store(true, Ordering::Relaxed);
                JobError::Full { what: DISK_FULL }
            }
            BatchFault::Sync(error) => {
                tracing::error!(%error, jobs = batch.len(), "the sync of a commit failed");
                self.shared.fail("the sync of a commit failed");
                JobError::OutcomeUnknown
            }
            BatchFault::Other(error) => {
                tracing::error!(%error, jobs = batch.len(), "a batch was rolled back");
                self.shared.write_fails.store(true, Ordering::Relaxed);
                if is_corruption(&error) {
                    self.shared.fail("the database is damaged");
                }
                JobError::Sqlite(Arc::new(error))
            }
        };
        batch.into_iter().for_each(|job| job.refuse(error.clone()));
    }

    /// BEGIN, the jobs, the tally, COMMIT. An error has rolled everything back.
    fn transaction(&self, batch: &[Job]) -> Result<(Results, Staged), BatchFault> {
        let begin = Instant::now();
        let outcome = self.run_jobs(batch).and_then(|(results, staged)| {
            let commit_time = self.write_out(&staged)?;
            self.shared
                .count_commit(staged.totals, batch.len() as u64, commit_time);
            Ok((results, staged))
        });
        self.shared
            .metrics
            .batch_seconds
            .observe(begin.elapsed().as_secs_f64());
        if outcome.is_err() {
            self.roll_back();
        }
        outcome
    }

    fn run_jobs(&self, batch: &[Job]) -> Result<(Results, Staged), BatchFault> {
        self.execute("BEGIN IMMEDIATE").map_err(classify)?;
        let mut work = Work::new(&self.connection, self.times(), self.tally).map_err(classify)?;
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            results.push(self.run_job(job, &mut work)?);
        }
        Ok((results, work.staged))
    }

    fn run_job(
        &self,
        job: &Job,
        work: &mut Work<'_>,
    ) -> Result<Result<Done, JobError>, BatchFault> {
        let mark = work.staged.mark();
        let savepoint = job.needs_savepoint();
        if savepoint {
            self.execute("SAVEPOINT job").map_err(classify)?;
        }
        let error = match job.run(work) {
            Ok(done) => {
                if savepoint {
                    self.execute("RELEASE job").map_err(classify)?;
                }
                return Ok(Ok(done));
            }
            Err(Fault::Refused(refusal)) => refusal,
            Err(Fault::Sqlite(error)) => {
                if self.connection.is_autocommit() || must_end_batch(&error) {
                    return Err(classify(error));
                }
                tracing::error!(%error, "a job failed alone");
                JobError::Sqlite(Arc::new(error))
            }
        };
        if savepoint {
            self.execute("ROLLBACK TO job").map_err(classify)?;
            self.execute("RELEASE job").map_err(classify)?;
        }
        work.staged.take_back(mark);
        Ok(Err(error))
    }

    /// The tally and COMMIT; answers the time of COMMIT, which contains the sync.
    fn write_out(&self, staged: &Staged) -> Result<Duration, BatchFault> {
        let tally = staged.totals.tally;
        if tally != self.tally {
            let mut statement = self
                .connection
                .prepare_cached(SAVE_TALLY)
                .map_err(classify)?;
            statement
                .execute(params![
                    tally.sequence,
                    tally.stored,
                    tally.queued,
                    tally.expired_undelivered,
                    tally.walked_to
                ])
                .map_err(classify)?;
        }
        let start = Instant::now();
        match self.execute("COMMIT") {
            Ok(()) => Ok(start.elapsed()),
            // Anything but a full disk at COMMIT leaves the outcome in doubt.
            Err(error) => Err(match classify(error) {
                BatchFault::Other(error) if is_io(&error) => BatchFault::Sync(error),
                fault => fault,
            }),
        }
    }

    fn roll_back(&self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.execute("ROLLBACK") {
            tracing::error!(%error, "a rollback failed");
            self.shared.fail("a rollback failed");
        }
    }

    /// What memory knows follows the commit, before anyone is answered.
    fn settle(&mut self, staged: &Staged) {
        self.tally = staged.totals.tally;
        self.shared.write_fails.store(false, Ordering::Relaxed);
        if staged.totals.accepted > 0 {
            self.shared.full.store(false, Ordering::Relaxed);
        }
        self.shared.recent.apply(&staged.changes);
        if let Some(Change::Added(row)) =
            staged.changes.iter().rev().find(|change| is_added(change))
        {
            self.shared
                .newest_received_ms
                .fetch_max(row.received_at_ms, Ordering::Relaxed);
        }
        self.shared
            .committed
            .store(self.tally.sequence, Ordering::Release);
    }

    fn tell(&self, staged: &Staged) {
        let Some(listener) = self.shared.listener.get() else {
            return;
        };
        listener(
            &mut staged.changes.iter().filter_map(|change| match change {
                Change::Added(row) => Some(row.as_ref()),
                Change::Delivered { .. } | Change::Removed { .. } => None,
            }),
        );
    }

    /// A slice of expiry, a step of vacuum.
    fn upkeep(&mut self) {
        let newest = self.shared.newest_received_ms.load(Ordering::Relaxed);
        self.shared.expiry.observe(newest);
        let expiry = self.retire();
        let disk = if self.shared.disk_is_short() {
            Disk::Short
        } else {
            Disk::Roomy
        };
        let vacuum = retire::vacuum(&self.connection, disk).map_err(classify);
        self.upkeep_due = false;
        for step in [expiry, vacuum] {
            match step {
                Ok(more) => self.upkeep_due |= more,
                Err(BatchFault::Full) => tracing::debug!("upkeep waits for space"),
                Err(fault) => self.refuse(Vec::new(), fault),
            }
        }
        self.measure();
    }

    fn retire(&mut self) -> Result<bool, BatchFault> {
        let work = Work::new(&self.connection, self.times(), self.tally).map_err(classify)?;
        if self.shared.expiry.held() || !retire::is_due(&work).map_err(classify)? {
            return Ok(false);
        }
        drop(work);
        let outcome = self.expire_slice();
        if outcome.is_err() {
            self.roll_back();
        }
        let (retired, staged) = outcome?;
        self.settle(&staged);
        Ok(retired == Retired::More)
    }

    fn expire_slice(&self) -> Result<(Retired, Staged), BatchFault> {
        self.execute("BEGIN IMMEDIATE").map_err(classify)?;
        let mut work = Work::new(&self.connection, self.times(), self.tally).map_err(classify)?;
        let retired = retire::slice(&mut work).map_err(classify)?;
        let staged = work.staged;
        let commit_time = self.write_out(&staged)?;
        self.shared.count_commit(staged.totals, 0, commit_time);
        Ok((retired, staged))
    }

    /// Sizes that only a connection knows.
    fn measure(&self) {
        let pages = |sql: &str| {
            self.connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
        };
        if let (Ok(all), Ok(free)) = (pages("PRAGMA page_count"), pages("PRAGMA freelist_count")) {
            let bytes = |pages: i64| pages.max(0) as u64 * u64::from(super::PAGE_BYTES);
            self.shared
                .database_bytes
                .store(bytes(all), Ordering::Relaxed);
            self.shared
                .freelist_bytes
                .store(bytes(free), Ordering::Relaxed);
            self.shared.metrics.database_bytes.set(bytes(all) as i64);
            self.shared.metrics.freelist_bytes.set(bytes(free) as i64);
        }
    }

    fn times(&self) -> Times {
        Times {
            now_ms: self.shared.expiry.wall_ms(),
            expiry_now_ms: self.shared.expiry.now_ms(),
            retention_ms: self.shared.limits.retention.as_millis() as i64,
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

fn is_added(change: &Change) -> bool {
    matches!(change, Change::Added(_))
}

/// A failed sync, wherever it happened: of the WAL, of the file, of the directory.
pub(super) fn is_sync_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};

    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC
        )
    })
}

fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

fn is_corruption(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Errors after which the other jobs of the transaction cannot be trusted to commit.
fn must_end_batch(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || is_io(error) || is_corruption(error)
}

fn classify(error: rusqlite::Error) -> BatchFault {
    if is_sync_failure(&error) {
        BatchFault::Sync(error)
    } else if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
        BatchFault::Full
    } else {
        BatchFault::Other(error)
    }
}

const SAVE_TALLY: &str = "UPDATE tally SET sequence = ?1, stored = ?2, queued = ?3, \
    expired_undelivered = ?4, walked_to = ?5 WHERE one = 1";
