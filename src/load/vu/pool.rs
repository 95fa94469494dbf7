//! The boundary between executors and VUs.
//!
//! An executor decides *when* and *how many*; the pool owns *who*. VUs are pinned to worker
//! threads; a VU runs one activation at a time and loops inside its worker, asking the
//! activation's [`IterationSource`] before every iteration, so that no cross-thread message is
//! paid per iteration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::VuSettings;
use super::call::{Call, Returned};
use super::pulse::{Pulse, STUCK_AFTER};
use super::worker::{self, Order, Start};
use crate::load::js::{Program, ScriptError};
use crate::load::metrics::{SampleSink, TagSet};
use crate::load::schedule::segment::Stripe;
use crate::load::state::RunState;

/// Number of a VU in its run, from 1 (`exec.vu.idInTest`, `__VU`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VuId(pub u32);

/// What a VU needs to know of the scenario it works for. Immutable, shared by its VUs.
#[derive(Debug)]
pub struct ScenarioContext {
    pub name: Arc<str>,
    /// k6's name of the executor, for `exec.scenario.executor`.
    pub executor: &'static str,
    /// Exported function that an iteration calls.
    pub exec: Arc<str>,
    /// Added to `__ENV` for this scenario's VUs.
    pub env: BTreeMap<String, String>,
    /// Run tags, scenario tags and `scenario`.
    pub tags: TagSet,
    pub started: Instant,
    /// Regular duration (without gracefulStop) where the executor has one, for `progress`.
    pub duration: Option<Duration>,
    /// Total iterations where the executor has a fixed number, for `progress`.
    pub iterations: Option<u64>,
    /// Counts started iterations of the scenario (`iterationInTest`).
    pub iterations_started: std::sync::atomic::AtomicU64,
    /// VUs that work for it now.
    pub vus_active: AtomicU32,
    /// Its last VU is back.
    pub ended: AtomicBool,
    /// Which iterations of the whole test are this instance's.
    pub stripe: Stripe,
    /// `JSON` of what `setup` returned; `None` for undefined.
    pub setup_data: Option<Arc<str>>,
}

/// Decides before every iteration of one VU whether it runs another. Called on the VU's worker
/// thread; must not block.
pub trait IterationSource: Send + Sync {
    /// Whether the VU starts another iteration now; `false` returns the VU to the pool.
    fn next(&self, vu: VuId, now: Instant) -> bool;

    /// Told after each iteration; `complete` is false for an interrupted one.
    fn ended(&self, _vu: VuId, _complete: bool) {}

    /// Told when the VU is back, however it came back: it may be sent to work again.
    fn returned(&self, _vu: VuId) {}
}

/// One VU's work for one scenario, from leaving the pool until it is back.
pub struct Activation {
    pub scenario: Arc<ScenarioContext>,
    pub source: Arc<dyn IterationSource>,
    /// When its iteration was to start, where a clock decides that.
    pub due: Option<Instant>,
}

/// One activation under way. Dropping it lets the VU go on unobserved.
pub struct Running {
    orders: mpsc::UnboundedSender<Order>,
    pulse: Arc<Pulse>,
    state: Arc<RunState>,
    vu: VuId,
    sequence: u64,
    interrupted: AtomicBool,
    done: Option<oneshot::Receiver<()>>,
}

impl Running {
    /// Hard interrupt: the running iteration is cut off and not counted as complete, the VU goes
    /// back to the pool. Returns at once; [`Running::done`] tells when it has happened.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        let order = Order::Interrupt {
            vu: self.vu,
            sequence: self.sequence,
        };
        // A worker that has ended has no VU to interrupt.
        let _ = self.orders.send(order);
    }

    /// Waits until the VU is back in the pool (or has been leaked). Cancellation safe; once it has
    /// returned it returns at once.
    pub async fn done(&mut self) {
        let Some(done) = &mut self.done else { return };
        // An end without a word (a VU that could not be replaced) is an end too.
        if !self.interrupted.load(Ordering::Relaxed) {
            let _ = done.await;
        } else if self.pulse.unless_stuck(done).await.is_none() {
            self.state.vus_leaked.fetch_add(1, Ordering::Relaxed);
        }
        self.done = None;
    }
}

