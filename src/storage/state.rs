//! What the threads of one open database share: counts, sizes, trouble.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::clock::ExpiryClock;
use super::messages::Totals;
use super::recent::Recent;
use super::{CommitListener, StorageStatus};
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Rates are means over this many seconds.
const RATE_SECONDS: usize = 10;

pub(super) struct Shared {
    pub(super) limits: Arc<Limits>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) epoch: Arc<str>,
    pub(super) expiry: ExpiryClock,
    pub(super) recent: Recent,
    pub(super) listener: OnceLock<CommitListener>,
    /// The highest sequence that readers can see.
    pub(super) committed: AtomicI64,
    pub(super) newest_received_ms: AtomicI64,
    pub(super) wal_bytes: AtomicU64,
    pub(super) free_disk_bytes: AtomicU64,
    pub(super) database_bytes: AtomicU64,
    pub(super) freelist_bytes: AtomicU64,
    pub(super) counts: Mutex<Counts>,
    /// The last write failed for another reason than a full disk.
    pub(super) write_fails: AtomicBool,
    /// SQLite said FULL and nothing has been written since.
    pub(super) full: AtomicBool,
    /// A sync has failed, or the writer is gone: final.
    failed: watch::Sender<bool>,
}

/// Written once per commit under one lock.
#[derive(Debug, Default)]
pub(super) struct Counts {
    totals: Totals,
    commits: u64,
    jobs: u64,
    commit_time: Duration,
    commit_time_max: Duration,
    checkpoint_time_last: Duration,
    seconds: VecDeque<Second>,
}

/// The counters at the end of one second, and its slowest commit.
#[derive(Debug, Clone, Copy)]
struct Second {
    at: Instant,
    accepted: u64,
    commits: u64,
    jobs: u64,
    commit_time: Duration,
    commit_time_max: Duration,
}

impl Shared {
    pub(super) fn new(
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        epoch: Arc<str>,
        expiry: ExpiryClock,
        totals: Totals,
        newest_received_ms: i64,
    ) -> Shared {
        Shared {
            recent: Recent::new(super::recent::RECENT_BYTES_MAX, totals.tally.sequence),
            limits,
            metrics,
            epoch,
            expiry,
            listener: OnceLock::new(),
            committed: AtomicI64::new(totals.tally.sequence),
            newest_received_ms: AtomicI64::new(newest_received_ms),
            wal_bytes: AtomicU64::new(0),
            free_disk_bytes: AtomicU64::new(u64::MAX),
            database_bytes: AtomicU64::new(0),
            freelist_bytes: AtomicU64::new(0),
            counts: Mutex::new(Counts {
                totals,
                ..Counts::default()
            }),
            write_fails: AtomicBool::new(false),
            full: AtomicBool::new(false),
            failed: watch::Sender::new(false),
        }
    }

