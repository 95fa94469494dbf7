//! What a VM's host functions work on: the VU's suspender, tags, connections, cookies, and where
//! its samples go. Lives on one worker thread; nothing here is borrowed across a suspend.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::events::Events;
use super::library::Library;
use super::modules::http::{Jar, Keeping};
use super::rejections::Rejections;
use super::tagging::Tagging;
use crate::load::client::{AddressBook, Client, Dns, Meter, Setting, Tls};
use crate::load::metrics::sample::Value;
use crate::load::metrics::tags::TagInterner;
use crate::load::metrics::{Container, MetricId, Registry, SampleSink, TagSet, builtin};
use crate::load::state::{AbortReason, RunState};
use crate::load::vu::VuSettings;
use crate::load::vu::coroutine::Suspender;
use crate::load::vu::pool::ScenarioContext;

/// What the script may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Init code: no requests, checks or samples.
    Init,
    Run,
    /// `handleSummary`: requests, but no samples.
    Summary,
}

/// What all VMs of one worker thread share.
pub(crate) struct WorkerShared {
    pub(crate) settings: Arc<VuSettings>,
    pub(crate) state: Arc<RunState>,
    pub(crate) options_json: Arc<str>,
    /// `None` once the worker has handed over its last samples.
    pub(crate) sink: RefCell<Option<SampleSink>>,
    pub(crate) interner: RefCell<TagInterner>,
    pub(crate) dns: Rc<Dns>,
    pub(crate) tls: Rc<Tls>,
    pub(crate) addresses: AddressBook,
}

/// What only a VM within a run has.
pub(crate) struct RunSide {
    pub(crate) shared: Rc<WorkerShared>,
    pub(crate) client: Client,
    pub(crate) meter: Rc<Meter>,
    /// The VU's own; scripts may make more.
    pub(crate) jar: Jar,
    /// What its Responses keep outside of its heap.
    pub(crate) keeping: Rc<Keeping>,
}

/// Where a VU is in its work.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// Of this VU, from 0, over all scenarios (`__ITER`).
    pub(crate) iteration: Cell<u64>,
    pub(crate) iteration_in_scenario: Cell<u64>,
    /// Among this instance's of the scenario, and among all of the test's.
    pub(crate) iteration_in_instance: Cell<u64>,
    pub(crate) iteration_in_test: Cell<u64>,
    /// By how much the iteration has begun after it was due; `None` where no clock starts it.
    pub(crate) late: Cell<Option<Duration>>,
    pub(crate) scenario: RefCell<Option<Arc<ScenarioContext>>>,
}

pub(crate) struct Host {
    pub(crate) suspender: Suspender,
    pub(crate) library: Arc<Library>,
    pub(crate) registry: Registry,
    pub(crate) phase: Cell<Phase>,
    /// 0 outside of VUs.
    pub(crate) vu: u32,
    pub(crate) run: Option<RunSide>,
    pub(crate) events: Events,
    pub(crate) rejections: Rejections,
    pub(crate) tagging: Tagging,
    /// `exec.vu.metrics.metadata`; `None` while there is none.
    pub(crate) metadata: RefCell<Option<Arc<BTreeMap<String, String>>>>,
    pub(crate) position: Position,
    /// `exec.test.abort(reason)` was called here.
    pub(crate) aborted: RefCell<Option<String>>,
    /// A module of ours is being loaded: names that scripts can't import are fine.
    pub(crate) loading_own: Cell<bool>,
    /// CommonJS files that are being evaluated, the innermost last.
    pub(crate) requiring: RefCell<Vec<String>>,
}

impl Host {
    /// For VU 0, which only loads the script.
    pub(crate) fn loading(suspender: Suspender, library: Arc<Library>, registry: Registry) -> Host {
        Host::new(suspender, library, registry, 0, None)
    }

    pub(crate) fn running(
        suspender: Suspender,
        library: Arc<Library>,
        registry: Registry,
        vu: u32,
        shared: Rc<WorkerShared>,
    ) -> Host {
        let meter = Rc::new(Meter::default());
        let settings = &shared.settings;
        let local_ips = settings.network.local_ips.as_ref();
        let client = Client::new(Setting {
            dns: shared.dns.clone(),
            tls: shared.tls.clone(),
            meter: meter.clone(),
            local_ip: local_ips.map(|pool| pool.get(u64::from(vu.saturating_sub(1)))),
            idle_per_origin_max: settings.batch_per_host_max,
        });
        let keeping = Keeping::new(settings.vm.memory_bytes_max);
        let run = RunSide {
            shared,
            client,
            meter,
            jar: Jar::default(),
            keeping,
        };
        Host::new(suspender, library, registry, vu, Some(run))
    }

    fn new(
        suspender: Suspender,
        library: Arc<Library>,
        registry: Registry,
        vu: u32,
        run: Option<RunSide>,
    ) -> Host {
        Host {
            suspender,
            library,
            registry,
            phase: Cell::new(Phase::Init),
            vu,
            run,
            events: Events::default(),
            rejections: Rejections::default(),
            tagging: Tagging::default(),
            metadata: RefCell::default(),
            position: Position::default(),
            aborted: RefCell::new(None),
            loading_own: Cell::new(false),
            requiring: RefCell::default(),
        }
    }

