//! Host side of the module `k6/execution`.

use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rquickjs::function::Opt;
use rquickjs::{Ctx, Exception, IntoJs, Object, Value};

use super::set;
use crate::load::js::ffi::throw_uncatchable;
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
        let error = throw_uncatchable(&ctx, "the test was aborted");
        rquickjs::Result::<()>::Err(error)
    })?;
    let vm = host.clone();
    set(
        bridge,
        "markFailed",
        move |ctx: Ctx<'js>, reason: String| {
            if vm.running_side().is_none() {
                let text = "execution.test.fail() called outside of VU context";
                return Err(Exception::throw_message(&ctx, text));
            }
            let separator = if reason.is_empty() { "" } else { ": " };
            tracing::error!("test marked as failed{separator}{reason}");
            vm.mark_failed(reason);
            Ok(())
        },
    )?;
    let vm = host.clone();
    set(bridge, "allow", move |ctx: Ctx<'js>, part: String| {
        if part == "test" || vm.running_side().is_some() {
            return Ok(());
        }
        Err(refused(&ctx, &part))
    })?;
    install_tags(bridge, host)
}

/// What `exec.vu.metrics` shows and changes.
fn install_tags<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(bridge, "vuTag", move |name: String| {
        let own = vm.tagging.vu_tag(&name);
        own.or_else(|| vm.base_tags().get(&name).map(|value| value.to_string()))
    })?;
    let vm = host.clone();
    set(bridge, "vuTagNames", move || {
        let tags = vm.base_tags();
        tags.iter()
            .map(|(name, _)| name.to_string())
            .collect::<Vec<String>>()
    })?;
    let vm = host.clone();
    let set_tag = move |name: String, value: Opt<Option<String>>| {
        vm.tagging.set_vu_tag(name, value.0.flatten());
    };
    set(bridge, "setVuTag", set_tag)?;
    let vm = host.clone();
    set(bridge, "metadata", move |name: String| {
        let metadata = vm.metadata.borrow();
        let found = metadata.iter().flat_map(|all| all.iter());
        found
            .filter(|(known, _)| **known == name)
            .map(|(_, value)| value.clone())
            .next()
    })?;
    let vm = host.clone();
    set(bridge, "metadataNames", move || {
        let metadata = vm.metadata.borrow();
        let all = metadata.iter().flat_map(|all| all.keys());
        all.cloned().collect::<Vec<String>>()
    })?;
    let vm = host.clone();
    set(
        bridge,
        "setMetadata",
        move |name: String, value: Opt<Option<String>>| {
            vm.set_metadata(name, value.0.flatten());
        },
    )
}

fn execution<'js>(ctx: &Ctx<'js>, host: &Host, key: &str) -> rquickjs::Result<Value<'js>> {
    let (part, _) = key.split_once('.').unwrap_or((key, ""));
    if host.running_side().is_none() {
        return Err(refused(ctx, part));
    }
    let position = &host.position;
    let number = |value: u64| (value as f64).into_js(ctx);
    match key {
        "vu.idInInstance" => host.vu.into_js(ctx),
        "vu.idInTest" => number(host.vu_in_test()),
        "vu.iterationInInstance" => number(position.iteration.get()),
        "vu.iterationInScenario" => number(position.iteration_in_scenario.get()),
        "instance.currentTestRunDuration" => (host.elapsed().as_secs_f64() * 1_000.0).into_js(ctx),
        "instance.iterationsCompleted" => number(host.counter(counters::completed)),
        "instance.iterationsInterrupted" => number(host.counter(counters::interrupted)),
        "instance.vusActive" => number(host.counter(counters::active)),
        "instance.vusInitialized" => number(host.counter(counters::initialized)),
        "test.options" => match host.running_side() {
            Some(run) => run.shared.options_json.to_string().into_js(ctx),
            None => Err(refused(ctx, part)),
        },
        _ => {
            let scenario = position.scenario.borrow();
            let Some(scenario) = &*scenario else {
                return Err(refused(ctx, part));
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

/// What k6 says where there is no run, or no scenario (in `setup` and the like), to tell about.
fn refused(ctx: &Ctx<'_>, part: &str) -> rquickjs::Error {
    let text = match part {
        "scenario" => "getting scenario information outside of the VU context is not supported",
        "instance" => "getting instance information in the init context is not supported",
        "test" => "getting test options in the init context is not supported",
        _ => "getting VU information in the init context is not supported",
    };
    Exception::throw_message(ctx, text)
}
