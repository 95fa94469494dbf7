//! The reader pool: read-only connections, taken through a bounded line.
//!
//! A query takes a permit first, so that no more blocking threads run than there are connections;
//! the line before the permits is bounded, beyond it queries are refused. A read transaction ends
//! after [`crate::limits::Limits::read_transaction_max`], so that it never holds back a checkpoint
//! for long; a page that is not complete by then is continued in a new one.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use r2d2_sqlite::SqliteConnectionManager;
use r2d2_sqlite::rusqlite::{self, Connection};
use tokio::sync::Semaphore;

use super::lists::{self, Slice, View};
use super::row::{Cursor, ListQuery, Row, Rows};
use super::state::Shared;
use super::{Error, JobError, schema};

type Pool = r2d2::Pool<SqliteConnectionManager>;

/// How long closing waits for queries that still run; each is bounded by itself.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Readers {
    pool: RwLock<Option<Pool>>,
    permits: Arc<Semaphore>,
    size: usize,
    waiting: AtomicUsize,
    shared: Arc<Shared>,
}

impl Readers {
    pub(super) fn open(path: &Path, shared: Arc<Shared>) -> Result<Readers, Error> {
        let size = shared.limits.readers.max(1);
        let pool = Pool::builder()
            .max_size(size as u32)
            .min_idle(Some(1))
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .build(schema::reader_manager(path))
            .map_err(|error| Error::Pool {
                file: path.to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Readers {
            pool: RwLock::new(Some(pool)),
            permits: Arc::new(Semaphore::new(size)),
            size,
            waiting: AtomicUsize::new(0),
            shared,
        })
    }

    pub(super) async fn get(&self, id: Arc<str>) -> Result<Option<Arc<Row>>, JobError> {
        let shared = self.shared.clone();
        self.run(move |connection| lists::get(connection, &id, &view(&shared)))
            .await
    }

    pub(super) async fn list(&self, query: ListQuery) -> Result<Rows, JobError> {
        let shared = self.shared.clone();
        self.run(move |connection| list(connection, query, &shared))
            .await
    }

    /// Connections, and of these the ones in use; then queries that wait.
    pub(super) fn use_now(&self) -> (usize, usize, usize) {
        let busy = self.size - self.permits.available_permits().min(self.size);
        (self.size, busy, self.waiting.load(Ordering::Relaxed))
    }

    /// Refuses what comes, waits for what runs, closes the connections. Blocks.
    pub(super) fn close(&self) {
        self.permits.close();
        let pool = self
            .pool
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(pool) = pool else {
            return;
        };
        let deadline = Instant::now() + CLOSE_WAIT;
        loop {
            let state = pool.state();
            if state.connections == state.idle_connections {
                return;
            }
            if Instant::now() > deadline {
                tracing::warn!("readers were still busy when storage closed");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JobError> {
        let permit = self.permit().await?;
        let pool = {
            let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
            pool.clone().ok_or(JobError::Unavailable)?
        };
        let shared = self.shared.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = pool.get().map_err(|error| {
                tracing::error!(%error, "no reader connection");
                JobError::Unavailable
            })?;
            let start = Instant::now();
            let answer = query(&connection);
            shared
                .metrics
                .read_seconds
                .observe(start.elapsed().as_secs_f64());
            drop(connection);
            drop(permit);
            answer.map_err(|error| JobError::Sqlite(Arc::new(error)))
        });
        task.await.unwrap_or(Err(JobError::Unavailable))
    }

    async fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, JobError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _place = Place::take(&self.waiting, self.shared.limits.reader_waiters_max)?;
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|_closed| JobError::Unavailable)
    }
}

/// A place in the waiting line; given up by drop, also when the waiter is cancelled.
struct Place<'a>(&'a AtomicUsize);

impl Place<'_> {
    fn take(waiting: &AtomicUsize, places: usize) -> Result<Place<'_>, JobError> {
        let place = Place(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= places {
            return Err(JobError::Overloaded {
                what: "too many queries wait for a reader",
            });
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn view(shared: &Shared) -> View {
    View {
        expiry_now_ms: shared.expiry.now_ms(),
        retention_ms: shared.limits.retention.as_millis() as i64,
        until: Instant::now() + shared.limits.read_transaction_max,
    }
}

/// Read transactions one after the other until there is something to answer.
fn list(connection: &Connection, mut query: ListQuery, shared: &Shared) -> rusqlite::Result<Rows> {
    loop {
        let slice: Slice = lists::list(connection, &query, &view(shared))?;
        if !slice.rows.is_empty() || !slice.more {
            return Ok(Rows {
                rows: slice.rows,
                has_more: slice.more,
            });
        }
        // Time ran out among rows that have expired and wait to be swept: go on behind them.
        query.from = match query.from {
            Cursor::After(_) => Cursor::After(slice.scanned_to),
            Cursor::Before(_) => Cursor::Before(slice.scanned_to),
        };
    }
}
