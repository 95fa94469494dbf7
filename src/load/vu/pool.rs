//! The boundary between executors and VUs.
//!
//! An executor decides *when* and *how many*; the pool owns *who*. VUs are pinned to worker
//! threads; a VU runs one activation at a time and loops inside its worker, asking the
//! activation's [`IterationSource`] before every iteration, so that no cross-thread message is
//! paid per iteration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::VuSettings;
use crate::load::js::{Program, ScriptError};
use crate::load::metrics::{SampleSink, TagSet};
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
}

/// One VU's work for one scenario, from leaving the pool until it is back.
pub struct Activation {
    pub scenario: Arc<ScenarioContext>,
    pub source: Arc<dyn IterationSource>,
}

/// One activation under way. Dropping it lets the VU go on unobserved.
pub struct Running {}

impl Running {
    /// Hard interrupt: the running iteration is cut off and not counted as complete, the VU goes
    /// back to the pool. Returns at once; [`Running::done`] tells when it has happened.
    pub fn interrupt(&self) {
        unimplemented!()
    }

    /// Waits until the VU is back in the pool (or has been leaked). Cancellation safe; once it has
    /// returned it returns at once.
    pub async fn done(&mut self) {
        unimplemented!()
    }
}

/// All VUs of a run and the worker threads that they are pinned to.
pub struct VuPool {}

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
        let _ = (program, settings, state, sink, options_json, workers);
        unimplemented!()
    }

    /// Makes VUs exist up to number `count`, spread over the workers: creates those that are
    /// missing and runs their init code. May be called again with a greater number.
    ///
    /// # Errors
    /// The first VU's init code that failed.
    pub async fn init(&self, count: u32) -> Result<(), ScriptError> {
        let _ = count;
        unimplemented!()
    }

    /// Sends VU `vu`, which must be idle in the pool, to work for a scenario.
    pub fn activate(&self, vu: VuId, activation: Activation) -> Running {
        let _ = (vu, activation);
        unimplemented!()
    }

    /// Runs `setup()` in a VM of its own and returns its result as JSON.
    ///
    /// # Errors
    /// The exception it threw, or that it took longer than `timeout`.
    pub async fn call_setup(&self, timeout: Duration) -> Result<Option<Arc<str>>, ScriptError> {
        let _ = timeout;
        unimplemented!()
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
        let _ = (setup_data, timeout);
        unimplemented!()
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
        let _ = (summary_json, timeout);
        unimplemented!()
    }

    /// Cancels what still runs, drops every VU and hands over the last samples: the pool's ends of
    /// the channel are closed when it returns. Only `call_handle_summary` and `stop` may follow.
    pub async fn drain(&self) {
        unimplemented!()
    }

    /// Cancels what still runs, drops every VU, hands over the last samples and joins the
    /// workers. VUs that do not come back within a second are leaked and counted.
    pub async fn stop(self) {
        unimplemented!()
    }
}
