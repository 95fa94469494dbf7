//! What storage says about itself.

use std::sync::atomic::Ordering;

use super::state::Shared;

/// One moment. Counts are since start unless they say otherwise; means cover the last ten seconds.
#[derive(Clone, Debug, Default)]
pub struct StorageStatus {
    /// Messages that can be read now.
    pub messages_stored: u64,
    /// Of these, those that wait for their recipient.
    pub messages_queued: u64,
    /// Stored since start, without repeats.
    pub messages_accepted: u64,
    pub messages_repeated: u64,
    pub messages_acknowledged: u64,
    pub messages_deleted: u64,
    /// Expired before their recipient took them, ever.
    pub messages_expired_undelivered: u64,
    pub accepted_per_second: f64,
    pub commits_per_second: f64,
    pub committed_sequence: i64,
    pub database_bytes: u64,
    pub wal_bytes: u64,
    pub freelist_bytes: u64,
    pub free_disk_bytes: u64,
    pub queue_jobs: u64,
    pub queue_bytes: u64,
    pub commits: u64,
    pub commit_jobs_mean: f64,
    pub commit_seconds_mean: f64,
    /// Slowest commit of the last ten seconds.
    pub commit_seconds_max: f64,
    pub checkpoint_seconds_last: f64,
    pub readers: u64,
    pub readers_busy: u64,
    pub readers_waiting: u64,
    /// Nothing expires at the moment, because the clock cannot be trusted.
    pub expiry_held: bool,
}

impl Shared {
    /// Why messages cannot be made durable at the moment, if they cannot.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        if self.has_failed() {
            Some("a sync to the disk failed")
        } else if self.disk_is_short() {
            Some("the disk is down to the free-disk floor")
        } else if self.database_is_full() || self.full.load(Ordering::Relaxed) {
            Some("the storage is full")
        } else if self.write_fails.load(Ordering::Relaxed) {
            Some("the last write failed")
        } else {
            None
        }
    }
}
