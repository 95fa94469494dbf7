//! The boundary between executors and VUs.
//!
//! An executor decides *when* and *how many*; the pool owns *who*. VUs are pinned to worker
//! threads; a VU runs one activation at a time and loops inside its worker, asking the
//! activation's [`IterationSource`] before every iteration, so that no cross-thread message is
//! paid per iteration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::load::metrics::TagSet;

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
    pub duration: Option<std::time::Duration>,
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
