//! The VUs of a run as executors see them: numbers to take, to set to work and to give back.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::load::metrics::{Container, SampleBatch, TagSet, builtin, sample};
use crate::load::state::RunState;
use crate::load::vu::pool::{Activation, Running, VuId, VuPool};

/// Sets VUs to work; the pool, or a stand-in in tests.
pub trait Vus: Send + Sync {
    fn activate(&self, vu: VuId, activation: Activation) -> Box<dyn RunningVu>;
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
        }
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

    /// Makes a taken VU free again.
    pub(super) fn give_back(&self, vu: VuId) {
        self.state.vus_active.fetch_sub(1, Ordering::Relaxed);
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        assert!(free.insert(vu), "a VU is given back once");
        drop(free);
        self.available.add_permits(1);
    }

    /// Sets a taken VU to work.
    pub(super) fn activate(&self, vu: VuId, activation: Activation) -> Box<dyn RunningVu> {
        self.state.vus_active.fetch_add(1, Ordering::Relaxed);
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
            value: sample::Value::One {
                metric: builtin::DROPPED_ITERATIONS,
                value: dropped as f64,
                tags: tags.clone(),
            },
        };
        // A closed channel means that the output side has already failed and said so.
        let _ = self.samples.send(vec![container]).await;
    }
}
