//! The thread that watches what changes by itself: free disk, clock, rates, and a probe of the
//! disk. It changes no row; what is due it tells the writer with a tick.
//!
//! It ends by [`Upkeep::stop`].

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::job::Job;
use super::queue::Queue;
use super::state::Shared;
use super::{Error, dir};

/// The highest measured rate writes under 10 MB in this time, a sixth of the default floor.
const DISK_PERIOD: Duration = Duration::from_millis(100);
const TICK_PERIOD: Duration = Duration::from_secs(1);
const PROBE_PERIOD: Duration = Duration::from_secs(10);
/// The probe's file starts anew beyond this.
const PROBE_FILE_BYTES_MAX: u64 = 64 * 1024;

pub(super) struct Upkeep {
    /// Dropped to stop.
    stop: Mutex<Option<mpsc::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Upkeep {
    pub(super) fn start(
        dir: &Path,
        shared: Arc<Shared>,
        queue: Arc<Queue<Job>>,
    ) -> Result<Upkeep, Error> {
        let (stop, stopped) = mpsc::channel();
        let mut watch = Watch {
            dir: dir.to_owned(),
            shared,
            queue,
        };
        watch.measure();
        let thread = std::thread::Builder::new()
            .name("dchat-upkeep".into())
            .spawn(move || watch.run(&stopped))
            .map_err(Error::Thread)?;
        Ok(Upkeep {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn stop(&self) {
        drop(
            self.stop
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the upkeep thread panicked");
        }
    }
}

struct Watch {
    dir: PathBuf,
    shared: Arc<Shared>,
    queue: Arc<Queue<Job>>,
}

impl Watch {
    fn run(&mut self, stopped: &mpsc::Receiver<()>) {
        let (mut tick, mut probe) = (Instant::now(), Instant::now());
        while stopped.recv_timeout(DISK_PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.measure();
            let now = Instant::now();
            let urgent = self.shared.wal_is_full() || self.shared.database_is_full();
            if urgent || now >= tick {
                // A full or closed queue needs no tick: the writer is awake or gone.
                let _ = self.queue.push(Job::Tick, 0);
            }
            if now >= tick {
                tick = now + TICK_PERIOD;
                self.shared.end_second(now);
            }
            if now >= probe {
                probe = now + PROBE_PERIOD;
                self.probe();
            }
        }
    }

    fn measure(&mut self) {
        match dir::free_bytes(&self.dir) {
            Ok(free) => {
                self.shared.free_disk_bytes.store(free, Ordering::Relaxed);
                let gauge = i64::try_from(free).unwrap_or(i64::MAX);
                self.shared.metrics.free_disk_bytes.set(gauge);
            }
            Err(error) => tracing::warn!(%error, "the free space cannot be measured"),
        }
        let (jobs, bytes) = self.queue.depth();
        self.shared.metrics.writer_queue_jobs.set(jobs as i64);
        self.shared.metrics.writer_queue_bytes.set(bytes as i64);
    }

    /// What a synced append costs on this disk now, without SQLite.
    fn probe(&self) {
        if self.shared.disk_is_short() {
            return;
        }
        match timed_append(&self.dir.join("probe")) {
            Ok(time) => self
                .shared
                .metrics
                .disk_probe_seconds
                .observe(time.as_secs_f64()),
            Err(error) => tracing::debug!(%error, "the disk probe failed"),
        }
    }
}

fn timed_append(path: &Path) -> io::Result<Duration> {
    let mut file = File::options().create(true).append(true).open(path)?;
    if file.metadata()?.len() > PROBE_FILE_BYTES_MAX {
        file.set_len(0)?;
    }
    let start = Instant::now();
    file.write_all(&[0; 4096])?;
    file.sync_data()?;
    Ok(start.elapsed())
}
