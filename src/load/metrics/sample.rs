//! What leaves a VU: containers of samples, batched per worker thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{MetricId, RequestTags, TagSet};

/// Phases of one HTTP round trip, as k6 defines them. `duration` is sending + waiting + receiving.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    pub blocked: Duration,
    pub connecting: Duration,
    pub tls_handshaking: Duration,
    pub sending: Duration,
    pub waiting: Duration,
    pub receiving: Duration,
}

impl Timings {
    /// `http_req_duration`: without DNS, connecting, TLS and queueing.
    pub fn duration(&self) -> Duration {
        self.sending + self.waiting + self.receiving
    }
}

/// One HTTP round trip (each leg of a redirect is one). Stands for nine samples:
/// `http_reqs`, the seven `http_req_*` trends and, unless `failed` is `None`, `http_req_failed`.
#[derive(Clone, Debug)]
pub struct HttpSample {
    pub timings: Timings,
    /// `None`: the script set the response callback to null.
    pub failed: Option<bool>,
    pub tags: RequestTags,
}

#[derive(Clone, Debug)]
pub enum Value {
    Http(Box<HttpSample>),
    One {
        metric: MetricId,
        value: f64,
        tags: TagSet,
    },
}

/// Samples that share a time.
#[derive(Clone, Debug)]
pub struct Container {
    /// Since the start of the run; the wall time is `RunState::started_wall` plus this.
    pub at: Duration,
    /// `iter` and `vu`, which k6 keeps as metadata; 0 and 0 outside VUs.
    pub vu: u32,
    pub iter: u64,
    /// `exec.vu.metrics.metadata`, if the script has set any.
    pub metadata: Option<Arc<BTreeMap<String, String>>>,
    pub value: Value,
}

/// What one worker thread hands over at once.
pub type SampleBatch = Vec<Container>;

/// A producer's end of the one bounded channel to the output side. Each worker thread owns one;
/// adding is a push to a local buffer, the channel is touched once per batch.
#[derive(Debug)]
pub struct SampleSink {
    buffer: SampleBatch,
    channel: mpsc::Sender<SampleBatch>,
    dropped: Arc<std::sync::atomic::AtomicU64>,
}

impl SampleSink {
    /// Containers after which a batch is sent without waiting for the tick.
    pub const BATCH_CONTAINERS: usize = 512;
    /// Containers that may wait locally while the channel is full; more are dropped and counted.
    pub const BUFFER_CONTAINERS_MAX: usize = 262_144;

    pub fn new(
        channel: mpsc::Sender<SampleBatch>,
        dropped: Arc<std::sync::atomic::AtomicU64>,
    ) -> SampleSink {
        SampleSink {
            buffer: Vec::with_capacity(Self::BATCH_CONTAINERS),
            channel,
            dropped,
        }
    }

    /// Another producer on the same channel, for another thread.
    pub fn fork(&self) -> SampleSink {
        SampleSink::new(self.channel.clone(), self.dropped.clone())
    }

    /// Adds one container; never blocks. When the output side lags so far that the local buffer is
    /// full too, the container is dropped and counted.
    pub fn add(&mut self, container: Container) {
        if self.buffer.len() >= Self::BUFFER_CONTAINERS_MAX {
            self.dropped
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return;
        }
        self.buffer.push(container);
        if self.buffer.len().is_multiple_of(Self::BATCH_CONTAINERS) {
            self.flush();
        }
    }

    /// Sends what is buffered if the channel has room; otherwise keeps it for the next call.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if let Ok(permit) = self.channel.try_reserve() {
            let next = Vec::with_capacity(Self::BATCH_CONTAINERS);
            permit.send(std::mem::replace(&mut self.buffer, next));
        }
    }

    /// The last flush: waits for room, so that nothing measured is lost at the end of a run.
    pub async fn finish(mut self) {
        let rest = std::mem::take(&mut self.buffer);
        if !rest.is_empty() {
            // A closed channel means that the output side has already failed and said so.
            let _ = self.channel.send(rest).await;
        }
    }
}
