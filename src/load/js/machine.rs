//! One VM: a QuickJS runtime and context made, used and dropped on its VU's own stack.
//!
//! QuickJS measures its stack from where the runtime was made, so nothing here may run on another
//! stack. The interrupt handler gives other VUs their turn and stops a cancelled script.

use std::rc::Rc;

use rquickjs::context::intrinsic;
use rquickjs::{Context, Ctx, Exception, Function, Object, Promise, Runtime, Value};

use super::exception::script_error;
use super::ffi::{CountingAllocator, HeapMeter, Places};
use super::host::Host;
use super::loader::{self, Modules, Unit};
use super::modules::{self, BRIDGE, PRELUDE};
use super::program::{Compatibility, VmSettings};
use super::{ScriptError, events};

/// What host functions need beside the script's own frames: TLS handshakes and URL parsing run on
/// the VU's stack too.
const HOST_STACK_BYTES: usize = 128 * 1024;

/// Promise jobs that a cut off iteration may leave and still have run out.
const JOBS_LEFT_MAX: usize = 10_000;

/// Everything that scripts use; `Eval` is what compiles modules and `new Function`.
type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::Proxy,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
);

/// A runtime with its one context.
pub(crate) struct Machine {
    // Dropped in this order.
    context: Context,
    _runtime: Runtime,
}

impl Machine {
    pub(crate) fn new(host: &Rc<Host>, settings: &VmSettings) -> Result<Machine, ScriptError> {
        let vm_error = |error: rquickjs::Error| ScriptError::Vm(error.to_string());
        let meter = HeapMeter::new(settings.memory_bytes_max);
        let runtime = Runtime::new_with_alloc(CountingAllocator::new(meter)).map_err(vm_error)?;
        runtime.set_max_stack_size(settings.stack_bytes.saturating_sub(HOST_STACK_BYTES));
        let suspender = host.suspender.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || suspender.checkpoint())));
        let tracking = host.clone();
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, handled| match (handled, promise.as_object()) {
                (true, Some(promise)) => tracking.rejections.remove(promise),
                _ => tracking.rejections.add(&ctx, &promise, &reason),
            },
        )));
        runtime.set_loader(Modules::new(host.clone()), Modules::new(host.clone()));
        let context = Context::custom::<Intrinsics>(&runtime).map_err(vm_error)?;
        Ok(Machine {
            context,
            _runtime: runtime,
        })
    }

    /// The whole life of the VM happens in one call, so that values stay valid between calls.
    pub(crate) fn with<R>(&self, work: impl FnOnce(Ctx<'_>) -> R) -> R {
        self.context.with(work)
    }
}

/// A script whose init code has run in this VM.
pub(crate) struct Script<'js> {
    pub(crate) ctx: Ctx<'js>,
    pub(crate) host: Rc<Host>,
    bridge: Object<'js>,
    pub(crate) exports: Object<'js>,
}

