//! One VU's life on its own stack: init code once, then work after work until its inbox closes.
//!
//! | moment               | what happens                                             |
//! |----------------------|----------------------------------------------------------|
//! | born                 | VM made, init code run, readiness told                   |
//! | work arrives         | scenario's tags and environment set                      |
//! | source says yes      | one iteration: call, drain, samples                      |
//! | source says no       | end of the work told, back to waiting                    |
//! | cancelled            | iteration cut off, end of the work told, usable again    |
//! | inbox closed         | `vuTeardown`, VM dropped on the same stack               |

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rquickjs::{Object, Value};
use tokio::sync::{mpsc, oneshot};

use super::hooks::Hooks;
use super::pool::{Activation, ScenarioContext, VuId};
use crate::load::OwnMetrics;
use crate::load::js::ScriptError;
use crate::load::js::host::{Host, Phase};
use crate::load::js::machine::{Machine, Script};
use crate::load::metrics::builtin;

/// One activation on its way to its VU.
pub(super) struct Work {
    pub(super) activation: Activation,
}

/// Runs on the VU's stack until `inbox` closes. `ended` is told after each work.
pub(super) fn live(
    host: &Rc<Host>,
    ready: oneshot::Sender<Result<(), ScriptError>>,
    mut inbox: mpsc::UnboundedReceiver<Work>,
    ended: &dyn Fn(),
) {
    let run = host.run.as_ref().expect("VUs live within a run");
    let machine = match Machine::new(host, &run.shared.settings.vm) {
        Ok(machine) => machine,
        Err(error) => {
            // Whoever waited for the VU has gone away with the run.
            let _ = ready.send(Err(error));
            return;
        }
    };
    machine.with(|ctx| {
        let script = match Script::load(&ctx, host) {
            Ok(script) => script,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        host.phase.set(Phase::Run);
        let _ = ready.send(Ok(()));
        let mut seed = SetupData::default();
        while let Some(work) = host.suspender.block_on_always(inbox.recv()) {
            run_work(&script, &work.activation, &mut seed);
            if host.suspender.is_cancelled() {
                script.run_out();
            }
            script.forget_pending();
            host.rejections.take();
            host.suspender.clear_cancel();
            ended();
        }
        let data = seed.value.take();
        seed.hooks.tear_down(&script, seed.scenario.as_ref(), data);
    });
}

/// What `setup` returned, as this VU's own value: parsed once, and the script may change it.
#[derive(Default)]
struct SetupData<'js> {
    json: Option<Arc<str>>,
    value: Option<Value<'js>>,
    /// The scenario that the VU has worked for last.
    scenario: Option<Arc<ScenarioContext>>,
    hooks: Hooks,
}

impl<'js> SetupData<'js> {
    fn is_in(&self, scenario: &Arc<ScenarioContext>) -> bool {
        let last = self.scenario.as_ref();
        last.is_some_and(|last| Arc::ptr_eq(last, scenario))
    }

    fn value(
        &mut self,
        script: &Script<'js>,
        json: Option<&Arc<str>>,
    ) -> Result<Value<'js>, ScriptError> {
        let same = match (&self.json, json) {
            (Some(own), Some(given)) => Arc::ptr_eq(own, given),
            (None, None) => true,
            _ => false,
        };
        if let (true, Some(value)) = (same, &self.value) {
            return Ok(value.clone());
        }
        let value = script.parse(json.map(|json| &**json))?;
        self.json = json.cloned();
        self.value = Some(value.clone());
        Ok(value)
    }
}

fn run_work<'js>(script: &Script<'js>, activation: &Activation, seed: &mut SetupData<'js>) {
    let host = &script.host;
    let scenario = &activation.scenario;
    // Arrival rates send a VU to work for each iteration: the scenario stays.
    if !seed.is_in(scenario) {
        let run = host.run.as_ref().expect("VUs live within a run");
        let system = run.shared.settings.system_tags;
        host.tagging.begin(scenario.tags.clone(), "", system);
        *host.metadata.borrow_mut() = None;
        host.position.iteration_in_scenario.set(0);
        if let Err(error) = set_environment(script, scenario) {
            return say(scenario, &ScriptError::Vm(error.to_string()));
        }
        seed.scenario = Some(scenario.clone());
    }
    *host.position.scenario.borrow_mut() = Some(scenario.clone());
    let data = match seed.value(script, scenario.setup_data.as_ref()) {
        Ok(data) => data,
        Err(error) => return say(scenario, &error),
    };
    seed.hooks.set_up(script, scenario, &data);
    let vu = VuId(host.vu);
    let mut now = Instant::now();
    while !host.suspender.is_cancelled() && activation.source.next(vu, now) {
        let due = activation.due.filter(|_| wants_own_metrics(host));
        let late = due.map(|due| now.saturating_duration_since(due));
        host.position.late.set(late);
        let complete = iterate(script, scenario, &data);
        activation.source.ended(vu, complete);
        now = Instant::now();
    }
    *host.position.scenario.borrow_mut() = None;
}

