//! SQLite: one writer thread, one checkpoint thread, one pool of readers per file.
//!
//! [`Storage`] is the relay's way to `messages.db`: put, get, list from a cursor, acknowledge,
//! delete. Only the writer changes rows; readers are opened after it and closed before it. What is
//! answered is durable: COMMIT has returned under WAL with `synchronous=FULL`.
//!
//! Architecture invariant: `storage` knows no HTTP status and no domain type; it has rows of its
//! own. Blocking calls run on its threads, or on the runtime's blocking ones behind a permit.

mod checkpoint;
mod clock;
mod dir;
mod error;
mod job;
mod lists;
mod messages;
mod queue;
mod reader;
mod recent;
mod retire;
mod row;
pub mod runs;
mod schema;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use r2d2_sqlite::rusqlite::{self, Connection, OptionalExtension};
use tokio::sync::oneshot;

use crate::limits::Limits;
use crate::metrics::Metrics;

pub use clock::{Clock, Moment};
pub use dir::DirLock;
pub use error::{Error, JobError};
pub use row::{Cursor, List, ListQuery, NewRow, Put, Row, Rows, State};
pub use status::StorageStatus;

use checkpoint::Checkpointer;
use job::{Answer, Job};
use messages::{Tally, Totals};
use queue::{PushError, Queue};
use reader::Readers;
use state::Shared;
use upkeep::Upkeep;
use writer::Writer;

/// Called on the writer thread after the answers of a commit, with the messages it added in order.
pub type CommitListener = Box<dyn Fn(&mut dyn Iterator<Item = &Row>) + Send + Sync>;

/// Small messages fill 4 KiB pages well, and a WAL frame of a page that changed costs its size.
const PAGE_BYTES: u32 = 4096;

const MESSAGES: schema::Kind = schema::Kind {
    section: "messages.db",
    // "dchM"
    application_id: 0x6463_684D,
    version: 1,
    page_bytes: PAGE_BYTES,
    cache_bytes: 64 * 1024 * 1024,
};

/// A cheap handle; every clone means the same open database.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue<Job>>,
    readers: Readers,
    checkpointer: Checkpointer,
    upkeep: Upkeep,
    /// Gives its connection back unless storage has failed.
    writer: Mutex<Option<JoinHandle<Option<Connection>>>>,
}

impl Storage {
    /// Opens or creates `messages.db` in `dir`, whose [`DirLock`] the caller holds. Blocks.
    pub fn open(dir: &Path, limits: Arc<Limits>, metrics: Arc<Metrics>) -> Result<Storage, Error> {
        Storage::open_at(dir, limits, metrics, Clock::system())
    }