impl<'js> Script<'js> {
    /// Makes the globals and runs the init code.
    pub(crate) fn load(ctx: &Ctx<'js>, host: &Rc<Host>) -> Result<Script<'js>, ScriptError> {
        let loaded = Script::begin(ctx, host);
        loaded.map_err(|error| match host.aborted.borrow_mut().take() {
            Some(reason) => ScriptError::Aborted(reason),
            None => script_error(ctx, error),
        })
    }

    fn begin(ctx: &Ctx<'js>, host: &Rc<Host>) -> rquickjs::Result<Script<'js>> {
        // Errors look up their places there; there is no other such value.
        let _ = ctx.store_userdata(Places(host.library.clone()));
        let globals = ctx.globals();
        globals.set("__VU", host.vu)?;
        globals.set("__ITER", 0)?;
        let env = Object::new(ctx.clone())?;
        for (name, value) in host.library.env.iter() {
            env.set(name.as_str(), value.as_str())?;
        }
        globals.set("__ENV", env)?;
        if host.library.compatibility == Compatibility::Extended {
            globals.set("global", globals.clone())?;
        }
        let bridge = modules::bridge(ctx, host)?;
        globals.set(BRIDGE, bridge.clone())?;
        if let Unit::Module(prelude) = loader::unit(ctx, host, PRELUDE.0)? {
            let (_, evaluated) = prelude.eval()?;
            evaluated.finish::<()>()?;
        }
        globals.remove(BRIDGE)?;
        if host.library.is_resuming() {
            modules::load(ctx, host, modules::RESUMING)?;
        }
        let exports = match loader::unit(ctx, host, &host.library.main)? {
            Unit::Module(module) => {
                let (module, evaluated) = module.eval()?;
                await_init(ctx, host, &bridge, &evaluated)?;
                module.namespace()?
            }
            Unit::CommonJs(_) => {
                let exports = modules::run_commonjs(ctx, host, &host.library.main)?;
                events::drain(ctx, host, &bridge)?;
                with_default(ctx, exports)?
            }
        };
        Ok(Script {
            ctx: ctx.clone(),
            host: host.clone(),
            bridge,
            exports,
        })
    }

    /// Calls an exported function and runs until nothing of it is pending; a promise that it
    /// returned gives its value.
    ///
    /// # Errors
    /// The exception that it threw or its promise was rejected with. A cancelled VM may return
    /// anything: the caller asks the suspender.
    pub(crate) fn call(&self, name: &str, argument: Value<'js>) -> Result<Value<'js>, ScriptError> {
        self.try_call(name, argument)
            .map_err(|error| script_error(&self.ctx, error))
    }

    fn try_call(&self, name: &str, argument: Value<'js>) -> rquickjs::Result<Value<'js>> {
        let function: Function<'js> = self.exports.get(name)?;
        let called = function.call::<_, Value<'js>>((argument,));
        // What the function has begun goes on also when it has thrown.
        let exception = called.is_err().then(|| self.ctx.catch());
        let drained = events::drain(&self.ctx, &self.host, &self.bridge);
        if let Some(exception) = exception {
            return Err(self.ctx.throw(exception));
        }
        drained?;
        let returned = called?;
        match returned.as_promise() {
            None => Ok(returned),
            Some(promise) => {
                // Its rejection is told as the call's own exception.
                self.host.rejections.remove(promise);
                promise.result::<Value<'js>>().unwrap_or_else(|| {
                    // Nothing will ever settle it: the iteration is over all the same.
                    Ok(Value::new_undefined(self.ctx.clone()))
                })
            }
        }
    }

    /// Jobs that a cut off iteration has left run out, every host call of theirs failing, so that
    /// they don't come up in the next one.
    pub(crate) fn run_out(&self) {
        for _ in 0..JOBS_LEFT_MAX {
            if !self.ctx.execute_pending_job() {
                break;
            }
        }
    }

    /// An iteration that was cut off leaves no timer and no promise of ours behind.
    pub(crate) fn forget_pending(&self) {
        self.host.reset_iteration();
        if !self.host.events.forget() {
            return;
        }
        if let Ok(forget) = self.bridge.get::<_, Function<'js>>("forget") {
            // A VM without memory for this call has none for the next iteration either.
            let _ = forget.call::<_, ()>(());
        }
    }

    /// A value from JSON; `None` is `undefined`.
    pub(crate) fn parse(&self, json: Option<&str>) -> Result<Value<'js>, ScriptError> {
        match json {
            None => Ok(Value::new_undefined(self.ctx.clone())),
            Some(json) => self
                .ctx
                .json_parse(json)
                .map_err(|error| script_error(&self.ctx, error)),
        }
    }

    /// A value as JSON; `None` for `undefined` and functions.
    pub(crate) fn stringify(&self, value: Value<'js>) -> Result<Option<String>, ScriptError> {
        let text = self
            .ctx
            .json_stringify(value)
            .and_then(|text| text.map(|text| text.to_string()).transpose());
        text.map_err(|error| script_error(&self.ctx, error))
    }
}

/// Runs timers, operations and promise jobs of the init code until nothing is pending.
fn await_init<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    bridge: &Object<'js>,
    evaluated: &Promise<'js>,
) -> rquickjs::Result<()> {
    // Its rejection is told as the init code's own exception.
    events::drain(ctx, host, bridge)?;
    host.rejections.remove(evaluated);
    match evaluated.result::<Value<'js>>() {
        Some(result) => result.map(drop),
        None if host.suspender.is_cancelled() => Err(Exception::throw_message(
            ctx,
            "the init code was interrupted",
        )),
        None => Err(Exception::throw_message(
            ctx,
            "the script awaits something in its init code that never comes",
        )),
    }
}

/// What a CommonJS entry script exports; a function alone is its default export.
fn with_default<'js>(ctx: &Ctx<'js>, exports: Value<'js>) -> rquickjs::Result<Object<'js>> {
    let Some(exports) = exports.into_object() else {
        return Err(Exception::throw_type(
            ctx,
            "module.exports must be an object",
        ));
    };
    if !exports.is_function() || exports.contains_key("default")? {
        return Ok(exports);
    }
    let object = Object::new(ctx.clone())?;
    for entry in exports.props::<String, Value<'js>>() {
        let (name, value) = entry?;
        object.set(name, value)?;
    }
    object.set("default", exports)?;
    Ok(object)
}
