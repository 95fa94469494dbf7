//! Hands batches to a thread of an output's own, so that writing files never holds up the others.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::load::metrics::SampleBatch;

/// Containers that may wait for an output; with their tags about 100 MB.
pub(super) const WAITING_CONTAINERS_MAX: usize = 262_144;

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

/// Counts what waits for an output and what found no room.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    waiting: Arc<AtomicUsize>,
    lost: u64,
}

impl Room {
    /// Whether a batch may wait; one that finds no room is counted as lost.
    pub(super) fn admit(&mut self, batch: &SampleBatch) -> bool {
        let fits = self.waiting.load(Ordering::Relaxed) < WAITING_CONTAINERS_MAX;
        if fits {
            self.waiting.fetch_add(batch.len(), Ordering::Relaxed);
        } else {
            if self.lost == 0 {
                tracing::warn!("an output does not keep up with the load and loses samples");
            }
            self.lost += batch.len() as u64;
        }
        fits
    }

    /// A batch waits no longer.
    pub(super) fn free(&self, batch: &SampleBatch) {
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

/// A thread that writes what it is handed, in order.
#[derive(Debug)]
pub struct Buffer {
    batches: Sender<Arc<SampleBatch>>,
    thread: JoinHandle<io::Result<()>>,
    room: Room,
}

/// How the writing went.
#[derive(Debug)]
pub struct Written {
    pub result: io::Result<()>,
    /// Containers that the thread was too slow for.
    pub lost: u64,
}

impl Buffer {
    /// `flush_period` is how often what was written is flushed.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        name: &str,
        flush_period: Duration,
        writer: Box<dyn BatchWriter>,
    ) -> io::Result<Buffer> {
        let (batches, received) = channel();
        let room = Room::default();
        let of_thread = room.clone();
        let thread = std::thread::Builder::new()
            .name(format!("output-{name}"))
            .spawn(move || drive(writer, &received, flush_period, &of_thread))?;
        Ok(Buffer {
            batches,
            thread,
            room,
        })
    }

    /// Never blocks: a batch that finds the buffer full is lost and counted.
    pub fn add(&mut self, batch: &Arc<SampleBatch>) {
        if self.room.admit(batch) {
            // A thread that has failed says so at the end.
            let _ = self.batches.send(batch.clone());
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
            lost: self.room.lost(),
        }
    }
}

fn drive(
    mut writer: Box<dyn BatchWriter>,
    batches: &Receiver<Arc<SampleBatch>>,
    flush_period: Duration,
    room: &Room,
) -> io::Result<()> {
    let mut flush_due = Instant::now() + flush_period;
    loop {
        match batches.recv_timeout(flush_due.saturating_duration_since(Instant::now())) {
            Ok(batch) => {
                room.free(&batch);
                writer.write(&batch)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return writer.finish(),
        }
        if Instant::now() >= flush_due {
            writer.flush()?;
            flush_due = Instant::now() + flush_period;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::load::metrics::{Container, TagSet, builtin, sample::Value};

    struct Stuck(Receiver<()>);

    impl BatchWriter for Stuck {
        fn write(&mut self, _batch: &SampleBatch) -> io::Result<()> {
            let _ = self.0.recv();
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn finish(self: Box<Self>) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writer_that_lags_loses_samples_and_counts_them() {
        let (release, held) = sync_channel(0);
        let period = Duration::from_millis(1);
        let mut buffer = Buffer::start("stuck", period, Box::new(Stuck(held))).expect("a thread");
        let sample = Container {
            at: Duration::ZERO,
            vu: 1,
            iter: 0,
            metadata: None,
            value: Value::One {
                metric: builtin::VUS,
                value: 1.0,
                tags: TagSet::default(),
            },
        };
        let batch = Arc::new(vec![sample; 65_536]);
        for _ in 0..10 {
            buffer.add(&batch);
        }
        drop(release);
        let written = buffer.finish();
        assert!(written.result.is_ok());
        // Four fit; the first may have been taken out already.
        assert!(
            (5 * 65_536..=6 * 65_536).contains(&written.lost),
            "{}",
            written.lost
        );
    }
}
