//! Hands batches to a thread of an output's own, so that writing files never holds up the others.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::load::metrics::SampleBatch;

/// Batches that may wait for the thread; at 512 containers each about two million.
const BATCHES_MAX: usize = 4_096;
/// How often what was written is flushed, as k6's file outputs do.
const FLUSH_PERIOD: Duration = Duration::from_millis(200);

/// Writes batches somewhere; lives on the buffer's thread.
pub trait BatchWriter: Send + 'static {
    /// # Errors
    /// Whatever the file says; the rest of the run is then discarded.
    fn write(&mut self, batch: &SampleBatch) -> io::Result<()>;
    /// # Errors
    /// Whatever the file says.
    fn flush(&mut self) -> io::Result<()>;
    /// Writes what ends the file.
    ///
    /// # Errors
    /// Whatever the file says.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A thread that writes what it is handed, in order.
#[derive(Debug)]
pub struct Buffer {
    batches: SyncSender<Arc<SampleBatch>>,
    thread: JoinHandle<io::Result<()>>,
    lost: u64,
}

/// How the writing went.
#[derive(Debug)]
pub struct Written {
    pub result: io::Result<()>,
    /// Containers that the thread was too slow for.
    pub lost: u64,
}

impl Buffer {
    /// # Errors
    /// The system gives no thread.
    pub fn start(name: &str, writer: Box<dyn BatchWriter>) -> io::Result<Buffer> {
        let (batches, received) = sync_channel(BATCHES_MAX);
        let thread = std::thread::Builder::new()
            .name(format!("output-{name}"))
            .spawn(move || drive(writer, &received))?;
        Ok(Buffer {
            batches,
            thread,
            lost: 0,
        })
    }

    /// Never blocks: a batch that finds the buffer full is lost and counted.
    pub fn add(&mut self, batch: &Arc<SampleBatch>) {
        if let Err(TrySendError::Full(batch)) = self.batches.try_send(batch.clone()) {
            self.lost += batch.len() as u64;
        }
    }

    /// Waits until everything is written. Blocking.
    pub fn finish(self) -> Written {
        drop(self.batches);
        let result = match self.thread.join() {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the output's thread panicked")),
        };
        Written {
            result,
            lost: self.lost,
        }
    }
}

fn drive(mut writer: Box<dyn BatchWriter>, batches: &Receiver<Arc<SampleBatch>>) -> io::Result<()> {
    let mut flush_due = Instant::now() + FLUSH_PERIOD;
    loop {
        match batches.recv_timeout(flush_due.saturating_duration_since(Instant::now())) {
            Ok(batch) => writer.write(&batch)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return writer.finish(),
        }
        if Instant::now() >= flush_due {
            writer.flush()?;
            flush_due = Instant::now() + FLUSH_PERIOD;
        }
    }
}
