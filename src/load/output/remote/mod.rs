//! Outputs that push to another program over the network.
//!
//! Each has one thread with a runtime of its own: it takes batches from a bounded queue, hands
//! them to an [`Exporter`], and sends what that makes at every tick. A receiver that is slow or
//! gone never holds up the load: what finds no room is dropped, and the end says how much. The
//! thread ends when its queue is closed, after a last push that may take [`END_WAIT`].

mod grpc;
pub(super) mod influxdb;
pub(super) mod opentelemetry;
mod post;
pub(super) mod prometheus;
mod series;
mod sigv4;
mod tls;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use self::post::{Door, Parcel};
use super::buffer::Room;
use super::{Error, Output, OutputFuture, RunStart};
use crate::load::RunOutcome;
use crate::load::metrics::SampleBatch;

/// Time that the end of a run gives to pushes under way and to the last one.
const END_WAIT: Duration = Duration::from_secs(15);

/// Turns samples into what the other side understands; lives on the output's thread.
trait Exporter: Send + 'static {
    fn add(&mut self, batch: &SampleBatch);

    /// What is to be sent now; empty where nothing is new.
    fn parcels(&mut self, when: When) -> Vec<Parcel>;

    /// Samples that the exporter had no room for.
    fn lost(&self) -> u64 {
        0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Tick,
    End,
}

/// Everything but the exporter that an output needs.
#[derive(Clone, Debug)]
struct Pace {
    period: Duration,
    /// Pushes that may be under way at once.
    concurrency: usize,
}

type MakeExporter = Box<dyn FnOnce(&RunStart) -> Box<dyn Exporter> + Send>;

/// See the module's header.
struct RemoteOutput {
    name: String,
    /// What the run's header says.
    description: String,
    door: Door,
    pace: Pace,
    make: Option<MakeExporter>,
    /// An empty request before all others; its failure is harmless.
    first: Option<Door>,
    active: Option<Active>,
}

struct Active {
    batches: UnboundedSender<Arc<SampleBatch>>,
    room: Room,
    thread: thread::JoinHandle<Ending>,
}

/// How the thread ended.
#[derive(Debug, Default)]
struct Ending {
    pushes_failed: u64,
    samples_lost: u64,
    complete: bool,
}

impl RemoteOutput {
    fn new(
        name: &str,
        description: String,
        door: Door,
        pace: Pace,
        make: MakeExporter,
    ) -> RemoteOutput {
        RemoteOutput {
            name: name.to_owned(),
            description,
            door,
            pace,
            make: Some(make),
            first: None,
            active: None,
        }
    }

    /// The same with an empty request to `door` before all others.
    fn after(self, door: Door) -> RemoteOutput {
        RemoteOutput {
            first: Some(door),
            ..self
        }
    }
}

impl Output for RemoteOutput {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn start<'a>(&'a mut self, run: &'a RunStart) -> OutputFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let refused = |reason: String| Error::Refused {
                output: self.name.clone(),
                reason,
            };
            let make = self.make.take().expect("an output is started once");
            let exporter = make(run);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| refused(error.to_string()))?;
            let (batches, received) = unbounded_channel();
            let pusher = Pusher {
                name: self.name.clone(),
                exporter,
                door: Arc::new(self.door.clone()),
                first: self.first.take(),
                preparing: None,
                under_way: 0,
                pace: self.pace.clone(),
                room: Room::default(),
                pushes: JoinSet::new(),
                ending: Ending::default(),
            };
            let room = pusher.room.clone();
            let thread = std::thread::Builder::new()
                .name(format!("output-{}", self.name))
                .spawn(move || runtime.block_on(pusher.run(received)))
                .map_err(|error| refused(error.to_string()))?;
            self.active = Some(Active {
                batches,
                room,
                thread,
            });
            Ok(())
        })
    }

    fn add(&mut self, batch: &Arc<SampleBatch>) {
        if let Some(active) = &mut self.active
            && active.room.admit(batch)
        {
            // A thread that has gone says so at the end.
            let _ = active.batches.send(batch.clone());
        }
    }

    fn stop<'a>(&'a mut self, _outcome: &'a RunOutcome) -> OutputFuture<'a, ()> {
        Box::pin(async move {
            let Some(active) = self.active.take() else {
                return;
            };
            drop(active.batches);
            let joined = tokio::task::spawn_blocking(|| active.thread.join()).await;
            let Ok(Ok(ending)) = joined else {
                tracing::error!(output = self.name, "the output's thread panicked");
                return;
            };
            let lost = ending.samples_lost + active.room.lost();
            if lost > 0 || ending.pushes_failed > 0 || !ending.complete {
                tracing::error!(
                    output = self.name,
                    lost,
                    pushes_failed = ending.pushes_failed,
                    "the output is not complete"
                );
            }
        })
    }
}

