//! The VUs of a run as executors see them: numbers to take, to set to work and to give back.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::load::metrics::{Container, SampleBatch, TagSet, builtin, sample};
use crate::load::state::RunState;
use crate::load::vu::pool::{Activation, Running, ScenarioContext, VuId, VuPool};

/// Sets VUs to work; the pool, or a stand-in in tests.
pub trait Vus: Send + Sync {
    fn activate(&self, vu: VuId, activation: Activation) -> Box<dyn RunningVu>;
    /// Makes VUs exist up to number `count`; what fails is told in its text.
    fn init(&self, count: u32) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
    /// Whether they work on threads of their own, by the machine's clock.
    fn are_real(&self) -> bool;
}

/// A VU at work.
pub trait RunningVu: Send {
    fn interrupt(&self);
    /// Returns when the VU is back; cancellation safe.
    fn done(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl Vus for VuPool {
    fn activate(&self, vu: VuId, activation: Activation) -> Box<dyn RunningVu> {
        Box::new(VuPool::activate(self, vu, activation))
    }

    fn init(&self, count: u32) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            let made = VuPool::init(self, count).await;
            made.map_err(|error| error.to_string())
        })
    }

    fn are_real(&self) -> bool {
        true
    }
}

impl RunningVu for Running {
    fn interrupt(&self) {
        Running::interrupt(self);
    }

    fn done(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Running::done(self))
    }
}

/// Which VUs are free, and how they are set to work. Shared by all scenarios of a run.
pub struct Crew {
    vus: Arc<dyn Vus>,
    state: Arc<RunState>,
    samples: mpsc::Sender<SampleBatch>,
    free: Mutex<BTreeSet<VuId>>,
    /// One permit for each free VU.
    available: Semaphore,
    /// Number of the last VU that exists or is being made.
    count: AtomicU32,
}

impl Crew {
    /// A crew of VUs `1..=count`, all free and initialised.
    pub fn new(
        vus: Arc<dyn Vus>,
        count: u32,
        state: Arc<RunState>,
        samples: mpsc::Sender<SampleBatch>,
    ) -> Crew {
        Crew {
            vus,
            state,
            samples,
            free: Mutex::new((1..=count).map(VuId).collect()),
            available: Semaphore::new(count as usize),
            count: AtomicU32::new(count),
        }
    }

    /// Whether loops that need exact times have threads of their own.
    pub(super) fn wants_threads(&self) -> bool {
        self.vus.are_real()
    }

    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The free VU with the lowest number. Waits for one where scenarios overlap by the moment
    /// that a VU takes to come back; `None` once the run is cancelled or `until` has come.
    pub(super) async fn take(&self, until: Instant) -> Option<VuId> {
        if self.state.cancelled.is_cancelled() {
            return None;
        }
        let permit = tokio::select! {
            biased;
            permit = self.available.acquire() => permit.expect("the semaphore is never closed"),
            () = self.state.cancelled.cancelled() => return None,
            () = sleep_until(until) => return None,
        };
        permit.forget();
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        Some(free.pop_first().expect("a permit stands for a free VU"))
    }

    /// Makes one more VU than there were and takes it; `None` where its init code fails.
    pub(super) async fn grow(&self) -> Option<VuId> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        match self.vus.init(number).await {
            Ok(()) => Some(VuId(number)),
            Err(error) => {
                if !self.state.cancelled.is_cancelled() {
                    tracing::error!(vu = number, "a further VU could not be made: {error}");
                }
                None
            }
        }
    }

    /// Makes more VUs than there were, free ones, a few at a time; stops when the run does.
    pub(super) async fn extend(&self, more: u32) {
        for _ in 0..more {
            if self.state.cancelled.is_cancelled() {
                return;
            }
            match self.grow().await {
                Some(vu) => self.put(vu),
                None => return,
            }
        }
    }

    /// Makes a taken VU free again.
    pub(super) fn give_back(&self, vu: VuId, scenario: &ScenarioContext) {
        scenario.vus_active.fetch_sub(1, Ordering::Relaxed);
        self.state.vus_active.fetch_sub(1, Ordering::Relaxed);
        self.put(vu);
    }

    /// Makes a VU free.
    fn put(&self, vu: VuId) {
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        assert!(free.insert(vu), "a VU is given back once");
        drop(free);
        self.available.add_permits(1);
    }

    /// Sets a taken VU to work.
    pub(super) fn activate(&self, vu: VuId, activation: Activation) -> Box<dyn RunningVu> {
        self.count_active(&activation.scenario);
        self.vus.activate(vu, activation)
    }

    /// A VU that was taken counts as active.
    pub(super) fn count_active(&self, scenario: &ScenarioContext) {
        scenario.vus_active.fetch_add(1, Ordering::Relaxed);
        self.state.vus_active.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets a VU to work that counts as active already.
    pub(super) fn send(&self, vu: VuId, activation: Activation) -> Box<dyn RunningVu> {
        self.vus.activate(vu, activation)
    }

    /// Waits until the VU is back; interrupts it at `hard_end` or when the run is cancelled.
    pub(super) async fn finish(&self, running: &mut dyn RunningVu, hard_end: Instant) {
        tokio::select! {
            biased;
            () = running.done() => return,
            () = self.state.cancelled.cancelled() => {}
            () = sleep_until(hard_end) => {}
        }
        running.interrupt();
        running.done().await;
    }

    /// Reports iterations that the scenario had no time for. A cancelled run reports none, as in
    /// k6: they were not dropped for want of VUs.
    pub(super) async fn report_dropped(&self, dropped: u64, tags: &TagSet) {
        if dropped == 0 || self.state.cancelled.is_cancelled() {
            return;
        }
        let container = Container {
            at: self.state.started.elapsed(),
            vu: 0,
            iter: 0,
            metadata: None,
            value: sample::Value::One {
                metric: builtin::DROPPED_ITERATIONS,
                value: dropped as f64,
                tags: tags.clone(),
            },
        };
        self.report(vec![container]).await;
    }

    /// Hands samples over.
    pub(super) async fn report(&self, batch: SampleBatch) {
        if !batch.is_empty() {
            // A closed channel means that the output side has already failed and said so.
            let _ = self.samples.send(batch).await;
        }
    }

    /// Hands samples over if there is room for them; else they stay.
    pub(super) fn try_report(&self, batch: &mut SampleBatch) {
        if let Ok(permit) = self.samples.try_reserve() {
            permit.send(std::mem::take(batch));
        }
    }
}
