//! `setup`, `teardown` and `handleSummary`: each one call in a VM of its own, as VU 0.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rquickjs::{ArrayBuffer, Value};
use tokio_util::sync::CancellationToken;

use super::coroutine::{Ended, Fiber, Suspender};
use crate::load::js::ScriptError;
use crate::load::js::host::{Host, Phase, WorkerShared};
use crate::load::js::machine::{Machine, Script};
use crate::load::js::program::Program;

/// What is called, with its argument.
pub(super) enum Call {
    Setup,
    Teardown(Option<Arc<str>>),
    HandleSummary(String),
}

/// What a call gave.
pub(super) enum Returned {
    /// JSON; `None` for undefined.
    Json(Option<Arc<str>>),
    /// Destination and content.
    Files(Vec<(String, Vec<u8>)>),
}

impl Call {
    pub(super) fn function(&self) -> &'static str {
        match self {
            Call::Setup => "setup",
            Call::Teardown(_) => "teardown",
            Call::HandleSummary(_) => "handleSummary",
        }
    }

    fn group(&self) -> &'static str {
        match self {
            Call::Setup => "::setup",
            Call::Teardown(_) => "::teardown",
            Call::HandleSummary(_) => "",
        }
    }

    fn argument(&self) -> Option<&str> {
        match self {
            Call::Setup => None,
            Call::Teardown(data) => data.as_deref(),
            Call::HandleSummary(data) => Some(data),
        }
    }
}

/// Runs the call on a stack of its own until it returns, `limit` is over, or `stop` is cancelled.
pub(super) async fn perform(
    program: Arc<Program>,
    shared: Rc<WorkerShared>,
    call: Call,
    limit: Duration,
    stop: CancellationToken,
) -> Result<Returned, ScriptError> {
    let what = call.function();
    let suspender = Suspender::new();
    let settings = shared.settings.clone();
    let state = shared.state.clone();
    let host = Rc::new(Host::running(
        suspender.clone(),
        program.library.clone(),
        program.registry.clone(),
        0,
        shared,
    ));
    let slot = Rc::new(RefCell::new(None));
    let (inside, result) = (host.clone(), slot.clone());
    let body = move || {
        let returned = run(&inside, &call);
        *result.borrow_mut() = Some(returned);
    };
    let mut fiber = Fiber::new(settings.vm.stack_bytes, suspender.clone(), body)
        .map_err(|error| ScriptError::Vm(error.to_string()))?;
    let mut cut: Option<ScriptError> = None;
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    let ended = loop {
        tokio::select! {
            ended = std::future::poll_fn(|cx| fiber.poll(cx)) => break ended,
            () = &mut deadline, if cut.is_none() => {
                cut = Some(ScriptError::Timeout { what, limit });
                suspender.cancel();
            }
            () = stop.cancelled(), if cut.is_none() => {
                cut = Some(ScriptError::Interrupted { what });
                suspender.cancel();
            }
        }
    };
    if ended == Ended::Leaked {
        state
            .vus_leaked
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    if let Some(reason) = host.aborted.borrow_mut().take() {
        return Err(ScriptError::Aborted(reason));
    }
    if let Some(cut) = cut {
        return Err(cut);
    }
    let returned = slot.borrow_mut().take();
    match (ended, returned) {
        (Ended::Returned, Some(returned)) => returned,
        (Ended::Panicked(text), _) => Err(ScriptError::Vm(text)),
        _ => Err(ScriptError::Interrupted { what }),
    }
}

fn run(host: &Rc<Host>, call: &Call) -> Result<Returned, ScriptError> {
    let settings = host
        .run
        .as_ref()
        .expect("calls are part of a run")
        .shared
        .settings
        .clone();
    let machine = Machine::new(host, &settings.vm)?;
    machine.with(|ctx| {
        let script = Script::load(&ctx, host)?;
        let is_summary = matches!(call, Call::HandleSummary(_));
        host.phase.set(if is_summary {
            Phase::Summary
        } else {
            Phase::Run
        });
        let tags = settings.run_tags.clone();
        host.tagging.begin(tags, call.group(), settings.system_tags);
        let argument = script.parse(call.argument())?;
        let returned = script.call(call.function(), argument);
        host.emit_data();
        let returned = returned?;
        if is_summary {
            return files(&script, &returned).map(Returned::Files);
        }
        let json = script.stringify(returned)?;
        Ok(Returned::Json(json.map(Arc::from)))
    })
}

/// `{'stdout': text, 'path': text or ArrayBuffer}`.
fn files<'js>(
    script: &Script<'js>,
    returned: &Value<'js>,
) -> Result<Vec<(String, Vec<u8>)>, ScriptError> {
    let refused = |message: String| ScriptError::Exception {
        message,
        stack: String::new(),
    };
    let Some(object) = returned.as_object() else {
        return Err(refused(
            "Error: handleSummary() must return an object of destinations and contents".to_owned(),
        ));
    };
    let mut files = Vec::new();
    for entry in object.props::<String, Value<'js>>() {
        let (name, value) = entry.map_err(|error| ScriptError::Vm(error.to_string()))?;
        let content = match value
            .as_object()
            .and_then(|object| object.as_array_buffer())
        {
            Some(buffer) => bytes(buffer),
            None if value.is_string() => value
                .get::<String>()
                .map_err(|error| ScriptError::Vm(error.to_string()))?
                .into_bytes(),
            None => {
                let text = script.stringify(value)?.unwrap_or_default();
                return Err(refused(format!(
                    "Error: the content for {name:?} must be a string or an ArrayBuffer, not {text}"
                )));
            }
        };
        files.push((name, content));
    }
    Ok(files)
}

fn bytes(buffer: &ArrayBuffer<'_>) -> Vec<u8> {
    crate::load::js::buffer_bytes(buffer)
}