fn wants_own_metrics(host: &Host) -> bool {
    let run = host.run.as_ref().expect("VUs live within a run");
    run.shared.settings.own_metrics == OwnMetrics::On
}

/// `__ENV` is the run's with the scenario's over it.
fn set_environment(script: &Script<'_>, scenario: &ScenarioContext) -> rquickjs::Result<()> {
    // A new object: what another scenario has set is gone.
    let env = Object::new(script.ctx.clone())?;
    for (name, value) in script.host.library.env.iter() {
        env.set(name.as_str(), value.as_str())?;
    }
    for (name, value) in &scenario.env {
        env.set(name.as_str(), value.as_str())?;
    }
    script.ctx.globals().set("__ENV", env)
}

/// One iteration; whether it came to its end. A thrown exception is an end too.
fn iterate<'js>(script: &Script<'js>, scenario: &Arc<ScenarioContext>, data: &Value<'js>) -> bool {
    let host = &script.host;
    let position = &host.position;
    let state = &host
        .run
        .as_ref()
        .expect("VUs live within a run")
        .shared
        .state;
    let in_test = scenario.iterations_started.fetch_add(1, Ordering::Relaxed);
    position.iteration_in_instance.set(in_test);
    position
        .iteration_in_test
        .set(scenario.stripe.global(in_test));
    let iteration = position.iteration.get();
    // A VM without memory for one number fails in the call below.
    let _ = script.ctx.globals().set("__ITER", iteration as f64);
    let begun = Instant::now();
    let result = script.call(&scenario.exec, data.clone());
    let complete = !host.suspender.is_cancelled();
    let duration = begun.elapsed();
    // An exception may have left the script inside a group.
    host.tagging.set_group(&host.tagging.outermost());
    if complete {
        if let Err(error) = result {
            state.script_exceptions.fetch_add(1, Ordering::Relaxed);
            state.exceptions.note(&error.headline());
            say(scenario, &error);
        }
        for error in host.rejections.take() {
            let text = format!("Uncaught (in promise) {error}");
            state.exceptions.note(&text);
            say(scenario, &text);
        }
        let tags = host.base_tags();
        let milliseconds = duration.as_secs_f64() * 1_000.0;
        host.emit_one(builtin::ITERATION_DURATION, milliseconds, tags.clone());
        if let Some(late) = position.late.get() {
            let whole = milliseconds + late.as_secs_f64() * 1_000.0;
            let metric = builtin::ITERATION_DURATION_FROM_SCHEDULE;
            host.emit_one(metric, whole, tags.clone());
        }
        host.emit_one(builtin::ITERATIONS, 1.0, tags);
        state.iterations_completed.fetch_add(1, Ordering::Relaxed);
    } else {
        state.iterations_interrupted.fetch_add(1, Ordering::Relaxed);
    }
    host.emit_data();
    script.forget_pending();
    position.iteration.set(iteration + 1);
    let in_scenario = &position.iteration_in_scenario;
    in_scenario.set(in_scenario.get() + 1);
    if complete {
        wait_out(host, begun);
    }
    complete
}

/// `minIterationDuration`: the rest of it, not counted as part of the iteration.
fn wait_out(host: &Host, begun: Instant) {
    let run = host.run.as_ref().expect("VUs live within a run");
    if let Some(least) = run.shared.settings.min_iteration_duration
        && let Some(rest) = least.checked_sub(begun.elapsed())
    {
        // Cancelled: the loop sees it.
        let _ = host.sleep(rest);
    }
}

fn say(scenario: &ScenarioContext, error: &dyn std::fmt::Display) {
    tracing::error!(
        executor = scenario.executor,
        scenario = &*scenario.name,
        source = "stacktrace",
        "{error}"
    );
}
