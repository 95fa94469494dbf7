//! Host side of the module `k6/execution`.

use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rquickjs::function::Opt;
use rquickjs::{Ctx, Exception, IntoJs, Object, Value};

use super::{interrupted, set};
use crate::load::js::host::{Host, counters};
use crate::load::vu::pool::ScenarioContext;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(bridge, "execution", move |ctx: Ctx<'js>, key: String| {
        execution(&ctx, &vm, &key)
    })?;
    let vm = host.clone();
    set(bridge, "abort", move |ctx: Ctx<'js>, reason: String| {
        vm.abort(reason);
        rquickjs::Result::<()>::Err(interrupted(&ctx))
    })?;
    let vm = host.clone();
    set(bridge, "markFailed", move |reason: String| {
        vm.mark_failed(reason);
    })?;
    let vm = host.clone();
    set(bridge, "vuTag", move |name: String| {
        vm.tagging.vu_tag(&name)
    })?;
    let vm = host.clone();
    set(bridge, "vuTagNames", move || vm.tagging.vu_tag_names())?;
    let vm = host.clone();
    let set_tag = move |name: String, value: Opt<Option<String>>| {
        vm.tagging.set_vu_tag(name, value.0.flatten());
    };
    set(bridge, "setVuTag", set_tag)
}

fn execution<'js>(ctx: &Ctx<'js>, host: &Host, key: &str) -> rquickjs::Result<Value<'js>> {
    let position = &host.position;
    let number = |value: u64| (value as f64).into_js(ctx);
    match key {
        "vu.id" => host.vu.into_js(ctx),
        "vu.iterationInInstance" => number(position.iteration.get()),
        "vu.iterationInScenario" => number(position.iteration_in_scenario.get()),
        "instance.currentTestRunDuration" => (host.elapsed().as_secs_f64() * 1_000.0).into_js(ctx),
        "instance.iterationsCompleted" => number(host.counter(counters::completed)),
        "instance.iterationsInterrupted" => number(host.counter(counters::interrupted)),
        "instance.vusActive" => number(host.counter(counters::active)),
        "instance.vusInitialized" => number(host.counter(counters::initialized)),
        "test.options" => match host.running_side() {
            Some(run) => run.shared.options_json.to_string().into_js(ctx),
            None => Err(refused(ctx, "test.options")),
        },
        _ => {
            let scenario = position.scenario.borrow();
            let Some(scenario) = &*scenario else {
                return Err(refused(ctx, key));
            };
            of_scenario(ctx, host, scenario, key)
        }
    }
}

fn of_scenario<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    scenario: &ScenarioContext,
    key: &str,
) -> rquickjs::Result<Value<'js>> {
    match key {
        "scenario.name" => scenario.name.to_string().into_js(ctx),
        "scenario.executor" => scenario.executor.into_js(ctx),
        "scenario.iterationInInstance" => {
            (host.position.iteration_in_instance.get() as f64).into_js(ctx)
        }
        "scenario.iterationInTest" => (host.position.iteration_in_test.get() as f64).into_js(ctx),
        "scenario.startTime" => started_ms(scenario).into_js(ctx),
        "scenario.progress" => progress(scenario).into_js(ctx),
        _ => Value::new_undefined(ctx.clone()).into_js(ctx),
    }
}

/// Unix milliseconds.
fn started_ms(scenario: &ScenarioContext) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let started = now
        .unwrap_or_default()
        .saturating_sub(scenario.started.elapsed());
    (started.as_secs_f64() * 1_000.0).round()
}

/// 0 to 1, by time where the executor has a duration, else by iterations.
fn progress(scenario: &ScenarioContext) -> f64 {
    let started = scenario
        .iterations_started
        .load(std::sync::atomic::Ordering::Relaxed);
    let share = match (scenario.duration, scenario.iterations) {
        (_, Some(total)) if total > 0 => started as f64 / total as f64,
        (Some(duration), _) if !duration.is_zero() => {
            let gone = Instant::now().saturating_duration_since(scenario.started);
            gone.as_secs_f64() / duration.as_secs_f64()
        }
        _ => 0.0,
    };
    share.min(1.0)
}

fn refused(ctx: &Ctx<'_>, key: &str) -> rquickjs::Error {
    let text = format!("getting {key} outside of a running scenario is not supported");
    Exception::throw_message(ctx, &text)
}