    /// Final: nothing can be made durable any more.
    pub(super) fn fail(&self, reason: &str) {
        if !self.failed.send_replace(true) {
            tracing::error!(
                reason,
                "storage has failed: the process has to end and recover"
            );
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        *self.failed.borrow()
    }

    pub(super) async fn failed(&self) {
        // The sender lives in `self`, so waiting ends only by the failure.
        let _ = self.failed.subscribe().wait_for(|failed| *failed).await;
    }

    pub(super) fn disk_is_short(&self) -> bool {
        self.free_disk_bytes.load(Ordering::Relaxed) < self.limits.free_disk_floor_bytes
    }

    pub(super) fn database_is_full(&self) -> bool {
        let max = self.limits.database_bytes_max;
        let used = self.database_bytes.load(Ordering::Relaxed)
            - self
                .freelist_bytes
                .load(Ordering::Relaxed)
                .min(self.database_bytes.load(Ordering::Relaxed));
        max > 0 && used >= max
    }

    pub(super) fn wal_is_full(&self) -> bool {
        self.wal_bytes.load(Ordering::Relaxed) >= self.limits.wal_bytes_max
    }

    /// One commit, seen from outside the writer.
    pub(super) fn count_commit(&self, totals: Totals, jobs: u64, commit_time: Duration) {
        let mut counts = self.counts();
        let before = counts.totals;
        counts.totals = Totals {
            tally: totals.tally,
            accepted: before.accepted + totals.accepted,
            repeated: before.repeated + totals.repeated,
            acknowledged: before.acknowledged + totals.acknowledged,
            deleted: before.deleted + totals.deleted,
            expired: before.expired + totals.expired,
        };
        counts.commits += 1;
        counts.jobs += jobs;
        counts.commit_time += commit_time;
        counts.commit_time_max = counts.commit_time_max.max(commit_time);
        drop(counts);
        let metrics = &self.metrics;
        metrics.messages_accepted.inc_by(totals.accepted);
        metrics.messages_duplicate.inc_by(totals.repeated);
        metrics.messages_acknowledged.inc_by(totals.acknowledged);
        metrics.messages_deleted.inc_by(totals.deleted);
        metrics.messages_expired.inc_by(totals.expired);
        let undelivered = totals.tally.expired_undelivered - before.tally.expired_undelivered;
        metrics
            .messages_expired_undelivered
            .inc_by(undelivered.max(0) as u64);
        metrics.messages_stored.set(totals.tally.stored);
        metrics.messages_queued.set(totals.tally.queued);
        metrics.commits.inc();
        metrics.commit_seconds.observe(commit_time.as_secs_f64());
        metrics.batch_jobs.observe(jobs as f64);
    }

    pub(super) fn count_checkpoint(&self, mode: &'static str, time: Duration) {
        let label = crate::metrics::CheckpointLabels { mode };
        self.metrics.checkpoints.get_or_create(&label).inc();
        self.metrics.checkpoint_seconds.observe(time.as_secs_f64());
        self.counts().checkpoint_time_last = time;
    }

    /// Called once a second, for the rates.
    pub(super) fn end_second(&self, at: Instant) {
        let mut counts = self.counts();
        let second = Second {
            at,
            accepted: counts.totals.accepted,
            commits: counts.commits,
            jobs: counts.jobs,
            commit_time: counts.commit_time,
            commit_time_max: std::mem::take(&mut counts.commit_time_max),
        };
        counts.seconds.push_back(second);
        if counts.seconds.len() > RATE_SECONDS + 1 {
            counts.seconds.pop_front();
        }
    }

    /// Everything but what the queue and the readers know.
    pub(super) fn status(&self) -> StorageStatus {
        let counts = self.counts();
        let totals = counts.totals;
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let mut status = StorageStatus {
            messages_stored: totals.tally.stored.max(0) as u64,
            messages_queued: totals.tally.queued.max(0) as u64,
            messages_accepted: totals.accepted,
            messages_repeated: totals.repeated,
            messages_acknowledged: totals.acknowledged,
            messages_deleted: totals.deleted,
            messages_expired_undelivered: totals.tally.expired_undelivered.max(0) as u64,
            committed_sequence: self.committed.load(Ordering::Acquire),
            database_bytes: load(&self.database_bytes),
            wal_bytes: load(&self.wal_bytes),
            freelist_bytes: load(&self.freelist_bytes),
            free_disk_bytes: load(&self.free_disk_bytes),
            commits: counts.commits,
            checkpoint_seconds_last: counts.checkpoint_time_last.as_secs_f64(),
            expiry_held: self.expiry.held(),
            ..StorageStatus::default()
        };
        if let (Some(first), Some(last)) = (counts.seconds.front(), counts.seconds.back()) {
            let seconds = last.at.duration_since(first.at).as_secs_f64();
            let commits = (last.commits - first.commits) as f64;
            if seconds > 0.0 {
                status.accepted_per_second = (last.accepted - first.accepted) as f64 / seconds;
                status.commits_per_second = commits / seconds;
            }
            if commits > 0.0 {
                status.commit_jobs_mean = (last.jobs - first.jobs) as f64 / commits;
                status.commit_seconds_mean =
                    (last.commit_time - first.commit_time).as_secs_f64() / commits;
            }
        }
        let slowest = counts.seconds.iter().map(|second| second.commit_time_max);
        status.commit_seconds_max = slowest
            .max()
            .unwrap_or_default()
            .max(counts.commit_time_max)
            .as_secs_f64();
        status
    }

    pub(super) fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
