//! Checkpoints: when the WAL's pages go back into the file, and by whom.
//!
//! Checkpointing inside a commit costs a quarter of the commit rate, and a background thread alone
//! never gets to restart a WAL that is always being written (measured: 1.5 GB after 7 s). So a
//! thread of its own runs PASSIVE passes from 4 MiB on, and from 32 MiB on the writer takes part
//! between two batches: it waits for a pass in progress, holds the next one off and runs PASSIVE
//! itself; most pages are copied already, and the next commit restarts the WAL unless a reader
//! still uses it. At 64 MiB it truncates. Two checkpoints at once would only meet SQLITE_BUSY.
//!
//! The thread holds the one other writable connection of the file. It ends by [`Checkpointer::stop`].

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use r2d2_sqlite::rusqlite::{self, Connection, ErrorCode};

use super::Error;
use super::schema;
use super::state::Shared;
use super::writer::is_sync_failure;

/// A WAL frame is a page and its head (sqlite.org/fileformat2.html#walformat).
const FRAME_BYTES: u64 = super::PAGE_BYTES as u64 + 24;

/// What a TRUNCATE waits for readers before it gives up for this time.
const TRUNCATE_WAIT: Duration = Duration::from_secs(1);

/// The WAL as SQLite sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wal {
    pub(super) bytes: u64,
    /// Of these, not copied into the file yet.
    pub(super) pending_bytes: u64,
}

/// Handle of the background thread, and the turn that it shares with the writer.
pub(super) struct Checkpointer {
    turn: Arc<Turn>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
pub(super) struct Turn {
    /// Held during a checkpoint by whoever runs it.
    pass: Mutex<()>,
    signal: Mutex<Signal>,
    changed: Condvar,
}

#[derive(Default)]
struct Signal {
    wanted: bool,
    stop: bool,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, shared: Arc<Shared>) -> Result<Checkpointer, Error> {
        let connection = schema::open_checkpointer(path)?;
        let turn = Arc::new(Turn::default());
        let own = turn.clone();
        let thread = std::thread::Builder::new()
            .name("dchat-checkpoint".into())
            .spawn(move || run(&connection, &own, &shared))
            .map_err(Error::Thread)?;
        Ok(Checkpointer {
            turn,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn turn(&self) -> Arc<Turn> {
        self.turn.clone()
    }

    pub(super) fn stop(&self) {
        self.turn.signal().stop = true;
        self.turn.changed.notify_all();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

impl Turn {
    /// Asks for a background pass; never waits.
    pub(super) fn want_pass(&self) {
        let mut signal = self.signal();
        if !signal.wanted {
            signal.wanted = true;
            drop(signal);
            self.changed.notify_all();
        }
    }

    fn signal(&self) -> std::sync::MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a pass is wanted; `false`: stop.
    fn wait(&self) -> bool {
        let mut signal = self.signal();
        while !signal.wanted && !signal.stop {
            signal = self
                .changed
                .wait(signal)
                .unwrap_or_else(PoisonError::into_inner);
        }
        signal.wanted = false;
        !signal.stop
    }
}

fn run(connection: &Connection, turn: &Turn, shared: &Shared) {
    while turn.wait() {
        let pass = turn.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = checkpoint(connection, Mode::Passive, shared);
        drop(pass);
        if let Err(error) = outcome
            && trouble(&error, shared) == Trouble::Final
        {
            return;
        }
    }
}

/// The writer's part of the schedule; lives on its thread.
pub(super) struct WriterPart {
    turn: Arc<Turn>,
    /// Not before: a reader that uses the WAL needs at most this long.
    next_try: Instant,
}

impl WriterPart {
    pub(super) fn new(turn: Arc<Turn>) -> WriterPart {
        WriterPart {
            turn,
            next_try: Instant::now(),
        }
    }

    /// Called between two batches.
    pub(super) fn after_commit(&mut self, connection: &Connection, shared: &Shared) {
        let wal = match wal(connection) {
            Ok(wal) => wal,
            Err(error) => {
                tracing::warn!(%error, "the size of the WAL cannot be read");
                return;
            }
        };
        publish(wal, shared);
        let limits = &shared.limits;
        if wal.bytes >= limits.wal_restart_bytes {
            self.take_part(connection, wal, shared);
        } else if wal.pending_bytes >= limits.wal_checkpoint_bytes {
            self.turn.want_pass();
        }
    }

    fn take_part(&mut self, connection: &Connection, wal: Wal, shared: &Shared) {
        if Instant::now() < self.next_try {
            return;
        }
        let turn = self.turn.clone();
        let pass = turn.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = if wal.bytes >= shared.limits.wal_truncate_bytes {
            truncate(connection, shared)
        } else {
            checkpoint(connection, Mode::Restart, shared)
        };
        drop(pass);
        self.next_try = Instant::now() + shared.limits.read_transaction_max;
        match outcome {
            Ok(wal) => publish(wal, shared),
            Err(error) => drop(trouble(&error, shared)),
        }
    }
}

/// Copies everything and empties the WAL; for the writer between batches and at the end.
pub(super) fn truncate(connection: &Connection, shared: &Shared) -> rusqlite::Result<Wal> {
    connection.busy_timeout(TRUNCATE_WAIT)?;
    let outcome = checkpoint(connection, Mode::Truncate, shared);
    connection.busy_timeout(schema::BUSY_TIMEOUT)?;
    outcome
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Passive,
    /// PASSIVE by the writer, so that its next commit can restart the WAL.
    Restart,
    Truncate,
}

fn checkpoint(connection: &Connection, mode: Mode, shared: &Shared) -> rusqlite::Result<Wal> {
    let start = Instant::now();
    let (label, sql) = match mode {
        Mode::Passive => ("passive", "PRAGMA wal_checkpoint(PASSIVE)"),
        Mode::Restart => ("restart", "PRAGMA wal_checkpoint(PASSIVE)"),
        Mode::Truncate => ("truncate", "PRAGMA wal_checkpoint(TRUNCATE)"),
    };
    let wal = query(connection, sql)?;
    shared.count_checkpoint(label, start.elapsed());
    Ok(wal)
}

/// Looks without checkpointing.
pub(super) fn wal(connection: &Connection) -> rusqlite::Result<Wal> {
    query(connection, "PRAGMA wal_checkpoint(NOOP)")
}

/// The pragma answers one row: busy, frames in the WAL, frames copied; -1 where there is no WAL.
fn query(connection: &Connection, sql: &str) -> rusqlite::Result<Wal> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([], |row| {
        let frames = |value: i64| value.max(0) as u64;
        let (all, copied) = (frames(row.get(1)?), frames(row.get(2)?));
        Ok(Wal {
            bytes: all * FRAME_BYTES,
            pending_bytes: all.saturating_sub(copied) * FRAME_BYTES,
        })
    })
}

pub(super) fn publish(wal: Wal, shared: &Shared) {
    shared.wal_bytes.store(wal.bytes, Ordering::Relaxed);
    shared.metrics.wal_bytes.set(wal.bytes as i64);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Passing,
    Final,
}

/// A failed sync is final. A full disk or a busy moment is not: the WAL keeps every commit.
fn trouble(error: &rusqlite::Error, shared: &Shared) -> Trouble {
    if is_sync_failure(error) {
        shared.fail("the sync of a checkpoint failed");
        return Trouble::Final;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {}
        _ => tracing::warn!(%error, "a checkpoint failed; the WAL keeps its commits"),
    }
    Trouble::Passing
}