    /// The run, unless init code is running.
    pub(crate) fn running_side(&self) -> Option<&RunSide> {
        match self.phase.get() {
            Phase::Init => None,
            Phase::Run | Phase::Summary => self.run.as_ref(),
        }
    }

    /// Number of the VU among those of all segments; 0 outside of VUs.
    pub(crate) fn vu_in_test(&self) -> u64 {
        match (&self.run, self.vu.checked_sub(1)) {
            (Some(run), Some(index)) => run.shared.settings.vus.global(u64::from(index)) + 1,
            _ => 0,
        }
    }

    /// Since the start of the run; zero while loading.
    pub(crate) fn elapsed(&self) -> Duration {
        self.run
            .as_ref()
            .map_or(Duration::ZERO, |run| run.shared.state.started.elapsed())
    }

    pub(crate) fn emit(&self, value: Value) {
        let Some(run) = &self.run else { return };
        if self.phase.get() != Phase::Run {
            return;
        }
        // Requests of an arrival rate, as seen from when their iteration was due.
        let from_schedule = match (&value, self.position.late.get()) {
            (Value::Http(sample), Some(late)) => Some(Value::One {
                metric: builtin::HTTP_REQ_DURATION_FROM_SCHEDULE,
                value: (sample.timings.duration() + late).as_secs_f64() * 1_000.0,
                tags: self.tagging.base(&run.shared.interner),
            }),
            _ => None,
        };
        if let Some(value) = from_schedule {
            self.emit(value);
        }
        if let Some(sink) = &mut *run.shared.sink.borrow_mut() {
            sink.add(Container {
                at: run.shared.state.started.elapsed(),
                vu: self.vu,
                iter: self.position.iteration.get(),
                metadata: self.metadata.borrow().clone(),
                value,
            });
        }
    }

    /// Changes `exec.vu.metrics.metadata`; `None` removes.
    pub(crate) fn set_metadata(&self, name: String, value: Option<String>) {
        let mut metadata = self.metadata.borrow_mut();
        let all = Arc::make_mut(metadata.get_or_insert_default());
        match value {
            Some(value) => all.insert(name, value),
            None => all.remove(&name),
        };
        if all.is_empty() {
            *metadata = None;
        }
    }

    pub(crate) fn emit_one(&self, metric: MetricId, value: f64, tags: TagSet) {
        self.emit(Value::One {
            metric,
            value,
            tags,
        });
    }

    /// Tags of every sample now; empty while loading.
    pub(crate) fn base_tags(&self) -> TagSet {
        match &self.run {
            Some(run) => self.tagging.base(&run.shared.interner),
            None => TagSet::default(),
        }
    }

    /// `data_sent` and `data_received` since the last call.
    pub(crate) fn emit_data(&self) {
        let Some(run) = &self.run else { return };
        let (sent, received) = run.meter.take();
        let tags = self.base_tags();
        self.emit_one(builtin::DATA_SENT, sent as f64, tags.clone());
        self.emit_one(builtin::DATA_RECEIVED, received as f64, tags);
    }

    /// Waits; an error means that the VU was cancelled.
    pub(crate) fn sleep(
        &self,
        time: Duration,
    ) -> Result<(), crate::load::vu::coroutine::Cancelled> {
        let until = Instant::now() + time;
        self.suspender
            .block_on(tokio::time::sleep_until(until.into()))
    }

    /// `exec.test.abort`: ends this VM at once and the run soon after.
    pub(crate) fn abort(&self, reason: String) {
        if let Some(run) = &self.run {
            run.shared.state.abort(AbortReason::Script(reason.clone()));
        }
        self.aborted.borrow_mut().get_or_insert(reason);
        self.suspender.cancel();
    }

    /// `exec.test.fail`: the run goes on, its exit code is 110.
    pub(crate) fn mark_failed(&self, reason: String) {
        if let Some(run) = &self.run {
            // The first reason stays.
            let _ = run.shared.state.marked_failed.set(reason);
        }
    }

    /// What an iteration leaves behind that the next one must not see: cookies, connections.
    pub(crate) fn reset_iteration(&self) {
        let Some(run) = &self.run else { return };
        if !run.shared.settings.no_cookies_reset {
            run.jar.borrow_mut().clear();
        }
        if run.shared.settings.no_vu_connection_reuse {
            run.client.close_idle();
        }
    }

    /// A counter or setting that `k6/execution` shows.
    pub(crate) fn counter(&self, of: fn(&RunState) -> u64) -> u64 {
        self.run.as_ref().map_or(0, |run| of(&run.shared.state))
    }
}

/// Reads of [`RunState`] for `k6/execution`.
pub(crate) mod counters {
    use super::{Ordering, RunState};

    pub(crate) fn completed(state: &RunState) -> u64 {
        state.iterations_completed.load(Ordering::Relaxed)
    }

    pub(crate) fn interrupted(state: &RunState) -> u64 {
        state.iterations_interrupted.load(Ordering::Relaxed)
    }

    pub(crate) fn active(state: &RunState) -> u64 {
        u64::from(state.vus_active.load(Ordering::Relaxed))
    }

    pub(crate) fn initialized(state: &RunState) -> u64 {
        u64::from(state.vus_initialized.load(Ordering::Relaxed))
    }
}