/// All VUs of a run and the worker threads that they are pinned to. VU `n` lives on worker
/// `n % workers`; calls outside of iterations are made on the first one.
pub struct VuPool {
    workers: Vec<Thread>,
    state: Arc<RunState>,
    initialized: AtomicU32,
    next_sequence: AtomicU64,
}

struct Thread {
    orders: mpsc::UnboundedSender<Order>,
    handle: JoinHandle<()>,
    pulse: Arc<Pulse>,
}

impl VuPool {
    /// Starts the worker threads; no VU exists yet. `options_json` is the consolidated options
    /// (`exec.test.options`).
    ///
    /// # Errors
    /// A thread or its event loop could not be created.
    pub fn start(
        program: Arc<Program>,
        settings: Arc<VuSettings>,
        state: Arc<RunState>,
        sink: SampleSink,
        options_json: Arc<str>,
        workers: usize,
    ) -> Result<VuPool, ScriptError> {
        let vm_error = |error: std::io::Error| ScriptError::Vm(error.to_string());
        let mut threads = Vec::new();
        for number in 0..workers.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(vm_error)?;
            let (orders, inbox) = mpsc::unbounded_channel();
            let pulse = Arc::new(Pulse::default());
            let start = Start {
                program: program.clone(),
                settings: settings.clone(),
                state: state.clone(),
                options_json: options_json.clone(),
                sink: sink.fork(),
                pulse: pulse.clone(),
            };
            let handle = std::thread::Builder::new()
                .name(format!("vu-worker-{number}"))
                .spawn(move || {
                    worker::run(&runtime, start, inbox);
                    // A slow DNS lookup must not hold up the end.
                    runtime.shutdown_background();
                })
                .map_err(vm_error)?;
            threads.push(Thread {
                orders,
                handle,
                pulse,
            });
        }
        Ok(VuPool {
            workers: threads,
            state,
            initialized: AtomicU32::new(0),
            next_sequence: AtomicU64::new(1),
        })
    }

    /// Makes VUs exist up to number `count`, spread over the workers: creates those that are
    /// missing and runs their init code. May be called again with a greater number.
    ///
    /// # Errors
    /// The first VU's init code that failed.
    pub async fn init(&self, count: u32) -> Result<(), ScriptError> {
        let from = self.initialized.fetch_max(count, Ordering::Relaxed);
        let mut answers = Vec::new();
        for (place, worker) in self.workers.iter().enumerate() {
            let vus = (from + 1..=count)
                .filter(|vu| self.place(VuId(*vu)) == place)
                .collect();
            let (answer, answered) = oneshot::channel();
            send(worker, Order::Init { vus, answer })?;
            answers.push(answered);
        }
        for answered in answers {
            answered.await.map_err(|_| lost())??;
        }
        Ok(())
    }

    /// Sends VU `vu`, which must be idle in the pool, to work for a scenario.
    pub fn activate(&self, vu: VuId, activation: Activation) -> Running {
        let worker = &self.workers[self.place(vu)];
        let sequence = self.next_sequence.fetch_add(1, Ordering::Relaxed);
        let (done, is_done) = oneshot::channel();
        let order = Order::Activate {
            vu,
            sequence,
            activation,
            done,
        };
        // Refused by a worker that has ended: `done` is dropped with the order, which is the end.
        let _ = worker.orders.send(order);
        Running {
            orders: worker.orders.clone(),
            pulse: worker.pulse.clone(),
            state: self.state.clone(),
            vu,
            sequence,
            interrupted: AtomicBool::new(false),
            done: Some(is_done),
        }
    }

    /// Runs `setup()` in a VM of its own and returns its result as JSON. Dropping the future
    /// interrupts it.
    ///
    /// # Errors
    /// The exception it threw, or that it took longer than `timeout`.
    pub async fn call_setup(&self, timeout: Duration) -> Result<Option<Arc<str>>, ScriptError> {
        match self.call(Call::Setup, timeout).await? {
            Returned::Json(json) => Ok(json),
            Returned::Files(_) => unreachable!("setup returns JSON"),
        }
    }

    /// Runs `teardown(setup_data)` in a VM of its own.
    ///
    /// # Errors
    /// The exception it threw, or that it took longer than `timeout`.
    pub async fn call_teardown(
        &self,
        setup_data: Option<Arc<str>>,
        timeout: Duration,
    ) -> Result<(), ScriptError> {
        self.call(Call::Teardown(setup_data), timeout).await?;
        Ok(())
    }

    /// Runs `handleSummary(summary)` in a VM of its own; its samples are discarded. Returns pairs
    /// of destination (`stdout`, `stderr` or a path) and content.
    ///
    /// # Errors
    /// The exception it threw, or that it took longer than `timeout`.
    pub async fn call_handle_summary(
        &self,
        summary_json: String,
        timeout: Duration,
    ) -> Result<Vec<(String, Vec<u8>)>, ScriptError> {
        match self
            .call(Call::HandleSummary(summary_json), timeout)
            .await?
        {
            Returned::Files(files) => Ok(files),
            Returned::Json(_) => unreachable!("handleSummary returns files"),
        }
    }

    /// Cancels what still runs, drops every VU and hands over the last samples: the pool's ends of
    /// the channel are closed when it returns, but for a worker that is stuck in a built-in call.
    /// Only `call_handle_summary` and `stop` may follow.
    pub async fn drain(&self) {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (answer, answered) = oneshot::channel();
            if worker.orders.send(Order::Drain { answer }).is_ok() {
                answers.push((worker, answered));
            }
        }
        for (worker, answered) in answers {
            // A worker that has ended has handed over its samples.
            let _ = worker.pulse.unless_stuck(answered).await;
        }
    }

    /// Cancels what still runs, drops every VU, hands over the last samples and joins the
    /// workers. VUs that do not come back within a second are leaked and counted.
    pub async fn stop(self) {
        for worker in &self.workers {
            let _ = worker.orders.send(Order::Stop);
        }
        let joined = tokio::task::spawn_blocking(move || {
            for worker in self.workers {
                // It ends with the process.
                if worker.pulse.is_stuck() {
                    continue;
                }
                if worker.handle.join().is_err() {
                    tracing::error!("a worker thread of the load engine panicked");
                }
            }
        });
        // The blocking thread does not panic, and is not aborted.
        let _ = joined.await;
    }

    async fn call(&self, call: Call, limit: Duration) -> Result<Returned, ScriptError> {
        let stop = CancellationToken::new();
        let _stops_when_dropped = stop.clone().drop_guard();
        let what = call.function();
        let (answer, answered) = oneshot::channel();
        let order = Order::Call {
            call,
            limit,
            stop,
            answer,
        };
        let live = self.workers.iter().find(|w| !w.pulse.is_stuck());
        send(live.ok_or_else(lost)?, order)?;
        // The worker keeps the limit itself, unless the call holds its thread.
        match tokio::time::timeout(limit + STUCK_AFTER, answered).await {
            Ok(answered) => answered.map_err(|_| lost())?,
            Err(_) => Err(ScriptError::Timeout { what, limit }),
        }
    }

    fn place(&self, vu: VuId) -> usize {
        vu.0 as usize % self.workers.len()
    }
}

fn send(worker: &Thread, order: Order) -> Result<(), ScriptError> {
    worker.orders.send(order).map_err(|_| lost())
}

fn lost() -> ScriptError {
    ScriptError::Vm("its worker thread has ended".to_owned())
}