    /// [`Storage::open`] under another clock.
    pub fn open_at(
        dir: &Path,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Storage, Error> {
        let path = dir.join("messages.db");
        let connection = schema::open_writer(&path, &MESSAGES)?;
        let failed = |source| Error::Open {
            file: path.clone(),
            source,
        };
        dir::sync(dir).map_err(|source| Error::Directory {
            dir: dir.to_owned(),
            source,
        })?;
        limit_size(&connection, &limits).map_err(failed)?;
        let start = Start::read(&connection).map_err(failed)?;
        let tally = start.tally;
        let shared = Arc::new(start.share(limits, metrics, clock));
        let queue = Arc::new(Queue::new(
            shared.limits.queue_jobs_max,
            shared.limits.queue_bytes_max,
        ));
        let checkpointer = Checkpointer::start(&path, shared.clone())?;
        let turn = checkpointer.turn();
        let writer = Writer::new(connection, shared.clone(), queue.clone(), turn, tally);
        let writer = std::thread::Builder::new()
            .name("dchat-writer".into())
            .spawn(move || writer.run())
            .map_err(Error::Thread)?;
        Ok(Storage {
            inner: Arc::new(Inner {
                readers: Readers::open(&path, shared.clone())?,
                upkeep: Upkeep::start(dir, shared.clone(), queue.clone())?,
                shared,
                queue,
                checkpointer,
                writer: Mutex::new(Some(writer)),
            }),
        })
    }

    /// Set once, before the first message; later listeners are ignored.
    pub fn on_commit(&self, listener: CommitListener) {
        let _ = self.inner.shared.listener.set(listener);
    }

    /// Resolves once the message is durable. Dropping the future does not take it back.
    pub async fn put(&self, row: NewRow) -> Result<Put, JobError> {
        self.inner.check_room()?;
        self.inner.ask(|answer| Job::Put(row, answer)).await
    }

    /// All or nothing, in one commit; answers in the order given.
    pub async fn put_batch(&self, rows: Vec<NewRow>) -> Result<Vec<Put>, JobError> {
        self.inner.check_room()?;
        self.inner.ask(|answer| Job::PutAll(rows, answer)).await
    }

    pub async fn get(&self, id: &str) -> Result<Option<Arc<Row>>, JobError> {
        let shared = &self.inner.shared;
        if let Some(row) = shared.recent.get(id) {
            let expired = row
                .expires_at_ms
                .is_some_and(|at| at <= shared.expiry.now_ms());
            return Ok((!expired).then_some(row));
        }
        self.inner.readers.get(id.into()).await
    }

    /// Beside the rows: the sequence that was committed before they were read.
    pub async fn list(&self, query: ListQuery) -> Result<(Rows, i64), JobError> {
        let committed = self.committed();
        let shared = &self.inner.shared;
        if let Some(rows) = shared.recent.list(&query, shared.expiry.now_ms()) {
            return Ok((rows, committed));
        }
        Ok((self.inner.readers.list(query).await?, committed))
    }

    pub async fn ack_ids(&self, user: Arc<str>, ids: Vec<Arc<str>>) -> Result<u64, JobError> {
        self.inner
            .ask(|answer| Job::AckIds { user, ids, answer })
            .await
    }

    /// Runs in several commits where there is much to acknowledge.
    pub async fn ack_up_to(&self, user: Arc<str>, sequence: i64) -> Result<u64, JobError> {
        let mut acknowledged = 0;
        loop {
            let user = user.clone();
            let ask = |answer| Job::AckUpTo {
                user,
                up_to: sequence,
                answer,
            };
            let (slice, more) = self.inner.ask(ask).await?;
            acknowledged += slice;
            if !more {
                return Ok(acknowledged);
            }
        }
    }

    /// `false` where there is no such message (any more). Its id stays reserved.
    pub async fn delete(&self, id: Arc<str>) -> Result<bool, JobError> {
        self.inner.ask(|answer| Job::Delete(id, answer)).await
    }

    /// The highest sequence that can be read.
    pub fn committed(&self) -> i64 {
        self.inner
            .shared
            .committed
            .load(std::sync::atomic::Ordering::Acquire)
    }

    /// Names this history of sequences.
    pub fn epoch(&self) -> &str {
        &self.inner.shared.epoch
    }

    pub fn status(&self) -> StorageStatus {
        let (readers, busy, waiting) = self.inner.readers.use_now();
        let (jobs, bytes) = self.inner.queue.depth();
        StorageStatus {
            queue_jobs: jobs as u64,
            queue_bytes: bytes as u64,
            readers: readers as u64,
            readers_busy: busy as u64,
            readers_waiting: waiting as u64,
            ..self.inner.shared.status()
        }
    }

    /// Why messages cannot be made durable at the moment, if they cannot.
    pub fn trouble(&self) -> Option<&'static str> {
        self.inner.shared.trouble()
    }

    /// Resolves when a sync has failed or the writer is gone: the process must exit with code 4.
    /// Otherwise never.
    pub async fn failed(&self) {
        self.inner.shared.failed().await;
    }

    /// Answers what is queued, closes the readers, empties the WAL, joins the threads. Repeatable.
    /// Blocks: not for a thread of the runtime.
    pub fn close(&self) {
        let inner = &self.inner;
        inner.queue.close();
        let writer = inner
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(writer) = writer else {
            return;
        };
        let connection = writer.join().unwrap_or_default();
        inner.upkeep.stop();
        inner.checkpointer.stop();
        inner.readers.close();
        let Some(connection) = connection else {
            return;
        };
        match checkpoint::truncate(&connection, &inner.shared) {
            Ok(wal) => checkpoint::publish(wal, &inner.shared),
            Err(error) => tracing::warn!(%error, "the WAL stays for the next start"),
        }
    }
}

