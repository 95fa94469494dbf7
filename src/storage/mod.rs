//! SQLite: the writer threads, the reader pools, the schema.

mod error;
mod row;
pub mod runs;

use std::path::Path;
use std::sync::Arc;

use crate::limits::Limits;
use crate::metrics::Metrics;

pub use error::{Error, JobError};
pub use row::{Cursor, Grown, List, ListQuery, NewRow, Put, Row, Rows, State};

/// A cheap handle; every clone means the same open database.
#[derive(Clone)]
pub struct Storage {}

/// The lock of a data directory; held until dropped, released by the system when the process dies.
pub struct DirLock {}

/// Called on the writer thread after the answers of a commit, with what it added in order.
pub type CommitListener = Box<dyn Fn(&[Grown]) + Send + Sync>;

/// What storage says about itself; counts are since start unless they say otherwise.
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
    /// Mean of the last ten seconds.
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
    /// Mean of the last ten seconds.
    pub commit_jobs_mean: f64,
    pub commit_seconds_mean: f64,
    /// Slowest commit of the last ten seconds.
    pub commit_seconds_max: f64,
    pub checkpoint_seconds_last: f64,
    pub readers: u64,
    pub readers_busy: u64,
    pub readers_waiting: u64,
    pub read_seconds_max: f64,
    /// Nothing expires at the moment, because the clock cannot be trusted.
    pub expiry_held: bool,
}

impl DirLock {
    /// Creates the directory (mode 0700) where it is missing. Never waits.
    pub fn acquire(_dir: &Path) -> Result<DirLock, Error> {
        unimplemented!()
    }
}

impl Storage {
    /// Opens or creates `messages.db` in `dir`, whose lock the caller holds. Blocks.
    pub fn open(
        _dir: &Path,
        _limits: Arc<Limits>,
        _metrics: Arc<Metrics>,
    ) -> Result<Storage, Error> {
        unimplemented!()
    }

    /// Set once, before the first message; later listeners are ignored.
    pub fn on_commit(&self, _listener: CommitListener) {
        unimplemented!()
    }

    pub async fn put(&self, _row: NewRow) -> Result<Put, JobError> {
        unimplemented!()
    }

    /// All or nothing.
    pub async fn put_batch(&self, _rows: Vec<NewRow>) -> Result<Vec<Put>, JobError> {
        unimplemented!()
    }

    pub async fn get(&self, _id: &str) -> Result<Option<Arc<Row>>, JobError> {
        unimplemented!()
    }

    /// Beside the rows: the sequence that was committed before they were read.
    pub async fn list(&self, _query: ListQuery) -> Result<(Rows, i64), JobError> {
        unimplemented!()
    }

    pub async fn ack_ids(&self, _user: Arc<str>, _ids: Vec<Arc<str>>) -> Result<u64, JobError> {
        unimplemented!()
    }

    /// Runs in several commits where there is much to acknowledge.
    pub async fn ack_up_to(&self, _user: Arc<str>, _sequence: i64) -> Result<u64, JobError> {
        unimplemented!()
    }

    pub async fn delete(&self, _id: Arc<str>) -> Result<bool, JobError> {
        unimplemented!()
    }

    pub fn committed(&self) -> i64 {
        unimplemented!()
    }

    pub fn epoch(&self) -> &str {
        unimplemented!()
    }

    pub fn status(&self) -> StorageStatus {
        unimplemented!()
    }

    /// Why messages cannot be made durable at the moment, if they cannot.
    pub fn trouble(&self) -> Option<&'static str> {
        unimplemented!()
    }

    /// Resolves when a sync has failed: the process must exit with code 4. Else never.
    pub async fn failed(&self) {
        unimplemented!()
    }

    /// Answers what is queued, checkpoints, joins the threads; repeatable. Blocks: not for a
    /// thread of the runtime.
    pub fn close(&self) {
        unimplemented!()
    }
}
