//! A worker thread: one current-thread tokio runtime, the VUs that are pinned to it, and the task
//! that takes orders for them.
//!
//! Nothing of a VU ever leaves its thread. Samples gather in one sink and go out every 50 ms. The
//! thread ends when it is told to stop, or when the pool is dropped.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

use super::VuSettings;
use super::call::{self, Call, Returned};
use super::coroutine::{Ended, Fiber, Suspender};
use super::life::{self, Work};
use super::pool::{Activation, IterationSource, VuId};
use super::pulse::Pulse;
use crate::load::client::{AddressBook, Dns, Tls};
use crate::load::js::host::{Host, WorkerShared};
use crate::load::js::{Program, ScriptError};
use crate::load::metrics::SampleSink;
use crate::load::metrics::tags::TagInterner;
use crate::load::state::RunState;

/// How often gathered samples are handed over.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// What a worker is told.
pub(super) enum Order {
    /// Make these VUs exist.
    Init {
        vus: Vec<u32>,
        answer: oneshot::Sender<Result<(), ScriptError>>,
    },
    Activate {
        vu: VuId,
        sequence: u64,
        activation: Activation,
        done: oneshot::Sender<()>,
    },
    Interrupt {
        vu: VuId,
        sequence: u64,
    },
    Call {
        call: Call,
        limit: Duration,
        stop: CancellationToken,
        answer: oneshot::Sender<Result<Returned, ScriptError>>,
    },
    Drain {
        answer: oneshot::Sender<()>,
    },
    Stop,
}

/// What a worker starts with.
pub(super) struct Start {
    pub(super) program: Arc<Program>,
    pub(super) settings: Arc<VuSettings>,
    pub(super) state: Arc<RunState>,
    pub(super) options_json: Arc<str>,
    pub(super) sink: SampleSink,
    pub(super) pulse: Arc<Pulse>,
}

/// One VU as its worker sees it.
struct Slot {
    suspender: Suspender,
    inbox: mpsc::UnboundedSender<Work>,
    current: Rc<Current>,
    task: JoinHandle<()>,
}

/// The activation under way. Outside of the VU's stack, so that it can be ended when that is lost.
#[derive(Default)]
struct Current {
    sequence: Cell<Option<u64>>,
    done: RefCell<Option<Done>>,
}

/// Who hears that an activation is over.
struct Done {
    vu: VuId,
    told: oneshot::Sender<()>,
    source: Arc<dyn IterationSource>,
}

impl Current {
    fn end(&self) {
        self.sequence.set(None);
        let done = self.done.borrow_mut().take();
        if let Some(Done { vu, told, source }) = done {
            // The executor may have gone on without waiting.
            let _ = told.send(());
            source.returned(vu);
        }
    }
}

/// The body of the thread.
pub(super) fn run(
    runtime: &tokio::runtime::Runtime,
    start: Start,
    orders: mpsc::UnboundedReceiver<Order>,
) {
    let shared = Rc::new(WorkerShared {
        tls: Rc::new(Tls::new(
            start.settings.network.clone(),
            start.settings.insecure_skip_tls_verify,
        )),
        dns: Rc::new(Dns::new(start.settings.network.clone())),
        addresses: AddressBook::default(),
        settings: start.settings,
        state: start.state,
        options_json: start.options_json,
        sink: RefCell::new(Some(start.sink)),
        interner: RefCell::new(TagInterner::default()),
    });
    let worker = Worker {
        program: start.program,
        shared,
        slots: HashMap::new(),
    };
    let pulse = start.pulse;
    let local = LocalSet::new();
    local.spawn_local(async move { pulse.beat().await });
    local.block_on(runtime, worker.obey(orders));
}

struct Worker {
    program: Arc<Program>,
    shared: Rc<WorkerShared>,
    slots: HashMap<VuId, Slot>,
}

