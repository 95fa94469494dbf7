//! What a whole run shares: its clock, its counters and the one reason to stop early.
//!
//! Written by VUs and executors on every thread with relaxed atomics, read by `k6/execution`, by
//! the progress line and by the built-in `vus` metrics.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::exceptions::Exceptions;
use super::vu::pool::ScenarioContext;

/// Why a run ended before its time. The first one wins; later ones are only logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// SIGINT or SIGTERM.
    Signal,
    /// Stopped through the REST API or an order of the relay that the run reports to.
    Control,
    /// `exec.test.abort(message)`.
    Script(String),
    /// A threshold with `abortOnFail` was crossed.
    Threshold,
    /// The initial context or `setup` failed, or a VU could not be initialised.
    Failed(String),
}

/// Counters and cancellation of one run. Shared by `Arc`.
#[derive(Debug)]
pub struct RunState {
    /// Start of the run on the monotonic clock (before setup).
    pub started: Instant,
    /// The same instant on the wall clock; sample times are this plus the elapsed time.
    pub started_wall: SystemTime,
    pub iterations_completed: AtomicU64,
    pub iterations_interrupted: AtomicU64,
    pub vus_active: AtomicU32,
    pub vus_initialized: AtomicU32,
    /// Iterations that ended in an uncaught exception.
    pub script_exceptions: AtomicU64,
    /// What they said.
    pub exceptions: Exceptions,
    /// VUs that did not come back within a second of their cancellation and were leaked.
    pub vus_leaked: AtomicU32,
    /// Set by `exec.test.fail(message)`: the run goes on, its exit code is 110.
    pub marked_failed: OnceLock<String>,
    /// Cancelled on the first abort reason: no new iterations, running ones are interrupted.
    pub cancelled: CancellationToken,
    /// Pause, setup data and the knobs of running scenarios.
    pub control: Control,
    abort: OnceLock<AbortReason>,
    scenarios: Mutex<Vec<Arc<ScenarioContext>>>,
}

impl RunState {
    /// A run that starts now.
    pub fn new() -> RunState {
        RunState {
            started: Instant::now(),
            started_wall: SystemTime::now(),
            iterations_completed: AtomicU64::new(0),
            iterations_interrupted: AtomicU64::new(0),
            vus_active: AtomicU32::new(0),
            vus_initialized: AtomicU32::new(0),
            script_exceptions: AtomicU64::new(0),
            exceptions: Exceptions::default(),
            vus_leaked: AtomicU32::new(0),
            marked_failed: OnceLock::new(),
            cancelled: CancellationToken::new(),
            control: Control::new(),
            abort: OnceLock::new(),
            scenarios: Mutex::default(),
        }
    }

    /// Keeps `reason` if it is the first and cancels the run; returns whether it was the first.
    pub fn abort(&self, reason: AbortReason) -> bool {
        let first = self.abort.set(reason).is_ok();
        self.cancelled.cancel();
        first
    }

    /// A scenario has reached its start time.
    pub fn scenario_begins(&self, scenario: Arc<ScenarioContext>) {
        lock(&self.scenarios).push(scenario);
    }

    /// The scenario of this name, if it has begun; it stays known after its end.
    pub fn scenario(&self, name: &str) -> Option<Arc<ScenarioContext>> {
        let scenarios = lock(&self.scenarios);
        scenarios.iter().find(|known| &*known.name == name).cloned()
    }

    /// The first reason to stop early, if there was any.
    pub fn abort_reason(&self) -> Option<&AbortReason> {
        self.abort.get()
    }
}

impl Default for RunState {
    fn default() -> RunState {
        RunState::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