/// What a push came to.
#[derive(Debug, Default)]
struct Push {
    samples: u64,
    /// Of these, those that did not arrive.
    lost: u64,
    failed: bool,
}

/// The state of an output's thread.
struct Pusher {
    name: String,
    exporter: Box<dyn Exporter>,
    door: Arc<Door>,
    first: Option<Door>,
    /// The request before all others, under way.
    preparing: Option<JoinHandle<()>>,
    /// Samples in pushes that are under way.
    under_way: u64,
    pace: Pace,
    room: Room,
    pushes: JoinSet<Push>,
    ending: Ending,
}

impl Pusher {
    async fn run(mut self, mut batches: UnboundedReceiver<Arc<SampleBatch>>) -> Ending {
        if let Some(door) = self.first.take() {
            let output = self.name.clone();
            // Beside the samples, which must not wait for it; their pushes do.
            self.preparing = Some(tokio::spawn(async move {
                if let Err(error) = door.send(Parcel::default()).await {
                    tracing::debug!(output, "most likely harmless: {error}");
                }
            }));
        }
        let mut ticks = interval_at(Instant::now() + self.pace.period, self.pace.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = batches.recv() => {
                    let Some(batch) = batch else { break };
                    self.room.free(&batch);
                    self.exporter.add(&batch);
                }
                _ = ticks.tick() => self.push(When::Tick),
                Some(done) = self.pushes.join_next() => self.note(done),
            }
        }
        self.ending.complete = timeout(END_WAIT, self.end()).await.is_ok();
        self.ending.samples_lost += self.exporter.lost() + self.under_way;
        self.ending
    }

    /// Sends what there is, unless too many pushes are under way; then it waits for a later tick.
    fn push(&mut self, when: When) {
        let preparing = self.preparing.as_ref();
        if when == When::Tick && preparing.is_some_and(|first| !first.is_finished()) {
            return;
        }
        if when == When::Tick && self.pushes.len() >= self.pace.concurrency {
            let output = &self.name;
            tracing::warn!(output, "the receiver is slower than the push interval");
            return;
        }
        let parcels = self.exporter.parcels(when);
        if parcels.is_empty() {
            return;
        }
        let (door, output) = (self.door.clone(), self.name.clone());
        let samples: u64 = parcels.iter().map(|parcel| parcel.samples).sum();
        self.under_way += samples;
        // One after the other: the end of a series must not overtake its last sample.
        self.pushes.spawn(async move {
            let mut push = Push {
                samples,
                ..Push::default()
            };
            for parcel in parcels {
                let samples = parcel.samples;
                if let Err(error) = door.send(parcel).await {
                    tracing::error!(output, "samples could not be sent: {error}");
                    push.failed = true;
                    push.lost += samples;
                }
            }
            push
        });
    }

    async fn end(&mut self) {
        if let Some(first) = self.preparing.take() {
            // Whether it worked has been said.
            let _ = first.await;
        }
        while let Some(done) = self.pushes.join_next().await {
            self.note(done);
        }
        self.push(When::End);
        while let Some(done) = self.pushes.join_next().await {
            self.note(done);
        }
    }

    /// A push that panicked stays under way, and so counts as lost.
    fn note(&mut self, done: Result<Push, tokio::task::JoinError>) {
        let push = done.unwrap_or(Push {
            failed: true,
            ..Push::default()
        });
        self.under_way -= push.samples;
        self.ending.pushes_failed += u64::from(push.failed);
        self.ending.samples_lost += push.lost;
    }
}
