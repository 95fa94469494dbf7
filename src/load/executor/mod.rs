//! Executors: when VUs work, and when they stop. One file each; all draw from one [`Crew`].
//!
//! An executor is a pure schedule (see `schedule`) plus VUs. Two deadlines: after the regular end
//! no iteration starts, after the graceful one running iterations are interrupted. Cancellation
//! of the run interrupts at once. An executor returns when all its VUs are back.

mod arrival_rate;
mod crew;
mod looping_vus;
mod pace;
mod per_vu_iterations;
mod shared_iterations;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

pub use crew::{Crew, RunningVu, Vus};

use self::arrival_rate::Staff;

use super::metrics::TagSet;
use super::options::Executor;
use super::schedule::Step;
use super::schedule::arrival::{Arrivals, Timetable};
use super::schedule::share::Share;
use super::vu::pool::{Activation, IterationSource, ScenarioContext};

/// What every executor of one scenario works with.
struct Shift {
    crew: Arc<Crew>,
    context: Arc<ScenarioContext>,
    /// No iteration starts from here on.
    regular_end: Instant,
    /// Iterations that still run are interrupted.
    hard_end: Instant,
}

impl Shift {
    fn activation(&self, source: Arc<dyn IterationSource>) -> Activation {
        Activation {
            scenario: self.context.clone(),
            source,
            due: None,
        }
    }

    /// Runs one VU for each source until all are back or interrupted.
    async fn work(&self, sources: Vec<Arc<dyn IterationSource>>) {
        let mut tasks = tokio::task::JoinSet::new();
        for source in sources {
            let Some(vu) = self.crew.take(self.regular_end).await else {
                break;
            };
            let (crew, activation) = (self.crew.clone(), self.activation(source));
            let (hard_end, context) = (self.hard_end, self.context.clone());
            let mut running = crew.activate(vu, activation);
            tasks.spawn(async move {
                crew.finish(&mut *running, hard_end).await;
                crew.give_back(vu, &context);
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("waiting for a VU does not panic");
        }
    }
}

/// Runs one scenario from its start time to the return of its last VU. `origin` is the start of
/// all scenarios, after setup.
pub async fn run(
    share: Share,
    crew: Arc<Crew>,
    origin: Instant,
    run_tags: TagSet,
    setup_data: Option<Arc<str>>,
) {
    let scenario = &share.scenario;
    let started = origin + scenario.start_time;
    tokio::select! {
        () = sleep_until(started) => {}
        () = crew.state().cancelled.cancelled() => return,
    }
    let executor = &scenario.executor;
    let regular = executor.regular_duration();
    let own_tags = scenario.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let context = ScenarioContext {
        name: scenario.name.as_str().into(),
        executor: executor.kind(),
        exec: scenario.exec.as_str().into(),
        env: scenario.env.clone(),
        tags: run_tags
            .with(own_tags)
            .with([("scenario", scenario.name.as_str())]),
        started: started.into_std(),
        duration: Some(regular),
        iterations: executor.total_iterations(),
        iterations_started: AtomicU64::new(0),
        vus_active: AtomicU32::new(0),
        ended: AtomicBool::new(false),
        stripe: share.stripe.clone(),
        setup_data,
    };
    let context = Arc::new(context);
    crew.state().scenario_begins(context.clone());
    let shift = Arc::new(Shift {
        crew,
        context,
        regular_end: started + regular,
        hard_end: started + regular + scenario.graceful_stop,
    });
    let dropped = match executor {
        Executor::SharedIterations {
            vus, iterations, ..
        } => shared_iterations::run(&shift, *vus, *iterations).await,
        Executor::PerVuIterations {
            vus, iterations, ..
        } => per_vu_iterations::run(&shift, *vus, *iterations).await,
        // A ramp without slope, whose VUs have the graceful stop when they become fewer.
        Executor::ConstantVus { vus, .. } => {
            let steps = [Step {
                at: Duration::ZERO,
                vus: *vus,
            }];
            let grace = scenario.graceful_stop;
            looping_vus::run(&shift, started, &steps, grace, &share.vus).await;
            0
        }
        Executor::RampingVus {
            graceful_ramp_down, ..
        } => {
            let steps = share.ramp();
            looping_vus::run(&shift, started, &steps, *graceful_ramp_down, &share.vus).await;
            0
        }
        Executor::ConstantArrivalRate {
            pre_allocated_vus,
            max_vus,
            ..
        }
        | Executor::RampingArrivalRate {
            pre_allocated_vus,
            max_vus,
            ..
        } => {
            let staff = Staff {
                pre_allocated: *pre_allocated_vus,
                max: *max_vus,
            };
            let arrivals = Arrivals::of(executor).expect("it is an arrival rate");
            let timetable = Timetable::new(arrivals, share.stripe.clone());
            let state = shift.crew.state();
            let knob = state.control.register_rate(shift.context.name.clone());
            let rate = knob.value.clone();
            arrival_rate::run(shift.clone(), started, timetable, staff, rate).await;
            0
        }
    };
    shift
        .crew
        .report_dropped(dropped, &shift.context.tags)
        .await;
    shift.context.ended.store(true, Ordering::Relaxed);
}