impl Worker {
    async fn obey(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Stop) | None => break,
                    Some(order) => self.take(order).await,
                },
                _ = flush.tick() => {
                    if let Some(sink) = &mut *self.shared.sink.borrow_mut() {
                        sink.flush();
                    }
                }
            }
        }
        self.drain().await;
    }

    async fn take(&mut self, order: Order) {
        match order {
            Order::Init { vus, answer } => {
                let result = self.init(vus).await;
                // The run may have been cancelled while the VUs were made.
                let _ = answer.send(result);
            }
            Order::Activate {
                vu,
                sequence,
                activation,
                done,
            } => self.activate(vu, sequence, activation, done).await,
            Order::Interrupt { vu, sequence } => {
                if let Some(slot) = self.slots.get(&vu)
                    && slot.current.sequence.get() == Some(sequence)
                {
                    slot.suspender.cancel();
                }
            }
            Order::Call {
                call,
                limit,
                stop,
                answer,
            } => {
                let (program, shared) = (self.program.clone(), self.shared.clone());
                spawn_local(async move {
                    let result = call::perform(program, shared, call, limit, stop).await;
                    let _ = answer.send(result);
                });
            }
            Order::Drain { answer } => {
                self.drain().await;
                let _ = answer.send(());
            }
            Order::Stop => {}
        }
    }

    async fn init(&mut self, vus: Vec<u32>) -> Result<(), ScriptError> {
        for number in vus {
            self.create(VuId(number)).await?;
        }
        Ok(())
    }

    /// Makes one VU and waits until its init code has run.
    async fn create(&mut self, vu: VuId) -> Result<(), ScriptError> {
        let suspender = Suspender::new();
        let host = Rc::new(Host::running(
            suspender.clone(),
            self.program.library.clone(),
            self.program.registry.clone(),
            vu.0,
            self.shared.clone(),
        ));
        let current = Rc::new(Current::default());
        let (inbox, works) = mpsc::unbounded_channel();
        let (ready, readiness) = oneshot::channel();
        let told = current.clone();
        let body = move || life::live(&host, ready, works, &|| told.end());
        let fiber = Fiber::new(self.shared.settings.vm.stack_bytes, suspender.clone(), body)
            .map_err(|error| ScriptError::Vm(error.to_string()))?;
        let task = spawn_local(drive(fiber, vu, current.clone(), self.shared.clone()));
        // Init code may loop; the end of the run must not wait for it.
        let cancelled = self.shared.state.cancelled.clone();
        let mut readiness = pin!(readiness);
        let made = tokio::select! {
            made = &mut readiness => made,
            () = cancelled.cancelled() => {
                suspender.cancel();
                readiness.await
            }
        };
        match made {
            Ok(result) => result?,
            Err(_) => return Err(ScriptError::Vm("it ended while it was made".to_owned())),
        }
        self.shared
            .state
            .vus_initialized
            .fetch_add(1, Ordering::Relaxed);
        let slot = Slot {
            suspender,
            inbox,
            current,
            task,
        };
        self.slots.insert(vu, slot);
        Ok(())
    }

    async fn activate(
        &mut self,
        vu: VuId,
        sequence: u64,
        activation: Activation,
        done: oneshot::Sender<()>,
    ) {
        // A VU that was lost is replaced by a fresh one of the same number.
        let lost = self
            .slots
            .get(&vu)
            .is_none_or(|slot| slot.task.is_finished());
        if lost {
            if self.slots.remove(&vu).is_some() {
                self.shared
                    .state
                    .vus_initialized
                    .fetch_sub(1, Ordering::Relaxed);
            }
            if let Err(error) = self.create(vu).await {
                tracing::error!(vu = vu.0, "{error}");
                return;
            }
        }
        let slot = &self.slots[&vu];
        slot.current.sequence.set(Some(sequence));
        *slot.current.done.borrow_mut() = Some(Done {
            vu,
            told: done,
            source: activation.source.clone(),
        });
        if slot.inbox.send(Work { activation }).is_err() {
            slot.current.end();
        }
    }

    /// Cuts off what runs, drops every VU, hands over the last samples.
    async fn drain(&mut self) {
        let mut tasks = Vec::new();
        for (_, slot) in self.slots.drain() {
            if slot.current.sequence.get().is_some() {
                slot.suspender.cancel();
            }
            // Without its inbox an idle VU ends by itself.
            drop(slot.inbox);
            tasks.push((slot.suspender, slot.task));
        }
        // Scripts may have a `vuTeardown`; its limit is that of all VUs together.
        let limit = tokio::time::Instant::now() + self.shared.settings.vu_teardown_timeout;
        let mut is_late = false;
        for (suspender, task) in tasks {
            let mut task = pin!(task);
            is_late = is_late || tokio::time::timeout_at(limit, &mut task).await.is_err();
            if is_late {
                suspender.cancel();
                // It ends within the grace after its cancel: by itself, or by being given up.
                let _ = task.await;
            }
        }
        let sink = self.shared.sink.borrow_mut().take();
        if let Some(sink) = sink {
            sink.finish().await;
        }
    }
}

/// Polls a VU until it ends, however it ends.
async fn drive(mut fiber: Fiber, vu: VuId, current: Rc<Current>, shared: Rc<WorkerShared>) {
    match poll_fn(|cx| fiber.poll(cx)).await {
        Ended::Returned => {}
        Ended::Panicked(text) => tracing::error!(vu = vu.0, "a virtual user panicked: {text}"),
        Ended::Leaked => {
            shared.state.vus_leaked.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                vu = vu.0,
                "a virtual user did not give up and was left behind"
            );
        }
    }
    current.end();
}