impl Inner {
    /// New messages are refused while acknowledgements and deletes still get through.
    fn check_room(&self) -> Result<(), JobError> {
        let shared = &self.shared;
        if shared.disk_is_short() {
            return Err(JobError::Full {
                what: "the disk is down to the free-disk floor",
            });
        }
        if shared.database_is_full() {
            return Err(JobError::Full {
                what: writer::DATABASE_FULL,
            });
        }
        if shared.wal_is_full() {
            return Err(JobError::Overloaded {
                what: "the write-ahead log is at its limit",
            });
        }
        Ok(())
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, JobError> {
        let (answer, result) = oneshot::channel();
        let job = job(answer);
        let bytes = job.bytes();
        self.queue.push(job, bytes).map_err(|error| match error {
            PushError::Full => JobError::Overloaded {
                what: "the writer's queue is full",
            },
            PushError::Closed => JobError::Unavailable,
        })?;
        // A writer that dies with the job in hand leaves its commit in doubt.
        result.await.unwrap_or(Err(JobError::OutcomeUnknown))
    }
}

/// What the file says when it is opened.
struct Start {
    tally: Tally,
    epoch: Arc<str>,
    newest_received_ms: i64,
}

impl Start {
    fn read(connection: &Connection) -> rusqlite::Result<Start> {
        let new_epoch = uuid::Uuid::now_v7().to_string();
        connection.execute(
            "INSERT INTO tally VALUES (1, 0, 0, 0, 0, 0, ?1) ON CONFLICT DO NOTHING",
            [new_epoch],
        )?;
        let (mut tally, epoch) = connection.query_row(
            "SELECT sequence, stored, queued, expired_undelivered, walked_to, epoch FROM tally",
            [],
            |row| {
                let tally = Tally {
                    sequence: row.get(0)?,
                    stored: row.get(1)?,
                    queued: row.get(2)?,
                    expired_undelivered: row.get(3)?,
                    walked_to: row.get(4)?,
                };
                Ok((tally, row.get::<_, String>(5)?))
            },
        )?;
        let newest: Option<(i64, i64)> = connection
            .query_row(
                "SELECT sequence, received_at_ms FROM message ORDER BY sequence DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let (highest, newest_received_ms) = newest.unwrap_or_default();
        assert!(
            highest <= tally.sequence,
            "the tally is written with every message"
        );
        tally.sequence = tally.sequence.max(highest);
        Ok(Start {
            tally,
            epoch: epoch.into(),
            newest_received_ms,
        })
    }

    fn share(self, limits: Arc<Limits>, metrics: Arc<Metrics>, clock: Clock) -> Shared {
        let totals = Totals {
            tally: self.tally,
            ..Totals::default()
        };
        let expiry = clock::ExpiryClock::new(clock, self.newest_received_ms);
        metrics.messages_stored.set(self.tally.stored);
        metrics.messages_queued.set(self.tally.queued);
        Shared::new(
            limits,
            metrics,
            self.epoch,
            expiry,
            totals,
            self.newest_received_ms,
        )
    }
}

/// The hard stop behind `database_bytes_max`: a reserve above it lets acknowledgements and deletes
/// through when posts are refused already. The batch that reaches the size may overshoot it by its
/// own bytes and their index entries.
fn limit_size(connection: &Connection, limits: &Limits) -> rusqlite::Result<()> {
    const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
    if limits.database_bytes_max == 0 {
        return Ok(());
    }
    let reserve = RESERVE_BYTES + 2 * limits.commit_bytes_max as u64;
    let pages = limits.database_bytes_max.saturating_add(reserve) / u64::from(PAGE_BYTES);
    let pages = i64::try_from(pages).unwrap_or(i64::MAX);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}
