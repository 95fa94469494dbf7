//! `vuSetup(data)` and `vuTeardown(data)`: a script's functions that every VU calls once, before
//! its first iteration and when it ends. Not k6's.
//!
//! Both get what `setup` returned, run on the VU's stack and in its VM, and are no iterations.
//! Their samples carry the groups `::vuSetup` and `::vuTeardown`. An exception in one is logged and
//! counted like one of an iteration, and stops nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rquickjs::Value;

use super::pool::ScenarioContext;
use crate::load::js::ScriptError;
use crate::load::js::machine::Script;

/// One VU's hooks.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// Whether `vuSetup` is over, or there was none.
    is_set_up: bool,
}

impl Hooks {
    /// Calls `vuSetup` before the VU's first iteration.
    pub(super) fn set_up<'js>(
        &mut self,
        script: &Script<'js>,
        scenario: &ScenarioContext,
        data: &Value<'js>,
    ) {
        if !self.is_set_up {
            self.is_set_up = true;
            call(script, "vuSetup", scenario, data.clone());
        }
    }

    /// Calls `vuTeardown` of a VU that has worked; `last` is the scenario that it worked for last.
    pub(super) fn tear_down<'js>(
        &self,
        script: &Script<'js>,
        last: Option<&Arc<ScenarioContext>>,
        data: Option<Value<'js>>,
    ) {
        if let (true, Some(scenario)) = (self.is_set_up, last) {
            let nothing = Value::new_undefined(script.ctx.clone());
            call(script, "vuTeardown", scenario, data.unwrap_or(nothing));
        }
    }
}

fn call<'js>(script: &Script<'js>, name: &str, scenario: &ScenarioContext, data: Value<'js>) {
    let function: rquickjs::Result<Value<'js>> = script.exports.get(name);
    if !function.is_ok_and(|function| function.is_function()) {
        return;
    }
    let host = &script.host;
    host.tagging.set_group(&format!("::{name}"));
    if let Err(error) = script.call(name, data)
        && !host.suspender.is_cancelled()
    {
        failed(script, name, scenario, &error);
    }
    host.emit_data();
    host.tagging.set_group("");
}

fn failed(script: &Script<'_>, name: &str, scenario: &ScenarioContext, error: &ScriptError) {
    let run = script.host.run.as_ref().expect("VUs live within a run");
    let state = &run.shared.state;
    state.script_exceptions.fetch_add(1, Ordering::Relaxed);
    state.exceptions.note(&error.headline());
    tracing::error!(
        executor = scenario.executor,
        scenario = &*scenario.name,
        source = "stacktrace",
        "{name}: {error}"
    );
}
