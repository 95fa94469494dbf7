//! `runs.db`: load-test runs, apart from the messages so that they never disturb them.
//!
//! [`RunsStore`] is the handle. One writer thread of its own (`writer`) does every change in a
//! transaction with `synchronous=FULL` and answers after its commit; reads run on a small pool of
//! read-only connections through `spawn_blocking`. It knows runs, series and points as rows; what
//! they mean is the business of `crate::results`. Ends by [`RunsStore::close`], which joins the
//! thread.

mod open;
mod packed;
mod read;
mod row;
mod upkeep;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use r2d2_sqlite::rusqlite;
use tokio::sync::{Semaphore, oneshot};

use crate::limits::Limits;

pub use row::{
    Document, NewBatch, NewEnd, NewPoint, NewRun, Point, RunRow, RunsQuery, SeriesRow, Taken,
};

/// Changes that may wait for the writer. Each holds at most one call's body; reporters send one a
/// second, so that a longer line means that the disk does not keep up.
pub const JOBS_MAX: usize = 16;
/// Series of one run. Reporters fold what is beyond a limit of theirs (a quarter of this).
pub const SERIES_MAX: usize = 2_000;
/// Reader connections: the page asks for a few series at a time.
const READERS: usize = 4;
/// Reads that may wait for a reader.
const READ_WAITERS_MAX: usize = 256;

/// Milliseconds since the Unix epoch; handed in so that tests can set it.
pub type Clock = fn() -> i64;

/// Why a call was not done, by what its caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such run")]
    NotFound,
    #[error("series {metric} was of type {stored} before")]
    Kind { metric: Arc<str>, stored: String },
    #[error("a run has at most {SERIES_MAX} series")]
    Series,
    /// A query's step is too narrow for its window.
    #[error("too many steps")]
    Steps,
    #[error("{what}")]
    Overloaded { what: &'static str },
    #[error("{what}")]
    Full { what: &'static str },
    /// Stopping, or a sync of this file has failed: nothing was stored.
    #[error("the store of runs is closed")]
    Unavailable,
    #[error("SQLite refused")]
    Sqlite(#[source] Arc<rusqlite::Error>),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Error::Full {
                what: "the disk is full",
            },
            _ => Error::Sqlite(Arc::new(error)),
        }
    }
}

/// A cheap handle; every clone means the same open file.
#[derive(Clone)]
pub struct RunsStore {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once closed.
    jobs: Mutex<Option<SyncSender<writer::Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: r2d2::Pool<r2d2_sqlite::SqliteConnectionManager>,
    reader_slots: Arc<Semaphore>,
    read_waiters: Arc<Semaphore>,
}

impl fmt::Debug for RunsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunsStore").finish_non_exhaustive()
    }
}

impl RunsStore {
    /// Opens or creates `runs.db` in `dir`, whose lock the caller holds. Blocks.
    ///
    /// # Errors
    /// A file that is not ours or from a newer version, or one that cannot be opened.
    pub fn open(dir: &Path, limits: &Limits, clock: Clock) -> Result<RunsStore, super::Error> {
        let file = dir.join("runs.db");
        let connection = open::writable(&file)?;
        let readers = open::readers(&file, READERS)?;
        let (jobs, queue) = std::sync::mpsc::sync_channel(JOBS_MAX);
        let writer = writer::Writer::new(connection, dir, limits, clock);
        let thread = std::thread::Builder::new()
            .name("runs-writer".into())
            .spawn(move || writer.run(&queue))
            .map_err(super::Error::Thread)?;
        Ok(RunsStore {
            shared: Arc::new(Shared {
                jobs: Mutex::new(Some(jobs)),
                thread: Mutex::new(Some(thread)),
                readers,
                reader_slots: Arc::new(Semaphore::new(READERS)),
                read_waiters: Arc::new(Semaphore::new(READERS + READ_WAITERS_MAX)),
            }),
        })
    }

    /// Does what is queued, closes the file and joins the thread; repeatable. Blocks: not for a
    /// thread of the runtime.
    pub fn close(&self) {
        drop(lock(&self.shared.jobs).take());
        let thread = lock(&self.shared.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of runs.db panicked");
        }
    }

    /// Registers a run; a repeat is no error.
    pub async fn register(&self, run: NewRun) -> Result<(), Error> {
        self.change(|answer| writer::Job::Register(run, answer))
            .await
    }

    /// Adds one batch, once.
    pub async fn add(&self, batch: NewBatch) -> Result<Taken, Error> {
        self.change(|answer| writer::Job::Add(batch, answer)).await
    }

    pub async fn finish(&self, run_id: Arc<str>, end: NewEnd) -> Result<(), Error> {
        self.change(|answer| writer::Job::Finish(run_id, end, answer))
            .await
    }

    /// The run is gone from every read at once; its points are removed little by little.
    pub async fn delete(&self, run_id: Arc<str>) -> Result<(), Error> {
        self.change(|answer| writer::Job::Delete(run_id, answer))
            .await
    }

    /// One more row than `query.limit`, where there are more.
    pub async fn list(&self, query: RunsQuery) -> Result<Vec<RunRow>, Error> {
        self.read(move |connection| read::list(connection, &query))
            .await
    }

    pub async fn run(&self, run_id: Arc<str>) -> Result<Option<RunRow>, Error> {
        self.read(move |connection| read::run(connection, &run_id))
            .await
    }

    pub async fn document(&self, run_key: i64) -> Result<Option<Document>, Error> {
        self.read(move |connection| read::document(connection, run_key))
            .await
    }

    /// All series of a run, by metric and tags.
    pub async fn series(&self, run_key: i64) -> Result<Vec<SeriesRow>, Error> {
        self.read(move |connection| read::series(connection, run_key))
            .await
    }

    /// Hands every point of these series between two seconds (both included) to `each`, series by
    /// series in time order, and gives back what `each` has made of them. Each series is a read
    /// transaction of its own, so that none lasts long.
    pub async fn fold_points<T: Send + 'static>(
        &self,
        series_keys: Vec<i64>,
        seconds: (i64, i64),
        mut state: T,
        each: fn(&mut T, i64, i64, Point),
    ) -> Result<T, Error> {
        self.read(move |connection| {
            for series_key in series_keys {
                read::points(connection, series_key, seconds, &mut |second, point| {
                    each(&mut state, series_key, second, point);
                })?;
            }
            Ok(state)
        })
        .await
    }

    async fn change<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> writer::Job,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let sent = match &*lock(&self.shared.jobs) {
            Some(jobs) => jobs.try_send(job(answer)),
            None => return Err(Error::Unavailable),
        };
        match sent {
            Ok(()) => answered.await.unwrap_or(Err(Error::Unavailable)),
            Err(TrySendError::Full(_)) => Err(Error::Overloaded {
                what: "too many changes of runs are waiting",
            }),
            Err(TrySendError::Disconnected(_)) => Err(Error::Unavailable),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let overloaded = Error::Overloaded {
            what: "too many reads of runs are waiting",
        };
        let Ok(_waiting) = self.shared.read_waiters.try_acquire() else {
            return Err(overloaded);
        };
        let slot = self.shared.reader_slots.clone().acquire_owned().await;
        let readers = self.shared.readers.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let connection = readers.get().map_err(|_| Error::Unavailable)?;
            query(&connection).map_err(Error::from)
        });
        done.await.unwrap_or(Err(Error::Unavailable))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
